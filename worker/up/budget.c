/* The budget of further tries: reckoned when one is asked for, so that requests only count. */
#include "worker/up/budget.h"

#define START_PARTS ((uint64_t)BUDGET_START * BUDGET_TOKEN)
#define RECKON_US 1000   /* not more often: what a shorter time brings would be rounded away */
#define PARTS_A_MS (BUDGET_TOKEN / 1000) /* a token a second */

void budget_init(struct budget *b, uint64_t now_us)
{
    *b = (struct budget){ .at_us = now_us, .parts = START_PARTS };
}

static void reckon(struct budget *b, uint64_t now_us)
{
    uint64_t passed = now_us - b->at_us, counted = passed;
    uint64_t earned = (uint64_t)b->requests * b->share;
    uint64_t over = b->parts > START_PARTS ? b->parts - START_PARTS : 0;
    uint64_t base = b->parts - over;

    if (counted > BUDGET_WINDOW_US) { /* of the last ten seconds, at the mean rate */
        counted = BUDGET_WINDOW_US;
        earned = (uint64_t)((double)earned * BUDGET_WINDOW_US / (double)passed);
    }
    over -= over * counted / BUDGET_WINDOW_US;
    base += counted / 1000 * PARTS_A_MS;
    if (base > START_PARTS)
        base = START_PARTS;
    b->parts = base + over + earned;
    b->requests = 0;
    b->at_us = now_us;
}

bool budget_take(struct budget *b, uint64_t now_us)
{
    if (now_us - b->at_us >= RECKON_US)
        reckon(b, now_us);
    if (b->parts < BUDGET_TOKEN)
        return false;
    b->parts -= BUDGET_TOKEN;
    return true;
}
