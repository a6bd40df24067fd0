/* The tests of judge.h. The constants were chosen by simulation: t/unit/test_judge_sim.c holds them
 * to what rpd.ini(5) promises. */
#include "helper/judge.h"

#include <math.h>

#define P_LOOK 0.0014   /* what one of the first looks of the first step may spend */
#define STEP_DIV 20     /* later steps: so much less */
#define LOOK_GROWTH 1.2 /* requests from one look to the next */
#define LOOKS_FULL 6.5  /* so many looks of a step spend it whole: to 3.3 times min_requests */
#define LATE_DIV 4      /* later ones so much less, and ever less */
#define SHARE_SLOW 0.01
#define NEGLIGIBLE 1e-12

static double ln_choose(double n, double k)
{
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

static double share(const struct judge_count *c)
{
    return c->requests > 0 ? (double)c->bad / (double)c->requests : 0;
}

/* The upper tail of the hypergeometric distribution. */
double judge_p(const struct judge_count *stable, const struct judge_count *canary)
{
    double ns = (double)stable->requests, nc = (double)canary->requests;
    double all = (double)(stable->bad + canary->bad), x = (double)canary->bad;
    double most = all < nc ? all : nc;
    double term, sum;

    if (ns + nc == 0 || x <= all * nc / (ns + nc))
        return 1; /* no more than its share of them */
    term = exp(ln_choose(nc, x) + ln_choose(ns, all - x) - ln_choose(ns + nc, all));
    sum = term / 2;
    for (; x < most && term > sum * NEGLIGIBLE; x++) {
        term *= (nc - x) / (x + 1) * (all - x) / (ns - all + x + 1);
        sum += term;
    }
    return sum;
}

/* That of the binomial distribution. */
double judge_p_share(const struct judge_count *canary, double of)
{
    double n = (double)canary->requests, x = (double)canary->bad, term, sum;

    if (x <= n * of)
        return 1;
    if (of <= 0)
        return 0;
    term = exp(ln_choose(n, x) + x * log(of) + (n - x) * log1p(-of));
    sum = term / 2;
    for (; x < n && term > sum * NEGLIGIBLE; x++) {
        term *= (n - x) / (x + 1) * of / (1 - of);
        sum += term;
    }
    return sum;
}

/* What p has to be below now; counts the look. */
static double spend(uint64_t *next, unsigned step, uint64_t requests, uint64_t min_requests)
{
    double budget = step > 1 ? P_LOOK / STEP_DIV : P_LOOK, looks;

    if (requests < *next)
        return JUDGE_P_ANY;
    *next = requests + (requests + 4) / 5;
    looks = log((double)requests / (double)min_requests) / log(LOOK_GROWTH);
    return looks > LOOKS_FULL ? budget / LATE_DIV / (1 + looks - LOOKS_FULL) : budget;
}

static enum judge_verdict verdict(double p, double limit)
{
    if (p < limit)
        return JUDGE_BAD;
    return p < JUDGE_P_SUSPECT ? JUDGE_SUSPECT : JUDGE_GOOD;
}

enum judge_verdict judge_errors(struct judge *j, const struct judge_count *stable,
                                const struct judge_count *canary, uint64_t min_requests,
                                double margin, double *p)
{
    double limit = spend(&j->next, j->step, canary->requests, min_requests);

    *p = 1;
    if (share(canary) <= share(stable) + margin)
        return JUDGE_GOOD;
    /* Nothing is known of the stable side: the margin is all that there is. */
    *p = stable->requests > 0 ? judge_p(stable, canary) : judge_p_share(canary, margin);
    return verdict(*p, limit);
}

enum judge_verdict judge_slow(struct judge *j, const struct judge_count *stable,
                              const struct judge_count *canary, uint64_t min_requests, double *p)
{
    double limit = spend(&j->next_slow, j->step, canary->requests, min_requests);

    *p = judge_p_share(canary, SHARE_SLOW);
    if (stable) {
        double other = judge_p(stable, canary);

        *p = other > *p ? other : *p;
    }
    return verdict(*p, limit);
}
