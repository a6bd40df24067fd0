/* Contexts of ours made of cert_fixture.h's certificates, and a peer of plain OpenSSL at the
 * other end of conn_fixture.h's connection. */
#ifndef RPD_UNIT_TLS_FIXTURE_H
#define RPD_UNIT_TLS_FIXTURE_H

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include "t/unit/cert_fixture.h"
#include "t/unit/conn_fixture.h"
#include "common/tls/keyring.h"
#include "common/tls/tickets.h"
#include "worker/io/tls_impl.h"

/* ---- certificates ---- */

static struct identity authority, stranger, ec, rsa, old_ec, client_id, wild;

static inline void identities_make(void)
{
    authority = identity_make("EC", "authority", NULL, NULL, 100 * DAY_S);
    stranger = identity_make("EC", "stranger", NULL, NULL, 100 * DAY_S);
    ec = identity_make("EC", "a.example", "DNS:a.example,IP:127.0.0.1", &authority, 90 * DAY_S);
    rsa = identity_make("RSA", "a.example", "DNS:a.example,DNS:b.example", &authority, 90 * DAY_S);
    wild = identity_make("EC", "w.example", "DNS:*.w.example,DNS:w.example", &authority,
                         90 * DAY_S);
    old_ec = identity_make("EC", "a.example", "DNS:a.example", &authority, -DAY_S);
    client_id = identity_make("EC", "someone", NULL, &authority, 90 * DAY_S);
}

static inline void identities_free(void)
{
    struct identity *all[] = { &authority, &stranger, &ec, &rsa, &old_ec, &client_id, &wild };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        identity_free(all[i]);
}

/* ---- a configuration ---- */

#define WORLD_CERTS 4

/* One listener and one backend, as a generation sees them. */
static struct world {
    struct tls_process *process;
    struct conf conf;
    struct conf_listener listener;
    struct conf_backend backend;
    struct conf_certificate certificates[WORLD_CERTS];
    const struct conf_certificate *list[WORLD_CERTS];
    struct keyring_key keys[WORLD_CERTS];
    struct report report;
    struct tls_certs *certs;
    struct tls_front *front;
    struct tls_back *back;
    struct tickets *tickets;
} w;

static inline void world_certificate(const struct identity *id)
{
    size_t i = w.conf.ncertificates++;

    ck_assert_uint_lt(i, WORLD_CERTS);
    w.certificates[i] = (struct conf_certificate){ .name = "c", .index = i,
                                                   .cert = { .path = "c.pem", .content = id->pem },
                                                   .ocsp = { .path = "" } };
    w.list[i] = &w.certificates[i];
    w.keys[i].key = id->key;
    tls_key_id(id->cert, w.keys[i].id);
    w.listener.certificate.n = i + 1;
}

/* Between world_init and this the configuration may be changed. */
static inline void world_build(void)
{
    int ring = keyring_write(w.keys, w.conf.ncertificates);

    ck_assert_int_ge(ring, 0);
    report_init(&w.report);
    w.certs = tls_certs_new(w.process, &w.conf, ring, &w.report);
    close(ring);
    ck_assert_msg(w.certs != NULL, "%s", w.report.text.s);
    w.front = tls_front_new(w.process, &w.conf, &w.listener, w.certs, &w.report);
    ck_assert_msg(w.front != NULL, "%s", w.report.text.s);
    w.back = tls_back_new(w.process, &w.conf, &w.backend, w.certs, &w.report);
    ck_assert_msg(w.back != NULL, "%s", w.report.text.s);
}

static inline void world_init(void)
{
    memset(&w, 0, sizeof w);
    w.process = tls_process_new(&pool, NULL);
    ck_assert_ptr_nonnull(w.process);
    w.tickets = tickets_new(clock_mono_us());
    ck_assert_ptr_nonnull(w.tickets);
    ck_assert_int_eq(tls_process_tickets(w.process, dup(tickets_fd(w.tickets))), 0);
    w.conf.certificates = w.certificates;
    w.listener.name = "web";
    w.listener.certificate.v = w.list;
    w.conf.global.ticket_key_file.path = "";
    w.listener.client_ca.path = "";
    w.backend.name = "pool";
    w.backend.tls_verify = true;
    w.backend.tls_ca = (struct conf_file){ .path = "ca.pem", .content = authority.pem };
}

static inline void world_fini_front(void)
{
    tls_front_free(&w.front);
    tls_back_unref(&w.back);
    tls_certs_unref(&w.certs);
}

static inline void world_fini(void)
{
    world_fini_front();
    tickets_free(&w.tickets);
    report_fini(&w.report);
}

/* ---- the peer ---- */

static SSL_CTX *peer_ctx;
static SSL *peer_ssl;
static unsigned peer_records; /* of data that it got */
static SSL_SESSION *peer_session;

static inline int peer_on_session(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    SSL_SESSION_free(peer_session);
    peer_session = s;
    return 1;
}

/* A context to be changed before peer_start. It trusts the authority, and nobody is verified. */
static inline void peer_context(bool is_client)
{
    SSL_CTX_free(peer_ctx);
    peer_ctx = SSL_CTX_new(is_client ? TLS_client_method() : TLS_server_method());
    ck_assert_ptr_nonnull(peer_ctx);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(peer_ctx), authority.cert);
    SSL_CTX_set_session_cache_mode(peer_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(peer_ctx, peer_on_session);
}

static inline void peer_shows(const struct identity *id)
{
    ck_assert_int_eq(SSL_CTX_use_certificate(peer_ctx, id->cert), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(peer_ctx, id->key), 1);
}

static inline void peer_on_message(int is_write, int version, int type, const void *p, size_t n,
                                   SSL *ssl, void *arg)
{
    (void)version;
    (void)ssl;
    (void)arg;
    if (!is_write && type == SSL3_RT_HEADER && n > 0 && SSL_is_init_finished(ssl)
        && *(const unsigned char *)p == SSL3_RT_APPLICATION_DATA)
        peer_records++;
}

static inline void peer_start(void)
{
    ck_assert_int_eq(fd_nonblock(peer), 0);
    peer_ssl = SSL_new(peer_ctx);
    SSL_set_fd(peer_ssl, peer);
    SSL_set_msg_callback(peer_ssl, peer_on_message);
    if (SSL_CTX_get_ssl_method(peer_ctx) == TLS_client_method())
        SSL_set_connect_state(peer_ssl);
    else
        SSL_set_accept_state(peer_ssl);
}

static inline void peer_name(const char *sni)
{
    ck_assert_int_eq(SSL_set_tlsext_host_name(peer_ssl, (char *)(uintptr_t)sni), 1);
}

/* 0 done; else what SSL_get_error says, WANT_ excepted: then the loop runs. */
static inline int peer_try(int r)
{
    int error = SSL_get_error(peer_ssl, r);

    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        return error;
    ck_assert_int_eq(loop_once(&loop, 1), 0);
    return -1;
}

/* SSL_ERROR_NONE, or how the handshake ended. */
static inline int peer_handshakes(void)
{
    int error;

    while ((error = peer_try(SSL_do_handshake(peer_ssl))) == -1)
        ;
    return error;
}

/* Both ends: ours says what on_connected told, which is expected to come. */
static inline int handshake(void)
{
    (void)peer_handshakes();
    ERR_clear_error();
    UNTIL(u.connected);
    return u.connect_error;
}

static inline void peer_says(const char *p, size_t n)
{
    size_t put;

    while (n > 0) {
        if (SSL_write_ex(peer_ssl, p, n, &put)) {
            p += put;
            n -= put;
        } else {
            ck_assert_int_eq(peer_try(0), -1);
        }
    }
}

/* What SSL_read says at last: n bytes that are expected, or why not: an SSL_ERROR_. */
static inline int peer_hears(const char *expected, size_t n)
{
    char buf[7001];
    size_t got = 0, more;

    while (got < n) {
        size_t max = n - got < sizeof buf ? n - got : sizeof buf;

        if (SSL_read_ex(peer_ssl, buf, max, &more)) {
            ck_assert_mem_eq(buf, expected + got, more);
            got += more;
        } else {
            int error = peer_try(0);
            if (error != -1)
                return error;
        }
    }
    return SSL_ERROR_NONE;
}

static inline int peer_hears_end(void)
{
    char byte;
    int error;

    while ((error = peer_try(SSL_read(peer_ssl, &byte, 1))) == -1)
        ;
    return error;
}

static inline void peer_free(void)
{
    SSL_free(peer_ssl);
    peer_ssl = NULL;
    peer_records = 0;
    ERR_clear_error();
}

/* ---- both ---- */

/* u.c accepted, or connected, and TLS begun; the peer's context is made and may be changed: then
 * peer_start, handshake. */
static inline void tls_open(bool is_client)
{
    struct bufq first;

    bufq_init(&first);
    open_tcp(is_client);
    u.connected = 0;
    if (is_client) {
        bool is_known;

        ck_assert_int_eq(conn_tls_accept(u.c, tls_front_find(w.front, SLICE_NONE, &is_known),
                                         &first), 0);
    } else {
        ck_assert_int_eq(conn_tls_connect(u.c, w.back, "a.example", SLICE_NONE, NULL), 0);
    }
    if (!peer_ctx)
        peer_context(is_client);
}

static inline void tls_setup(void)
{
    setup();
    world_init();
}

static inline void tls_teardown(void)
{
    peer_free();
    SSL_CTX_free(peer_ctx);
    peer_ctx = NULL;
    SSL_SESSION_free(peer_session);
    peer_session = NULL;
    world_fini();
    conn_close(&u.c);
    if (peer >= 0)
        close(peer);
    peer = -1;
    conn_pool_fini(&pool);
    tls_process_free(&w.process);
    ck_assert_uint_eq(pool.used, 0);
    ck_assert_uint_eq(bufs.demand.used, 0);
    buf_pool_fini(&bufs);
    loop_fini(&loop);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}

static inline int run_tls_tests(const char *name, const TTest *const *tests, size_t n)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_unchecked_fixture(tcase, identities_make, identities_free);
    tcase_add_checked_fixture(tcase, tls_setup, tls_teardown);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

#endif
