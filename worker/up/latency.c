/* Recent latency: histograms only grow, so it is what they have grown by since the last look that
 * saw enough. */
#include "worker/up/latency.h"

#include <stdlib.h>

#define LOOK_EVERY_US 3000000
#define SAMPLES_MIN 100

struct latency {
    struct histogram seen;   /* sums at the last look that was enough */
    struct histogram recent; /* what was added until then since the one before */
    uint64_t looked_us;
    uint32_t quantile;       /* that value_us is of; 0: none */
    uint64_t value_us;
};

static void add_slot(struct histogram *sum, const struct histogram *h)
{
    uint64_t max = stat_get(&h->max);

    if (stat_get(&h->count) == 0)
        return;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        sum->bucket[i] += stat_get(&h->bucket[i]);
    if (max > sum->max)
        sum->max = max;
}

static void add_server(struct histogram *sum, const struct server *s)
{
    size_t stride = segment_stride(STATS_server);
    unsigned slots = segment_slots(s->backend->up->segment);
    const char *first = (const char *)s->stats - (size_t)s->backend->up->slot * stride;

    for (unsigned i = 0; i < slots; i++)
        add_slot(sum, &((const struct stats_server *)(const void *)(first + i * stride))->latency);
}

/* A server that has left takes its counts along: buckets may be less than they were. */
static uint64_t growth(const struct latency *l, const struct histogram *now, unsigned bucket)
{
    uint64_t had = l->seen.bucket[bucket];

    return now->bucket[bucket] > had ? now->bucket[bucket] - had : 0;
}

static void look(struct latency *l, const struct backend *b)
{
    struct histogram now = { .max = 0 };
    uint64_t added = 0;

    LIST_EACH(it, &b->servers)
        add_server(&now, CONTAINER(it, struct server, link));
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        added += growth(l, &now, i);
    if (added < SAMPLES_MIN)
        return;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        l->recent.bucket[i] = growth(l, &now, i);
    l->recent.count = added;
    l->recent.max = now.max;
    l->seen = now;
    l->quantile = 0;
}

uint64_t latency_quantile(struct backend *b, uint32_t thousandths)
{
    uint64_t now = b->up->loop->now_us;
    struct latency *l = b->latency;

    if (!l && !(l = b->latency = calloc(1, sizeof *l)))
        return 0;
    if (l->looked_us == 0 || now - l->looked_us >= LOOK_EVERY_US) {
        l->looked_us = now;
        look(l, b);
    }
    if (l->quantile != thousandths) {
        l->quantile = thousandths;
        l->value_us = (uint64_t)histogram_quantile(&l->recent, thousandths / 1000.0);
    }
    return l->recent.count ? l->value_us : 0;
}

void latency_free(struct latency **l)
{
    free(*l);
    *l = NULL;
}
