/* Handshakes between accept and whoever serves: done, failed, given up, without memory. */
#include "t/unit/proxy_fixture.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include "common/tls/keyring.h"

#define GET "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static SSL_CTX *ctx;

/* a.pem in the current directory, its key in the keyring. */
static void make_certificate(void)
{
    struct keyring_key key = { .key = EVP_EC_gen("P-256") };
    X509 *x = X509_new();
    X509_NAME *name = X509_get_subject_name(x);
    FILE *f = fopen("a.pem", "w");

    ck_assert(key.key && x && f);
    X509_set_version(x, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(x), -10);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400 * 90L);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"a.test", -1, -1,
                               0);
    X509_set_issuer_name(x, name);
    X509_set_pubkey(x, key.key);
    ck_assert_int_gt(X509_sign(x, key.key, EVP_sha256()), 0);
    ck_assert_int_eq(PEM_write_X509(f, x), 1);
    fclose(f);
    tls_key_id(x, key.id);
    keyring = keyring_write(&key, 1);
    ck_assert_int_ge(keyring, 0);
    EVP_PKEY_free(key.key);
    X509_free(x);
}

static void begin(const char *listener)
{
    char text[2048];

    snprintf(text, sizeof text,
             "[listener web]\nbind = 127.0.0.1:1\ntls = on\ncertificate = a\n%s\n"
             "[certificate a]\ncert = a.pem\nkey = a.key\n[route r]\nlistener = web\n"
             "backend = b\n[backend b]\nserver = %%0 name=s0\n", listener);
    proxy_setup();
    make_certificate();
    load(text);
    ctx = SSL_CTX_new(TLS_client_method());
    ck_assert_ptr_nonnull(ctx);
}

static void end(void)
{
    proxy_end();
    SSL_CTX_free(ctx);
    fd_close(&keyring);
    ERR_clear_error();
}

static struct stats_listener *stats(void)
{
    return STATS_SLOT(seg, listener, "web", 0);
}

/* ---- a client ---- */

static SSL *client_new(int *fd)
{
    SSL *ssl = SSL_new(ctx);

    *fd = connect_client();
    SSL_set_fd(ssl, *fd);
    SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)"a.test");
    SSL_set_connect_state(ssl);
    return ssl;
}

static void client_free(SSL *ssl, int fd)
{
    SSL_free(ssl);
    close(fd);
    ERR_clear_error();
}

/* Is there more to wait for? The loop has run then. */
static bool is_waiting(const SSL *ssl, int r)
{
    int error = SSL_get_error(ssl, r);

    if (r > 0 || (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE))
        return false;
    ck_assert_int_eq(loop_once(&px.loop, 2), 0);
    return true;
}

static bool shakes_hands(SSL *ssl)
{
    int r;

    while (is_waiting(ssl, r = SSL_do_handshake(ssl)))
        ;
    return r == 1;
}

static bool hears(SSL *ssl, const char *text)
{
    size_t n = strlen(text), at = 0;
    char got[256];

    while (at < n) {
        int r = SSL_read(ssl, got + at, (int)(n - at));

        if (r > 0)
            at += (size_t)r;
        else if (!is_waiting(ssl, r))
            return false;
    }
    return memcmp(got, text, n) == 0;
}

static void says(SSL *ssl, const char *text)
{
    ck_assert_int_eq(SSL_write(ssl, text, (int)strlen(text)), (int)strlen(text));
}

/* Reads what our side says; the server's turn is another's. */
static void drain(int s, size_t n)
{
    char sink[512];

    while (n > 0) {
        ssize_t r = read(s, sink, n < sizeof sink ? n : sizeof sink);

        ck_assert(r > 0 || (r < 0 && errno == EAGAIN));
        n -= r > 0 ? (size_t)r : 0;
        spin(1);
    }
}

/* ---- tests ---- */

START_TEST(http_and_tcp_within)
{
    SSL *ssl;
    int c, s;

    begin("");
    ssl = client_new(&c);
    ck_assert(shakes_hands(ssl));
    says(ssl, GET);
    s = accept_at(0);
    read_head(s);
    HAS("X-Forwarded-Proto: https\r\n");
    say(s, OK);
    ck_assert(hears(ssl, "HTTP/1.1 200 OK\r\n"));
    client_free(ssl, c);
    close(s);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(stats()->tls_handshakes, 1);
    ck_assert_uint_eq(stats()->tls_v13, 1);
    end();
    begin("mode = tcp");
    ssl = client_new(&c);
    ck_assert(shakes_hands(ssl));
    says(ssl, "hello");
    s = accept_at(0);
    expect(s, "hello");
    say(s, "bye");
    ck_assert(hears(ssl, "bye"));
    client_free(ssl, c);
    close(s);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(stats()->requests_total, 1);
    end();
}
END_TEST

START_TEST(given_up_on_the_way)
{
    SSL *ssl;
    int c;

    begin("timeout_header = 50ms");
    ssl = client_new(&c);
    ck_assert_int_le(SSL_do_handshake(ssl), 0);
    UNTIL(px.gate.open == 0); /* our flight is there; nothing comes back */
    ck_assert_uint_eq(stats()->tls_failed_timeout, 1);
    ck_assert_uint_eq(stats()->tls_failed, 1);
    client_free(ssl, c);
    end();
    begin("");
    ssl = client_new(&c);
    ck_assert_int_le(SSL_do_handshake(ssl), 0);
    spin(1);
    reset_fd(c);
    SSL_free(ssl);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(stats()->tls_failed_closed, 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL); /* and it trusts nobody */
    ssl = client_new(&c);
    ck_assert(!shakes_hands(ssl));
    client_free(ssl, c);
    UNTIL(px.gate.open == 0);
    ck_assert_uint_eq(stats()->tls_failed_alert, 1);
    ck_assert_uint_eq(stats()->tls_failed, 2);
    ck_assert_uint_eq(stats()->tls_handshakes, 0);
    ssl = client_new(&c); /* one is left when the worker ends */
    ck_assert_int_le(SSL_do_handshake(ssl), 0);
    spin(2);
    end();
    client_free(ssl, c);
}
END_TEST

START_TEST(a_reload_in_the_middle)
{
    SSL *ssl;
    int c;

    begin("");
    ssl = client_new(&c);
    ck_assert_int_le(SSL_do_handshake(ssl), 0);
    spin(2);
    for (unsigned i = 0; i < 20; i++)
        load("[listener web]\nbind = 127.0.0.1:1\n[route r]\nrespond = 200 new\n");
    ck_assert(shakes_hands(ssl));
    says(ssl, GET);
    ck_assert(hears(ssl, "HTTP/1.1 200 OK\r\n"));
    client_free(ssl, c);
    UNTIL(px.gate.open == 0);
    end();
}
END_TEST

/* With ever more buffers to be had, until it works: no way to fail leaves anything behind. */
START_TEST(buffers_at_their_end)
{
    bool is_done = false;

    for (size_t max = 1; !is_done; max++) {
        SSL *ssl;
        int c, s;

        begin("mode = tcp");
        px.bufs.used_max = max;
        struct buf *held = buf_get(&px.bufs); /* used_max 0 is no limit */
        ssl = client_new(&c);
        if (shakes_hands(ssl)) {
            says(ssl, "hello");
            s = accept_at(0);
            UNTIL(px.gate.open == 0 || STATS_SLOT(seg, server, "b/s0", 0)->bytes_out == 5);
            if (px.gate.open == 1) {
                drain(s, 5);
                say(s, "bye");
                is_done = hears(ssl, "bye");
            }
            close(s);
        }
        client_free(ssl, c);
        UNTIL(px.gate.open == 0);
        buf_put(&held);
        end();
        ck_assert_uint_lt(max, 20);
    }
}
END_TEST

UNIT_MAIN("front_tls", http_and_tcp_within, given_up_on_the_way, a_reload_in_the_middle,
          buffers_at_their_end)
