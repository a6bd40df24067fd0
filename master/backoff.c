/* How long a child that crashes again and again is held back: workers, `rpd: keys` and the helper
 * alike. Pure; called by supervise.c, keys.c and helper.c. */
#include "master/backoff.h"

#define WINDOW_US (10 * 1000000ull)
#define FIRST_MS 100u
#define MOST_MS 10000u

unsigned backoff_next(unsigned previous_ms, uint64_t since_us)
{
    /* The time it was held back does not count as time it ran well. */
    if (since_us >= WINDOW_US + previous_ms * 1000ull)
        return 0;
    if (previous_ms == 0)
        return FIRST_MS;
    return previous_ms >= MOST_MS / 2 ? MOST_MS : previous_ms * 2;
}

unsigned backoff_crashed(struct backoff *b, uint64_t now_us)
{
    b->ms = b->crashed_at_us == 0 ? 0 : backoff_next(b->ms, now_us - b->crashed_at_us);
    b->crashed_at_us = now_us;
    return b->ms;
}
