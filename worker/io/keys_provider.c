/* A provider of OpenSSL's whose private keys are in `rpd: keys`: what provider-keymgmt(7) and
 * provider-signature(7) ask for, as far as TLS uses it (digest_sign, in one go). Called by OpenSSL,
 * within handshakes. Has no state of its own: what a key needs, it holds.
 *
 * A key's public half is one of the default provider's, which answers all that is public. The
 * private half is never exported, so that OpenSSL, which tries the default provider's signatures
 * first, comes to ours. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/proverr.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include "worker/io/keys_impl.h"

#define NAME "rpd"
#define DEFAULTS "provider=default"
#define PRIVATE_PARAM "rpd-private" /* a struct private, by which we make our keys */

/* OpenSSL keeps a table of functions of every type. */
#define FN(f) ((void (*)(void))(f))

struct private {
    struct keys *keys;
    unsigned char id[KEYS_ID_SIZE];
};

enum kind { KIND_RSA, KIND_EC, KIND_ED25519 };
static const char *const kind_names[] = { "RSA", "EC", "ED25519" };

struct key {
    enum kind kind;
    EVP_PKEY *public;
    struct private private; /* keys NULL: there is none */
};

/* ---- keys ---- */

static void *key_new(enum kind kind)
{
    struct key *key = calloc(1, sizeof *key);

    if (key)
        key->kind = kind;
    return key;
}

static void *key_new_rsa(void *provider)
{
    (void)provider;
    return key_new(KIND_RSA);
}

static void *key_new_ec(void *provider)
{
    (void)provider;
    return key_new(KIND_EC);
}

static void *key_new_ed25519(void *provider)
{
    (void)provider;
    return key_new(KIND_ED25519);
}

static void key_free(void *p)
{
    struct key *key = p;

    if (!key)
        return;
    if (key->private.keys)
        key->private.keys->nkeys--;
    EVP_PKEY_free(key->public);
    free(key);
}

static int key_has(const void *p, int selection)
{
    const struct key *key = p;

    return key->public
           && (!(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) || key->private.keys);
}

static int key_match(const void *a, const void *b, int selection)
{
    (void)selection; /* who has the same public half is the same */
    return EVP_PKEY_eq(((const struct key *)a)->public, ((const struct key *)b)->public) == 1;
}

static EVP_PKEY *import_public(enum kind kind, const OSSL_PARAM params[])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind_names[kind], DEFAULTS);
    OSSL_PARAM *copy = OSSL_PARAM_dup(params); /* fromdata wants them mutable */
    EVP_PKEY *public = NULL;

    if (!ctx || !copy || EVP_PKEY_fromdata_init(ctx) <= 0
        || EVP_PKEY_fromdata(ctx, &public, EVP_PKEY_PUBLIC_KEY, copy) <= 0)
        public = NULL;
    OSSL_PARAM_free(copy);
    EVP_PKEY_CTX_free(ctx);
    return public;
}

static int key_import(void *p, int selection, const OSSL_PARAM params[])
{
    const OSSL_PARAM *private = OSSL_PARAM_locate_const(params, PRIVATE_PARAM);
    struct key *key = p;

    if (private && private->data_size == sizeof key->private) {
        memcpy(&key->private, private->data, sizeof key->private);
        key->private.keys->nkeys++;
    } else if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
        return 0; /* a private key of another's is no business of ours */
    key->public = import_public(key->kind, params);
    return key->public != NULL;
}

static int key_export(void *p, int selection, OSSL_CALLBACK *callback, void *arg)
{
    const struct key *key = p;
    OSSL_PARAM *params = NULL;
    int ok;

    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY)
        || EVP_PKEY_todata(key->public, EVP_PKEY_PUBLIC_KEY, &params) <= 0)
        return 0;
    ok = callback(params, arg);
    OSSL_PARAM_free(params);
    return ok;
}

static const OSSL_PARAM *key_exchanged(int selection)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_octet_string(PRIVATE_PARAM, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)selection;
    return params;
}

static int key_get_params(void *p, OSSL_PARAM params[])
{
    return EVP_PKEY_get_params(((const struct key *)p)->public, params);
}

static const OSSL_PARAM *key_gettable(void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provider;
    return params;
}

static const char *ec_operation(int operation)
{
    return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

#define KEY_FUNCTIONS(make)                                     \
    { OSSL_FUNC_KEYMGMT_NEW, FN(make) },                        \
    { OSSL_FUNC_KEYMGMT_FREE, FN(key_free) },                   \
    { OSSL_FUNC_KEYMGMT_HAS, FN(key_has) },                     \
    { OSSL_FUNC_KEYMGMT_MATCH, FN(key_match) },                 \
    { OSSL_FUNC_KEYMGMT_IMPORT, FN(key_import) },               \
    { OSSL_FUNC_KEYMGMT_IMPORT_TYPES, FN(key_exchanged) },      \
    { OSSL_FUNC_KEYMGMT_EXPORT, FN(key_export) },               \
    { OSSL_FUNC_KEYMGMT_EXPORT_TYPES, FN(key_exchanged) },      \
    { OSSL_FUNC_KEYMGMT_GET_PARAMS, FN(key_get_params) },       \
    { OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, FN(key_gettable) }

static const OSSL_DISPATCH rsa_functions[] = { KEY_FUNCTIONS(key_new_rsa), { 0, NULL } };
static const OSSL_DISPATCH ed25519_functions[] = { KEY_FUNCTIONS(key_new_ed25519), { 0, NULL } };
static const OSSL_DISPATCH ec_functions[] = {
    KEY_FUNCTIONS(key_new_ec),
    { OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, FN(ec_operation) },
    { 0, NULL },
};

/* ---- signatures ---- */

struct signing {
    const struct key *key; /* OpenSSL holds it meanwhile */
    enum keys_digest digest;
    bool is_pss;
};

static void *signing_new(void *provider, const char *properties)
{
    (void)provider;
    (void)properties;
    return calloc(1, sizeof(struct signing));
}

static void *signing_dup(void *p)
{
    struct signing *copy = malloc(sizeof *copy);

    if (copy)
        memcpy(copy, p, sizeof *copy);
    return copy;
}

/* TLS spells it "SHA256" and "SHA2-256". */
static bool is_digest(enum keys_digest d, const char *name)
{
    const char *ours = keys_digest_name(d);

    return strcasecmp(name, ours) == 0
           || (d > KEYS_SHA1 && strncasecmp(name, "SHA", 3) == 0
               && strcmp(name + 3, ours + 5) == 0);
}

static bool find_digest(const char *name, enum keys_digest *digest)
{
    for (enum keys_digest d = KEYS_DIGEST_NONE + 1; d < KEYS_DIGESTS; d++)
        if (is_digest(d, name)) {
            *digest = d;
            return true;
        }
    return false;
}

static bool is_padding(const OSSL_PARAM *p, int number, const char *name)
{
    int n;

    if (p->data_type == OSSL_PARAM_UTF8_STRING)
        return strcmp(p->data, name) == 0;
    return OSSL_PARAM_get_int(p, &n) && n == number;
}

/* The one length that TLS has. */
static bool is_digest_length(const OSSL_PARAM *p)
{
    int n;

    if (p->data_type == OSSL_PARAM_UTF8_STRING)
        return strcmp(p->data, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) == 0;
    return OSSL_PARAM_get_int(p, &n) && n == RSA_PSS_SALTLEN_DIGEST;
}

static int signing_set(void *ctx, const OSSL_PARAM params[])
{
    struct signing *s = ctx;
    const OSSL_PARAM *p;

    if (!params)
        return 1;
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    if (p) {
        s->is_pss = is_padding(p, RSA_PKCS1_PSS_PADDING, OSSL_PKEY_RSA_PAD_MODE_PSS);
        if (!s->is_pss && !is_padding(p, RSA_PKCS1_PADDING, OSSL_PKEY_RSA_PAD_MODE_PKCSV15))
            return 0;
    }
    p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
    return !p || is_digest_length(p);
}

static const OSSL_PARAM *signing_settable(void *ctx, void *provider)
{
    static const OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provider;
    return params;
}

static int signing_init(void *ctx, const char *digest, void *key, const OSSL_PARAM params[])
{
    bool has_digest = digest && *digest;
    struct signing *s = ctx;

    if (key)
        s->key = key;
    if (!s->key || !s->key->private.keys)
        return 0;
    s->is_pss = false;
    s->digest = KEYS_DIGEST_NONE;
    if (has_digest == (s->key->kind == KIND_ED25519)
        || (has_digest && !find_digest(digest, &s->digest))) {
        ERR_raise(ERR_LIB_PROV, PROV_R_INVALID_DIGEST);
        return 0;
    }
    return signing_set(ctx, params);
}

static enum keys_scheme scheme_of(const struct signing *s)
{
    switch (s->key->kind) {
    case KIND_RSA:
        return s->is_pss ? KEYS_RSA_PSS : KEYS_RSA_PKCS1;
    case KIND_EC:
        return KEYS_ECDSA;
    case KIND_ED25519:
        break;
    }
    return KEYS_ED25519;
}

/* The worker makes the digest: a handshake's transcript stays here. */
static bool make_digest(struct keys *k, enum keys_digest digest, struct slice message,
                        unsigned char out[KEYS_DIGEST_MAX])
{
    return EVP_DigestInit_ex2(k->digest_ctx, k->digests[digest], NULL) > 0
           && EVP_DigestUpdate(k->digest_ctx, message.p, message.n) > 0
           && EVP_DigestFinal_ex(k->digest_ctx, out, NULL) > 0;
}

static int signing_sign(void *ctx, unsigned char *signature, size_t *n, size_t room,
                        const unsigned char *message, size_t message_n)
{
    const struct signing *s = ctx;
    struct keys *k = s->key->private.keys;
    unsigned char digest[KEYS_DIGEST_MAX];
    struct key_op op = {
        .request = {
            .scheme = scheme_of(s),
            .digest = s->digest,
            .key = s->key->private.id,
            .data = slice_of((const char *)message, message_n),
        },
        .signature = signature,
        .signature_max = room,
    };

    *n = (size_t)EVP_PKEY_get_size(s->key->public);
    if (!signature)
        return 1;
    if (s->digest != KEYS_DIGEST_NONE) {
        if (!make_digest(k, s->digest, op.request.data, digest))
            return 0;
        op.request.data = slice_of((const char *)digest, keys_digest_size(s->digest));
    }
    if (message_n > KEYS_MESSAGE_MAX || !keys_ask(k, &op)) {
        ERR_raise(ERR_LIB_PROV, PROV_R_FAILED_TO_SIGN);
        return 0;
    }
    *n = op.signature_n;
    return 1;
}

static const OSSL_DISPATCH signing_functions[] = {
    { OSSL_FUNC_SIGNATURE_NEWCTX, FN(signing_new) },
    { OSSL_FUNC_SIGNATURE_FREECTX, FN(free) },
    { OSSL_FUNC_SIGNATURE_DUPCTX, FN(signing_dup) },
    { OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, FN(signing_init) },
    { OSSL_FUNC_SIGNATURE_DIGEST_SIGN, FN(signing_sign) },
    { OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, FN(signing_set) },
    { OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, FN(signing_settable) },
    { 0, NULL },
};

/* ---- the provider ---- */

#define RSA_NAMES "RSA:rsaEncryption:1.2.840.113549.1.1.1"
#define ED25519_NAMES "ED25519:1.3.101.112"
#define PROPERTIES "provider=" NAME

static const OSSL_ALGORITHM key_kinds[] = {
    { RSA_NAMES, PROPERTIES, rsa_functions, NULL },
    { "EC:id-ecPublicKey:1.2.840.10045.2.1", PROPERTIES, ec_functions, NULL },
    { ED25519_NAMES, PROPERTIES, ed25519_functions, NULL },
    { NULL, NULL, NULL, NULL },
};
static const OSSL_ALGORITHM signatures[] = {
    { RSA_NAMES, PROPERTIES, signing_functions, NULL },
    { "ECDSA", PROPERTIES, signing_functions, NULL },
    { ED25519_NAMES, PROPERTIES, signing_functions, NULL },
    { NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
    (void)provider;
    *no_cache = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT:
        return key_kinds;
    case OSSL_OP_SIGNATURE:
        return signatures;
    default: /* OpenSSL's numbers */
        return NULL;
    }
}

static int on_load(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core,
                   const OSSL_DISPATCH **functions, void **provider)
{
    static const OSSL_DISPATCH table[] = {
        { OSSL_FUNC_PROVIDER_QUERY_OPERATION, FN(query) },
        { 0, NULL },
    };

    (void)core;
    *functions = table;
    *provider = (void *)(uintptr_t)handle; /* anything but NULL */
    return 1;
}

int keys_provider_init(struct keys *k)
{
    /* Ours must not be the first: it would be tried for keys that are not ours. */
    k->defaults = OSSL_PROVIDER_load(NULL, "default");
    if (!k->defaults || OSSL_PROVIDER_add_builtin(NULL, NAME, on_load) != 1
        || !(k->provider = OSSL_PROVIDER_load(NULL, NAME)))
        return -1;
    for (enum keys_digest d = KEYS_DIGEST_NONE + 1; d < KEYS_DIGESTS; d++)
        if (!(k->digests[d] = EVP_MD_fetch(NULL, keys_digest_name(d), DEFAULTS)))
            return -1;
    k->digest_ctx = EVP_MD_CTX_new();
    return k->digest_ctx ? 0 : -1;
}

void keys_provider_fini(struct keys *k)
{
    EVP_MD_CTX_free(k->digest_ctx);
    for (enum keys_digest d = KEYS_DIGEST_NONE + 1; d < KEYS_DIGESTS; d++)
        EVP_MD_free(k->digests[d]);
    if (k->provider)
        (void)OSSL_PROVIDER_unload(k->provider);
    if (k->defaults)
        (void)OSSL_PROVIDER_unload(k->defaults);
    k->provider = k->defaults = NULL;
}

/* ---- a key ---- */

static EVP_PKEY *make_key(const EVP_PKEY *public, struct private *private)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, EVP_PKEY_get0_type_name(public),
                                                   PROPERTIES);
    OSSL_PARAM own[] = {
        OSSL_PARAM_octet_string(PRIVATE_PARAM, private, sizeof *private),
        OSSL_PARAM_END,
    };
    OSSL_PARAM *half = NULL, *both = NULL;
    EVP_PKEY *key = NULL;

    if (!ctx || EVP_PKEY_todata(public, EVP_PKEY_PUBLIC_KEY, &half) <= 0
        || !(both = OSSL_PARAM_merge(half, own)) || EVP_PKEY_fromdata_init(ctx) <= 0
        || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, both) <= 0)
        key = NULL;
    OSSL_PARAM_free(both);
    OSSL_PARAM_free(half);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

EVP_PKEY *keys_key(struct keys *k, const X509 *leaf, const unsigned char *id, char *why,
                   size_t why_size)
{
    const EVP_PKEY *public = X509_get0_pubkey(leaf);
    struct private private = { .keys = k };
    EVP_PKEY *key = NULL;

    memcpy(private.id, id, sizeof private.id);
    if (keys_start(k) != 0)
        (void)snprintf(why, why_size, "OpenSSL cannot use keys of another process here: "
                       "key_process = off does without");
    else if (!public || !(key = make_key(public, &private)))
        (void)snprintf(why, why_size, "keys of its kind cannot be in another process");
    ERR_clear_error();
    return key;
}
