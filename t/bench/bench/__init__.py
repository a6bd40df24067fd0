"""The benchmark of rpd beside nginx, HAProxy and a floor: t/bench/run."""
