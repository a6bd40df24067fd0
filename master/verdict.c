/* Verdicts on counts. Pure. Called by apply.c. */
#include "master/verdict.h"

#define MARGIN 0.01
#define STANDARD_ERRORS 3.0

static uint64_t grown(uint64_t from, uint64_t to)
{
    return to > from ? to - from : 0;
}

struct verdict_count verdict_between(struct verdict_count from, struct verdict_count to)
{
    struct verdict_count c = { grown(from.requests, to.requests), grown(from.errors, to.errors) };

    if (c.errors > c.requests)
        c.errors = c.requests;
    return c;
}

static double share(struct verdict_count c)
{
    return c.requests == 0 ? 0 : (double)c.errors / (double)c.requests;
}

bool verdict_exceeds(struct verdict_count c, uint32_t bound)
{
    return c.requests >= VERDICT_REQUESTS_MIN && share(c) * 1e6 > (double)bound;
}

bool verdict_is_worse(struct verdict_count c, struct verdict_count others)
{
    double n = (double)c.requests, m = (double)others.requests;
    double above = share(c) - share(others) - MARGIN, pooled;

    if (c.requests < VERDICT_REQUESTS_MIN || others.requests == 0 || above <= 0)
        return false;
    pooled = ((double)c.errors + (double)others.errors) / (n + m);
    /* The square of the standard error: no root is needed. */
    return above * above
           > STANDARD_ERRORS * STANDARD_ERRORS * pooled * (1 - pooled) * (1 / n + 1 / m);
}

void verdict_print(struct verdict_count c, struct strbuf *out)
{
    strbuf_printf(out, "%llu request%s", (unsigned long long)c.requests,
                  c.requests == 1 ? "" : "s");
    if (c.requests > 0)
        strbuf_printf(out, ", %llu failed (%.1f %%)", (unsigned long long)c.errors,
                      share(c) * 100);
}
