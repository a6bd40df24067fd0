/* TLS to servers: a backend's context, and the sessions its servers gave us. Called by conn_tls.c
 * for each new connection, and by OpenSSL when a server issues a ticket. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "worker/io/tls_impl.h"

#define ALPN_MAX 255

struct tls_back {
    uint32_t refs;
    struct tls_certs *certs; /* what the next generation has as well is not parsed again */
    SSL_CTX *ctx;
    uint64_t settings; /* a hash of all that a session's worth depends on */
};

struct tls_resumption {
    uint32_t refs;
    SSL_SESSION *session; /* NULL: none yet */
    uint64_t made_for;    /* settings and name: a session is not verified again */
};

/* ---- sessions ---- */

struct tls_resumption *tls_resumption_new(void)
{
    struct tls_resumption *r = calloc(1, sizeof *r);

    if (r)
        r->refs = 1;
    return r;
}

struct tls_resumption *tls_resumption_ref(struct tls_resumption *r)
{
    if (r)
        r->refs++;
    return r;
}

void tls_resumption_unref(struct tls_resumption **rp)
{
    struct tls_resumption *r = *rp;

    *rp = NULL;
    if (!r || --r->refs > 0)
        return;
    SSL_SESSION_free(r->session);
    free(r);
}

/* OpenSSL's callback; 1: the session is ours. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_conn *t = tls_conn_of(ssl);

    if (!t->resumption)
        return 0;
    SSL_SESSION_free(t->resumption->session);
    t->resumption->session = session;
    t->resumption->made_for = t->made_for;
    return 1;
}

/* ---- a new connection ---- */

static bool is_address(const char *name)
{
    struct in6_addr room;

    return inet_pton(AF_INET, name, &room) == 1 || inet_pton(AF_INET6, name, &room) == 1;
}

static bool expect_name(SSL *ssl, const char *name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    if (!*name)
        return SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE;
    if (is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(param, name);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, (char *)(uintptr_t)name)
           && X509_VERIFY_PARAM_set1_host(param, name, 0);
}

static bool offer(SSL *ssl, struct slice alpn)
{
    unsigned char wire[1 + ALPN_MAX];

    if (alpn.n == 0)
        return true;
    if (alpn.n > ALPN_MAX)
        return false;
    wire[0] = (unsigned char)alpn.n;
    memcpy(wire + 1, alpn.p, alpn.n);
    return SSL_set_alpn_protos(ssl, wire, 1 + (unsigned)alpn.n) == 0;
}

/* A copy: OpenSSL takes care that a session of TLS 1.3 is used once, which is for clients who do
 * not want to be recognised, and here would cost all but one of those that connect at a time. */
static int resume(SSL *ssl, const SSL_SESSION *session)
{
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    int ok = copy ? SSL_set_session(ssl, copy) : 0;

    SSL_SESSION_free(copy);
    return ok ? 0 : -1;
}

int tls_back_prepare(const struct tls_back *b, struct tls_conn *t, const char *name,
                     struct slice alpn)
{
    struct tls_resumption *r = t->resumption;
    uint64_t made_of[2] = { b->settings, hash_bytes(name, strlen(name)) };

    t->made_for = hash_bytes(made_of, sizeof made_of);
    if (!expect_name(t->ssl, name) || !offer(t->ssl, alpn))
        return -1;
    return r && r->session && r->made_for == t->made_for ? resume(t->ssl, r->session) : 0;
}

SSL_CTX *tls_back_context(const struct tls_back *b)
{
    return b->ctx;
}

/* ---- life ---- */

static uint64_t hash_settings(const struct conf_backend *backend, struct slice ca,
                              const struct tls_cert *cert)
{
    uint64_t parts[3] = { backend->tls_verify, hash_bytes(ca.p, ca.n),
                          cert ? hash_bytes(cert->chain.key_id, TLS_KEY_ID_SIZE) : 0 };

    return hash_bytes(parts, sizeof parts);
}

static bool verify_servers(SSL_CTX *ctx, const struct conf_backend *backend, struct slice pem,
                           struct tls_certs *certs, struct report *report)
{
    char why[TLS_WHY_MAX];
    const struct tls_ca *ca;

    if (!backend->tls_verify)
        return true;
    ca = tls_certs_ca(certs, pem, why, sizeof why);
    if (!ca) {
        report_error(report, "[backend %s] tls_ca: %s", backend->name, why);
        return false;
    }
    SSL_CTX_set1_cert_store(ctx, ca->store);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return true;
}

static bool show_certificate(SSL_CTX *ctx, struct tls_site *site, const struct tls_cert *cert,
                             const struct conf_backend *backend, struct report *report)
{
    if (!cert)
        return true;
    site->is_remote = cert->is_remote;
    if (tls_cert_use(cert, ctx))
        return true;
    report_error(report, "[backend %s] tls_certificate: %s", backend->name, tls_openssl_error());
    return false;
}

struct tls_back *tls_back_new(struct tls_process *p, const struct conf *conf,
                              const struct conf_backend *backend, struct tls_certs *certs,
                              struct report *report)
{
    const struct tls_cert *cert =
        backend->tls_certificate ? tls_certs_get(certs, backend->tls_certificate) : NULL;
    struct slice ca = *backend->tls_ca.path ? backend->tls_ca.content : conf->system_ca;
    struct tls_back *b = xcalloc(1, sizeof *b);
    struct tls_site *site;

    b->refs = 1;
    b->certs = tls_certs_ref(certs);
    b->settings = hash_settings(backend, ca, cert);
    b->ctx = tls_context_new(p, false, CONF_TLS_1_2, &site);
    if (!b->ctx) {
        report_error(report, "[backend %s] TLS: %s", backend->name, tls_openssl_error());
        tls_back_unref(&b);
        return NULL;
    }
    (void)SSL_CTX_set_session_cache_mode(b->ctx,
                                         SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(b->ctx, on_session);
    if (!verify_servers(b->ctx, backend, ca, certs, report)
        || !show_certificate(b->ctx, site, cert, backend, report))
        tls_back_unref(&b);
    return b;
}

bool tls_back_is_same(const struct tls_back *a, const struct tls_back *b)
{
    return a && b ? a->settings == b->settings : a == b;
}

struct tls_back *tls_back_ref(struct tls_back *b)
{
    b->refs++;
    return b;
}

void tls_back_unref(struct tls_back **bp)
{
    struct tls_back *b = *bp;

    *bp = NULL;
    if (!b || --b->refs > 0)
        return;
    SSL_CTX_free(b->ctx);
    tls_certs_unref(&b->certs);
    free(b);
}
