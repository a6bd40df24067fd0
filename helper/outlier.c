/* Success rates against their mean, as Envoy's outlier detection has it. Called by ejections.c. */
#include "helper/outlier.h"

#define REQUESTS_MIN 100
#define DEVIATIONS 1.9
/* Where all are nearly alike a small difference is many deviations. */
#define DIFFERENCE_MIN 0.05
/* Of few requests that fail by chance some have more than others: so many deviations of such a
 * count, and so many failures more for where it is small and not normal, are within chance. */
#define CHANCE_DEVIATIONS 4
#define CHANCE_FAILURES 4

double outlier_success(const struct outlier_count *c)
{
    uint64_t failures = c->failures < c->requests ? c->failures : c->requests;

    return c->requests > 0 ? 1 - (double)failures / (double)c->requests : 1;
}

static bool is_judged(const struct outlier_count *c)
{
    return c->requests >= REQUESTS_MIN;
}

/* Whether it may be as good as the mean, and had no luck. */
static bool is_chance(const struct outlier_count *c, double below, double mean)
{
    double n = (double)c->requests, beyond = below - CHANCE_FAILURES / n;

    return beyond <= 0
           || beyond * beyond <= CHANCE_DEVIATIONS * CHANCE_DEVIATIONS * mean * (1 - mean) / n;
}

static double variance(const struct outlier_count *v, size_t n, const struct outlier_verdict *of)
{
    double squares = 0;

    for (size_t i = 0; i < n; i++)
        if (is_judged(&v[i])) {
            double d = of->mean - outlier_success(&v[i]);

            squares += d * d;
        }
    return squares / (double)of->judged;
}

struct outlier_verdict outlier_find(const struct outlier_count *v, size_t n, bool *is_out)
{
    struct outlier_verdict verdict = { .judged = 0 };
    double sum = 0, limit;

    for (size_t i = 0; i < n; i++) {
        is_out[i] = false;
        if (!is_judged(&v[i]))
            continue;
        sum += outlier_success(&v[i]);
        verdict.judged++;
    }
    if (verdict.judged < OUTLIER_SERVERS_MIN)
        return verdict;
    verdict.mean = sum / (double)verdict.judged;
    limit = DEVIATIONS * DEVIATIONS * variance(v, n, &verdict);
    for (size_t i = 0; i < n; i++) {
        double below = verdict.mean - outlier_success(&v[i]);

        is_out[i] = is_judged(&v[i]) && below >= DIFFERENCE_MIN && below * below > limit
                    && !is_chance(&v[i], below, verdict.mean);
        verdict.out += is_out[i];
    }
    return verdict;
}

bool outlier_may_eject(size_t n, size_t out, uint32_t eject_max)
{
    uint64_t most = n * (uint64_t)eject_max / 10000;

    return n > 1 && out < (most > 0 ? most : 1);
}
