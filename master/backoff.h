/* How long a child that crashes again and again is held back. */
#ifndef RPD_MASTER_BACKOFF_H
#define RPD_MASTER_BACKOFF_H

#include <stdint.h>

struct backoff {
    uint64_t crashed_at_us; /* of clock_mono_us; 0: it never did */
    unsigned ms;            /* how long it was held back the last time */
};

/* The child crashed, at now_us of clock_mono_us: how many milliseconds to wait before it is started
 * again; 0: none. */
unsigned backoff_crashed(struct backoff *b, uint64_t now_us);

/* The same, of a child that crashed before: at once (0), unless that was less than 10 s ago; then
 * 100 ms, doubling to 10 s. `previous_ms` is what this returned the last time, `since_us` the time
 * from that crash. */
unsigned backoff_next(unsigned previous_ms, uint64_t since_us);

#endif
