/* TLS over a conn, against OpenSSL by itself at the other end: handshakes of both roles, bytes both
 * ways, ends. */
#include <netinet/tcp.h>
#include "t/unit/tls_fixture.h"

static void build(void)
{
    world_certificate(&ec);
    world_build();
}

static void converse(void)
{
    u.got_n = 0;
    peer_says("ping", 4);
    UNTIL(u.got_n == 4);
    ck_assert_mem_eq(u.got, "ping", 4);
    queue("pong", 4);
    conn_flush(u.c);
    ck_assert_int_eq(peer_hears("pong", 4), SSL_ERROR_NONE);
}

/* ---- handshakes ---- */

static void accept_version(int version, const char *name)
{
    build();
    tls_open(true);
    SSL_CTX_set_max_proto_version(peer_ctx, version);
    peer_start();
    peer_name("A.Example");
    ck_assert(u.c->is_connecting);
    ck_assert_ptr_null(conn_tls(u.c));
    ck_assert_int_eq(handshake(), 0);
    ck_assert_uint_eq(u.connected, 1);
    struct tls_info *info = tls_info_ref(conn_tls(u.c));
    ck_assert_str_eq(info->version, name);
    ck_assert(!info->is_resumed && !info->is_verified);
    ck_assert(slice_eq(info->sni, SLICE("a.example")));
    ck_assert_uint_eq(info->alpn.n, 0);
    ck_assert_uint_eq(info->client_subject.n, 0);
    ck_assert_int_eq(conn_tls_failure(u.c), TLS_FAIL_NONE);
    converse();
    converse();
    ck_assert_uint_eq(peer_records, version == TLS1_3_VERSION ? 3 : 2); /* one is a ticket */
    conn_close(&u.c);
    ck_assert_int_eq(peer_hears_end(), SSL_ERROR_ZERO_RETURN);
    ck_assert_str_eq(info->cipher, version == TLS1_3_VERSION ? "TLS_AES_128_GCM_SHA256"
                                                             : "ECDHE-ECDSA-AES128-GCM-SHA256");
    tls_info_unref(&info);
}

START_TEST(test_accept_13)
{
    accept_version(TLS1_3_VERSION, "TLSv1.3");
}
END_TEST

START_TEST(test_accept_12)
{
    accept_version(TLS1_2_VERSION, "TLSv1.2");
}
END_TEST

static void connect_version(int version, const char *name)
{
    world_build();
    peer_context(false);
    peer_shows(&ec);
    SSL_CTX_set_max_proto_version(peer_ctx, version);
    tls_open(false);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    ck_assert_str_eq(conn_tls(u.c)->version, name);
    ck_assert(conn_tls(u.c)->is_verified);
    ck_assert_str_eq(SSL_get_servername(peer_ssl, TLSEXT_NAMETYPE_host_name), "a.example");
    converse();
    conn_close(&u.c);
    ck_assert_int_eq(peer_hears_end(), SSL_ERROR_ZERO_RETURN);
}

START_TEST(test_connect_13)
{
    connect_version(TLS1_3_VERSION, "TLSv1.3");
}
END_TEST

START_TEST(test_connect_12)
{
    connect_version(TLS1_2_VERSION, "TLSv1.2");
}
END_TEST

/* What front.c has read of a hello, and the rest of it. */
START_TEST(test_accept_with_first_bytes)
{
    struct bufq first;
    bool is_known;

    build();
    bufq_init(&first);
    open_tcp(true);
    u.read_max = 0;
    peer_context(true);
    peer_start();
    ck_assert_int_eq(SSL_get_error(peer_ssl, SSL_do_handshake(peer_ssl)), SSL_ERROR_WANT_READ);
    UNTIL(u.readable);
    struct buf *b = buf_get(&bufs);
    ck_assert_int_eq(conn_read(u.c, b, 7), 7);
    bufq_push(&first, b);
    ck_assert_int_eq(conn_tls_accept(u.c, tls_front_find(w.front, SLICE_NONE, &is_known), &first),
                     0);
    ck_assert_uint_eq(first.bytes, 0);
    u.read_max = SIZE_MAX;
    ck_assert_int_eq(handshake(), 0);
    converse();
}
END_TEST

/* Every byte a packet, both in the handshake and after it. */
static void dribble(BIO *from)
{
    char byte;

    while (BIO_read(from, &byte, 1) == 1) {
        ck_assert_int_eq(write(peer, &byte, 1), 1);
        spin(2);
    }
}

static void undribble(BIO *to)
{
    char buf[4096];
    ssize_t n;

    spin(2);
    while ((n = recv(peer, buf, sizeof buf, MSG_DONTWAIT)) > 0)
        ck_assert_int_eq(BIO_write(to, buf, (int)n), n);
}

START_TEST(test_split_anywhere)
{
    int on = 1;

    build();
    tls_open(true);
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    peer_start();
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(peer_ssl, in, out);
    while (!SSL_is_init_finished(peer_ssl)) {
        int r = SSL_do_handshake(peer_ssl);
        ck_assert(r == 1 || SSL_get_error(peer_ssl, r) == SSL_ERROR_WANT_READ);
        dribble(out);
        undribble(in);
    }
    ck_assert_uint_eq(u.connected, 1);
    ck_assert_int_eq(u.connect_error, 0);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(SSL_write(peer_ssl, big, 1000), 1000);
        dribble(out);
        ck_assert_uint_eq(u.got_n, 1000);
        ck_assert_mem_eq(u.got, big, 1000);
        u.got_n = 0;
    }
    ck_assert_int_eq(u.read_error, 0);
}
END_TEST

/* ---- bytes ---- */

static void push_both_ways(size_t n)
{
    size_t queued = 0, put, said = 0, heard = 0;
    char buf[9001];

    while (u.got_n < n || heard < n) {
        while (queued < n && u.c->out.bytes < 65536) {
            size_t piece = n - queued < 40000 ? n - queued : 40000;
            queue(big + queued, piece);
            queued += piece;
        }
        conn_flush(u.c);
        if (said < n && SSL_write_ex(peer_ssl, big + said, n - said < 16384 ? n - said : 16384,
                                     &put))
            said += put;
        ck_assert_int_eq(loop_once(&loop, 0), 0);
        while (SSL_read_ex(peer_ssl, buf, sizeof buf, &put)) {
            ck_assert_mem_eq(buf, big + heard, put);
            heard += put;
        }
    }
    ck_assert_mem_eq(u.got, big, n);
    ck_assert_uint_eq(u.sent, n);
    ck_assert_uint_eq(u.c->out.bytes, 0);
}

static void big_transfers(int version)
{
    build();
    tls_open(true);
    small_buffers(u.c->fd);
    small_buffers(peer);
    SSL_CTX_set_max_proto_version(peer_ctx, version);
    SSL_CTX_set_mode(peer_ctx, SSL_MODE_ENABLE_PARTIAL_WRITE);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    push_both_ways(sizeof u.got);
    ck_assert_int_eq(u.broken + (unsigned)u.read_error, 0);
}

START_TEST(test_big_transfers_small_sockets_13)
{
    big_transfers(TLS1_3_VERSION);
}
END_TEST

START_TEST(test_big_transfers_small_sockets_12)
{
    big_transfers(TLS1_2_VERSION);
}
END_TEST

START_TEST(test_small_bufs_are_one_record)
{
    build();
    tls_open(true);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    converse();
    peer_records = 0;
    /* A head that does not fit in front of the body, and the body. */
    for (unsigned i = 0; i < 3; i++) {
        struct buf *b = buf_get(&bufs);
        size_t n = i == 0 ? 500 : 2000;
        memcpy(buf_tail(b), big + i * 1000, n);
        b->len = (uint32_t)n;
        b->off = 8;
        memmove(buf_bytes(b), big + i * 1000, n);
        bufq_push(&u.c->out, b);
    }
    ck_assert_ptr_nonnull(u.c->out.head->next);
    conn_flush(u.c);
    ck_assert_int_eq(peer_hears(big, 500), SSL_ERROR_NONE);
    ck_assert_int_eq(peer_hears(big + 1000, 2000), SSL_ERROR_NONE);
    ck_assert_int_eq(peer_hears(big + 2000, 2000), SSL_ERROR_NONE);
    ck_assert_uint_eq(peer_records, 1);
    ck_assert_uint_eq(u.sent_calls, 2);
}
END_TEST

/* The reader has said all it wants for now; what is left is told of again. */
START_TEST(test_read_in_pieces)
{
    build();
    tls_open(true);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    u.read_max = 0;
    peer_says(big, 1000);
    UNTIL(u.readable);
    struct buf *b = buf_get(&bufs);
    ck_assert_int_eq(conn_read(u.c, b, 10), 10);
    ck_assert(u.c->is_readable);
    u.read_max = 100;
    conn_resume(u.c);
    spin(1);
    ck_assert_uint_eq(u.got_n, 990);
    ck_assert(!u.c->is_readable);
    ck_assert_mem_eq(u.got, big + 10, 990);
    buf_put(&b);
}
END_TEST

/* ---- ends ---- */

/* A peer who puts each byte into a record of its own does not keep us from the others: nor does he
 * lose any. */
START_TEST(test_tiny_records_are_read_by_turns)
{
    enum { N = 2000 };

    build();
    tls_open(true);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    u.read_max = 16384;
    u.readable = 0;
    for (int i = 0; i < N; i++)
        peer_says(big + i, 1);
    UNTIL(u.got_n >= N);
    ck_assert_uint_eq(u.got_n, N);
    ck_assert_mem_eq(u.got, big, N);
    ck_assert_uint_ge(u.readable, N / 256);
}
END_TEST

START_TEST(test_shutdown_is_half)
{
    build();
    tls_open(true);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    queue(big, 100000);
    conn_flush(u.c);
    conn_shutdown(u.c);
    ck_assert_int_eq(peer_hears(big, 100000), SSL_ERROR_NONE);
    ck_assert_int_eq(peer_hears_end(), SSL_ERROR_ZERO_RETURN);
    peer_says("still here", 10);
    UNTIL(u.got_n == 10);
    SSL_shutdown(peer_ssl);
    UNTIL(u.got_end);
    ck_assert(u.c->is_hup);
    ck_assert_int_eq(u.read_error, 0);
}
END_TEST

/* Data and close_notify in one packet, and no FIN: the end is told all the same. */
START_TEST(test_close_notify_is_the_end)
{
    build();
    tls_open(true);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    peer_says("last", 4);
    SSL_shutdown(peer_ssl);
    UNTIL(u.got_end);
    ck_assert_uint_eq(u.got_n, 4);
    unsigned before = u.readable;
    spin(3);
    ck_assert_uint_eq(u.readable, before);
    queue("answer", 6);
    conn_flush(u.c);
    ck_assert_int_eq(peer_hears("answer", 6), SSL_ERROR_NONE);
}
END_TEST

START_TEST(test_client_cut_short_has_ended)
{
    build();
    tls_open(true);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    peer_says("last", 4);
    shutdown(peer, SHUT_WR);
    UNTIL(u.got_end);
    ck_assert_uint_eq(u.got_n, 4);
    ck_assert_int_eq(u.read_error, 0);
    queue("answer", 6);
    conn_flush(u.c);
    ck_assert_int_eq(peer_hears("answer", 6), SSL_ERROR_NONE);
    conn_close(&u.c);
    ck_assert_int_eq(peer_hears_end(), SSL_ERROR_ZERO_RETURN);
}
END_TEST

static void open_server(void)
{
    world_build();
    peer_context(false);
    peer_shows(&ec);
    tls_open(false);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
}

START_TEST(test_server_cut_short_is_a_failure)
{
    open_server();
    peer_says("half an ans", 11);
    shutdown(peer, SHUT_WR);
    UNTIL(u.read_error);
    ck_assert_int_eq(u.read_error, ECONNRESET);
    ck_assert_uint_eq(u.got_n, 11);
    ck_assert(!u.got_end);
}
END_TEST

START_TEST(test_server_that_says_goodbye_has_ended)
{
    open_server();
    peer_says("an answer", 9);
    SSL_shutdown(peer_ssl);
    shutdown(peer, SHUT_WR);
    UNTIL(u.got_end);
    ck_assert_uint_eq(u.got_n, 9);
    ck_assert_int_eq(u.read_error, 0);
}
END_TEST

/* Tickets, which come with the first bytes or before, disturb nobody. */
START_TEST(test_server_is_quiet_but_for_tickets)
{
    open_server();
    spin(5);
    ck_assert(conn_is_quiet(u.c));
    ck_assert_uint_eq(u.got_n, 0);
    ck_assert_int_eq(u.read_error, 0);
    u.read_max = 0;
    peer_says("x", 1);
    UNTIL(!conn_is_quiet(u.c));
    u.read_max = SIZE_MAX;
    conn_look(u.c);
    conn_resume(u.c);
    spin(1);
    ck_assert_uint_eq(u.got_n, 1);
    SSL_shutdown(peer_ssl);
    UNTIL(!conn_is_quiet(u.c));
}
END_TEST

START_TEST(test_reset_says_no_goodbye)
{
    build();
    tls_open(true);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    converse();
    conn_reset(&u.c);
    ck_assert_int_eq(peer_hears_end(), SSL_ERROR_SYSCALL);
}
END_TEST

/* What is cut short must not look whole. */
START_TEST(test_close_with_output_says_no_goodbye)
{
    char c;

    build();
    tls_open(true);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    converse();
    queue("never sent", 10);
    conn_close(&u.c);
    spin(2);
    ck_assert_int_eq(recv(peer, &c, 1, 0), 0);
}
END_TEST

START_TEST(test_linger_sends_all_and_goodbye)
{
    build();
    tls_open(true);
    small_buffers(u.c->fd);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    queue(big, 300000);
    conn_linger(&u.c, on_gone, &u);
    ck_assert_int_eq(peer_hears(big, 300000), SSL_ERROR_NONE);
    ck_assert_int_eq(peer_hears_end(), SSL_ERROR_ZERO_RETURN);
    ck_assert_uint_eq(u.gone, 0);
    peer_free();
    close(peer);
    peer = -1;
    UNTIL(u.gone);
}
END_TEST

/* ---- turns to wait for a key ---- */

static bool is_crowded;
static unsigned turns;

static int crowd_handshake(struct keys *k, struct key_wait *wait, SSL *ssl)
{
    (void)k;
    (void)wait;
    return is_crowded ? KEYS_CROWDED : SSL_do_handshake(ssl);
}

static void on_turn(struct task *t)
{
    (void)t;
    turns++;
}

/* Someone who waits behind u.c for a job. */
static void stand_in_line(struct conn *c, struct tls_conn *t)
{
    static const struct tls_keys crowd = { .handshake = crowd_handshake };

    w.process->keys = &crowd;
    u.c->tls->is_remote = true;
    UNTIL(!list_empty(&w.process->starved));
    task_init(&c->resume, on_turn);
    t->conn = c;
    list_init(&t->starved);
    list_push(&w.process->starved, &t->starved);
    turns = 0;
}

/* Who is woken for a job and then needs no key, as one that resumes, leaves it to the next. */
START_TEST(test_turn_not_needed_is_the_next_ones)
{
    struct conn c = { .fd = -1 };
    struct tls_conn t = { .conn = NULL };

    build();
    is_crowded = true;
    tls_open(true);
    peer_start();
    stand_in_line(&c, &t);
    is_crowded = false;
    loop_soon(&loop, &u.c->resume);
    ck_assert_int_eq(handshake(), 0);
    UNTIL(turns > 0);
}
END_TEST

/* So does who was woken and is closed before his turn. */
START_TEST(test_turn_of_one_that_closes_is_the_next_ones)
{
    struct conn c = { .fd = -1 };
    struct tls_conn t = { .conn = NULL };

    build();
    is_crowded = true;
    tls_open(true);
    peer_start();
    stand_in_line(&c, &t);
    list_remove(&u.c->tls->starved);
    loop_soon(&loop, &u.c->resume);
    conn_close(&u.c);
    UNTIL(turns > 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_accept_13, test_accept_12, test_connect_13, test_connect_12,
        test_accept_with_first_bytes, test_split_anywhere, test_big_transfers_small_sockets_13,
        test_big_transfers_small_sockets_12, test_small_bufs_are_one_record, test_read_in_pieces,
        test_tiny_records_are_read_by_turns,
        test_shutdown_is_half, test_close_notify_is_the_end, test_client_cut_short_has_ended,
        test_server_cut_short_is_a_failure, test_server_that_says_goodbye_has_ended,
        test_server_is_quiet_but_for_tickets, test_reset_says_no_goodbye,
        test_close_with_output_says_no_goodbye, test_linger_sends_all_and_goodbye,
        test_turn_not_needed_is_the_next_ones, test_turn_of_one_that_closes_is_the_next_ones,
    };

    return run_tls_tests("conn_tls", tests, sizeof tests / sizeof tests[0]);
}
