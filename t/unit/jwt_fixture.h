/* Keys and tokens, made as a test runs: signing is OpenSSL's. */
#ifndef RPD_UNIT_JWT_FIXTURE_H
#define RPD_UNIT_JWT_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include "common/base/arena.h"
#include "common/jwt/jwt.h"
#include "t/unit/unit.h"

#define NOW_S UINT64_C(1700000000)

static struct arena arena;

static inline void setup(void)
{
    arena_init(&arena, NULL);
}

static inline void teardown(void)
{
    arena_reset(&arena);
}

static inline struct slice b64url(const unsigned char *bytes, size_t n)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char *out = arena_alloc(&arena, n * 4 / 3 + 4);
    size_t length = 0;

    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i < 3 ? n - i : 3;
        uint32_t bits = 0;

        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < left ? bytes[i + k] : 0);
        for (size_t k = 0; k <= left; k++)
            out[length++] = digits[bits >> (18 - 6 * k) & 63];
    }
    return slice_of(out, length);
}

static inline struct slice b64url_text(const char *text)
{
    return b64url((const unsigned char *)text, strlen(text));
}

/* The public key as PEM. */
static inline struct slice pem_of(EVP_PKEY *key)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *bytes;
    long n;
    struct slice text;

    ck_assert_int_eq(PEM_write_bio_PUBKEY(out, key), 1);
    n = BIO_get_mem_data(out, &bytes);
    text = arena_dup(&arena, slice_of(bytes, (size_t)n));
    BIO_free(out);
    return text;
}

/* A signature as tokens have it: of ECDSA r and s, `half` bytes each. */
static inline struct slice raw_signature(const unsigned char *der, size_t n, size_t half)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)n);
    unsigned char *raw = arena_alloc(&arena, 2 * half);

    ck_assert_ptr_nonnull(sig);
    ck_assert_int_eq(BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int)half), (int)half);
    ck_assert_int_eq(BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + half, (int)half), (int)half);
    ECDSA_SIG_free(sig);
    return slice_of((char *)raw, 2 * half);
}

/* digest NULL: EdDSA. half 0: not ECDSA. */
static inline struct slice signature_of(EVP_PKEY *key, const char *digest, bool is_pss, size_t half,
                                        struct slice text)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *bytes = arena_alloc(&arena, 1024);
    EVP_PKEY_CTX *more;
    size_t n = 1024;

    ck_assert_int_eq(EVP_DigestSignInit_ex(context, &more, digest, NULL, NULL, key, NULL), 1);
    if (is_pss) {
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_padding(more, RSA_PKCS1_PSS_PADDING), 1);
        ck_assert_int_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(more, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    ck_assert_int_eq(
        EVP_DigestSign(context, bytes, &n, (const unsigned char *)text.p, text.n), 1);
    EVP_MD_CTX_free(context);
    return half ? raw_signature(bytes, n, half) : slice_of((char *)bytes, n);
}

struct signer {
    const char *alg, *digest;
    bool is_pss;
    size_t half;
    EVP_PKEY *key;
};

static inline struct slice token_of(const struct signer *s, const char *header, const char *claims)
{
    struct slice h = b64url_text(header), c = b64url_text(claims);
    struct slice text = arena_printf(&arena, "%.*s.%.*s", SLICE_ARG(h), SLICE_ARG(c));
    struct slice raw = signature_of(s->key, s->digest, s->is_pss, s->half, text);
    struct slice signature = b64url((const unsigned char *)raw.p, raw.n);

    return arena_printf(&arena, "%.*s.%.*s", SLICE_ARG(text), SLICE_ARG(signature));
}

static inline struct slice simple_token(const struct signer *s, const char *claims)
{
    return token_of(s, arena_printf(&arena, "{\"alg\":\"%s\"}", s->alg).p, claims);
}

static inline struct signer signer_of(const char *alg)
{
    if (strcmp(alg, "ES256") == 0)
        return (struct signer){ alg, "SHA256", false, 32, EVP_EC_gen("P-256") };
    if (strcmp(alg, "ES384") == 0)
        return (struct signer){ alg, "SHA384", false, 48, EVP_EC_gen("P-384") };
    if (strcmp(alg, "EdDSA") == 0)
        return (struct signer){ alg, NULL, false, 0, EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") };
    return (struct signer){ alg, arena_printf(&arena, "SHA%s", alg + 2).p, alg[0] == 'P', 0,
                            EVP_RSA_gen(2048) };
}

#endif
