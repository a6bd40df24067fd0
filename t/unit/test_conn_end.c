/* Connections: closed in every callback, reset, lingering. */
#include "t/unit/conn_fixture.h"

/* ---- closing ---- */

START_TEST(test_close_in_readable)
{
    open_pair();
    u.close_in = 'r';
    conn_timer(u.c, 1000);
    queue("answer", 6);
    conn_flush(u.c);
    conn_resume(u.c);
    peer_writes("bye");
    shutdown(peer, SHUT_WR);
    UNTIL(!u.c);
    spin(3);
    ck_assert_uint_eq(u.readable, 1);
    ck_assert_uint_eq(u.sent_calls, 0); /* dropped with the rest */
    ck_assert_uint_eq(loop.timers.armed, 0);
    ck_assert_int_le(peer_read(), 0);
    ck_assert_uint_eq(pool.used, 0);
}
END_TEST

START_TEST(test_close_in_sent)
{
    open_pair();
    small_buffers(u.c->fd);
    u.close_in = 's';
    queue(big, 1000000);
    conn_flush(u.c);
    UNTIL(!u.c);
    spin(3);
    ck_assert_uint_eq(u.sent_calls, 1);
    ck_assert_uint_eq(bufs.demand.used, 0);
    ck_assert_uint_eq(pool.used, 0);
}
END_TEST

START_TEST(test_close_in_timer)
{
    open_pair();
    u.close_in = 't';
    conn_timer(u.c, 1);
    conn_timer(u.c, 10000);
    UNTIL(!u.c);
    spin(1);
    ck_assert_uint_eq(u.timers, 1);
    ck_assert_uint_eq(pool.used, 0);
    ck_assert_uint_eq(loop.timers.armed, 0);
}
END_TEST

static struct conn *other;
static unsigned other_events;

static void closes_other(struct conn *c)
{
    (void)c;
    other_events++;
    conn_close(c == u.c ? &other : &u.c);
}

/* Two conns with an event in one batch, each closes the other. */
START_TEST(test_close_another_of_the_batch)
{
    static const struct conn_user rude = { .on_readable = closes_other };
    struct ip ip = { .family = AF_UNIX };
    int fds[2];

    open_pair();
    conn_use(u.c, &rude, &u);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    other = conn_accept(&pool, fds[1], &ip, &rude, &u);
    spin(2);
    peer_writes("x");
    ck_assert_int_eq(write(fds[0], "x", 1), 1);
    UNTIL(other_events);
    spin(3);
    ck_assert_uint_eq(other_events, 1);
    ck_assert_uint_eq(pool.used, 1);
    conn_close(&other);
    close(fds[0]);
}
END_TEST

START_TEST(test_reset_closes_with_rst)
{
    char c;

    open_tcp(true);
    conn_reset(&u.c);
    conn_reset(&u.c);
    ck_assert_int_eq(read(peer, &c, 1), -1);
    ck_assert_int_eq(errno, ECONNRESET);
}
END_TEST

/* ---- lingering ---- */

static void linger(void)
{
    conn_linger(&u.c, on_gone, &u);
    ck_assert_ptr_null(u.c);
    ck_assert_uint_eq(u.gone, 0);
}

/* The client is still sending; the answer must arrive whole for all that. */
START_TEST(test_linger_answer_survives_input)
{
    open_tcp(true);
    u.read_max = 0;
    small_buffers(u.c->fd);
    ck_assert_int_eq(write(peer, big, 100000), 100000);
    UNTIL(u.readable);
    queue(big, 300000);
    linger();
    peer_gets(big, 300000);
    ck_assert_int_eq(peer_read(), 0);
    spin(2);
    ck_assert_uint_eq(u.gone, 0); /* waits for the client's end */
    ck_assert_int_eq(write(peer, big, 1000), 1000);
    spin(2);
    close(peer);
    peer = -1;
    UNTIL(u.gone);
    ck_assert_uint_eq(pool.used, 0);
    ck_assert_uint_eq(u.sent_calls, 0);
}
END_TEST

START_TEST(test_linger_client_already_ended)
{
    open_tcp(true);
    shutdown(peer, SHUT_WR);
    UNTIL(u.got_end);
    queue("bye", 3);
    linger();
    spin(1);
    ck_assert_uint_eq(u.gone, 1);
    peer_gets("bye", 3);
    ck_assert_int_eq(peer_read(), 0);
}
END_TEST

START_TEST(test_linger_ends_by_bytes)
{
    open_tcp(true);
    linger();
    ck_assert_int_eq(fd_nonblock(peer), 0);
    size_t sent = 0;
    while (!u.gone) {
        ssize_t n = write(peer, big, 65536);
        if (n > 0)
            sent += (size_t)n;
        ck_assert_int_eq(loop_once(&loop, 1), 0);
    }
    ck_assert_uint_ge(sent, 1 << 20);
    ck_assert_uint_lt(sent, 16 << 20);
}
END_TEST

START_TEST(test_linger_ends_by_time)
{
    uint64_t start = clock_mono_us();

    open_tcp(true);
    linger();
    UNTIL(u.gone);
    ck_assert(clock_mono_us() - start >= 2000000);
    ck_assert(clock_mono_us() - start < 20000000);
}
END_TEST

START_TEST(test_linger_of_broken)
{
    open_tcp(true);
    u.read_max = 0;
    queue(big, 1000);
    reset_peer();
    linger();
    UNTIL(u.gone);
    ck_assert_uint_eq(u.broken, 0);
    ck_assert_uint_eq(pool.used, 0);
}
END_TEST

START_TEST(test_pool_fini_with_lingering)
{
    open_tcp(true);
    u.read_max = 0;
    queue(big, 1000);
    linger();
    spin(1);
    ck_assert_uint_eq(pool.used, 1);
    conn_pool_fini(&pool);
    ck_assert_uint_eq(pool.used, 0);
    ck_assert_uint_eq(u.gone, 1); /* its user's counts end, too */
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_close_in_readable, test_close_in_sent, test_close_in_timer,
        test_close_another_of_the_batch, test_reset_closes_with_rst,
        test_linger_answer_survives_input, test_linger_client_already_ended,
        test_linger_ends_by_bytes, test_linger_ends_by_time, test_linger_of_broken,
        test_pool_fini_with_lingering,
    };

    return run_conn_tests("conn_end", tests, sizeof tests / sizeof tests[0]);
}
