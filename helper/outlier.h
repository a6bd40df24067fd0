/* Outliers: servers whose share of failures stands out from the others' of their backend. Pure. */
#ifndef RPD_HELPER_OUTLIER_H
#define RPD_HELPER_OUTLIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Fewer are no crowd that one could stand out from. */
#define OUTLIER_SERVERS_MIN 5

/* Of a server, over the interval that is judged. */
struct outlier_count {
    uint64_t requests, failures;
};

struct outlier_verdict {
    double mean;  /* success, 0 to 1, of the servers that were judged */
    size_t judged;
    size_t out;   /* how many stand out */
};

/* Sets is_out[i] of the n servers. Those with few requests are not judged; where less than
 * OUTLIER_SERVERS_MIN are, none is out. */
struct outlier_verdict outlier_find(const struct outlier_count *v, size_t n, bool *is_out);
double outlier_success(const struct outlier_count *c);
/* Whether one more of n servers in service may be ejected while so many are out, whoever put them
 * out: up to eject_max (hundredths of a percent), but one of several always. */
bool outlier_may_eject(size_t n, size_t out, uint32_t eject_max);

#endif
