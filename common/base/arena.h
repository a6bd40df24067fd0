/* Bump allocator whose memory goes at once. Blocks come from a block pool, so that a worker's
 * streams reuse the same few blocks and never call malloc on the hot path.
 *
 *   pool -> [block 4096]-[block 4096]...   free blocks, as many as were used lately
 *   arena -> [block used]-[block used]     newest first
 *
 * Single-threaded. An allocation above a block's size gets a malloc'd block of its own. */
#ifndef RPD_BASE_ARENA_H
#define RPD_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>
#include "common/base/demand.h"
#include "common/base/slice.h"

#define ARENA_BLOCK_SIZE 4096

struct arena_block;

struct arena_pool {
    struct arena_block *free;
    size_t free_count;
    struct demand demand; /* of blocks; what is free beyond it goes back to malloc */
    size_t used_max;      /* blocks in arenas at which arena_alloc fails; 0 = no limit */
};

struct arena {
    struct arena_pool *pool; /* may be NULL: plain malloc */
    struct arena_block *blocks;
    char *at, *end; /* free part of the newest block */
};

/* keep: free blocks kept whatever the demand. */
void arena_pool_init(struct arena_pool *pool, size_t keep, size_t used_max);
/* Once a second: gives back what two seconds did not need. */
void arena_pool_tick(struct arena_pool *pool);
/* Frees the free list; no arena may use the pool any more. */
void arena_pool_fini(struct arena_pool *pool);

/* Takes no memory until the first allocation. */
void arena_init(struct arena *a, struct arena_pool *pool);
/* Gives every block back; the arena is as after arena_init. */
void arena_reset(struct arena *a);

#define ARENA_ALIGN 16
static inline size_t arena_align_up(size_t n)
{
    return (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}
/* For arena_alloc: n does not fit into the newest block. */
void *arena_alloc_slow(struct arena *a, size_t n) __attribute__((warn_unused_result));
/* 16-byte aligned, not zeroed. NULL when malloc fails or the pool's limit is met. */
__attribute__((warn_unused_result))
static inline void *arena_alloc(struct arena *a, size_t n)
{
    size_t size = arena_align_up(n);
    char *p = a->at;

    /* No size is 0 for n == 0 too, and for one so large that it wrapped. */
    if (size - 1 >= (size_t)(a->end - p))
        return arena_alloc_slow(a, n);
    a->at = p + size;
    return p;
}
void *arena_zalloc(struct arena *a, size_t n) __attribute__((warn_unused_result));
/* As arena_alloc, but cannot fail: for the building of generations, as xmalloc. */
void *arena_xalloc(struct arena *a, size_t n) __attribute__((warn_unused_result));
/* Copies with a NUL behind; p == NULL on failure (and for an empty slice a non-NULL p). */
struct slice arena_dup(struct arena *a, struct slice s);
/* printf into the arena, NUL-terminated; p == NULL on failure. */
struct slice arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
