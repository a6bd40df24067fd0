/* Certificates in PEM and what they say of themselves. Called by who checks a configuration, by the
 * master (dates and names for statistics) and by workers (contexts). */
#include "common/tls/chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include "common/base/mem.h"

#define RSA_BITS_MIN 2048
#define SECURITY_BITS_MIN 112 /* of a signature: SHA-1 has fewer */

/* ---- PEM ---- */

/* What a file without a certificate may be. */
static const char *no_certificate(struct slice pem)
{
    static const char request[] = "-----BEGIN CERTIFICATE REQUEST";

    if (pem.n == 0)
        return "it is empty";
    if (pem.p[0] == 0x30) /* a SEQUENCE */
        return "no PEM: it looks like DER (openssl x509 -inform DER makes PEM of it)";
    if (memmem(pem.p, pem.n, request, sizeof request - 1))
        return "no certificate in it, but a request for one";
    return "no certificate in it (PEM)";
}

/* The error queue's own words, for what no other word is found. */
static const char *openssl_reason(unsigned long error)
{
    const char *reason = ERR_reason_error_string(error);

    return reason ? reason : "it makes no sense";
}

static bool is_end(unsigned long error)
{
    return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

/* Nobody is there to be asked for a password. */
static int no_password(char *buf, int size, int is_writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)is_writing;
    (void)arg;
    return -1;
}

/* Reads to the end; false with a reason at a malformed one. */
static bool read_all(BIO *bio, STACK_OF(X509) *list, char *why, size_t why_size)
{
    X509 *x;

    while ((x = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        if (sk_X509_push(list, x) == 0)
            abort(); /* as xmalloc */
    }

    unsigned long error = ERR_peek_last_error();
    ERR_clear_error();
    if (is_end(error))
        return true;
    snprintf(why, why_size, "certificate %d of it is malformed: %s", sk_X509_num(list) + 1,
             openssl_reason(error));
    return false;
}

STACK_OF(X509) *tls_certificates_parse(struct slice pem, char *why, size_t why_size)
{
    BIO *bio = BIO_new_mem_buf(pem.n > 0 ? pem.p : "", (int)pem.n);
    STACK_OF(X509) *list = sk_X509_new_null();
    bool is_good;

    if (!bio || !list)
        abort();
    ERR_clear_error();
    is_good = read_all(bio, list, why, why_size);
    if (is_good && sk_X509_num(list) == 0) {
        snprintf(why, why_size, "%s", no_certificate(pem));
        is_good = false;
    }
    BIO_free(bio);
    if (is_good)
        return list;
    sk_X509_pop_free(list, X509_free);
    return NULL;
}

int tls_chain_parse(struct tls_chain *chain, struct slice pem, char *why, size_t why_size)
{
    *chain = (struct tls_chain){ .leaf = NULL };
    chain->rest = tls_certificates_parse(pem, why, why_size);
    if (!chain->rest)
        return -1;
    chain->leaf = sk_X509_shift(chain->rest);
    tls_key_id(chain->leaf, chain->key_id);
    return 0;
}

void tls_chain_fini(struct tls_chain *chain)
{
    X509_free(chain->leaf);
    sk_X509_pop_free(chain->rest, X509_free);
    *chain = (struct tls_chain){ .leaf = NULL };
}

/* ---- what a certificate says ---- */

void tls_key_id(const X509 *leaf, unsigned char id[TLS_KEY_ID_SIZE])
{
    unsigned char *der = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(leaf), &der);

    if (n < 0)
        abort();
    SHA256(der, (size_t)n, id);
    OPENSSL_free(der);
}

static uint64_t time_us(const ASN1_TIME *at)
{
    struct tm tm;
    time_t s;

    if (!ASN1_TIME_to_tm(at, &tm))
        return 0;
    s = timegm(&tm);
    return s > 0 ? (uint64_t)s * 1000000 : 0;
}

uint64_t tls_not_before_us(const X509 *certificate)
{
    return time_us(X509_get0_notBefore(certificate));
}

uint64_t tls_not_after_us(const X509 *certificate)
{
    return time_us(X509_get0_notAfter(certificate));
}

const char *tls_subject(const X509 *certificate, char *out, size_t size)
{
    const unsigned long flags = XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB;
    BIO *bio = BIO_new(BIO_s_mem());
    int n = 0;

    if (!bio)
        abort();
    if (X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, flags) >= 0)
        n = BIO_read(bio, out, (int)size - 1);
    out[n > 0 ? n : 0] = '\0';
    BIO_free(bio);
    return out;
}

/* ---- names ---- */

static bool is_name_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Takes what can be a host's name, or "*." and one; bytes of any kind come in. */
static void add_name(struct tls_names *names, const unsigned char *p, size_t n)
{
    size_t i = n > 2 && p[0] == '*' && p[1] == '.' ? 2 : 0;
    char *name;

    if (n == 0 || n > 255)
        return;
    name = xstrndup((const char *)p, n);
    for (size_t k = 0; k < n; k++)
        name[k] = ascii_lower(name[k]);
    while (i < n && is_name_char((unsigned char)name[i]))
        i++;
    if (i < n) {
        free(name);
        return;
    }
    names->v = xrealloc(names->v, (names->n + 1) * sizeof *names->v);
    names->v[names->n++] = name;
}

/* true: there are dNSNames, so that the common name does not count. */
static bool add_alternative_names(const X509 *leaf, struct tls_names *names)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    bool has_some = false;

    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(all, i);

        if (name->type != GEN_DNS)
            continue;
        has_some = true;
        add_name(names, ASN1_STRING_get0_data(name->d.dNSName),
                 (size_t)ASN1_STRING_length(name->d.dNSName));
    }
    GENERAL_NAMES_free(all);
    return has_some;
}

static void add_common_name(const X509 *leaf, struct tls_names *names)
{
    const X509_NAME *subject = X509_get_subject_name(leaf);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *text = NULL;
    int n;

    if (at < 0)
        return;
    n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (n > 0)
        add_name(names, text, (size_t)n);
    OPENSSL_free(text);
}

void tls_names_of(const X509 *leaf, struct tls_names *names)
{
    *names = (struct tls_names){ NULL, 0 };
    if (!add_alternative_names(leaf, names))
        add_common_name(leaf, names);
    ERR_clear_error();
}

void tls_names_fini(struct tls_names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->v[i]);
    free(names->v);
    *names = (struct tls_names){ NULL, 0 };
}

bool tls_names_match(const struct tls_names *names, struct slice host)
{
    size_t dot = slice_find(host, '.');
    struct slice above = slice_of(host.p + dot, host.n - dot);

    for (size_t i = 0; i < names->n; i++) {
        struct slice name = slice_str(names->v[i]);

        if (slice_eq(name, host))
            return true;
        if (slice_starts(name, SLICE("*.")) && dot > 0 &&
            slice_eq(slice_of(name.p + 1, name.n - 1), above))
            return true;
    }
    return false;
}

/* ---- chains ---- */

X509 *tls_chain_at(const struct tls_chain *chain, size_t i)
{
    return i == 0 ? chain->leaf : sk_X509_value(chain->rest, (int)i - 1);
}

size_t tls_chain_count(const struct tls_chain *chain)
{
    return (size_t)sk_X509_num(chain->rest) + 1;
}

size_t tls_chain_break(const struct tls_chain *chain)
{
    size_t i = 0;

    while (i + 1 < tls_chain_count(chain) &&
           X509_check_issued(tls_chain_at(chain, i + 1), tls_chain_at(chain, i)) == X509_V_OK)
        i++;
    return i;
}

/* ---- what is too weak ---- */

static bool curve_is_usable(const EVP_PKEY *key, char *why, size_t why_size)
{
    char group[64] = "of no known name";
    size_t n;

    (void)EVP_PKEY_get_group_name(key, group, sizeof group, &n);
    if (strcmp(group, SN_X9_62_prime256v1) == 0 || strcmp(group, SN_secp384r1) == 0 ||
        strcmp(group, SN_secp521r1) == 0)
        return true;
    snprintf(why, why_size, "its key is of the curve %s, which clients do not take: P-256, P-384 "
             "and P-521 are taken", group);
    return false;
}

bool tls_key_is_usable(const X509 *leaf, char *why, size_t why_size)
{
    const EVP_PKEY *key = X509_get0_pubkey(leaf);

    if (!key) {
        ERR_clear_error();
        snprintf(why, why_size, "its key cannot be read");
        return false;
    }
    if (EVP_PKEY_is_a(key, "EC"))
        return curve_is_usable(key, why, why_size);
    if (EVP_PKEY_is_a(key, "ED25519"))
        return true;
    if (!EVP_PKEY_is_a(key, "RSA")) {
        snprintf(why, why_size, "its key is of the kind %s: RSA, EC and ED25519 can be used",
                 EVP_PKEY_get0_type_name(key) ? EVP_PKEY_get0_type_name(key) : "unknown");
        return false;
    }
    if (EVP_PKEY_get_bits(key) >= RSA_BITS_MIN)
        return true;
    snprintf(why, why_size, "its RSA key has %d bits: clients take %d and more",
             EVP_PKEY_get_bits(key), RSA_BITS_MIN);
    return false;
}

bool tls_signature_is_usable(X509 *certificate, char *why, size_t why_size)
{
    int digest = NID_undef, bits = -1;

    /* Of one that is its own issuer nobody looks at the signature. */
    if (X509_get_extension_flags(certificate) & EXFLAG_SS)
        return true;
    if (!X509_get_signature_info(certificate, &digest, NULL, &bits, NULL) ||
        bits >= SECURITY_BITS_MIN)
        return true;
    snprintf(why, why_size, "it is signed with %s, which clients do not take",
             digest == NID_undef ? "something weak" : OBJ_nid2sn(digest));
    return false;
}
