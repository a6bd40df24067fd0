/* TLS over a conn where something goes wrong: handshakes that fail, and how; floods; keys that let
 * wait; buffers that go and come. */
#include <openssl/async.h>
#include "t/unit/tls_fixture.h"
#include "worker/io/fibre.h"

static void build(void)
{
    world_certificate(&ec);
    world_build();
}

static void open_client(void)
{
    build();
    tls_open(true);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
}

/* Both ends; what the peer makes of it. */
static int handshake_fails(int expected_error)
{
    int peer_error = SSL_ERROR_NONE;

    while (peer_error == SSL_ERROR_NONE) {
        peer_error = peer_handshakes();
        if (peer_error == SSL_ERROR_NONE) {
            peer_error = peer_hears_end();
            break;
        }
    }
    UNTIL(u.connected);
    ck_assert_uint_eq(u.connected, 1);
    ck_assert_int_eq(u.connect_error, expected_error);
    ck_assert_ptr_null(conn_tls(u.c));
    return peer_error;
}

/* ---- handshakes that fail, of clients ---- */

static void linger_away(void)
{
    conn_linger(&u.c, on_gone, &u);
    close(peer);
    peer = -1;
    UNTIL(u.gone);
}

START_TEST(test_nonsense)
{
    build();
    tls_open(true);
    peer_writes("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    UNTIL(u.connected);
    ck_assert_int_eq(u.connect_error, EPROTO);
    ck_assert_int_eq(conn_tls_failure(u.c), TLS_FAIL_HELLO);
    ck_assert_str_eq(conn_tls_reason(u.c), "http request");
    spin(3);
    ck_assert_uint_eq(u.connected, 1);
    ck_assert_uint_eq(u.readable + u.broken, 0);
    linger_away();
}
END_TEST

/* The alert reaches the peer, though nobody of ours reads what else it has sent. */
START_TEST(test_alert_is_sent_by_lingering)
{
    build();
    tls_open(true);
    SSL_CTX_set_cipher_list(peer_ctx, "AES128-SHA");
    SSL_CTX_set_max_proto_version(peer_ctx, TLS1_2_VERSION);
    peer_start();
    (void)SSL_do_handshake(peer_ssl);
    UNTIL(u.connected);
    ck_assert_int_eq(u.connect_error, EPROTO);
    ck_assert_int_eq(conn_tls_failure(u.c), TLS_FAIL_CIPHER);
    ck_assert_str_eq(conn_tls_reason(u.c), "no shared cipher");
    peer_writes("more that is not read");
    conn_linger(&u.c, on_gone, &u);
    ck_assert_int_eq(peer_handshakes(), SSL_ERROR_SSL);
    ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE);
    ERR_clear_error();
    close(peer);
    peer = -1;
    UNTIL(u.gone);
}
END_TEST

START_TEST(test_old_version)
{
    w.listener.tls_min_version = CONF_TLS_1_3;
    build();
    tls_open(true);
    SSL_CTX_set_max_proto_version(peer_ctx, TLS1_2_VERSION);
    peer_start();
    ck_assert_int_eq(handshake_fails(EPROTO), SSL_ERROR_SSL);
    ck_assert_int_eq(conn_tls_failure(u.c), TLS_FAIL_VERSION);
    ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
    ERR_clear_error();
}
END_TEST

START_TEST(test_peer_gives_up_with_an_alert)
{
    build();
    tls_open(true);
    SSL_CTX_set_verify(peer_ctx, SSL_VERIFY_PEER, NULL);
    peer_start();
    SSL_set1_host(peer_ssl, "elsewhere.example");
    ck_assert_int_eq(handshake_fails(EPROTO), SSL_ERROR_SSL);
    ERR_clear_error();
    ck_assert_int_eq(conn_tls_failure(u.c), TLS_FAIL_ALERT);
    ck_assert_str_eq(conn_tls_reason(u.c), "sslv3 alert bad certificate");
}
END_TEST

static void peer_leaves(bool is_reset)
{
    build();
    tls_open(true);
    peer_start();
    (void)SSL_do_handshake(peer_ssl);
    spin(3);
    if (is_reset) {
        reset_peer();
    } else {
        close(peer);
        peer = -1;
    }
    UNTIL(u.connected);
    ck_assert_int_eq(u.connect_error, ECONNRESET);
    ck_assert_int_eq(conn_tls_failure(u.c), TLS_FAIL_CLOSED);
    ERR_clear_error();
}

START_TEST(test_peer_closes)
{
    peer_leaves(false);
}
END_TEST

START_TEST(test_peer_resets)
{
    peer_leaves(true);
}
END_TEST

START_TEST(test_close_at_each_step)
{
    build();
    for (unsigned steps = 0; steps < 4; steps++) {
        tls_open(true);
        peer_start();
        for (unsigned i = 0; i < steps; i++) {
            (void)SSL_do_handshake(peer_ssl);
            spin(1);
        }
        conn_close(&u.c);
        spin(2);
        peer_free();
        close(peer);
        peer = -1;
    }
}
END_TEST

START_TEST(test_close_in_connected)
{
    build();
    u.close_in = 'c';
    tls_open(true);
    peer_start();
    ck_assert_int_eq(peer_handshakes(), SSL_ERROR_NONE);
    UNTIL(u.connected);
    ck_assert_ptr_null(u.c);
    ck_assert_int_eq(peer_hears_end(), SSL_ERROR_ZERO_RETURN);
}
END_TEST

START_TEST(test_timer_runs_during_handshake)
{
    build();
    tls_open(true);
    conn_timer(u.c, 20000);
    u.close_in = 't';
    UNTIL(u.timers);
    ck_assert_ptr_null(u.c);
    ck_assert_uint_eq(u.connected, 0);
}
END_TEST

/* ---- and of servers ---- */

static void server_fails(const struct identity *id, const char *name, enum tls_verify why)
{
    world_build();
    peer_context(false);
    peer_shows(id);
    open_tcp(false);
    u.connected = 0;
    ck_assert_int_eq(conn_tls_connect(u.c, w.back, name, SLICE_NONE, NULL), 0);
    peer_start();
    ck_assert_int_eq(handshake_fails(EPROTO), SSL_ERROR_SSL);
    ERR_clear_error();
    ck_assert_int_eq(conn_tls_failure(u.c), TLS_FAIL_CERTIFICATE);
    ck_assert_int_eq(conn_tls_verify(u.c), why);
}

START_TEST(test_server_of_another_name)
{
    server_fails(&ec, "b.example", TLS_VERIFY_NAME);
    ck_assert_str_eq(conn_tls_reason(u.c), "hostname mismatch");
}
END_TEST

START_TEST(test_server_of_another_address)
{
    server_fails(&ec, "127.0.0.2", TLS_VERIFY_NAME);
}
END_TEST

START_TEST(test_server_expired)
{
    server_fails(&old_ec, "a.example", TLS_VERIFY_EXPIRED);
}
END_TEST

START_TEST(test_server_untrusted)
{
    w.backend.tls_ca.content = stranger.pem;
    server_fails(&ec, "a.example", TLS_VERIFY_UNTRUSTED);
}
END_TEST

START_TEST(test_server_not_verified)
{
    w.backend.tls_verify = false;
    world_build();
    peer_context(false);
    peer_shows(&old_ec);
    tls_open(false);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    ck_assert(!conn_tls(u.c)->is_verified);
}
END_TEST

START_TEST(test_server_by_address)
{
    world_build();
    peer_context(false);
    peer_shows(&ec);
    open_tcp(false);
    u.connected = 0;
    ck_assert_int_eq(conn_tls_connect(u.c, w.back, "127.0.0.1", SLICE("http/1.1"), NULL), 0);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    ck_assert(conn_tls(u.c)->is_verified);
    ck_assert_ptr_null(SSL_get_servername(peer_ssl, TLSEXT_NAMETYPE_host_name));
}
END_TEST

/* What was queued before goes first, and in the clear: a PROXY header. */
START_TEST(test_clear_bytes_before_tls)
{
    char got[6];

    world_build();
    peer_context(false);
    peer_shows(&ec);
    open_tcp(false);
    u.connected = 0;
    queue("PROXY\n", 6);
    conn_flush(u.c);
    ck_assert_int_eq(conn_tls_connect(u.c, w.back, "a.example", SLICE_NONE, NULL), 0);
    UNTIL(recv(peer, got, sizeof got, MSG_DONTWAIT) == (ssize_t)sizeof got);
    ck_assert_mem_eq(got, "PROXY\n", 6);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    ck_assert_uint_eq(u.sent_calls, 0);
}
END_TEST

/* ---- after the handshake ---- */

START_TEST(test_key_updates)
{
    open_client();
    for (unsigned i = 0; i < 10; i++) {
        u.got_n = 0;
        ck_assert_int_eq(SSL_key_update(peer_ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        peer_says(big, 10000);
        UNTIL(u.got_n == 10000);
        queue(big, 10000);
        conn_flush(u.c);
        ck_assert_int_eq(peer_hears(big, 10000), SSL_ERROR_NONE);
    }
    ck_assert_int_eq(u.read_error, 0);
}
END_TEST

/* One byte of data between two of them, or none. */
static void flood(bool has_data)
{
    open_client();
    for (unsigned i = 0; i < 3000 && !u.read_error && !u.broken; i++) {
        (void)SSL_key_update(peer_ssl, SSL_KEY_UPDATE_REQUESTED);
        if (has_data)
            (void)SSL_write(peer_ssl, "x", 1);
        else
            (void)SSL_do_handshake(peer_ssl);
        ck_assert_int_eq(loop_once(&loop, 0), 0);
    }
    ERR_clear_error();
    ck_assert_int_eq(u.read_error, EPROTO);
    ck_assert_uint_lt(u.got_n, 200);
}

START_TEST(test_key_update_flood)
{
    flood(false);
}
END_TEST

START_TEST(test_key_update_flood_with_data)
{
    flood(true);
}
END_TEST

START_TEST(test_renegotiation_is_refused)
{
    build();
    tls_open(true);
    SSL_CTX_set_max_proto_version(peer_ctx, TLS1_2_VERSION);
    peer_start();
    ck_assert_int_eq(handshake(), 0);
    ck_assert_int_eq(SSL_renegotiate(peer_ssl), 1);
    ck_assert_int_eq(peer_handshakes(), SSL_ERROR_SSL);
    ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    ERR_clear_error();
    ck_assert_uint_eq(u.broken, 0);
    ck_assert_int_eq(u.read_error, 0);
}
END_TEST

START_TEST(test_broken_record)
{
    char junk[] = "\x17\x03\x03\0\x20" "this is no record of this session..";

    open_client();
    ck_assert_int_eq(write(peer, junk, 37), 37);
    UNTIL(u.read_error);
    ck_assert_int_eq(u.read_error, EPROTO);
    ck_assert_int_eq(peer_hears_end(), SSL_ERROR_SSL);
    ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    ERR_clear_error();
}
END_TEST

/* A peer that makes us answer and reads nothing has an end. */
START_TEST(test_reset_while_blocked)
{
    open_client();
    small_buffers(u.c->fd);
    queue(big, 500000);
    conn_flush(u.c);
    spin(2);
    ck_assert(u.c->is_blocked);
    reset_peer();
    UNTIL(u.broken || u.read_error);
    ck_assert_uint_eq(u.c->out.bytes, 0);
}
END_TEST

/* ---- buffers ---- */

START_TEST(test_idle_has_no_buffers)
{
    open_client();
    ck_assert_uint_eq(w.process->nwarm, 1);
    UNTIL(w.process->nwarm == 0);
    ck_assert(list_empty(&w.process->warm));
    peer_says("ping", 4);
    UNTIL(u.got_n == 4);
    ck_assert_uint_eq(w.process->nwarm, 1);
    queue("pong", 4);
    conn_flush(u.c);
    ck_assert_int_eq(peer_hears("pong", 4), SSL_ERROR_NONE);
}
END_TEST

/* Half a record stays where it is. */
START_TEST(test_half_a_record_is_kept)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *p;
    long n;

    open_client();
    SSL_set0_wbio(peer_ssl, out);
    ck_assert_int_eq(SSL_write(peer_ssl, big, 1000), 1000);
    n = BIO_get_mem_data(out, &p);
    ck_assert_int_eq(write(peer, p, 300), 300);
    spin(3);
    UNTIL(w.process->nwarm == 0);
    ck_assert_int_eq(write(peer, p + 300, (size_t)n - 300), n - 300);
    UNTIL(u.got_n == 1000);
    ck_assert_mem_eq(u.got, big, 1000);
}
END_TEST

/* ---- keys that are elsewhere ---- */

/* In place of `rpd: keys`: each handshake waits at its first certificate until it is told. */
static struct {
    struct key_wait *waiting[4];
    unsigned n, max, cancelled;
    bool is_refusing;
    ASYNC_WAIT_CTX *ctx;
    struct fibre fibre;
} far;

static void far_cancel(struct key_wait *wait)
{
    wait->op = NULL;
    far.cancelled++;
    far.is_refusing = true;
}

/* OpenSSL asks which certificate it is to be: within the job. */
static int on_certificate(SSL *ssl, void *arg)
{
    (void)ssl;
    (void)arg;
    ASYNC_pause_job();
    fibre_on(&far.fibre);
    return !far.is_refusing;
}

static int job(void *arg)
{
    fibre_on(&far.fibre);
    return SSL_do_handshake(*(SSL **)arg);
}

static int far_handshake(struct keys *k, struct key_wait *wait, SSL *ssl)
{
    ASYNC_JOB *j = wait->job;
    int result = -1, r;

    (void)k;
    if (wait->op)
        return KEYS_WAITS;
    if (!j && far.n >= far.max)
        return KEYS_CROWDED;
    r = ASYNC_start_job(&j, far.ctx, &result, job, &ssl, sizeof ssl);
    fibre_off(&far.fibre);
    switch (r) {
    case ASYNC_PAUSE:
        wait->job = j;
        wait->op = (struct key_op *)(uintptr_t)8;
        wait->cancel = far_cancel;
        far.waiting[far.n++] = wait;
        return KEYS_WAITS;
    case ASYNC_FINISH:
        wait->job = NULL;
        return result;
    default:
        ck_abort();
    }
}

static EVP_PKEY *far_key(struct keys *k, const X509 *leaf, const unsigned char *id, char *why,
                         size_t why_size)
{
    (void)k;
    (void)leaf;
    (void)id;
    (void)why;
    (void)why_size;
    EVP_PKEY_up_ref(ec.key);
    return ec.key;
}

static const struct tls_keys far_keys = { (struct keys *)(uintptr_t)8, far_handshake, far_key };

static void far_answer(void)
{
    struct key_wait *wait = far.waiting[--far.n];

    wait->op = NULL;
    wait->wake(wait);
}

static void far_open(void)
{
    bool is_known;

    memset(&far, 0, sizeof far);
    far.max = 1;
    far.ctx = ASYNC_WAIT_CTX_new();
    w.process->keys = &far_keys;
    world_certificate(&ec);
    report_init(&w.report);
    w.certs = tls_certs_new(w.process, &w.conf, -1, &w.report);
    w.front = tls_front_new(w.process, &w.conf, &w.listener, w.certs, &w.report);
    ck_assert_ptr_nonnull(w.front);
    SSL_CTX_set_cert_cb(tls_front_find(w.front, SLICE_NONE, &is_known), on_certificate, NULL);
    tls_open(true);
    peer_start();
    (void)SSL_do_handshake(peer_ssl);
    UNTIL(far.n == 1);
}

static void far_close(void)
{
    ASYNC_WAIT_CTX_free(far.ctx);
    ASYNC_cleanup_thread();
}

START_TEST(test_key_lets_wait)
{
    far_open();
    spin(3);
    ck_assert_uint_eq(u.connected, 0);
    peer_writes(""); /* an event meanwhile */
    spin(2);
    far_answer();
    ck_assert_int_eq(handshake(), 0);
    peer_says("ping", 4);
    UNTIL(u.got_n == 4);
    far_close();
}
END_TEST

START_TEST(test_close_while_key_lets_wait)
{
    far_open();
    conn_close(&u.c);
    ck_assert_uint_eq(far.cancelled, 1);
    spin(2);
    far_close();
}
END_TEST

START_TEST(test_key_is_refused)
{
    far_open();
    far.is_refusing = true;
    far_answer();
    UNTIL(u.connected);
    ck_assert_int_eq(u.connect_error, EPROTO);
    far_close();
}
END_TEST

/* One more than may wait: it has its turn when the other has gone on, or gone. */
static void crowd(bool is_closed)
{
    struct conn *first;
    int first_peer;
    SSL *first_ssl;

    far_open();
    first = u.c;
    first_peer = peer;
    first_ssl = peer_ssl;
    tls_open(true);
    peer_start();
    (void)SSL_do_handshake(peer_ssl);
    spin(5);
    ck_assert_uint_eq(far.n, 1);
    ck_assert(!list_empty(&w.process->starved));
    if (is_closed) {
        far.n = 0;
        conn_close(&first);
        far.is_refusing = false;
    } else {
        struct conn *second = u.c;
        u.c = first;
        far_answer();
        spin(1);
        u.c = second;
    }
    UNTIL(far.n == 1);
    ck_assert(list_empty(&w.process->starved));
    far_answer();
    u.connected = 0;
    ck_assert_int_eq(handshake(), 0);
    conn_close(&first);
    SSL_free(first_ssl);
    close(first_peer);
    far_close();
}

START_TEST(test_crowded)
{
    crowd(false);
}
END_TEST

START_TEST(test_crowded_and_first_closes)
{
    crowd(true);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_nonsense, test_alert_is_sent_by_lingering, test_old_version,
        test_peer_gives_up_with_an_alert, test_peer_closes, test_peer_resets,
        test_close_at_each_step, test_close_in_connected, test_timer_runs_during_handshake,
        test_server_of_another_name, test_server_of_another_address, test_server_expired,
        test_server_untrusted, test_server_not_verified, test_server_by_address,
        test_clear_bytes_before_tls, test_key_updates, test_key_update_flood,
        test_key_update_flood_with_data, test_renegotiation_is_refused, test_broken_record,
        test_reset_while_blocked, test_idle_has_no_buffers, test_half_a_record_is_kept,
        test_key_lets_wait, test_close_while_key_lets_wait, test_key_is_refused, test_crowded,
        test_crowded_and_first_closes,
    };

    return run_tls_tests("conn_tls_end", tests, sizeof tests / sizeof tests[0]);
}
