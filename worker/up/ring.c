/* Called by choose.c and the proxy's affinity; knows no server. */
#include "worker/up/ring.h"

#include <assert.h>
#include <stdlib.h>
#include "common/base/hash.h"
#include "common/base/mem.h"

/* Of no secret: it has to be the same everywhere. */
#define KEY_0 0x7270642072696e67
#define KEY_1 0x6f66207365727665

uint64_t ring_hash(const void *p, size_t n)
{
    return hash_bytes_keyed(p, n, KEY_0, KEY_1);
}

static int by_hash(const void *a, const void *b)
{
    const struct ring_point *x = a, *y = b;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->member < y->member ? -1 : x->member > y->member;
}

/* The mean weight as a power of two: it seldom changes with the members, and with it would the
 * number of everybody's points. */
static uint64_t unit_weight(const struct ring_member *members, size_t n)
{
    uint64_t sum = 0, unit = 1;

    for (size_t i = 0; i < n; i++)
        sum += members[i].weight;
    while (unit * 2 <= sum / n)
        unit *= 2;
    return unit;
}

static uint64_t points_of(const struct ring_member *m, uint64_t unit, uint64_t each)
{
    uint64_t points = (m->weight * each + unit / 2) / unit;

    return points ? points : 1;
}

static size_t count_points(const struct ring_member *members, size_t n, uint64_t unit,
                           uint64_t each)
{
    size_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += points_of(&members[i], unit, each);
    return sum;
}

void ring_build(struct ring *r, const struct ring_member *members, size_t n)
{
    uint64_t unit, each = RING_POINTS;
    struct ring_point *p;

    ring_fini(r);
    if (n == 0)
        return;
    unit = unit_weight(members, n);
    while (each > 1 && count_points(members, n, unit, each) > RING_POINTS_MAX)
        each /= 2;
    r->n = count_points(members, n, unit, each);
    p = r->points = xcalloc(r->n, sizeof *p);
    for (size_t i = 0; i < n; i++) {
        uint64_t key[2] = { ring_hash(members[i].name.p, members[i].name.n), 0 };
        uint64_t points = points_of(&members[i], unit, each);

        for (; key[1] < points; key[1]++)
            *p++ = (struct ring_point){ ring_hash(key, sizeof key), (uint32_t)i };
    }
    qsort(r->points, r->n, sizeof *r->points, by_hash);
}

void ring_fini(struct ring *r)
{
    free(r->points);
    *r = (struct ring){ .points = NULL };
}

size_t ring_find(const struct ring *r, uint64_t hash)
{
    size_t low = 0, high = r->n;

    assert(r->n > 0);
    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (r->points[mid].hash < hash)
            low = mid + 1;
        else
            high = mid;
    }
    return low < r->n ? low : 0;
}
