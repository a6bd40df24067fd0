/* Called by choose.c only; knows no server. */
#include "worker/up/draw.h"

#include <assert.h>
#include <stdlib.h>
#include "common/base/mem.h"

void draw_init(struct draw *d, uint64_t seed)
{
    *d = (struct draw){ .random = seed };
}

void draw_fini(struct draw *d)
{
    free(d->sums);
    free(d->weights);
    *d = (struct draw){ .random = d->random };
}

void draw_reset(struct draw *d, size_t n)
{
    draw_fini(d);
    d->sums = xcalloc(n + 1, sizeof *d->sums);
    d->weights = xcalloc(n + 1, sizeof *d->weights);
    d->n = n;
}

void draw_weigh(struct draw *d, size_t at, uint32_t weight)
{
    uint64_t more;

    assert(at < d->n);
    more = (uint64_t)weight - d->weights[at]; /* less: by wrapping around */
    d->weights[at] = weight;
    d->total += more;
    for (size_t i = at + 1; i <= d->n; i += i & -i)
        d->sums[i] += more;
}

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static uint64_t next_random(struct draw *d)
{
    uint64_t z = d->random += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* Less than `below`: the high half of a product, whose bias is below/2^64. */
static uint64_t random_below(struct draw *d, uint64_t below)
{
    return (uint64_t)((unsigned __int128)next_random(d) * below >> 64);
}

/* The position that holds the weight's `value`th unit, from 0. */
static size_t find(const struct draw *d, uint64_t value)
{
    size_t at = 0, step = 1;

    while (step * 2 <= d->n)
        step *= 2;
    for (; step > 0; step /= 2) {
        if (at + step <= d->n && d->sums[at + step] <= value) {
            at += step;
            value -= d->sums[at];
        }
    }
    return at;
}

/* Of all positions before it. */
static uint64_t sum_before(const struct draw *d, size_t at)
{
    uint64_t sum = 0;

    for (size_t i = at; i > 0; i -= i & -i)
        sum += d->sums[i];
    return sum;
}

size_t draw_one(struct draw *d)
{
    return d->total ? find(d, random_below(d, d->total)) : DRAW_NONE;
}

size_t draw_other(struct draw *d, size_t but)
{
    uint64_t left = d->total - d->weights[but], value;

    if (left == 0)
        return DRAW_NONE;
    value = random_below(d, left);
    return find(d, value < sum_before(d, but) ? value : value + d->weights[but]);
}
