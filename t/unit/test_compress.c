/* The codings and their pool: streams that can be undone however they are cut, flushes, bounds. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include "t/unit/undo.h"
#include "t/unit/unit.h"
#include "worker/http/compress.h"

static const enum conf_coding all[] = {
#if RPD_HAS_ZLIB
    CONF_CODING_GZIP,
#endif
#if RPD_HAS_ZSTD
    CONF_CODING_ZSTD,
#endif
#if RPD_HAS_BROTLI
    CONF_CODING_BR,
#endif
};
#define ALL ((int)(sizeof all / sizeof *all))

static struct compress_pool pool;
static char text[300000], out[2 * sizeof text], undone[sizeof text + 1];
static size_t out_n;
static unsigned seed;

static void setup(void)
{
    compress_pool_init(&pool, COMPRESS_MEMORY);
    out_n = 0;
}

static void teardown(void)
{
    compress_pool_fini(&pool);
    ck_assert_uint_eq(pool.memory, 0);
}

static unsigned dice(unsigned sides)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 8) % sides;
}

/* Runs, words and noise in turn. */
static void fill(void)
{
    size_t at = 0;

    while (at < sizeof text) {
        size_t n = 1 + dice(4000), from = dice(at > 1 ? (unsigned)at : 1);
        unsigned kind = dice(3);

        if (n > sizeof text - at)
            n = sizeof text - at;
        for (size_t i = 0; i < n; i++, at++)
            text[at] = kind == 0 ? 'a' : kind == 1 ? text[from + i] : (char)dice(256);
    }
}

/* Out of `room` bytes a time, or any number up to 40 if that is 0. */
static void drive(struct compressor *c, enum compress_op op, struct slice in, size_t room)
{
    bool is_done = false;

    while (!is_done) {
        size_t n, here = room ? room : 1 + dice(40);

        ck_assert_uint_le(out_n + here, sizeof out);
        is_done = compressor_run(c, op, &in, out + out_n, here, &n);
        ck_assert_uint_le(n, here);
        out_n += n;
    }
    ck_assert_uint_eq(in.n, 0);
}

static void expect_undone(enum conf_coding coding, size_t length, bool is_whole)
{
    bool is_end = false;

    ck_assert_uint_eq(undo(coding, out, out_n, undone, sizeof undone, &is_end), length);
    ck_assert(memcmp(undone, text, length) == 0);
    ck_assert_int_eq(is_end, is_whole);
}

START_TEST(what_was_flushed_can_be_read)
{
    enum conf_coding coding = all[_i];
    static const size_t rooms[] = { 7, 100, 1000, 16384 };

    fill();
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        struct compressor *c = compressor_get(&pool, coding, 0);

        ck_assert_ptr_nonnull(c);
        out_n = 0;
        drive(c, COMPRESS_MORE, slice_of(text, 50000), rooms[i]);
        drive(c, COMPRESS_FLUSH, SLICE(""), rooms[i]);
        expect_undone(coding, 50000, false);
        drive(c, COMPRESS_MORE, slice_of(text + 50000, 50000), rooms[i]);
        drive(c, COMPRESS_END, SLICE(""), rooms[i]);
        expect_undone(coding, 100000, true);
        compressor_put(&c);
        ck_assert_ptr_null(c);
    }
}
END_TEST

/* At random lengths, with flushes in between, twice in one context, at every level. */
START_TEST(any_cut_can_be_undone)
{
    enum conf_coding coding = all[_i % ALL];
    struct compressor *c;
    size_t at = 0, length;

    seed = (unsigned)_i;
    fill();
    c = compressor_get(&pool, coding, 1 + dice(9));
    drive(c, COMPRESS_MORE, slice_of(text + 1, dice(60000)), 16384); /* and is given up */
    compressor_put(&c);
    out_n = 0;
    c = compressor_get(&pool, coding, 1 + dice(9));
    length = dice(4) ? dice(sizeof text) : dice(3);
    while (at < length) {
        size_t n = 1 + dice(dice(2) ? 16384 : 300);

        if (n > length - at)
            n = length - at;
        drive(c, dice(20) ? COMPRESS_MORE : COMPRESS_FLUSH, slice_of(text + at, n),
              dice(3) ? 16384 : 0);
        at += n;
        while (dice(4) == 0)
            drive(c, COMPRESS_FLUSH, SLICE(""), dice(2) ? 16384 : 0);
    }
    drive(c, COMPRESS_END, SLICE(""), dice(2) ? 16384 : 0);
    expect_undone(coding, length, true);
    compressor_put(&c);
}
END_TEST

/* Nothing where a sanitizer allocates. */
static size_t in_use(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}

/* The pool's bound is worth what it takes a context to be. */
START_TEST(no_level_takes_more_than_it_is_counted_for)
{
    unsigned level = (unsigned)_i / ALL;
    size_t before, peak;
    struct compressor *c;

    seed = 1;
    fill();
    before = in_use();
    c = compressor_get(&pool, all[_i % ALL], level);
    peak = in_use();
    for (size_t at = 0; at < sizeof text; at += 10000) {
        out_n = 0;
        drive(c, at % 30000 ? COMPRESS_MORE : COMPRESS_FLUSH, slice_of(text + at, 10000), 16384);
        if (in_use() > peak)
            peak = in_use();
    }
    ck_assert_msg(peak - before <= pool.memory, "coding %d, level %u: %zu of %zu", all[_i % ALL],
                  level, peak - before, pool.memory);
    compressor_put(&c);
}
END_TEST

START_TEST(memory_is_bounded_and_given_back)
{
    struct compressor *c[8];
    size_t n = 0;

    pool.memory_max = 1 << 20;
    while (n < 8 && (c[n] = compressor_get(&pool, CONF_CODING_GZIP, 1)) != NULL)
        n++;
    ck_assert_uint_eq(n, 3);
    for (size_t i = 0; i < n; i++)
        compressor_put(&c[i]);
    ck_assert_uint_eq(pool.free_count, 3);
    compress_pool_tick(&pool);
    c[0] = compressor_get(&pool, CONF_CODING_GZIP, 1);
    compressor_put(&c[0]);
    compress_pool_tick(&pool);
    ck_assert_uint_eq(pool.free_count, 1); /* the two nobody needed are gone */
    compress_pool_tick(&pool);
    ck_assert_uint_eq(pool.free_count, 0);
    ck_assert_uint_eq(pool.memory, 0);
}
END_TEST

/* The bound is one for all: contexts that wait do not keep another coding's from being made. */
START_TEST(free_ones_make_room)
{
    struct compressor *c[3], *other;

    pool.memory_max = 1 << 20;
    for (size_t i = 0; i < 3; i++)
        c[i] = compressor_get(&pool, CONF_CODING_GZIP, 1);
    ck_assert_ptr_null(compressor_get(&pool, CONF_CODING_GZIP, 9));
    for (size_t i = 0; i < 3; i++)
        compressor_put(&c[i]);
    other = compressor_get(&pool, CONF_CODING_GZIP, 9);
    ck_assert_ptr_nonnull(other);
    ck_assert_uint_eq(pool.free_count, 2);
    ck_assert_uint_le(pool.memory, pool.memory_max);
    compressor_put(&other);
}
END_TEST

START_TEST(levels_do_not_share)
{
    struct compressor *c = compressor_get(&pool, CONF_CODING_GZIP, 1);

    compressor_put(&c);
    c = compressor_get(&pool, CONF_CODING_GZIP, 9);
    ck_assert_uint_eq(pool.free_count, 1);
    compressor_put(&c);
    ck_assert_uint_eq(pool.free_count, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("compress");
    TCase *tcase = tcase_create("compress");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_loop_test(tcase, what_was_flushed_can_be_read, 0, ALL);
    tcase_add_loop_test(tcase, any_cut_can_be_undone, 0, 60);
    tcase_add_loop_test(tcase, no_level_takes_more_than_it_is_counted_for, 0, 10 * ALL);
    tcase_add_test(tcase, memory_is_bounded_and_given_back);
    tcase_add_test(tcase, free_ones_make_room);
    tcase_add_test(tcase, levels_do_not_share);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
