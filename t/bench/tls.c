/* TLS for the benchmark: tls.h. Called by floor and load; owns its SSL objects, no socket. */
#include "t/bench/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "t/bench/net.h"

#define NAME "bench"
#define READ_AHEAD (64 << 10)
/* Of TLS 1.3; what browsers offer first. The same for all proxies. */
#define CIPHER "TLS_AES_128_GCM_SHA256"

struct tls_side {
    SSL_CTX *ctx;
    BIO_METHOD *socket;
    bool is_server;
    SSL_SESSION *session; /* of the last ticket, if sessions are resumed */
};

struct tls {
    SSL *ssl;
    int fd;
    bool is_server;
    bool is_drained; /* the socket, as far as is known */
    bool is_end;     /* is in the socket, behind what else is: no event will tell again */
    bool is_offered; /* a session */
};

/* ---- the socket, as OpenSSL sees it ---- */

static int socket_read(BIO *bio, char *bytes, int n)
{
    struct tls *tls = BIO_get_data(bio);
    ssize_t got = -1;

    BIO_clear_retry_flags(bio);
    errno = EAGAIN;
    if (!tls->is_drained) {
        got = recv(tls->fd, bytes, (size_t)n, 0);
        tls->is_drained = got > 0 ? got < n && !tls->is_end : got < 0 && errno == EAGAIN;
    }
    if (got < 0 && errno == EAGAIN)
        BIO_set_retry_read(bio);
    return (int)got;
}

static int socket_write(BIO *bio, const char *bytes, int n)
{
    struct tls *tls = BIO_get_data(bio);
    ssize_t done = send(tls->fd, bytes, (size_t)n, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (done < 0 && errno == EAGAIN)
        BIO_set_retry_write(bio);
    return (int)done;
}

static long socket_control(BIO *bio, int command, long number, void *p)
{
    (void)bio;
    (void)number;
    (void)p;
    return command == BIO_CTRL_FLUSH; /* nothing is ever held back */
}

/* ---- sides ---- */

static _Noreturn void fail(const char *what)
{
    ERR_print_errors_fp(stderr);
    errno = EPROTO;
    net_fail(what);
}

static struct tls_side *side_new(const SSL_METHOD *method, bool is_server)
{
    struct tls_side *side = net_grow(NULL, sizeof *side);

    *side = (struct tls_side){ .is_server = is_server };
    side->ctx = SSL_CTX_new(method);
    side->socket = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    if (!side->ctx || !side->socket || !BIO_meth_set_read(side->socket, socket_read) ||
        !BIO_meth_set_write(side->socket, socket_write) ||
        !BIO_meth_set_ctrl(side->socket, socket_control))
        fail("TLS");
    (void)SSL_CTX_set_mode(side->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                           SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_set_ciphersuites(side->ctx, CIPHER) != 1)
        fail("TLS");
    SSL_CTX_set_read_ahead(side->ctx, 1);
    SSL_CTX_set_default_read_buffer_len(side->ctx, READ_AHEAD);
    return side;
}

struct tls_side *tls_server_new(const char *pem)
{
    struct tls_side *side = side_new(TLS_server_method(), true);

    if (SSL_CTX_use_certificate_chain_file(side->ctx, pem) != 1 ||
        SSL_CTX_use_PrivateKey_file(side->ctx, pem, SSL_FILETYPE_PEM) != 1)
        fail(pem);
    (void)SSL_CTX_set_session_cache_mode(side->ctx, SSL_SESS_CACHE_OFF);
    return side;
}

/* A ticket has come; true: the session is kept. */
static int ticket(SSL *ssl, SSL_SESSION *session)
{
    struct tls_side *side = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    SSL_SESSION_free(side->session);
    side->session = session;
    return 1;
}

struct tls_side *tls_client_new(bool is_resuming)
{
    struct tls_side *side = side_new(TLS_client_method(), false);

    if (SSL_CTX_set_min_proto_version(side->ctx, TLS1_3_VERSION) != 1 ||
        !SSL_CTX_set_app_data(side->ctx, side))
        fail("TLS");
    (void)SSL_CTX_set_session_cache_mode(side->ctx, SSL_SESS_CACHE_CLIENT |
                                         SSL_SESS_CACHE_NO_INTERNAL);
    if (is_resuming)
        SSL_CTX_sess_set_new_cb(side->ctx, ticket);
    return side;
}

/* ---- connections ---- */

/* A copy: OpenSSL takes care that a client offers each ticket once. */
static void offer(struct tls *tls, const struct tls_side *side)
{
    SSL_SESSION *session = SSL_SESSION_dup(side->session);

    if (!session || SSL_set_session(tls->ssl, session) != 1)
        fail("TLS");
    SSL_SESSION_free(session);
    tls->is_offered = true;
}

struct tls *tls_new(struct tls_side *side, int fd)
{
    struct tls *tls = net_grow(NULL, sizeof *tls);
    BIO *bio = BIO_new(side->socket);

    *tls = (struct tls){ .ssl = SSL_new(side->ctx), .fd = fd, .is_server = side->is_server };
    if (!tls->ssl || !bio)
        fail("TLS");
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    if (side->is_server) {
        SSL_set_accept_state(tls->ssl);
        return tls;
    }
    SSL_set_connect_state(tls->ssl);
    if (SSL_set_tlsext_host_name(tls->ssl, (char *)(uintptr_t)NAME) != 1)
        fail("TLS");
    if (side->session)
        offer(tls, side);
    return tls;
}

void tls_free(struct tls **tls)
{
    struct tls *t = *tls;

    *tls = NULL;
    if (!t)
        return;
    if (!t->is_server && SSL_is_init_finished(t->ssl))
        (void)SSL_shutdown(t->ssl);
    SSL_free(t->ssl);
    ERR_clear_error();
    free(t);
}

void tls_event(struct tls *tls, bool is_end)
{
    tls->is_drained = false;
    tls->is_end = is_end;
}

bool tls_is_as_meant(const struct tls *tls)
{
    return SSL_session_reused(tls->ssl) == tls->is_offered;
}

/* What a call that did nothing means to those who know read(2) and write(2). */
static ssize_t nothing(struct tls *tls, int result)
{
    int error = SSL_get_error(tls->ssl, result);

    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    ERR_clear_error();
    return -1;
}

/* OpenSSL gives and takes a record a call. What ended the last call after some ends the next. */
ssize_t tls_read(struct tls *tls, void *bytes, size_t n)
{
    char *at = bytes;
    size_t all = 0, got;

    while (all < n) {
        int result = SSL_read_ex(tls->ssl, at + all, n - all, &got);

        if (result <= 0) {
            ssize_t end = nothing(tls, result);

            return all > 0 ? (ssize_t)all : end;
        }
        all += got;
    }
    return (ssize_t)all;
}

ssize_t tls_write(struct tls *tls, const void *bytes, size_t n)
{
    const char *at = bytes;
    size_t all = 0, done;

    while (all < n) {
        int result = SSL_write_ex(tls->ssl, at + all, n - all, &done);

        if (result <= 0) {
            ssize_t end = nothing(tls, result);

            return all > 0 ? (ssize_t)all : end;
        }
        all += done;
    }
    return (ssize_t)all;
}
