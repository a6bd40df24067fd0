/* Signing: keys_sign.h. Owns the contexts. Called by keys_channel.c, a channel's by one thread at a
 * time. */
#include "helper/keys_sign.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

static const char *kind_of(enum keys_scheme scheme)
{
    switch (scheme) {
    case KEYS_RSA_PKCS1:
    case KEYS_RSA_PSS:
        return "RSA";
    case KEYS_ECDSA:
        return "EC";
    case KEYS_ED25519:
        break;
    }
    return "ED25519";
}

/* ---- contexts ---- */

static bool set_up(EVP_PKEY_CTX *ctx, enum keys_scheme scheme, enum keys_digest digest)
{
    /* OpenSSL only reads it. */
    char *name = (char *)(uintptr_t)keys_digest_name(digest);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };

    if (EVP_PKEY_sign_init(ctx) <= 0
        || (scheme == KEYS_RSA_PSS
            && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) <= 0)
        || EVP_PKEY_CTX_set_params(ctx, params) <= 0)
        return false;
    return scheme != KEYS_RSA_PSS
           || EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) > 0;
}

static void empty(struct signer_context *c)
{
    EVP_PKEY_CTX_free(c->ctx);
    EVP_PKEY_free(c->key);
    *c = (struct signer_context){ .key = NULL };
}

/* One that is there, or a new one in place of the oldest; NULL: it cannot be made. */
static EVP_PKEY_CTX *context(struct signer *s, EVP_PKEY *key, const struct keys_request *r)
{
    struct signer_context *c;

    for (c = s->v; c < s->v + SIGNER_CONTEXTS; c++)
        if (c->key == key && c->scheme == r->scheme && c->digest == r->digest)
            return c->ctx;
    c = &s->v[s->next];
    s->next = (s->next + 1) % SIGNER_CONTEXTS;
    empty(c);
    if (!EVP_PKEY_is_a(key, kind_of(r->scheme)))
        return NULL;
    c->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    if (!c->ctx || !set_up(c->ctx, r->scheme, r->digest) || EVP_PKEY_up_ref(key) != 1) {
        empty(c);
        return NULL;
    }
    c->key = key;
    c->scheme = r->scheme;
    c->digest = r->digest;
    return c->ctx;
}

void signer_forget(struct signer *s)
{
    for (unsigned i = 0; i < SIGNER_CONTEXTS; i++)
        empty(&s->v[i]);
}

/* ---- signing ---- */

static const unsigned char *bytes(struct slice s)
{
    return (const unsigned char *)s.p;
}

/* The one that takes a message. */
static bool sign_ed25519(EVP_PKEY *key, struct slice message, unsigned char *out, size_t *n)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool is_done = ctx && EVP_PKEY_is_a(key, kind_of(KEYS_ED25519))
                   && EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) > 0
                   && EVP_DigestSign(ctx, out, n, bytes(message), message.n) > 0;

    EVP_MD_CTX_free(ctx);
    return is_done;
}

bool signer_sign(struct signer *s, EVP_PKEY *key, const struct keys_request *r, unsigned char *out,
                 size_t *n)
{
    EVP_PKEY_CTX *ctx;
    bool is_done;

    *n = KEYS_SIGNATURE_MAX;
    if (r->scheme == KEYS_ED25519)
        is_done = sign_ed25519(key, r->data, out, n);
    else {
        ctx = context(s, key, r);
        is_done = ctx && EVP_PKEY_sign(ctx, out, n, bytes(r->data), r->data.n) > 0;
    }
    ERR_clear_error();
    return is_done;
}
