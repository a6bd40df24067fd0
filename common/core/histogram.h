/* Reading log-linear histograms of any precision: `sub` buckets an octave (a power of two), the
 * first `sub` of them one value wide. struct histogram (stats.h) is the one with 16; rpctl reads
 * what a segment's schema says. */
#ifndef RPD_CORE_HISTOGRAM_H
#define RPD_CORE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB 16 /* of struct histogram */

struct histogram_view {
    const uint64_t *bucket;
    unsigned buckets;
    unsigned sub;
    uint64_t max;
};

/* Smallest value of a bucket, and its width. */
uint64_t histogram_view_low(unsigned sub, unsigned bucket, uint64_t *width);
/* As histogram_quantile; what the buckets hold counts, not a count kept beside them, so that a
 * histogram somebody writes to meanwhile has quantiles too. */
double histogram_view_quantile(const struct histogram_view *v, double q);

#endif
