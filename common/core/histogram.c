/* Log-linear histograms of microseconds: 16 buckets for each power of two, so that a bucket's
 * middle lies within 1/32 of each of its values. Workers add, rpctl and the admin page read,
 * canary judgement compares; never locks, never allocates. */
#include "common/core/histogram.h"

#include <assert.h>
#include "common/core/stats.h"

#define SUB_BITS 4 /* log2 of HISTOGRAM_SUB */
#define LIMIT_BITS 32

static_assert(HISTOGRAM_SUB == 1 << SUB_BITS, "buckets an octave");
static_assert(HISTOGRAM_BUCKETS == HISTOGRAM_SUB * (LIMIT_BITS - SUB_BITS + 1),
              "one row of buckets for the exact values, one for each octave above them");

unsigned histogram_bucket(uint64_t us)
{
    unsigned shift;

    if (us < HISTOGRAM_SUB)
        return (unsigned)us;
    if (us >> LIMIT_BITS)
        return HISTOGRAM_BUCKETS - 1;
    shift = 63 - SUB_BITS - (unsigned)__builtin_clzll(us);
    return ((shift + 1) << SUB_BITS) + (unsigned)(us >> shift & (HISTOGRAM_SUB - 1));
}

uint64_t histogram_view_low(unsigned sub, unsigned bucket, uint64_t *width)
{
    unsigned row = bucket / sub;

    if (row == 0) {
        *width = 1;
        return bucket;
    }
    *width = (uint64_t)1 << (row - 1);
    return (uint64_t)(sub + bucket % sub) << (row - 1);
}

uint64_t histogram_low(unsigned bucket, uint64_t *width)
{
    assert(bucket < HISTOGRAM_BUCKETS);
    return histogram_view_low(HISTOGRAM_SUB, bucket, width);
}

void histogram_add(struct histogram *h, uint64_t us)
{
    stat_inc(&h->bucket[histogram_bucket(us)]);
    stat_add(&h->sum, us);
    if (us > h->max)
        stat_set(&h->max, us);
    stat_inc(&h->count);
}

static double bucket_value(const struct histogram_view *v, unsigned bucket)
{
    uint64_t width;
    uint64_t low = histogram_view_low(v->sub, bucket, &width);
    double middle = (double)low + (double)(width - 1) / 2;

    /* The last bucket has no upper end; and nothing is above the largest value seen. */
    if (v->max >= low && (bucket == v->buckets - 1 || middle > (double)v->max))
        return (double)v->max;
    return middle;
}

double histogram_view_quantile(const struct histogram_view *v, double q)
{
    uint64_t total = 0, seen = 0;
    double rank;

    for (unsigned i = 0; i < v->buckets; i++)
        total += stat_get(&v->bucket[i]);
    if (total == 0)
        return 0;
    rank = q * (double)total;
    for (unsigned i = 0; i < v->buckets; i++) {
        uint64_t n = stat_get(&v->bucket[i]);

        seen += n;
        if (n > 0 && (double)seen >= rank)
            return bucket_value(v, i);
    }
    return (double)v->max;
}

double histogram_quantile(const struct histogram *h, double q)
{
    struct histogram_view v = { h->bucket, HISTOGRAM_BUCKETS, HISTOGRAM_SUB, stat_get(&h->max) };

    return histogram_view_quantile(&v, q);
}
