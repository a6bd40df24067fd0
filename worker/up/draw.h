/* Weighted random draws: a Fenwick tree of weights over positions, so that a draw and a change of
 * a weight cost O(log n) with any number of servers. Its random numbers are its own: the same
 * seed draws the same. */
#ifndef RPD_UP_DRAW_H
#define RPD_UP_DRAW_H

#include <stddef.h>
#include <stdint.h>

#define DRAW_NONE SIZE_MAX

struct draw {
    uint64_t *sums;     /* of weights, as Fenwick has them; from 1 */
    uint32_t *weights;  /* by position */
    size_t n;
    uint64_t total;
    uint64_t random;    /* state */
};

void draw_init(struct draw *d, uint64_t seed);
void draw_fini(struct draw *d);
/* n positions, all of weight 0; aborts without memory (generation build). */
void draw_reset(struct draw *d, size_t n);
/* Another weight; 0 is not drawn. */
void draw_weigh(struct draw *d, size_t at, uint32_t weight);
/* A position, by weight; DRAW_NONE when none has any. */
size_t draw_one(struct draw *d);
/* The same without position `but`. */
size_t draw_other(struct draw *d, size_t but);

#endif
