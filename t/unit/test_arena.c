/* Arenas and the pool of their blocks. */
#include "common/base/arena.h"

#include <stdint.h>
#include "t/unit/unit.h"

START_TEST(allocations_are_aligned_and_apart)
{
    struct arena a;
    unsigned char *p[200];

    arena_init(&a, NULL);
    for (size_t i = 0; i < 200; i++) {
        p[i] = arena_alloc(&a, i);
        ck_assert_uint_eq((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)i, i);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < i; k++)
            ck_assert_uint_eq(p[i][k], i);
    arena_reset(&a);
}
END_TEST

START_TEST(nothing_is_taken_before_the_first_allocation)
{
    struct arena_pool pool;
    struct arena a;

    arena_pool_init(&pool, 4, 0);
    arena_init(&a, &pool);
    ck_assert_uint_eq(pool.demand.used, 0);
    ck_assert_ptr_nonnull(arena_alloc(&a, 1));
    ck_assert_uint_eq(pool.demand.used, 1);
    arena_reset(&a);
    ck_assert_uint_eq(pool.demand.used, 0);
    ck_assert_uint_eq(pool.free_count, 1);
    arena_pool_fini(&pool);
    ck_assert_ptr_null(pool.free);
}
END_TEST

START_TEST(blocks_are_used_again_and_kept_as_long_as_needed)
{
    struct arena_pool pool;
    struct arena a;
    void *first, *again;

    arena_pool_init(&pool, 2, 0);
    arena_init(&a, &pool);
    first = arena_alloc(&a, 100);
    arena_reset(&a);
    again = arena_alloc(&a, 100);
    ck_assert_ptr_eq(first, again);
    ck_assert_uint_eq(pool.free_count, 0);
    for (int i = 0; i < 5; i++)
        ck_assert_ptr_nonnull(arena_alloc(&a, 4000));
    ck_assert_uint_eq(pool.demand.used, 6);
    arena_reset(&a);
    ck_assert_uint_eq(pool.free_count, 6);
    arena_pool_tick(&pool); /* they were used in the second before */
    ck_assert_uint_eq(pool.free_count, 6);
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_nonnull(arena_alloc(&a, 4000));
    arena_reset(&a);
    arena_pool_tick(&pool);
    ck_assert_uint_eq(pool.free_count, 3);
    arena_pool_tick(&pool);
    ck_assert_uint_eq(pool.free_count, 2);
    arena_pool_fini(&pool);
}
END_TEST

START_TEST(the_limit_fails_and_frees_again)
{
    struct arena_pool pool;
    struct arena a, b;

    arena_pool_init(&pool, 8, 3);
    arena_init(&a, &pool);
    arena_init(&b, &pool);
    ck_assert_ptr_nonnull(arena_alloc(&a, 4000));
    ck_assert_ptr_nonnull(arena_alloc(&a, 4000));
    ck_assert_ptr_null(arena_alloc(&b, 5000)); /* two blocks' worth, one left */
    ck_assert_ptr_nonnull(arena_alloc(&b, 4000));
    ck_assert_ptr_null(arena_alloc(&b, 4000));
    ck_assert_uint_eq(pool.demand.used, 3);
    arena_reset(&a);
    ck_assert_ptr_nonnull(arena_alloc(&b, 5000));
    arena_reset(&b);
    arena_pool_fini(&pool);
}
END_TEST

START_TEST(a_full_arena_fails_softly)
{
    struct arena_pool pool;
    struct arena a;

    arena_pool_init(&pool, 1, 1);
    arena_init(&a, &pool);
    ck_assert_ptr_nonnull(arena_alloc(&a, 4080)); /* all of one block */
    ck_assert_ptr_null(arena_alloc(&a, 1));
    ck_assert_ptr_null(arena_zalloc(&a, 1));
    ck_assert_ptr_null(arena_dup(&a, SLICE("x")).p);
    ck_assert_ptr_null(arena_printf(&a, "%d", 5).p);
    ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX));
    ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX - 4096));
    arena_reset(&a);
    arena_pool_fini(&pool);
}
END_TEST

START_TEST(a_large_one_leaves_the_newest_blocks_room)
{
    struct arena_pool pool;
    struct arena a;
    char *before, *large, *after;

    arena_pool_init(&pool, 4, 0);
    arena_init(&a, &pool);
    before = arena_alloc(&a, 16);
    large = arena_alloc(&a, 100000);
    memset(large, 1, 100000);
    after = arena_alloc(&a, 16);
    ck_assert_ptr_eq(after, before + 16);
    arena_reset(&a);
    ck_assert_uint_eq(pool.free_count, 1); /* the large one went back to malloc */
    arena_pool_fini(&pool);
}
END_TEST

START_TEST(zalloc_clears_used_memory)
{
    struct arena_pool pool;
    struct arena a;
    unsigned char *p;

    arena_pool_init(&pool, 4, 0);
    arena_init(&a, &pool);
    memset(arena_alloc(&a, 256), 0xff, 256);
    arena_reset(&a);
    p = arena_zalloc(&a, 256);
    for (int i = 0; i < 256; i++)
        ck_assert_uint_eq(p[i], 0);
    arena_reset(&a);
    arena_pool_fini(&pool);
}
END_TEST

START_TEST(dup_and_printf)
{
    struct arena a;
    struct slice s;
    char wide[6000];

    arena_init(&a, NULL);
    s = arena_printf(&a, "%s-%d", "first", 1); /* before any block exists */
    ck_assert_str_eq(s.p, "first-1");
    ck_assert_uint_eq(s.n, 7);
    s = arena_printf(&a, "%s", "in place");
    ck_assert_str_eq(s.p, "in place");
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    s = arena_printf(&a, "%s", wide);
    ck_assert_uint_eq(s.n, sizeof wide - 1);
    ck_assert_str_eq(s.p, wide);
    s = arena_dup(&a, slice_of("abcdef", 3));
    ck_assert_str_eq(s.p, "abc");
    s = arena_dup(&a, SLICE_NONE);
    ck_assert_ptr_nonnull(s.p);
    ck_assert_uint_eq(s.n, 0);
    arena_reset(&a);
}
END_TEST

/* Every text length around what is left of a block, NUL included. */
START_TEST(printf_at_the_blocks_end)
{
    for (int left = 0; left <= 48; left += 16) {
        for (int n = 0; n < 64; n++) {
            struct arena a;
            struct slice s;

            arena_init(&a, NULL);
            ck_assert_ptr_nonnull(arena_alloc(&a, (size_t)(4080 - left)));
            s = arena_printf(&a, "%.*s", n,
                             "0123456789012345678901234567890123456789012345678901234567890123");
            ck_assert_uint_eq(s.n, (size_t)n);
            ck_assert_uint_eq(strlen(s.p), (size_t)n);
            arena_reset(&a);
        }
    }
}
END_TEST

UNIT_MAIN("arena", allocations_are_aligned_and_apart, nothing_is_taken_before_the_first_allocation,
          blocks_are_used_again_and_kept_as_long_as_needed, the_limit_fails_and_frees_again,
          a_full_arena_fails_softly, a_large_one_leaves_the_newest_blocks_room,
          zalloc_clears_used_memory, dup_and_printf, printf_at_the_blocks_end)
