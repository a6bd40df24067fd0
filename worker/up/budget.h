/* How many further tries a backend's requests may make: a share of them, so that a backend that is
 * failing is not asked twice as much for it. A bucket of tokens in each worker: requests bring
 * their share, time brings a few, a further try takes one. What is over leaks away within ten
 * seconds: a quiet day does not save up for a storm. */
#ifndef RPD_UP_BUDGET_H
#define RPD_UP_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define BUDGET_TOKEN 10000u /* a token's parts: a request brings `share` of them */
#define BUDGET_START 10u    /* tokens at the start, and what time alone fills it up to again */
#define BUDGET_WINDOW_US 10000000u

struct budget {
    uint32_t share;         /* hundredths of a percent; may be changed at any time */
    uint32_t requests;      /* since at_us */
    uint64_t at_us;         /* of the last reckoning */
    uint64_t parts;
};

void budget_init(struct budget *b, uint64_t now_us);
/* A request has begun. */
static inline void budget_earn(struct budget *b)
{
    b->requests++;
}
/* Takes a token; false: there is none. */
bool budget_take(struct budget *b, uint64_t now_us) __attribute__((warn_unused_result));

#endif
