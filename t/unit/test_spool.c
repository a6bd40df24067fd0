/* Bodies taken in whole: in memory, in a file, read again, and when neither is to be had. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "t/unit/unit.h"
#include "worker/proxy/spool.h"

static struct buf_pool bufs;
static struct spool spool;

static char byte_at(uint64_t i)
{
    return (char)(i * 2654435761u >> 11);
}

static void begin(size_t used_max)
{
    buf_pool_init(&bufs, 4, used_max, 0);
    spool_init(&spool);
}

static void end(void)
{
    spool_fini(&spool);
    ck_assert_uint_eq(bufs.demand.used, 0);
    buf_pool_fini(&bufs);
}

static int add(size_t n)
{
    struct buf *b = buf_get(&bufs);

    ck_assert_ptr_nonnull(b);
    for (size_t i = 0; i < n; i++)
        buf_tail(b)[i] = byte_at(spool.size + i);
    b->len = (uint32_t)n;
    return spool_add(&spool, b);
}

static void expect_all(uint64_t max)
{
    uint64_t at = 0, seen = 0;
    struct buf *b;

    while ((b = spool_read(&spool, &at, &bufs, max)) != NULL) {
        ck_assert_uint_le(b->len, max);
        ck_assert_uint_gt(b->len, 0);
        for (size_t i = 0; i < b->len; i++)
            ck_assert_int_eq(buf_bytes(b)[i], byte_at(seen + i));
        seen += b->len;
        ck_assert_uint_eq(at, seen);
        buf_put(&b);
    }
    ck_assert_int_eq(errno, 0);
    ck_assert_uint_eq(at, spool.size);
}

START_TEST(small_bodies_stay_in_memory)
{
    begin(0);
    for (unsigned i = 0; i < 64; i++)
        ck_assert_int_eq(add(1024), 0);
    ck_assert_int_eq(spool.fd, -1);
    ck_assert_uint_eq(spool.size, SPOOL_MEMORY);
    ck_assert_uint_le(bufs.demand.used, 5); /* dense, however small the pieces were */
    expect_all(UINT64_MAX);
    expect_all(777);
    end();
}
END_TEST

START_TEST(large_ones_go_to_a_file)
{
    begin(0);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(add(BUF_READ_MAX), 0);
    ck_assert_int_ge(spool.fd, 0);
    ck_assert_uint_eq(bufs.demand.used, 0);
    for (unsigned i = 0; i < 40; i++)
        ck_assert_int_eq(add(1 + i * 100), 0);
    ck_assert_uint_eq(bufs.demand.used, 0);
    expect_all(UINT64_MAX);
    expect_all(5000);
    end();
}
END_TEST

START_TEST(nothing_is_a_body_too)
{
    begin(0);
    ck_assert_int_eq(add(0), 0);
    expect_all(UINT64_MAX);
    end();
}
END_TEST

START_TEST(a_directory_that_is_not_there)
{
    setenv("TMPDIR", "/nonexistent", 1);
    begin(0);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(add(BUF_READ_MAX), 0);
    ck_assert_int_eq(add(BUF_READ_MAX), -1);
    ck_assert_int_eq(errno, ENOENT);
    end();
    unsetenv("TMPDIR");
}
END_TEST

START_TEST(buffers_that_end)
{
    uint64_t at = 0;

    begin(1);
    ck_assert_int_eq(add(100), -1); /* none is left to keep it in */
    ck_assert_int_eq(errno, ENOMEM);
    end();
    begin(2);
    ck_assert_int_eq(add(BUF_READ_MAX), 0);
    struct buf *held = buf_get(&bufs);
    errno = 0;
    ck_assert_ptr_null(spool_read(&spool, &at, &bufs, 10));
    ck_assert_int_eq(errno, ENOMEM);
    buf_put(&held);
    expect_all(100);
    end();
}
END_TEST

UNIT_MAIN("spool", small_bodies_stay_in_memory, large_ones_go_to_a_file, nothing_is_a_body_too,
          a_directory_that_is_not_there, buffers_that_end)
