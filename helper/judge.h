/* Whether a canary does worse than the stable backend, from counts alone. Pure; called by
 * canaries.c at every look, however many there are.
 *
 * Errors: Fisher's exact test of two proportions, one-sided, with the mid-p value: given all errors
 * of both sides, how likely so many of them are the canary's by chance. The canary is bad when its
 * share exceeds the stable side's by more than the margin and that p is below what this look may
 * spend. Looks that may spend are one at min_requests and one at each further fifth more requests;
 * those of the first step may spend more than later ones, and the first ones of a step more than
 * the rest, so that all looks of all steps together are wrong about once in two hundred canaries.
 * At any moment between, p must be below JUDGE_P_ANY. What comes of it is measured by
 * t/unit/test_judge_sim.c, and stands in rpd.ini(5).
 *
 * p99: the same schedule for whether more than 1 % of the canary's requests took longer than the
 * limit (binomial), and, where the limit was taken from the stable side, whether more did than of
 * that side's (Fisher). */
#ifndef RPD_HELPER_JUDGE_H
#define RPD_HELPER_JUDGE_H

#include <stdint.h>

#define JUDGE_P_ANY 1e-5
#define JUDGE_P_SUSPECT 0.05

struct judge_count {
    uint64_t requests;
    uint64_t bad; /* errors, or slow ones */
};

/* Of one step, zeroed as it begins but for `step`. */
struct judge {
    unsigned step; /* from 1: later ones may spend less */
    uint64_t next; /* requests of the canary at the next look that may spend; 0: min_requests */
    uint64_t next_slow;
};

/* By how bad they are. */
enum judge_verdict {
    JUDGE_GOOD,
    JUDGE_SUSPECT, /* over the limit, but it may be chance */
    JUDGE_BAD,
};

/* The chance of these counts or worse ones for the canary, if both sides were the same: mid-p. */
double judge_p(const struct judge_count *stable, const struct judge_count *canary);
/* The same, if the canary's true share were `share`. */
double judge_p_share(const struct judge_count *canary, double share);

/* The canary has min_requests at least. margin: a share, 0..1. *p: what was found; 1 where the
 * share is not over the margin. */
enum judge_verdict judge_errors(struct judge *j, const struct judge_count *stable,
                                const struct judge_count *canary, uint64_t min_requests,
                                double margin, double *p);
/* The same of those above the limit; stable NULL: the limit has nothing to do with it. */
enum judge_verdict judge_slow(struct judge *j, const struct judge_count *stable,
                              const struct judge_count *canary, uint64_t min_requests, double *p);

#endif
