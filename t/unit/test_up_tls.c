/* TLS to servers: who is believed, what failures are called, sessions, other settings. The servers
 * are plain OpenSSL. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "t/unit/tls_fixture.h"
#include "t/unit/up_fixture.h"

#define ONE "server = %0 name=s0\ntls = on\ntls_name = a.example\ntls_ca = ca.pem\n"
#define TWO "server = %1 name=s1\n" ONE

static struct req q[4];

/* What the world's backend says is what the servers are spoken to by from then on. */
static void secure(void)
{
    tls_back_unref(&secured);
    secured = tls_back_new(w.process, &w.conf, &w.backend, w.certs, &w.report);
    ck_assert_ptr_nonnull(secured);
}

static void apply_secured(const char *lines)
{
    if (!w.certs)
        world_build();
    secure();
    apply(lines);
}

static void serve_with(const struct identity *id)
{
    peer_context(false);
    peer_shows(id);
}

/* The connection that comes to server i is the peer. */
static void accept_at(unsigned i)
{
    peer_free();
    if (peer >= 0)
        close(peer);
    UNTIL((peer = accept4(listeners[i], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
}

static void meet(unsigned i)
{
    accept_at(i);
    peer_start();
    (void)peer_handshakes();
    ERR_clear_error();
}

/* A request that the peer, as server s0, shakes hands with: what became of it. */
static bool get_secured(struct req *r)
{
    begin_req(r);
    meet(0);
    UNTIL(r->ready || r->failed);
    return r->ready > 0;
}

/* Tickets are read as anything else. */
static void take_tickets(struct req *r)
{
    struct buf *b = buf_get(&bufs);

    UNTIL(r->c->is_readable);
    ck_assert_int_eq(conn_read(r->c, b, 1), -1);
    ck_assert_int_eq(errno, EAGAIN);
    buf_put(&b);
}

static void is_counted(uint64_t handshakes, uint64_t resumed, uint64_t failed)
{
    ck_assert_uint_eq(stats_of("s0", 0)->tls_handshakes, handshakes);
    ck_assert_uint_eq(stats_of("s0", 0)->tls_resumed, resumed);
    ck_assert_uint_eq(stats_of("s0", 0)->tls_failed, failed);
}

static void failed_for(struct req *r, enum end_reason why, enum server_error error)
{
    ck_assert_uint_eq(r->failed, 1);
    ck_assert_int_eq(r->r.why, why);
    ck_assert_uint_eq(shared_of("s0")->last_error, error);
    ck_assert_uint_eq(stats_of("s0", 0)->connect_errors, stats_of("s0", 0)->failures);
}

/* ---- good servers ---- */

START_TEST(a_server_is_who_it_says)
{
    apply_secured(ONE);
    serve_with(&ec);
    q[0].r.alpn = SLICE("http/1.1");
    ck_assert(get_secured(&q[0]));
    ck_assert_str_eq(SSL_get_servername(peer_ssl, TLSEXT_NAMETYPE_host_name), "a.example");
    ck_assert(conn_tls(q[0].c)->is_verified);
    ck_assert_uint_gt(q[0].r.connect_us, 0);
    is_counted(1, 0, 0);
    finish(&q[0], false);
}
END_TEST

START_TEST(an_address_is_expected_as_one)
{
    apply_secured("server = %0 name=s0\ntls = on\ntls_ca = ca.pem\n");
    serve_with(&ec);
    ck_assert(get_secured(&q[0]));
    ck_assert_ptr_null(SSL_get_servername(peer_ssl, TLSEXT_NAMETYPE_host_name));
    finish(&q[0], false);
    serve_with(&rsa);
    ck_assert(!get_secured(&q[0]));
    failed_for(&q[0], END_SERVER_CERT_NAME, SERVER_ERROR_CERT_NAME);
}
END_TEST

START_TEST(anybody_will_do_when_nobody_is_verified)
{
    w.backend.tls_verify = false;
    apply_secured("server = %0 name=s0\ntls = on\ntls_verify = off\n");
    serve_with(&stranger);
    ck_assert(get_secured(&q[0]));
    ck_assert(!conn_tls(q[0].c)->is_verified);
    finish(&q[0], false);
}
END_TEST

START_TEST(the_proxy_header_goes_in_the_clear)
{
    char line[108];
    ssize_t n;

    apply_secured(ONE "send_proxy = v1\n");
    serve_with(&ec);
    ck_assert(ip_parse(SLICE("1.2.3.4"), &q[0].r.client));
    q[0].r.client.port = 99;
    begin_req(&q[0]);
    accept_at(0);
    UNTIL((n = recv(peer, line, sizeof line, MSG_PEEK)) > 0);
    n = (char *)memchr(line, '\n', (size_t)n) + 1 - line;
    ck_assert_int_eq(recv(peer, line, (size_t)n, 0), n);
    ck_assert(slice_eq(slice_of(line, (size_t)n), SLICE("PROXY TCP4 1.2.3.4 1.2.3.4 99 99\r\n")));
    peer_start();
    ck_assert_int_eq(peer_handshakes(), SSL_ERROR_NONE);
    UNTIL(q[0].ready);
    finish(&q[0], false);
}
END_TEST

/* ---- failures ---- */

START_TEST(certificates_that_are_refused)
{
    static const struct {
        const struct identity *id;
        enum end_reason why;
        enum server_error error;
    } bad[] = {
        { &old_ec, END_SERVER_CERT_EXPIRED, SERVER_ERROR_CERT_EXPIRED },
        { &stranger, END_SERVER_CERT_UNTRUSTED, SERVER_ERROR_CERT_UNTRUSTED },
        { &wild, END_SERVER_CERT_NAME, SERVER_ERROR_CERT_NAME },
    };

    apply_secured(ONE);
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        serve_with(bad[i].id);
        ck_assert(!get_secured(&q[0]));
        failed_for(&q[0], bad[i].why, bad[i].error);
        ck_assert_ptr_nonnull(q[0].r.detail);
        is_counted(0, 0, i + 1);
    }
}
END_TEST

/* The alert is what it leaves behind. */
START_TEST(a_refused_server_is_told_why)
{
    apply_secured(ONE);
    serve_with(&old_ec);
    begin_req(&q[0]);
    accept_at(0);
    peer_start();
    ck_assert_int_eq(peer_handshakes(), SSL_ERROR_SSL);
    ck_assert_int_eq(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED);
    ERR_clear_error();
    UNTIL(q[0].failed);
}
END_TEST

START_TEST(a_server_that_refuses_us)
{
    apply_secured(ONE);
    serve_with(&ec);
    SSL_CTX_set_verify(peer_ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_max_proto_version(peer_ctx, TLS1_2_VERSION);
    ck_assert(!get_secured(&q[0]));
    failed_for(&q[0], END_SERVER_ALERT, SERVER_ERROR_TLS_REFUSED);
}
END_TEST

/* In the clear, whatever it is: then the connection ends, or stays. */
static void answers_with(const char *text, bool closes)
{
    begin_req(&q[0]);
    accept_at(0);
    ck_assert_int_eq(send(peer, text, strlen(text), 0), (ssize_t)strlen(text));
    if (closes) {
        char hello[4096];

        UNTIL(recv(peer, hello, sizeof hello, 0) > 0);
        close(peer);
        peer = -1;
    }
    UNTIL(q[0].failed);
}

START_TEST(a_server_that_does_not_speak_tls)
{
    apply_secured(ONE);
    answers_with("HTTP/1.1 400 Bad Request\r\n\r\n", false);
    failed_for(&q[0], END_SERVER_TLS, SERVER_ERROR_TLS);
    ck_assert_str_eq(q[0].r.detail, "wrong version number");
    answers_with("", true);
    failed_for(&q[0], END_SERVER_TLS, SERVER_ERROR_TLS);
    ck_assert_str_eq(q[0].r.detail, "closed");
    answers_with("\x16\x03\x03", true);
    failed_for(&q[0], END_SERVER_TLS, SERVER_ERROR_TLS);
    is_counted(0, 0, 3);
}
END_TEST

START_TEST(a_server_that_says_nothing)
{
    apply_secured(ONE);
    q[0].r.connect_timeout_ms = 30;
    begin_req(&q[0]);
    accept_at(0);
    UNTIL(q[0].failed);
    failed_for(&q[0], END_CONNECT_TIMEOUT, SERVER_ERROR_CONNECT_TIMEOUT);
    is_counted(0, 0, 1);
    ck_assert_str_eq(q[0].r.detail, "within the TLS handshake");
}
END_TEST

START_TEST(another_server_is_tried)
{
    apply_secured(TWO);
    serve_with(&old_ec);
    q[0].r.retries = 1;
    begin_req(&q[0]);
    meet(1);
    serve_with(&ec);
    meet(0);
    UNTIL(q[0].ready);
    ck_assert_str_eq(q[0].server, "s0");
    ck_assert_uint_eq(q[0].r.retried, 1);
    ck_assert_ptr_null(q[0].r.detail);
    ck_assert_uint_eq(stats_of("s1", 0)->tls_failed, 1);
    ck_assert_uint_eq(shared_of("s1")->last_error, SERVER_ERROR_CERT_EXPIRED);
    is_counted(1, 0, 0);
    finish(&q[0], false);
}
END_TEST

START_TEST(a_request_may_end_within_the_handshake)
{
    char byte;

    apply_secured(ONE);
    begin_req(&q[0]);
    accept_at(0);
    spin(3);
    up_end(&q[0].r, NULL);
    UNTIL(recv(peer, &byte, 1, MSG_PEEK) >= 0 || errno != EAGAIN);
    spin(3);
    ck_assert_uint_eq(q[0].ready + q[0].failed, 0);
    ck_assert_uint_eq(stats_of("s0", 0)->active, 0);
}
END_TEST

/* ---- sessions ---- */

START_TEST(sessions_are_resumed_side_by_side)
{
    apply_secured(ONE);
    serve_with(&ec);
    ck_assert(get_secured(&q[0]));
    take_tickets(&q[0]);
    for (unsigned i = 1; i < 4; i++) { /* no new ticket is read meanwhile */
        ck_assert(get_secured(&q[i]));
        ck_assert(conn_tls(q[i].c)->is_resumed);
    }
    is_counted(4, 3, 0);
    for (unsigned i = 0; i < 4; i++)
        finish(&q[i], false);
}
END_TEST

START_TEST(a_session_is_given_up_with_a_failure)
{
    apply_secured(ONE);
    serve_with(&ec);
    ck_assert(get_secured(&q[0]));
    take_tickets(&q[0]);
    finish(&q[0], false);
    answers_with("", true);
    ck_assert(get_secured(&q[0]));
    ck_assert(!conn_tls(q[0].c)->is_resumed);
    is_counted(2, 0, 1);
    finish(&q[0], false);
}
END_TEST

/* ---- other settings ---- */

static void keep_one(void)
{
    q[0].r.can_reuse = true;
    ck_assert(get_secured(&q[0]));
    take_tickets(&q[0]);
    finish(&q[0], true);
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 1);
}

START_TEST(the_same_settings_keep_connections)
{
    apply_secured(ONE);
    serve_with(&ec);
    keep_one();
    secure();
    apply_again();
    get(&q[0]);
    ck_assert(q[0].is_reused);
    finish(&q[0], true);
}
END_TEST

START_TEST(other_settings_close_idle_connections)
{
    apply_secured(ONE);
    serve_with(&ec);
    keep_one();
    w.backend.tls_ca.content = stranger.pem; /* other CAs */
    secure();
    apply_again();
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 0);
    w.backend.tls_ca.content = authority.pem;
    secure();
    apply_again();
    keep_one();
    write_ini("server = %0 name=s0\ntls = on\ntls_name = b.example\ntls_ca = ca.pem\n");
    apply_again();
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 0);
    ck_assert(!get_secured(&q[0])); /* nor is there a session that would be believed */
    ck_assert_int_eq(q[0].r.why, END_SERVER_CERT_NAME);
}
END_TEST

START_TEST(connections_in_use_are_not_kept_under_other_settings)
{
    apply_secured(ONE);
    serve_with(&ec);
    ck_assert(get_secured(&q[0]));
    tls_back_unref(&secured); /* none */
    write_ini("server = %0 name=s0\n");
    apply_again();
    finish(&q[0], true);
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 0);
    ck_assert_str_eq(get(&q[0]), "s0");
    ck_assert_ptr_null(q[0].c->tls);
    accept_at(0);
    secure();
    write_ini(ONE);
    apply_again();
    finish(&q[0], true);
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 0);
}
END_TEST

/* The handshake that is under way is that of the old settings; TLS that was turned on meanwhile is
 * spoken. */
START_TEST(settings_change_while_connecting)
{
    apply_secured(ONE);
    serve_with(&ec);
    begin_req(&q[0]);
    accept_at(0);
    UNTIL(q[0].r.conn->tls);
    tls_back_unref(&secured);
    apply_again();
    peer_start();
    ck_assert_int_eq(peer_handshakes(), SSL_ERROR_NONE);
    UNTIL(q[0].ready);
    finish(&q[0], true);
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 0);
    begin_req(&q[0]);
    secure();
    apply_again();
    meet(0);
    UNTIL(q[0].ready);
    ck_assert_ptr_nonnull(q[0].c->tls);
    finish(&q[0], true);
    ck_assert_uint_eq(stats_of("s0", 0)->idle, 0);
}
END_TEST

static void up_tls_setup(void)
{
    up_setup();
    world_init();
}

static void up_tls_teardown(void)
{
    peer_free();
    SSL_CTX_free(peer_ctx);
    peer_ctx = NULL;
    tls_back_unref(&secured);
    world_fini();
    up_teardown();
}

int main(void)
{
    const TTest *const tests[] = {
        a_server_is_who_it_says,
        an_address_is_expected_as_one,
        anybody_will_do_when_nobody_is_verified,
        the_proxy_header_goes_in_the_clear,
        certificates_that_are_refused,
        a_refused_server_is_told_why,
        a_server_that_refuses_us,
        a_server_that_does_not_speak_tls,
        a_server_that_says_nothing,
        another_server_is_tried,
        a_request_may_end_within_the_handshake,
        sessions_are_resumed_side_by_side,
        a_session_is_given_up_with_a_failure,
        the_same_settings_keep_connections,
        other_settings_close_idle_connections,
        connections_in_use_are_not_kept_under_other_settings,
        settings_change_while_connecting,
    };
    Suite *suite = suite_create("up_tls");
    TCase *tcase = tcase_create("up_tls");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_unchecked_fixture(tcase, identities_make, identities_free);
    tcase_add_checked_fixture(tcase, up_tls_setup, up_tls_teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
