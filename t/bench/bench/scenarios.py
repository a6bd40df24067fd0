"""The table of scenarios."""
import functools

from . import special
from .compare import Scenario
from .loads import Load
from .peers import Haproxy, Nginx
from .proxies import Floor, Rpd, RpdKeysInside, Setup, Splice
from .special import MIB10, Special

BOTH_FLOORS = (Splice, Floor)
BOTH_RPDS = (Rpd, RpdKeysInside)
TLS = Setup(tls="ends")
PASS = Setup(tls="passes")
UP = Setup(tls="begins")
# OpenSSL is nearly all of a handshake, and keys apart cost what asking for a signature does.
HANDSHAKE = {"rate": 400, "requests": 50, "rpds": BOTH_RPDS, "goals": (1.15, 1.00)}
IDLE_TLS_BYTES = 14800

SCENARIOS = {
    "h1_0": Scenario("an empty body, 64 kept connections", Load("/0", 0)),
    "h1_1k": Scenario("1 KiB, 64 kept connections", rate=8000),
    "h1_100k": Scenario("100 KiB, 64 kept connections", Load("/102400", 102400), rate=2000,
                        floors=BOTH_FLOORS, requests=200),
    "h1_10m": Scenario("10 MiB, 8 kept connections", Load(f"/{MIB10}", MIB10, 8),
                       floors=BOTH_FLOORS, requests=8),
    "h1_1k_open": Scenario("1 KiB, 64 kept connections, 8,000 requests a second",
                           Load(rate=8000), measures=("cpu",)),
    "close_1k": Scenario("1 KiB, a client connection for each request", Load(is_close=True),
                         rate=3000),
    "chunked_16k": Scenario("16 KiB in chunks, 64 kept connections",
                            Load("/chunked/16384", 16384)),
    "post_16k": Scenario("a request body of 16 KiB, 64 kept connections",
                         Load("/", 2, method="POST", body=16384)),
    "upload_10m": Scenario("a request body of 10 MiB, 8 kept connections",
                           Load("/", 2, 8, method="POST", body=MIB10), Setup(is_upload=True),
                           floors=BOTH_FLOORS, requests=8),
    "routes_1k": Scenario("1,000 routes and backends, all in use, over one",
                          Load(hosts=1000), Setup(routes=1000), variant="1,000 routes",
                          base=(Setup(routes=1), Load(hosts=1))),
    "log_1k": Scenario("an access log, over none", setup=Setup(has_log=True), variant="log",
                       base=(Setup(), Load())),
    "workers_2": Scenario("two workers over one, clients and origin on both CPUs as well",
                          setup=Setup(workers=2), variant="2 workers", base=(Setup(), Load()),
                          measures=("cpu",), is_shared=True),
    "tcp_1k": Scenario("1 KiB there and back, tcp mode, 64 connections",
                       Load(padding=1024), Setup(is_tcp=True), rate=8000),
    "tcp_10m": Scenario("10 MiB, tcp mode, 8 connections", Load(f"/{MIB10}", MIB10, 8),
                        Setup(is_tcp=True), floors=BOTH_FLOORS, requests=8),
    "tls_full": Scenario("TLS 1.3, ECDSA P-256, 1 KiB, a full handshake for each request",
                         Load(connections=32, is_close=True, tls="full"), TLS, **HANDSHAKE),
    "tls_full_rsa": Scenario("TLS 1.3, RSA 2048, 1 KiB, a full handshake for each request",
                             Load(connections=32, is_close=True, tls="full"),
                             Setup(tls="ends", key="rsa"), **HANDSHAKE),
    "tls_resumed": Scenario("TLS 1.3, 1 KiB, a resumed session for each request",
                            Load(connections=32, is_close=True, tls="resumed"), TLS, **HANDSHAKE),
    "tls_1k": Scenario("TLS 1.3, 1 KiB, 64 kept connections", Load(tls="full"), TLS, rate=6000,
                       goals=(0.80,)),
    "tls_100k": Scenario("TLS 1.3, 100 KiB, 64 kept connections",
                         Load("/102400", 102400, tls="full"), TLS, rate=1500, requests=100,
                         goals=(0.80,)),
    "tls_10m": Scenario("TLS 1.3, 10 MiB, 8 kept connections",
                        Load(f"/{MIB10}", MIB10, 8, tls="full"), TLS, requests=2, unit="MiB",
                        units=10, goals=(0.80,)),
    "tls_upload_10m": Scenario("TLS 1.3, a request body of 10 MiB, 8 kept connections",
                               Load("/", 2, 8, method="POST", body=MIB10, tls="full"),
                               Setup(tls="ends", is_upload=True), requests=2, unit="MiB",
                               units=10, goals=(0.80,)),
    "pass_1k": Scenario("TLS passed on by its SNI, 1 KiB, 64 kept connections",
                        Load(tls="full"), PASS, rate=6000, goals=(0.80,)),
    "pass_10m": Scenario("TLS passed on by its SNI, 10 MiB, 8 kept connections",
                         Load(f"/{MIB10}", MIB10, 8, tls="full"), PASS, floors=BOTH_FLOORS,
                         requests=2, unit="MiB", units=10, goals=(0.80,)),
    "pass_close": Scenario("TLS passed on by its SNI, 1 KiB, a connection for each request",
                           Load(connections=32, is_close=True, tls="resumed"), PASS, requests=100,
                           goals=(0.80,)),
    "up_1k": Scenario("TLS to the origin, 1 KiB, 64 kept connections", setup=UP, rate=6000,
                      floors=(), goals=(0.80,)),
    "up_10m": Scenario("TLS to the origin, 10 MiB, 8 kept connections",
                       Load(f"/{MIB10}", MIB10, 8), UP, requests=2, unit="MiB", units=10,
                       floors=(), goals=(0.80,)),
    "idle": Special("memory of (up to) 10,000 idle connections, 64 others active", ("memory",),
                    special.idle),
    "tls_idle": Special("memory of (up to) 10,000 idle TLS connections, 64 others active",
                        ("memory",),
                        functools.partial(special.idle, kinds=(Floor, *BOTH_RPDS, Nginx, Haproxy),
                                          setup=TLS, load=Load(tls="full"), most=IDLE_TLS_BYTES)),
    "fairness": Special("63 clients with 1 KiB, with and without one that downloads 10 MiB objects",
                        ("latency",), special.fairness),
    "accept_balance": Special("1,000 connections to 2 workers of rpd", ("balance",),
                              special.accept_balance),
    "scale": Special("5,000 routes and 2,000 servers over one of each, rpd", ("instructions",),
                     special.scale),
}
