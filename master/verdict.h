/* Whether a new configuration does worse: arithmetic on counts of requests. */
#ifndef RPD_MASTER_VERDICT_H
#define RPD_MASTER_VERDICT_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/strbuf.h"

/* Fewer requests than these are not judged. */
#define VERDICT_REQUESTS_MIN 20

struct verdict_count {
    uint64_t requests; /* finished */
    uint64_t errors;   /* of them: failed */
};

/* What was counted from one moment to another; no more errors than requests, whatever the order in
 * which a reader met the counters. */
struct verdict_count verdict_between(struct verdict_count from, struct verdict_count to);
/* The share of errors is above `bound` millionths. */
bool verdict_exceeds(struct verdict_count c, uint32_t bound);
/* The share of errors is above the others' by more than one percentage point and three standard
 * errors of the difference (of two shares, pooled). Needs a request of the others at least. */
bool verdict_is_worse(struct verdict_count c, struct verdict_count others);
/* `120 requests, 3 failed (2.5 %)`. */
void verdict_print(struct verdict_count c, struct strbuf *out);

#endif
