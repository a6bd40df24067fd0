/* Connections: connecting, reading, writing, failing. */
#include <netinet/tcp.h>
#include <stdio.h>
#include "t/unit/conn_fixture.h"

/* ---- size ---- */

START_TEST(test_size_and_reuse)
{
    ck_assert_uint_le(sizeof(struct conn), 256);
    open_pair();
    struct conn *was = u.c;
    conn_close(&u.c);
    ck_assert_ptr_null(u.c);
    conn_close(&u.c);
    ck_assert_uint_eq(pool.used, 1); /* till the batch's end */
    spin(1);
    ck_assert_uint_eq(pool.used, 0);
    close(peer);
    open_pair();
    ck_assert_ptr_eq(u.c, was);
}
END_TEST

/* ---- connecting ---- */

START_TEST(test_connect_and_local)
{
    open_tcp(false);
    ck_assert_uint_eq(u.connected, 1);
    ck_assert_uint_eq(u.readable, 0);
    ck_assert(!u.c->is_client);
    struct ip local = conn_local(u.c);
    ck_assert_uint_eq(local.family, AF_INET);
    struct sockaddr_in sin = { .sin_port = 0 };
    socklen_t n = sizeof sin;
    ck_assert_int_eq(getpeername(peer, (struct sockaddr *)&sin, &n), 0);
    ck_assert_uint_eq(local.port, ntohs(sin.sin_port));
    int on = 0;
    n = sizeof on;
    getsockopt(u.c->fd, IPPROTO_TCP, TCP_NODELAY, &on, &n);
    ck_assert_int_ne(on, 0);
}
END_TEST

static void refused(void)
{
    struct addr at;

    close(listen_tcp(&at));
    u.c = conn_connect(&pool, &at, &user, &u);
    if (!u.c) {
        ck_assert_int_eq(errno, ECONNREFUSED);
        return;
    }
    ck_assert_uint_eq(u.connected, 0);
    UNTIL(u.connected);
    ck_assert_int_eq(u.connect_error, ECONNREFUSED);
    spin(3);
    ck_assert_uint_eq(u.connected, 1);
    ck_assert_uint_eq(u.readable, 0);
    ck_assert_uint_eq(u.broken, 0);
}

START_TEST(test_connect_refused)
{
    refused();
}
END_TEST

START_TEST(test_close_in_connected)
{
    u.close_in = 'c';
    refused();
    ck_assert_ptr_null(u.c);
}
END_TEST

START_TEST(test_output_before_connected)
{
    struct addr at;
    int listener = listen_tcp(&at);

    u.c = conn_connect(&pool, &at, &user, &u);
    ck_assert_ptr_nonnull(u.c);
    queue("hello", 5);
    conn_flush(u.c);
    conn_shutdown(u.c);
    peer = accept(listener, NULL, NULL);
    peer_gets("hello", 5);
    ck_assert_int_eq(peer_read(), 0);
    ck_assert_uint_eq(u.connected, 1);
    close(listener);
}
END_TEST

static struct addr unix_addr(void)
{
    struct addr at = { .len = sizeof at.un };
    char name[64];

    /* In the abstract name space: nothing is left behind. */
    at.un.sun_family = AF_UNIX;
    int n = snprintf(name, sizeof name, "rpd-test-conn-%d", getpid());
    memcpy(at.un.sun_path + 1, name, (size_t)n);
    at.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    return at;
}

START_TEST(test_connect_unix)
{
    struct addr at = unix_addr();
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(listener, &at.sa, at.len), 0);
    ck_assert_ptr_null(conn_connect(&pool, &at, &user, &u));
    ck_assert_int_eq(errno, ECONNREFUSED);
    ck_assert_int_eq(listen(listener, 0), 0);
    u.c = conn_connect(&pool, &at, &user, &u);
    ck_assert_ptr_nonnull(u.c);
    ck_assert_uint_eq(u.connected, 0);
    spin(3);
    ck_assert_uint_eq(u.connected, 1);
    ck_assert_int_eq(u.connect_error, 0);
    ck_assert_uint_eq(u.c->peer.family, AF_UNIX);
    /* The queue is full now. */
    struct conn *c = conn_connect(&pool, &at, &user, &u);
    ck_assert_ptr_null(c);
    ck_assert_int_eq(errno, ECONNREFUSED);
    peer = accept(listener, NULL, NULL);
    peer_writes("hi");
    UNTIL(u.got_n == 2);
    close(listener);
}
END_TEST

/* ---- reading ---- */

START_TEST(test_short_read_ends_a_read)
{
    open_pair();
    peer_writes("hello");
    UNTIL(u.readable);
    ck_assert_uint_eq(u.got_n, 5);
    ck_assert(!u.c->is_readable); /* without a second call */
    spin(3);
    ck_assert_uint_eq(u.readable, 1);
}
END_TEST

START_TEST(test_unread_is_told_again_by_resume)
{
    open_pair();
    u.read_max = 0;
    peer_writes("hello");
    UNTIL(u.readable);
    spin(3);
    ck_assert_uint_eq(u.readable, 1);
    u.read_max = 2;
    conn_resume(u.c);
    conn_resume(u.c);
    spin(1);
    ck_assert_uint_eq(u.readable, 2);
    ck_assert_uint_eq(u.got_n, 5);
    conn_resume(u.c); /* nothing is left */
    spin(1);
    ck_assert_uint_eq(u.readable, 2);
}
END_TEST

START_TEST(test_use_changes_user)
{
    static const struct conn_user other = { .on_readable = on_readable };

    open_pair();
    u.read_max = 0;
    conn_timer(u.c, 1000);
    peer_writes("hello");
    UNTIL(u.readable);
    ck_assert(timer_is_set(&u.c->timer) || u.timers == 1);
    u.read_max = SIZE_MAX;
    conn_use(u.c, &other, &u);
    ck_assert(!timer_is_set(&u.c->timer));
    spin(1);
    ck_assert_uint_eq(u.readable, 2);
    ck_assert_uint_eq(u.got_n, 5);
}
END_TEST

START_TEST(test_half_close)
{
    open_tcp(true);
    peer_writes("last words");
    shutdown(peer, SHUT_WR);
    UNTIL(u.got_end);
    ck_assert(u.c->is_hup);
    ck_assert_uint_eq(u.got_n, 10);
    unsigned before = u.readable;
    spin(3);
    ck_assert_uint_eq(u.readable, before); /* the end is told once */
    queue("answer", 6);
    conn_flush(u.c);
    peer_gets("answer", 6);
    conn_shutdown(u.c);
    ck_assert_int_eq(peer_read(), 0);
    spin(2);
    ck_assert_uint_eq(u.readable, before);
    ck_assert_uint_eq(u.broken, 0);
    ck_assert_int_eq(u.read_error, 0);
}
END_TEST

START_TEST(test_reset_while_reading)
{
    open_tcp(true);
    peer_writes("abc");
    UNTIL(u.got_n == 3);
    reset_peer();
    UNTIL(u.read_error);
    ck_assert_int_eq(u.read_error, ECONNRESET);
    spin(3);
    ck_assert_uint_eq(u.broken, 0); /* the read said it */
}
END_TEST

START_TEST(test_reset_of_client_nobody_reads)
{
    open_tcp(true);
    u.read_max = 0;
    peer_writes("a second request");
    UNTIL(u.readable);
    reset_peer();
    UNTIL(u.broken);
    ck_assert_int_eq(u.broken_error, ECONNRESET);
    spin(3);
    ck_assert_uint_eq(u.broken, 1);
}
END_TEST

/* A server that answers early and closes: the answer is heard, though writing to it fails. */
START_TEST(test_answer_before_reset_is_heard)
{
    open_tcp(false);
    u.read_max = 0;
    queue(big, 100000); /* unread: closing the peer gives a RST */
    conn_flush(u.c);
    peer_writes("413 enough");
    UNTIL(u.readable);
    close(peer);
    peer = -1;
    spin(3);
    queue("more", 4);
    conn_flush(u.c);
    spin(3);
    ck_assert_uint_eq(u.broken, 0); /* the answer lies unread */
    ck_assert_uint_eq(u.c->out.bytes, 0);
    u.read_max = SIZE_MAX;
    conn_resume(u.c);
    spin(3);
    ck_assert_uint_eq(u.got_n, 10);
    ck_assert(!u.got_end); /* a cut is not an end */
    ck_assert(u.read_error == ECONNRESET || u.broken == 1);
    ck_assert(u.read_error == 0 || u.broken == 0);
}
END_TEST

/* ---- writing ---- */

START_TEST(test_nothing_leaves_before_batch_end)
{
    char c;

    open_pair();
    queue("ab", 2);
    conn_flush(u.c);
    conn_flush(u.c);
    ck_assert_int_eq(recv(peer, &c, 1, MSG_DONTWAIT), -1);
    spin(1);
    ck_assert_uint_eq(u.sent_calls, 1);
    ck_assert_uint_eq(u.sent, 2);
    peer_gets("ab", 2);
}
END_TEST

static void many(void)
{
    for (size_t at = 0; at < sizeof big; at += 65536)
        queue(big + at, 65536);
    conn_flush(u.c);
    spin(1);
    ck_assert(u.c->is_blocked);
    ck_assert_uint_eq(u.sent_calls, 1);
    ck_assert_uint_gt(u.sent, 0);
    ck_assert_uint_lt(u.sent, sizeof big);
    conn_shutdown(u.c);
    conn_flush(u.c); /* harmless while blocked */
    peer_gets(big, sizeof big);
    ck_assert_int_eq(peer_read(), 0);
    ck_assert_uint_eq(u.sent, sizeof big);
    ck_assert_uint_eq(u.c->out.bytes, 0);
    ck_assert_uint_eq(bufs.demand.used, 0);
}

START_TEST(test_partial_writes_pair)
{
    open_pair();
    small_buffers(u.c->fd);
    many();
}
END_TEST

START_TEST(test_partial_writes_tcp)
{
    open_tcp(true);
    small_buffers(u.c->fd);
    many();
}
END_TEST

START_TEST(test_memory_and_pipes_in_order)
{
    size_t at = 0;

    open_tcp(true);
    small_buffers(u.c->fd);
    for (unsigned i = 0; i < 8; i++) {
        queue(big + at, 20000 + i);
        at += 20000 + i;
        queue_pipe(big + at, 60000);
        at += 60000;
    }
    queue(big + at, 1);
    at++;
    /* An empty buf in the queue is no obstacle. */
    ck_assert_ptr_nonnull(bufq_reserve(&u.c->out, &bufs, BUF_READ_MAX));
    bufq_commit(&u.c->out, 0);
    conn_flush(u.c);
    peer_gets(big, at);
    UNTIL(u.sent == at);
    ck_assert_ptr_null(u.c->out.head);
}
END_TEST

/* A whole relay by splice: socket to pipe to socket. */
START_TEST(test_splice_in)
{
    size_t got = 0, written = 0;

    open_tcp(true);
    u.read_max = 0;
    ck_assert_int_eq(fd_nonblock(peer), 0);
    while (got < 1000000) {
        if (written < 1000000) {
            ssize_t n = write(peer, big + written, 1000000 - written);
            if (n > 0)
                written += (size_t)n;
        }
        ck_assert_int_eq(loop_once(&loop, 5), 0);
        while (u.c->is_readable) {
            struct buf *p = buf_get_pipe(&bufs);
            char bytes[65536];
            ssize_t n = conn_splice_in(u.c, p, 65536);
            if (n > 0) {
                ck_assert_uint_eq(p->len, (size_t)n);
                ck_assert_int_eq(read(p->pipe[0], bytes, sizeof bytes), n);
                ck_assert_mem_eq(bytes, big + got, (size_t)n);
                got += (size_t)n;
                p->len = 0;
            } else {
                ck_assert_int_eq(errno, EAGAIN);
                ck_assert(!u.c->is_readable);
            }
            buf_put(&p);
        }
    }
    shutdown(peer, SHUT_WR);
    UNTIL(u.c->is_hup);
    struct buf *p = buf_get_pipe(&bufs);
    ck_assert_int_eq(conn_splice_in(u.c, p, 65536), 0);
    buf_put(&p);
}
END_TEST

START_TEST(test_splice_into_full_pipe)
{
    struct buf *p = buf_get_pipe(&bufs);
    ssize_t n = 1;

    open_tcp(true);
    u.read_max = 0;
    ck_assert_int_eq(fd_nonblock(peer), 0);
    ck_assert_int_gt(write(peer, big, 1000000), 65536);
    UNTIL(u.c->is_readable);
    for (unsigned i = 0; n > 0 && i < 1000; i++) {
        spin(1);
        n = conn_splice_in(u.c, p, 65536);
    }
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert(u.c->is_readable); /* the pipe is full, not the socket empty */
    buf_put(&p);
}
END_TEST

/* Into bufs where no pipe is wanted: one call for many. */
START_TEST(test_read_bulk)
{
    size_t got = 0, calls = 0;

    open_tcp(true);
    u.read_max = 0;
    ck_assert_int_eq(write(peer, big, 100000), 100000);
    UNTIL(u.c->is_readable);
    while (got < 100000) {
        struct bufq q;
        bufq_init(&q);
        ssize_t n = conn_read_bulk(u.c, &q, 0, 60000);
        ck_assert(n > 0 || errno == EAGAIN);
        if (n < 0)
            ck_assert_ptr_null(q.head);
        for (struct buf *b; (b = bufq_shift(&q)) != NULL; buf_put(&b)) {
            ck_assert(!b->is_pipe);
            ck_assert_mem_eq(buf_bytes(b), big + got, b->len);
            got += b->len;
        }
        calls += n > 0;
        if (n < 0)
            ck_assert_int_eq(loop_once(&loop, 20), 0);
    }
    ck_assert_uint_le(calls, 5);
    ck_assert_uint_eq(bufs.demand.used, 0);
}
END_TEST

START_TEST(test_read_bulk_pipe_end_exhausted)
{
    struct bufq q;

    bufq_init(&q);
    open_tcp(true);
    u.read_max = 0;
    peer_writes("hello");
    UNTIL(u.c->is_readable);
    ck_assert_int_eq(conn_read_bulk(u.c, &q, 1000, 10), 5);
    ck_assert(q.head->is_pipe);
    ck_assert_uint_eq(q.bytes, 5);
    ck_assert_int_eq(read(q.head->pipe[0], (char[8]){ 0 }, 8), 5);
    q.head->len = 0;
    bufq_clear(&q);
    bufs.used_max = 1;
    struct buf *last = buf_get(&bufs);
    ck_assert_int_eq(conn_read_bulk(u.c, &q, 0, 10), -1);
    ck_assert_int_eq(errno, ENOBUFS);
    ck_assert(u.c->is_readable && !u.c->is_broken);
    buf_put(&last);
    shutdown(peer, SHUT_WR);
    UNTIL(u.c->is_hup);
    ck_assert_int_eq(conn_read_bulk(u.c, &q, 0, 10), 0);
    ck_assert_ptr_null(q.head);
}
END_TEST

START_TEST(test_write_to_reset_client)
{
    open_tcp(true);
    u.read_max = 0;
    reset_peer();
    queue(big, 1000);
    conn_flush(u.c);
    ck_assert_uint_eq(u.broken, 0);
    UNTIL(u.broken);
    ck_assert(u.broken_error == ECONNRESET || u.broken_error == EPIPE);
    ck_assert_uint_eq(u.c->out.bytes, 0);
    queue(big, 1000); /* goes nowhere, and is not kept */
    conn_flush(u.c);
    ck_assert_uint_eq(bufs.demand.used, 0);
    spin(3);
    ck_assert_uint_eq(u.broken, 1);
}
END_TEST

START_TEST(test_write_to_closed_pair)
{
    open_pair();
    u.read_max = 0;
    queue(big, 1000);
    conn_flush(u.c);
    close(peer);
    peer = -1;
    u.close_in = 'b';
    UNTIL(u.broken);
    ck_assert_int_eq(u.broken_error, EPIPE);
    ck_assert_ptr_null(u.c);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_size_and_reuse, test_connect_and_local, test_connect_refused, test_close_in_connected,
        test_output_before_connected, test_connect_unix, test_short_read_ends_a_read,
        test_unread_is_told_again_by_resume, test_use_changes_user, test_half_close,
        test_reset_while_reading, test_reset_of_client_nobody_reads,
        test_answer_before_reset_is_heard, test_nothing_leaves_before_batch_end,
        test_partial_writes_pair, test_partial_writes_tcp, test_memory_and_pipes_in_order,
        test_splice_in, test_splice_into_full_pipe, test_read_bulk,
        test_read_bulk_pipe_end_exhausted, test_write_to_reset_client,
        test_write_to_closed_pair,
    };

    return run_conn_tests("conn", tests, sizeof tests / sizeof tests[0]);
}
