/* A consistent ring: every member has points on it by its weight, and a hash belongs to the
 * member of the first point at or behind it. Members that are out are walked over by the caller,
 * so that only their hashes move, and come back with them. It depends on names and weights alone:
 * it is the same in all workers, after a restart and on other machines. */
#ifndef RPD_UP_RING_H
#define RPD_UP_RING_H

#include <stddef.h>
#include <stdint.h>
#include "common/base/slice.h"

/* Points of a member of mean weight, give or take half, and the most of all together; with more
 * members the former is halved until it fits. */
#define RING_POINTS 128
#define RING_POINTS_MAX 65536

struct ring_member {
    struct slice name;
    uint32_t weight; /* not 0 */
};

struct ring_point {
    uint64_t hash;
    uint32_t member; /* its index */
};

struct ring {
    struct ring_point *points;
    size_t n;
};

/* What r was before is freed; zeroed is empty. Aborts without memory (generation build). */
void ring_build(struct ring *r, const struct ring_member *members, size_t n);
void ring_fini(struct ring *r);
/* Index of the point whose turn `hash` is; the ring has members. */
size_t ring_find(const struct ring *r, uint64_t hash);
static inline size_t ring_next(const struct ring *r, size_t i)
{
    return i + 1 < r->n ? i + 1 : 0;
}
/* Of a key; not of use against who chooses keys to collide. */
uint64_t ring_hash(const void *p, size_t n);

#endif
