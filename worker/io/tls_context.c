/* What all of OpenSSL's contexts here have in common, and what each of them carries with it. Called
 * by tls_front.c and tls_back.c. */
#include <openssl/err.h>
#include <stdlib.h>
#include "worker/io/tls_impl.h"

/* TLS 1.2: forward secrecy and authenticated encryption, nothing else. AES-128 before AES-256,
 * which costs a third more and is not broken any less; ChaCha20 for those who put it first, having
 * no AES in their processor (SSL_OP_PRIORITIZE_CHACHA). */
#define CIPHERS                                                      \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"     \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"     \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
/* To servers, which may be older than what is in front of them. */
#define CIPHERS_OLD ":HIGH:!aNULL:!eNULL:!MD5:!DSS:!PSK:!SRP:!CAMELLIA:!ARIA"
#define SUITES \
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
/* The first of these that this OpenSSL knows: a hybrid against quantum computers came with 3.5. */
#define GROUPS_HYBRID "X25519MLKEM768:" GROUPS
#define GROUPS "X25519:P-256:P-384"
#define OPTIONS                                                                          \
    (SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE | \
     SSL_OP_PRIORITIZE_CHACHA)

static int protocol_of(enum conf_tls_version v)
{
    switch (v) {
    case CONF_TLS_1_2: return TLS1_2_VERSION;
    case CONF_TLS_1_3: return TLS1_3_VERSION;
    }
    return TLS1_3_VERSION;
}

struct tls_site *tls_site_of(const SSL *ssl)
{
    const struct tls_conn *t = tls_conn_of(ssl);

    return SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), t->process->site_index);
}

void tls_site_free(void *ctx, void *value, CRYPTO_EX_DATA *data, int index, long number,
                   void *pointer)
{
    struct tls_site *s = value;

    (void)ctx;
    (void)data;
    (void)index;
    (void)number;
    (void)pointer;
    if (!s)
        return;
    tls_tickets_unref(&s->tickets);
    for (unsigned i = 0; i < TLS_KINDS; i++)
        free(s->staples[i].response);
    free(s->alpn);
    free(s);
}

static bool set_groups(SSL_CTX *ctx)
{
    if (SSL_CTX_set1_groups_list(ctx, (char *)(uintptr_t)GROUPS_HYBRID))
        return true;
    ERR_clear_error();
    return SSL_CTX_set1_groups_list(ctx, (char *)(uintptr_t)GROUPS);
}

SSL_CTX *tls_context_new(struct tls_process *p, bool is_server, enum conf_tls_version min,
                         struct tls_site **site)
{
    SSL_CTX *ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    struct tls_site *s = ctx ? calloc(1, sizeof *s) : NULL;

    if (!s || !SSL_CTX_set_ex_data(ctx, p->site_index, s)) {
        free(s);
        SSL_CTX_free(ctx);
        return NULL;
    }
    *site = s;
    s->tickets = tls_tickets_ref(p->tickets);
    SSL_CTX_set_options(ctx, OPTIONS);
    /* The chain is as configured: not to be looked for among CAs at each handshake. */
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(ctx, 1);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (SSL_CTX_set_min_proto_version(ctx, protocol_of(min))
        && SSL_CTX_set_cipher_list(ctx, is_server ? CIPHERS : CIPHERS CIPHERS_OLD)
        && SSL_CTX_set_ciphersuites(ctx, SUITES) && set_groups(ctx))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}
