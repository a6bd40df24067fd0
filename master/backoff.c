/* How long a worker that crashes again and again is held back. Pure; called by supervise.c. */
#include "master/supervise.h"

#define WINDOW_US (10 * 1000000ull)
#define FIRST_MS 100u
#define MOST_MS 10000u

unsigned supervise_backoff(unsigned previous_ms, uint64_t since_us)
{
    /* The time it was held back does not count as time it ran well. */
    if (since_us >= WINDOW_US + previous_ms * 1000ull)
        return 0;
    if (previous_ms == 0)
        return FIRST_MS;
    return previous_ms >= MOST_MS / 2 ? MOST_MS : previous_ms * 2;
}
