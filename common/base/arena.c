/* Arenas and their block pools. A pool owns its free blocks, an arena the blocks it uses. Called
 * by whatever has a stream's or a generation's lifetime; never frees a single allocation. */
#include "common/base/arena.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
    struct arena_block *next;
    size_t units; /* of ARENA_BLOCK_SIZE, rounded up: what it counts in the pool */
    _Alignas(ARENA_ALIGN) char data[];
};

_Static_assert(sizeof(struct arena_block) % ARENA_ALIGN == 0, "block data is aligned");

void arena_pool_init(struct arena_pool *pool, size_t keep, size_t used_max)
{
    *pool = (struct arena_pool){ .used_max = used_max };
    demand_init(&pool->demand, keep);
}

static void drop_free(struct arena_pool *pool)
{
    struct arena_block *block = pool->free;

    pool->free = block->next;
    pool->free_count--;
    free(block);
}

void arena_pool_tick(struct arena_pool *pool)
{
    demand_tick(&pool->demand);
    while (pool->free && !demand_keeps(&pool->demand, pool->free_count))
        drop_free(pool);
}

void arena_pool_fini(struct arena_pool *pool)
{
    assert(pool->demand.used == 0);
    while (pool->free)
        drop_free(pool);
}

static struct arena_block *block_get(struct arena_pool *pool, size_t size)
{
    size_t units = (size + ARENA_BLOCK_SIZE - 1) / ARENA_BLOCK_SIZE;
    struct arena_block *block;

    if (pool && pool->used_max &&
        (pool->demand.used >= pool->used_max || units > pool->used_max - pool->demand.used))
        return NULL;
    if (pool && pool->free && units == 1) {
        block = pool->free;
        pool->free = block->next;
        pool->free_count--;
    } else {
        block = malloc(size);
        if (!block)
            return NULL;
    }
    block->units = units;
    if (pool)
        demand_take(&pool->demand, units);
    return block;
}

static void block_put(struct arena_pool *pool, struct arena_block *block)
{
    if (pool) {
        assert(pool->demand.used >= block->units);
        demand_give(&pool->demand, block->units);
        if (block->units == 1 && demand_keeps(&pool->demand, pool->free_count + 1)) {
            block->next = pool->free;
            pool->free = block;
            pool->free_count++;
            return;
        }
    }
    free(block);
}

void arena_init(struct arena *a, struct arena_pool *pool)
{
    *a = (struct arena){ .pool = pool };
}

void arena_reset(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *block = a->blocks;

        a->blocks = block->next;
        block_put(a->pool, block);
    }
    a->at = a->end = NULL;
}

/* Another block. What is too large for any gets a block of its own and leaves the newest's room
 * alone. */
void *arena_alloc_slow(struct arena *a, size_t n)
{
    bool is_large = n > ARENA_BLOCK_SIZE - sizeof(struct arena_block);
    size_t size = is_large ? n + sizeof(struct arena_block) : ARENA_BLOCK_SIZE;
    struct arena_block *block;

    if (n > SIZE_MAX - ARENA_BLOCK_SIZE)
        return NULL;
    block = block_get(a->pool, size);
    if (!block)
        return NULL;
    block->next = a->blocks;
    a->blocks = block;
    if (!is_large) {
        a->at = block->data + arena_align_up(n ? n : 1);
        a->end = (char *)block + ARENA_BLOCK_SIZE;
    }
    return block->data;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);

    return p ? memset(p, 0, n) : NULL;
}

void *arena_xalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);

    if (!p)
        abort();
    return p;
}

struct slice arena_dup(struct arena *a, struct slice s)
{
    char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;

    if (!p)
        return SLICE_NONE;
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return slice_of(p, s.n);
}

struct slice arena_printf(struct arena *a, const char *fmt, ...)
{
    size_t room = (size_t)(a->end - a->at);
    char *p = a->at;
    va_list ap;
    int n;

    /* Most texts fit where the next allocation would go anyway: one pass. */
    va_start(ap, fmt);
    n = vsnprintf(p, room, fmt, ap);
    va_end(ap);
    if (n < 0)
        return SLICE_NONE;
    p = arena_alloc(a, (size_t)n + 1);
    if (!p)
        return SLICE_NONE;
    if ((size_t)n >= room) {
        va_start(ap, fmt);
        (void)vsnprintf(p, (size_t)n + 1, fmt, ap);
        va_end(ap);
    }
    return slice_of(p, (size_t)n);
}
