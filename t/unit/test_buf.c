/* Buffers, pipes, queues, and that memory goes back to the system. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>
#include "t/unit/unit.h"
#include "worker/io/buf.h"

#define KEEP 4
/* ASan's own bookkeeping stays: an eighth. */
#ifdef __SANITIZE_ADDRESS__
#define SHADOW_KIB(bufs) ((bufs) * 16 / 8)
#else
#define SHADOW_KIB(bufs) 0
#endif

static struct buf_pool pool;
static struct bufq q;
static uint64_t gauge;

static void setup(void)
{
    buf_pool_init(&pool, KEEP, 0, 8);
    pool.gauge = &gauge;
    bufq_init(&q);
}

static void teardown(void)
{
    bufq_clear(&q);
    ck_assert_uint_eq(pool.demand.used, 0);
    ck_assert_uint_eq(pool.pipes.used, 0);
    buf_pool_fini(&pool);
}

/* A buf of n bytes, `first`, `first` + 1, ... */
static struct buf *filled(size_t n, unsigned char first)
{
    struct buf *b = buf_get(&pool);

    ck_assert_ptr_nonnull(b);
    for (size_t i = 0; i < n; i++)
        b->data[b->off + i] = (char)(unsigned char)(first + i);
    b->len = (uint32_t)n;
    return b;
}

static struct buf *filled_pipe(const char *text)
{
    struct buf *b = buf_get_pipe(&pool);

    ck_assert_ptr_nonnull(b);
    ck_assert_int_eq(write(b->pipe[1], text, strlen(text)), (ssize_t)strlen(text));
    b->len = (uint32_t)strlen(text);
    return b;
}

static unsigned count(void)
{
    unsigned n = 0;

    for (struct buf *b = q.head; b; b = b->next)
        n++;
    return n;
}

static size_t rss_kib(void)
{
    unsigned long size, resident;
    FILE *f = fopen("/proc/self/statm", "r");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fscanf(f, "%lu %lu", &size, &resident), 2);
    fclose(f);
    return resident * ((size_t)sysconf(_SC_PAGESIZE) / 1024);
}

START_TEST(test_rooms)
{
    struct buf *b = buf_get(&pool);

    ck_assert_uint_eq(b->off, BUF_HEADROOM);
    ck_assert_uint_eq(b->len, 0);
    ck_assert_uint_eq(buf_room(b), BUF_READ_MAX);
    memset(buf_tail(b), 'x', buf_room(b));
    b->len = BUF_READ_MAX;
    ck_assert_uint_eq(buf_room(b), 0);
    memcpy(buf_tail(b), "\r\n", 2);
    b->len += 2;
    ck_assert_uint_eq(buf_room(b), 0);
    buf_skip(b, 10);
    ck_assert_uint_eq(buf_slice(b).n, BUF_READ_MAX - 8);
    buf_put(&b);
    ck_assert_ptr_null(b);
    buf_put(&b);
}
END_TEST

START_TEST(test_limit_and_gauge)
{
    struct buf *b[3];

    pool.used_max = 2;
    b[0] = buf_get(&pool);
    b[1] = buf_get(&pool);
    ck_assert_uint_eq(gauge, 2);
    ck_assert_ptr_null(buf_get(&pool));
    buf_put(&b[0]);
    ck_assert_uint_eq(gauge, 1);
    b[2] = buf_get(&pool);
    ck_assert_ptr_nonnull(b[2]);
    buf_put(&b[1]);
    buf_put(&b[2]);
    ck_assert_uint_eq(gauge, 0);
}
END_TEST

START_TEST(test_last_put_is_next_got)
{
    struct buf *a = buf_get(&pool), *b = buf_get(&pool), *was = a;

    buf_put(&a);
    a = buf_get(&pool);
    ck_assert_ptr_eq(a, was);
    buf_put(&a);
    buf_put(&b);
}
END_TEST

START_TEST(test_memory_goes_back)
{
    enum { BURST = 2000 };
    static struct buf *b[BURST];
    size_t before, full, after;

    for (unsigned round = 0; round < 3; round++) {
        before = rss_kib();
        for (unsigned i = 0; i < BURST; i++) {
            b[i] = buf_get(&pool);
            memset(b[i]->data, 1, BUF_SIZE);
        }
        full = rss_kib();
        ck_assert_uint_ge(full - before, BURST * 16 - KEEP * 16 - 512);
        /* In an order that leaves no slab empty till the end. */
        for (unsigned i = 0; i < BURST; i++)
            buf_put(&b[i * 7 % BURST]);
        ck_assert_uint_eq(pool.free_count, BURST);
        for (unsigned tick = 0; tick < 2; tick++)
            buf_pool_tick(&pool);
        after = rss_kib();
        ck_assert_uint_le(after, before + 1024 + SHADOW_KIB(BURST));
        ck_assert_uint_eq(pool.free_count, KEEP);
    }
}
END_TEST

START_TEST(test_pipes)
{
    struct buf *p[8], *was;

    for (unsigned i = 0; i < 8; i++) {
        p[i] = buf_get_pipe(&pool);
        ck_assert_ptr_nonnull(p[i]);
        ck_assert(p[i]->is_pipe && p[i]->len == 0);
        ck_assert(fcntl(p[i]->pipe[0], F_GETFL) & O_NONBLOCK);
    }
    ck_assert_ptr_null(buf_get_pipe(&pool));
    was = p[0];
    buf_put(&p[0]);
    ck_assert_uint_eq(pool.free_pipe_count, 1);
    p[0] = buf_get_pipe(&pool);
    ck_assert_ptr_eq(p[0], was);
    /* One that is not empty would give its bytes to the next user. */
    ck_assert_int_eq(write(p[0]->pipe[1], "abc", 3), 3);
    p[0]->len = 3;
    buf_put(&p[0]);
    ck_assert_uint_eq(pool.free_pipe_count, 0);
    for (unsigned i = 1; i < 8; i++)
        buf_put(&p[i]);
    ck_assert_uint_eq(pool.free_pipe_count, 7);
}
END_TEST

START_TEST(test_pipes_are_kept_while_wanted)
{
    struct buf *p[8];

    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 8; i++)
            p[i] = buf_get_pipe(&pool);
        for (unsigned i = 0; i < 8; i++)
            buf_put(&p[i]);
        ck_assert_uint_eq(pool.free_pipe_count, 8);
        buf_pool_tick(&pool);
    }
    buf_pool_tick(&pool);
    ck_assert_uint_eq(pool.free_pipe_count, KEEP);
}
END_TEST

START_TEST(test_small_bufs_are_gathered)
{
    for (unsigned i = 0; i < 200; i++)
        bufq_push(&q, filled(100, (unsigned char)i));
    ck_assert_uint_eq(q.bytes, 20000);
    ck_assert_uint_eq(count(), 2);
    for (unsigned i = 0; i < 200; i++) {
        ck_assert_uint_eq((unsigned char)*buf_bytes(q.head), i);
        bufq_skip(&q, 100);
    }
    ck_assert_uint_eq(q.bytes, 0);
    ck_assert_ptr_null(q.head);
    ck_assert_ptr_null(q.tail);
}
END_TEST

/* A head goes before the body that it belongs to, if it has not grown by too much. */
START_TEST(test_short_queue_moves_in_front)
{
    struct buf *body = filled(5000, 2);

    bufq_push(&q, filled(BUF_HEADROOM + 100, 1));
    buf_skip(body, 100);
    bufq_push(&q, body);
    ck_assert_ptr_eq(q.head, body);
    ck_assert_ptr_eq(q.tail, body);
    ck_assert_uint_eq(body->off, 0);
    ck_assert_uint_eq(q.bytes, BUF_HEADROOM + 5000);
    ck_assert_int_eq(buf_bytes(body)[0], 1);
    ck_assert_int_eq(buf_bytes(body)[BUF_HEADROOM + 100], 2 + 100);
    ck_assert_uint_eq(pool.demand.used, 1);
    bufq_push(&q, filled(5000, 3)); /* not short any more */
    ck_assert_uint_eq(count(), 2);
    bufq_clear(&q);
    bufq_push(&q, filled(BUF_HEADROOM + 1, 1)); /* no room */
    bufq_push(&q, filled(5000, 2));
    ck_assert_uint_eq(count(), 2);
    bufq_clear(&q);
    bufq_push(&q, filled(10, 1));
    bufq_push(&q, filled_pipe("pipe")); /* never before a pipe */
    ck_assert_uint_eq(count(), 2);
}
END_TEST

START_TEST(test_large_and_empty_bufs)
{
    bufq_push(&q, filled(1023, 1));
    bufq_push(&q, filled(0, 0));
    ck_assert_uint_eq(count(), 1);
    bufq_push(&q, filled(1024, 2)); /* not copied */
    ck_assert_uint_eq(count(), 2);
    bufq_push(&q, filled_pipe("pipe"));
    bufq_push(&q, filled(10, 3)); /* never into a pipe */
    ck_assert_uint_eq(count(), 4);
    ck_assert_uint_eq(q.bytes, 1023 + 1024 + 4 + 10);
    struct buf *b = bufq_shift(&q);
    ck_assert_uint_eq(b->len, 1023);
    ck_assert_uint_eq(q.bytes, 1024 + 4 + 10);
    buf_put(&b);
}
END_TEST

START_TEST(test_iov_ends_at_pipe)
{
    struct iovec iov[16];

    bufq_push(&q, filled(2000, 1));
    bufq_push(&q, filled(3000, 2));
    bufq_push(&q, filled_pipe("pipe"));
    bufq_push(&q, filled(4000, 3));
    ck_assert_uint_eq(bufq_iov(&q, iov, 16), 2);
    ck_assert_uint_eq(iov[0].iov_len, 2000);
    ck_assert_uint_eq(iov[1].iov_len, 3000);
    ck_assert_uint_eq(bufq_iov(&q, iov, 1), 1);
    bufq_skip(&q, 2500);
    ck_assert_uint_eq(bufq_iov(&q, iov, 16), 1);
    ck_assert_uint_eq(iov[0].iov_len, 2500);
    ck_assert_uint_eq(*(unsigned char *)iov[0].iov_base, (2 + 500) % 256);
    bufq_skip(&q, 2500);
    ck_assert(q.head->is_pipe);
    ck_assert_uint_eq(bufq_iov(&q, iov, 16), 0);
}
END_TEST

START_TEST(test_reserve_and_commit)
{
    char *at = bufq_reserve(&q, &pool, 100);

    ck_assert_ptr_nonnull(at);
    memset(at, 'a', 100);
    bufq_commit(&q, 60);
    ck_assert_ptr_eq(bufq_reserve(&q, &pool, BUF_READ_MAX - 60), at + 60);
    bufq_commit(&q, BUF_READ_MAX - 60);
    ck_assert_uint_eq(count(), 1);
    at = bufq_reserve(&q, &pool, 1);
    ck_assert_ptr_nonnull(at);
    bufq_commit(&q, 0);
    ck_assert_uint_eq(count(), 2);
    ck_assert_uint_eq(q.bytes, BUF_READ_MAX);
    bufq_skip(&q, BUF_READ_MAX); /* takes the empty one along */
    ck_assert_ptr_null(q.head);
    bufq_push(&q, filled_pipe("pipe"));
    ck_assert_ptr_nonnull(bufq_reserve(&q, &pool, 1));
    ck_assert(!q.tail->is_pipe);
    bufq_commit(&q, 0);
}
END_TEST

START_TEST(test_add_copies_or_adds_nothing)
{
    static char text[100000];

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 31 >> 3);
    ck_assert(bufq_add(&q, &pool, slice_of(text, 10)));
    ck_assert(bufq_add(&q, &pool, slice_of(text + 10, 0)));
    ck_assert(bufq_add(&q, &pool, slice_of(text + 10, 70000)));
    size_t used = pool.demand.used;
    pool.used_max = used + 1;
    ck_assert(!bufq_add(&q, &pool, slice_of(text + 70010, 29990)));
    ck_assert_uint_eq(pool.demand.used, used);
    ck_assert_uint_eq(q.bytes, 70010);
    pool.used_max = 0;
    ck_assert(bufq_add(&q, &pool, slice_of(text + 70010, 29990)));
    ck_assert_uint_eq(q.bytes, sizeof text);
    ck_assert_uint_eq(count(), (sizeof text + BUF_READ_MAX - 1) / BUF_READ_MAX);
    size_t at = 0;
    for (struct buf *b = q.head; b; b = b->next) {
        ck_assert_mem_eq(buf_bytes(b), text + at, b->len);
        at += b->len;
    }
    ck_assert_uint_eq(at, sizeof text);
}
END_TEST

START_TEST(test_splice_moves_all)
{
    struct bufq other;

    bufq_init(&other);
    bufq_splice(&q, &other);
    ck_assert_ptr_null(q.head);
    bufq_push(&other, filled(2000, 1));
    bufq_splice(&q, &other);
    bufq_push(&other, filled(3000, 2));
    bufq_push(&other, filled(4000, 3));
    bufq_splice(&q, &other);
    ck_assert_ptr_null(other.head);
    ck_assert_ptr_null(other.tail);
    ck_assert_uint_eq(other.bytes, 0);
    ck_assert_uint_eq(q.bytes, 9000);
    ck_assert_uint_eq(count(), 3);
    ck_assert_uint_eq(q.tail->len, 4000);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_rooms, test_limit_and_gauge, test_short_queue_moves_in_front,
        test_last_put_is_next_got, test_memory_goes_back, test_pipes,
        test_pipes_are_kept_while_wanted,
        test_small_bufs_are_gathered, test_large_and_empty_bufs, test_iov_ends_at_pipe,
        test_reserve_and_commit, test_add_copies_or_adds_nothing, test_splice_moves_all,
    };
    Suite *suite = suite_create("buf");
    TCase *tcase = tcase_create("buf");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
