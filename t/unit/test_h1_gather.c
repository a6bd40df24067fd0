/* Heads that come in pieces: every cut, many bufs, what follows them, and want of memory. */
#include <string.h>
#include "t/unit/unit.h"
#include "worker/http/h1_gather.h"

static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nBEHIND";
#define HEAD_N (sizeof text - 1 - 6)

static struct buf_pool bufs;
static struct arena arena;
static struct h1_gather g;
static struct buf *in;

static void begin(void)
{
    buf_pool_init(&bufs, 4, 0, 0);
    arena_init(&arena, NULL);
    h1_gather_init(&g);
    in = NULL;
}

static void end(void)
{
    buf_put(&in);
    h1_gather_fini(&g);
    arena_reset(&arena);
    ck_assert_uint_eq(bufs.demand.used, 0);
    buf_pool_fini(&bufs);
}

static void arrive(const char *p, size_t n)
{
    if (!in)
        in = buf_get(&bufs);
    ck_assert_uint_le(n, buf_room(in));
    memcpy(buf_tail(in), p, n);
    in->len += (uint32_t)n;
}

static void expect_behind(const char *s)
{
    ck_assert_ptr_nonnull(in);
    ck_assert_uint_eq(in->len, strlen(s));
    ck_assert_mem_eq(buf_bytes(in), s, strlen(s));
    ck_assert_uint_eq(h1_gather_bytes(&g), 0);
}

START_TEST(cut_anywhere)
{
    for (unsigned copies = 0; copies < 2; copies++) {
        for (size_t cut = 1; cut < HEAD_N; cut++) {
            struct slice head = SLICE_NONE;

            begin();
            arrive(text, cut);
            ck_assert_int_eq(h1_gather(&g, &in), H1_SCAN_MORE);
            ck_assert_uint_eq(h1_gather_bytes(&g), cut);
            arrive(text + cut, sizeof text - 1 - cut);
            ck_assert_int_eq(h1_gather(&g, &in), H1_SCAN_DONE);
            head = h1_gather_head(&g, in, &arena, copies);
            ck_assert_uint_eq(head.n, HEAD_N);
            ck_assert_mem_eq(head.p, text, HEAD_N);
            ck_assert_int_eq(head.p < in->data || head.p >= in->data + BUF_SIZE, copies);
            expect_behind("BEHIND");
            end();
        }
    }
}
END_TEST

START_TEST(a_byte_at_a_time)
{
    struct slice head;

    begin();
    for (size_t i = 0; i < HEAD_N; i++) {
        arrive(text + i, 1);
        ck_assert_int_eq(h1_gather(&g, &in),
                         i + 1 < HEAD_N ? H1_SCAN_MORE : H1_SCAN_DONE);
    }
    head = h1_gather_head(&g, in, &arena, true);
    ck_assert_uint_eq(head.n, HEAD_N);
    ck_assert_mem_eq(head.p, text, HEAD_N);
    ck_assert_uint_eq(in->len, 0);
    end();
}
END_TEST

/* A head over three bufs, the end of the last line across two of them. */
START_TEST(over_several_bufs)
{
    static char big[2 * BUF_READ_MAX + 2 + 6];
    struct slice head;
    size_t n = sizeof big - 6, at = 0;

    memset(big, 'x', sizeof big);
    memcpy(big, "GET / HTTP/1.1\r\nA: ", 19);
    memcpy(big + n - 4, "\r\n\r\nBEHIND", 10);
    begin();
    for (unsigned i = 0; i < 2; i++) {
        arrive(big + at, BUF_READ_MAX);
        at += BUF_READ_MAX;
        ck_assert_int_eq(h1_gather(&g, &in), H1_SCAN_MORE);
        ck_assert_ptr_null(in);
    }
    ck_assert_uint_eq(h1_gather_bytes(&g), at);
    arrive(big + at, sizeof big - at);
    ck_assert_int_eq(h1_gather(&g, &in), H1_SCAN_DONE);
    head = h1_gather_head(&g, in, &arena, false);
    ck_assert_uint_eq(head.n, n);
    ck_assert_mem_eq(head.p, big, n);
    expect_behind("BEHIND");
    ck_assert_uint_eq(bufs.demand.used, 1);
    end();
}
END_TEST

START_TEST(nonsense_in_a_later_piece)
{
    begin();
    arrive("GET / HTTP/1.1\r\nA: b\r", 21);
    ck_assert_int_eq(h1_gather(&g, &in), H1_SCAN_MORE);
    arrive("X", 1);
    ck_assert_int_eq(h1_gather(&g, &in), H1_SCAN_BAD);
    end();
}
END_TEST

START_TEST(memory_that_ends_is_told)
{
    struct arena_pool pool;
    struct arena small;
    struct slice head = SLICE("?");

    begin();
    arena_pool_init(&pool, 0, 1);
    arena_init(&small, &pool);
    ck_assert_ptr_nonnull(arena_alloc(&small, 4064));
    arrive(text, sizeof text - 1);
    ck_assert_int_eq(h1_gather(&g, &in), H1_SCAN_DONE);
    head = h1_gather_head(&g, in, &small, true);
    ck_assert_ptr_null(head.p);
    expect_behind("BEHIND");
    arena_reset(&small);
    arena_pool_fini(&pool);
    end();
}
END_TEST

UNIT_MAIN("h1_gather", cut_anywhere, a_byte_at_a_time, over_several_bufs,
          nonsense_in_a_later_piece, memory_that_ends_is_told)
