/* Keys for tokens, from PEM and from JWK sets, and the check of a signature by one of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include "common/base/base64.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/jwt/jwt_impl.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 16384
#define NUMBER_MAX (RSA_BITS_MAX / 8) /* bytes of a number in a JWK */

static const struct algorithm {
    struct slice name;
    const char *digest; /* NULL: the algorithm has its own */
    size_t half;        /* bytes of r and of s in an ECDSA signature, else 0 */
    bool is_pss;
} algorithms[JWT_ALGORITHMS] = {
    [JWT_RS256] = { SLICE_INIT("RS256"), "SHA256", 0, false },
    [JWT_RS384] = { SLICE_INIT("RS384"), "SHA384", 0, false },
    [JWT_RS512] = { SLICE_INIT("RS512"), "SHA512", 0, false },
    [JWT_PS256] = { SLICE_INIT("PS256"), "SHA256", 0, true },
    [JWT_ES256] = { SLICE_INIT("ES256"), "SHA256", 32, false },
    [JWT_ES384] = { SLICE_INIT("ES384"), "SHA384", 48, false },
    [JWT_EDDSA] = { SLICE_INIT("EdDSA"), NULL, 0, false },
};

#define BIT(algorithm) (UINT32_C(1) << (algorithm))

enum jwt_algorithm jwt_algorithm_of(struct slice name)
{
    unsigned i = 0;

    while (i < JWT_ALGORITHMS && !slice_eq(name, algorithms[i].name))
        i++;
    return (enum jwt_algorithm)i;
}

/* ---- the keyring ---- */

struct jwt_keys *jwt_keys_new(void)
{
    struct jwt_keys *keys = xcalloc(1, sizeof *keys);

    keys->context = EVP_MD_CTX_new();
    if (!keys->context)
        abort(); /* as xcalloc */
    return keys;
}

void jwt_keys_free(struct jwt_keys **keys)
{
    if (!*keys)
        return;
    for (size_t i = 0; i < (*keys)->n; i++) {
        EVP_PKEY_free((*keys)->v[i].key);
        free((*keys)->v[i].kid);
    }
    EVP_MD_CTX_free((*keys)->context);
    free((*keys)->v);
    free(*keys);
    *keys = NULL;
}

size_t jwt_keys_count(const struct jwt_keys *keys)
{
    return keys->n;
}

static bool curve_is(const EVP_PKEY *key, const char *name)
{
    char group[64];

    return EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
           strcmp(group, name) == 0;
}

/* What a key of its kind verifies; 0 with a reason. */
static uint32_t algorithms_of(const EVP_PKEY *key, char why[JWT_WHY_MAX])
{
    int bits = EVP_PKEY_get_bits(key);

    if (EVP_PKEY_is_a(key, "RSA")) {
        if (bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX)
            return BIT(JWT_RS256) | BIT(JWT_RS384) | BIT(JWT_RS512) | BIT(JWT_PS256);
        snprintf(why, JWT_WHY_MAX, "an RSA key of %d bits: %d to %d are taken", bits, RSA_BITS_MIN,
                 RSA_BITS_MAX);
        return 0;
    }
    if (EVP_PKEY_is_a(key, "EC") && curve_is(key, "prime256v1"))
        return BIT(JWT_ES256);
    if (EVP_PKEY_is_a(key, "EC") && curve_is(key, "secp384r1"))
        return BIT(JWT_ES384);
    if (EVP_PKEY_is_a(key, "ED25519"))
        return BIT(JWT_EDDSA);
    snprintf(why, JWT_WHY_MAX, "a key of a kind that signs no tokens here: RSA, EC (P-256, P-384) "
             "and Ed25519 do");
    return 0;
}

/* Takes the key and kid over. `only`: the algorithms that it is said to be for. false with a
 * reason: freed. */
static bool add(struct jwt_keys *keys, EVP_PKEY *key, char *kid, uint32_t only,
                char why[JWT_WHY_MAX])
{
    uint32_t can = algorithms_of(key, why);

    if (can && !(can & only)) {
        snprintf(why, JWT_WHY_MAX, "a key's `alg` is not of its kind");
        can = 0;
    }
    if (!can) {
        EVP_PKEY_free(key);
        free(kid);
        return false;
    }
    *VEC_PUSH(keys) = (struct jwt_key){ key, kid, can & only };
    return true;
}

/* ---- PEM ---- */

/* NULL: what the block holds is no public key and no certificate. */
static EVP_PKEY *key_of_block(const char *name, const unsigned char *der, long n)
{
    EVP_PKEY *key = NULL;
    X509 *certificate;

    if (strcmp(name, PEM_STRING_PUBLIC) == 0)
        return d2i_PUBKEY(NULL, &der, n);
    if (strcmp(name, PEM_STRING_RSA_PUBLIC) == 0)
        return d2i_PublicKey(EVP_PKEY_RSA, NULL, &der, n);
    if (strcmp(name, PEM_STRING_X509) == 0 && (certificate = d2i_X509(NULL, &der, n))) {
        key = X509_get_pubkey(certificate);
        X509_free(certificate);
    }
    return key;
}

static bool add_block(struct jwt_keys *keys, const char *name, const unsigned char *der, long n,
                      char why[JWT_WHY_MAX])
{
    EVP_PKEY *key;

    if (strstr(name, "PRIVATE KEY")) {
        snprintf(why, JWT_WHY_MAX, "it holds a private key, which is the issuer's alone: `openssl "
                 "pkey -pubout` gives the public one");
        return false;
    }
    key = key_of_block(name, der, n);
    if (key)
        return add(keys, key, NULL, UINT32_MAX, why);
    snprintf(why, JWT_WHY_MAX, "a block `%.60s` that is no public key and no certificate", name);
    return false;
}

static bool add_pem(struct jwt_keys *keys, struct slice file, char why[JWT_WHY_MAX])
{
    BIO *in = BIO_new_mem_buf(file.p, (int)file.n);
    size_t before = keys->n;
    bool is_good = in != NULL;
    unsigned char *der;
    char *name, *header;
    long n;

    snprintf(why, JWT_WHY_MAX, "no public key, no certificate (PEM) and no JWK set in it");
    while (is_good && PEM_read_bio(in, &name, &header, &der, &n) == 1) {
        is_good = add_block(keys, name, der, n, why);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)n);
    }
    ERR_clear_error();
    BIO_free(in);
    return is_good && keys->n > before;
}

/* ---- JWK (RFC 7517, 7518 6, 8037) ---- */

/* A member's string, unescaped, NUL-terminated, to be freed; NULL: there is none. */
static char *text_of(struct slice object, const char *name)
{
    struct json_value value;
    struct slice key;

    while (json_next_member(&object, &key, &value)) {
        char *text;

        if (!json_name_is(key, slice_str(name)) || value.kind != JSON_STRING)
            continue;
        text = xmalloc(value.text.n + 1);
        text[json_unescape(value.text, text)] = '\0';
        return text;
    }
    return NULL;
}

static bool text_is(struct slice object, const char *name, const char *expected)
{
    char *text = text_of(object, name);
    bool is_it = text && strcmp(text, expected) == 0;

    free(text);
    return is_it;
}

/* A member in base64url. 0: there is none, or it is too long. */
static size_t bytes_of(struct slice object, const char *name, unsigned char out[NUMBER_MAX + 3])
{
    char *text = text_of(object, name);
    size_t n = 0;

    if (text && (strlen(text) > (NUMBER_MAX + 2) / 3 * 4 ||
                 !base64_read(BASE64_URL, slice_str(text), out, &n)))
        n = 0;
    free(text);
    return n <= NUMBER_MAX ? n : 0;
}

static EVP_PKEY *key_of_params(const char *kind, OSSL_PARAM_BLD *build)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY *key = NULL;

    if (!context || !params || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(context);
    return key;
}

static EVP_PKEY *rsa_of(struct slice object)
{
    unsigned char n[NUMBER_MAX + 3], e[NUMBER_MAX + 3];
    size_t nn = bytes_of(object, "n", n), ne = bytes_of(object, "e", e);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *modulus = BN_bin2bn(n, (int)nn, NULL), *exponent = BN_bin2bn(e, (int)ne, NULL);
    EVP_PKEY *key = NULL;

    if (build && modulus && exponent && nn > 0 && ne > 0 && ne <= 8 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        key = key_of_params("RSA", build);
    OSSL_PARAM_BLD_free(build);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

static EVP_PKEY *ec_of(struct slice object)
{
    static const struct {
        const char *crv, *group;
        size_t n;
    } curves[] = { { "P-256", "prime256v1", 32 }, { "P-384", "secp384r1", 48 } };
    unsigned char x[NUMBER_MAX + 3], y[NUMBER_MAX + 3], point[1 + 2 * 48];
    size_t nx = bytes_of(object, "x", x), ny = bytes_of(object, "y", y);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;

    for (size_t i = 0; build && i < sizeof curves / sizeof *curves; i++) {
        if (!text_is(object, "crv", curves[i].crv) || nx != curves[i].n || ny != nx)
            continue;
        point[0] = POINT_CONVERSION_UNCOMPRESSED;
        memcpy(point + 1, x, nx);
        memcpy(point + 1 + nx, y, ny);
        if (OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curves[i].group,
                                            0) == 1 &&
            OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point,
                                             1 + nx + ny) == 1)
            key = key_of_params("EC", build);
    }
    OSSL_PARAM_BLD_free(build);
    return key;
}

static EVP_PKEY *ed25519_of(struct slice object)
{
    unsigned char x[NUMBER_MAX + 3];
    size_t n = bytes_of(object, "x", x);

    return n == 32 ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, n) : NULL;
}

/* For verifying signatures (RFC 7517 4.2), and of a kind that is known: the others of a set are
 * nobody's mistake (RFC 7517 5). */
static bool is_for_us(struct slice object)
{
    char *use = text_of(object, "use");
    bool is_ours = !use || strcmp(use, "sig") == 0;

    free(use);
    if (!is_ours || text_is(object, "kty", "RSA"))
        return is_ours;
    if (text_is(object, "kty", "EC"))
        return text_is(object, "crv", "P-256") || text_is(object, "crv", "P-384");
    return text_is(object, "kty", "OKP") && text_is(object, "crv", "Ed25519");
}

/* UINT32_MAX: it says nothing; 0: an algorithm that is not known here. */
static uint32_t said_algorithm(struct slice object)
{
    char *name = text_of(object, "alg");
    enum jwt_algorithm algorithm = name ? jwt_algorithm_of(slice_str(name)) : JWT_ALGORITHMS;
    uint32_t only = !name ? UINT32_MAX : algorithm == JWT_ALGORITHMS ? 0 : BIT(algorithm);

    free(name);
    return only;
}

static bool add_jwk(struct jwt_keys *keys, struct slice object, char why[JWT_WHY_MAX])
{
    uint32_t only = said_algorithm(object);
    EVP_PKEY *key;

    if (!is_for_us(object) || only == 0)
        return true;
    if (text_is(object, "kty", "RSA"))
        key = rsa_of(object);
    else
        key = text_is(object, "kty", "EC") ? ec_of(object) : ed25519_of(object);
    ERR_clear_error();
    if (key)
        return add(keys, key, text_of(object, "kid"), only, why);
    snprintf(why, JWT_WHY_MAX, "a key of the JWK set is malformed");
    return false;
}

static bool add_jwks(struct jwt_keys *keys, struct slice file, char why[JWT_WHY_MAX])
{
    size_t before = keys->n;
    struct json_value all, value, item;
    struct slice members, name, items = SLICE_NONE;

    snprintf(why, JWT_WHY_MAX, "it is no JWK set: not JSON, or no object");
    if (!json_read(file, &all) || all.kind != JSON_OBJECT)
        return false;
    for (members = all.text; json_next_member(&members, &name, &value);)
        if (json_name_is(name, SLICE("keys")) && value.kind == JSON_ARRAY)
            items = value.text;
    if (!items.p && !add_jwk(keys, all.text, why))
        return false;
    while (items.p && json_next_item(&items, &item))
        if (item.kind == JSON_OBJECT && !add_jwk(keys, item.text, why))
            return false;
    if (keys->n == before)
        snprintf(why, JWT_WHY_MAX, "none of its keys can be used: RSA, EC (P-256, P-384) and "
                 "Ed25519 for signatures can");
    return keys->n > before;
}

bool jwt_keys_add(struct jwt_keys *keys, struct slice file, char why[JWT_WHY_MAX])
{
    struct slice text = file;

    while (text.n > 0 && memchr(" \t\r\n", text.p[0], 4))
        text = slice_of(text.p + 1, text.n - 1);
    return text.n > 0 && text.p[0] == '{' ? add_jwks(keys, file, why) : add_pem(keys, file, why);
}

/* ---- signatures ---- */

/* r and s, one behind the other (RFC 7518 3.4), as OpenSSL wants them. -1: no memory. */
static int der_of(const unsigned char *raw, size_t half, unsigned char **der)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)half, NULL), *s = BN_bin2bn(raw + half, (int)half, NULL);
    int n = -1;

    *der = NULL;
    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        n = i2d_ECDSA_SIG(sig, der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return n;
}

static bool verify(struct jwt_keys *keys, const struct jwt_key *key, const struct algorithm *a,
                   struct slice text, const unsigned char *signature, size_t n)
{
    EVP_PKEY_CTX *context;
    bool is_good;

    is_good = EVP_DigestVerifyInit_ex(keys->context, &context, a->digest, NULL, NULL, key->key,
                                      NULL) == 1;
    if (is_good && a->is_pss)
        is_good = EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
                  EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
    is_good = is_good && EVP_DigestVerify(keys->context, signature, n,
                                          (const unsigned char *)text.p, text.n) == 1;
    (void)EVP_MD_CTX_reset(keys->context);
    ERR_clear_error();
    return is_good;
}

bool jwt_signature_is_good(struct jwt_keys *keys, const struct jwt_key *key,
                           enum jwt_algorithm algorithm, struct slice text,
                           const unsigned char *signature, size_t n)
{
    const struct algorithm *a = &algorithms[algorithm];
    unsigned char *der;
    bool is_good;
    int der_n;

    if (a->half == 0)
        return verify(keys, key, a, text, signature, n);
    if (n != 2 * a->half)
        return false;
    der_n = der_of(signature, a->half, &der);
    is_good = der_n > 0 && verify(keys, key, a, text, der, (size_t)der_n);
    OPENSSL_free(der);
    return is_good;
}
