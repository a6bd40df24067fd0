/* Certificates made in memory. */
#ifndef RPD_UNIT_CERT_FIXTURE_H
#define RPD_UNIT_CERT_FIXTURE_H

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include "common/base/slice.h"
#include "t/unit/unit.h"

#define DAY_S (24 * 3600L)

struct identity {
    EVP_PKEY *key;
    X509 *cert;
    struct slice pem;
};

static inline void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ck_assert_ptr_nonnull(e);
    ck_assert_int_eq(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static inline struct slice pem_of(X509 *x)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *p;
    long n;

    ck_assert_int_eq(PEM_write_bio_X509(b, x), 1);
    n = BIO_get_mem_data(b, &p);
    p = memcpy(malloc((size_t)n + 1), p, (size_t)n);
    BIO_free(b);
    return slice_of(p, (size_t)n);
}

/* What is left out is usual: a P-256 key, from ten days ago until in 90, SHA-256. */
struct identity_spec {
    const char *kind;  /* "EC", "RSA", "ED25519", ... */
    const char *curve; /* EC */
    unsigned bits;     /* RSA */
    const char *cn, *names;        /* names as in a subjectAltName; NULL: none */
    const struct identity *issuer; /* NULL: itself */
    bool is_ca;
    long begin_s, end_s;           /* from now */
    const EVP_MD *digest;
};

static inline EVP_PKEY *key_make(const struct identity_spec *spec)
{
    if (!spec->kind || strcmp(spec->kind, "EC") == 0)
        return EVP_EC_gen(spec->curve ? spec->curve : "P-256");
    if (strcmp(spec->kind, "RSA") == 0)
        return EVP_RSA_gen(spec->bits ? spec->bits : 2048);
    return EVP_PKEY_Q_keygen(NULL, NULL, spec->kind);
}

static inline void sign_as(X509 *x, const struct identity_spec *spec, EVP_PKEY *own)
{
    EVP_PKEY *key = spec->issuer ? spec->issuer->key : own;
    const EVP_MD *digest = spec->digest ? spec->digest : EVP_sha256();

    ck_assert_int_gt(X509_sign(x, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : digest), 0);
}

static inline struct identity identity_make_as(const struct identity_spec *spec)
{
    static long serial = 1;
    struct identity id = { .key = key_make(spec), .cert = X509_new() };
    const X509 *issuer = spec->issuer ? spec->issuer->cert : id.cert;
    X509_NAME *name;

    ck_assert(id.key && id.cert);
    X509_set_version(id.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(id.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(id.cert), spec->begin_s ? spec->begin_s : -10 * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(id.cert), spec->end_s ? spec->end_s : 90 * DAY_S);
    X509_set_pubkey(id.cert, id.key);
    name = X509_get_subject_name(id.cert);
    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"rpd", -1, -1, 0);
    if (spec->cn)
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)spec->cn, -1,
                                   -1, 0);
    X509_set_issuer_name(id.cert, X509_get_subject_name(issuer));
    add_extension(id.cert, spec->issuer ? spec->issuer->cert : id.cert, NID_basic_constraints,
                  spec->is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (spec->names)
        add_extension(id.cert, id.cert, NID_subject_alt_name, spec->names);
    sign_as(id.cert, spec, id.key);
    id.pem = pem_of(id.cert);
    return id;
}

/* kind "EC" or "RSA"; names as in a subjectAltName, NULL: none; issuer NULL: itself, a CA. */
static inline struct identity identity_make(const char *kind, const char *cn, const char *names,
                                            const struct identity *issuer, long end_s)
{
    return identity_make_as(&(struct identity_spec){ .kind = kind, .cn = cn, .names = names,
                                                     .issuer = issuer, .is_ca = !issuer,
                                                     .end_s = end_s });
}

/* The private key, with a password or (NULL) without; free()d by the caller. */
static inline struct slice key_pem_of(EVP_PKEY *key, const char *password)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *p;
    long n;

    ck_assert_int_eq(PEM_write_bio_PrivateKey(b, key, password ? EVP_aes_128_cbc() : NULL, NULL,
                                              0, NULL, (void *)(uintptr_t)password), 1);
    n = BIO_get_mem_data(b, &p);
    p = memcpy(malloc((size_t)n + 1), p, (size_t)n);
    BIO_free(b);
    return slice_of(p, (size_t)n);
}

static inline void identity_free(struct identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
    free((char *)(uintptr_t)id->pem.p);
}

#endif
