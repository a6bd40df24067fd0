/* Called by choose.c; pure. */
#include "worker/up/ewma.h"

/* A smaller fall waits until it is that: rounding would add up. */
#define FALL_MIN_US 8
#define PENALTY_MIN_US 1000000
#define PENALTY_MAX_US 60000000

/* exp(-age / EWMA_TIME_US), without libm: within some per cent, 0 from 20 times that on. */
static double decay(uint64_t age_us)
{
    double x = (double)age_us / EWMA_TIME_US / 16, y;

    if (age_us > 20ull * EWMA_TIME_US)
        return 0;
    y = 1 / (1 + x + x * x / 2);
    y *= y;
    y *= y;
    y *= y;
    return y * y;
}

uint64_t ewma_now(uint64_t ewma_us, uint64_t age_us)
{
    uint64_t now = (uint64_t)((double)ewma_us * decay(age_us));

    return now == 0 && ewma_us > 0 ? 1 : now;
}

bool ewma_add(uint64_t *ewma_us, uint64_t age_us, uint64_t latency_us)
{
    uint64_t old = *ewma_us, fall;

    if (latency_us == 0)
        latency_us = 1;
    if (latency_us >= old) {
        *ewma_us = latency_us;
        return true;
    }
    fall = (uint64_t)((double)(old - latency_us) * (1 - decay(age_us)));
    if (fall < FALL_MIN_US)
        return false;
    *ewma_us = old - fall;
    return true;
}

uint64_t ewma_penalty(uint64_t ewma_us)
{
    if (ewma_us < PENALTY_MIN_US / 2)
        return PENALTY_MIN_US;
    return ewma_us < PENALTY_MAX_US / 2 ? ewma_us * 2 : PENALTY_MAX_US;
}
