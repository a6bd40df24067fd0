/* Certificates with their keys, and the CAs that peers are verified by. Called while a generation
 * is built.
 *
 * To parse one takes OpenSSL a quarter of a millisecond, and a worker serves nobody meanwhile. So
 * what the generation before has as well is not parsed again: the process knows what there is by a
 * digest of its text, for as long as some generation has it. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/mem.h"
#include "common/tls/keyring.h"
#include "worker/io/tls_impl.h"

const char *tls_openssl_error(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return text ? text : "out of memory";
}

/* ---- what is known already ---- */

/* `how` tells apart what one text can be made into. false: OpenSSL cannot. */
static bool digest_of(struct slice text, char how, unsigned char digest[TLS_DIGEST_SIZE])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool is_good = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL)
                   && EVP_DigestUpdate(md, &how, 1) && EVP_DigestUpdate(md, text.p, text.n)
                   && EVP_DigestFinal_ex(md, digest, NULL);

    EVP_MD_CTX_free(md);
    return is_good;
}

static struct slice key_of_digest(const unsigned char digest[TLS_DIGEST_SIZE])
{
    return slice_of((const char *)digest, TLS_DIGEST_SIZE);
}

/* ---- CAs ---- */

static void ca_free(struct tls_ca *ca)
{
    X509_STORE_free(ca->store);
    sk_X509_pop_free(ca->list, X509_free);
    free(ca);
}

static void ca_unref(struct tls_process *p, struct tls_ca *ca)
{
    if (--ca->refs > 0)
        return;
    (void)smap_remove(&p->cas, key_of_digest(ca->digest));
    ca_free(ca);
}

/* A certificate in the file is trusted, be it a root or not. */
static X509_STORE *store_of(STACK_OF(X509) *list)
{
    X509_STORE *store = X509_STORE_new();

    if (!store)
        return NULL;
    for (int i = 0; i < sk_X509_num(list); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(list, i)))
            continue;
        X509_STORE_free(store);
        return NULL;
    }
    (void)X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    return store;
}

static struct tls_ca *ca_parse(struct slice pem, char *why, size_t why_size)
{
    struct tls_ca *ca = xcalloc(1, sizeof *ca);

    ca->list = tls_certificates_parse(pem, why, why_size);
    if (ca->list && (ca->store = store_of(ca->list)) != NULL)
        return ca;
    if (ca->list)
        (void)snprintf(why, why_size, "%s", tls_openssl_error());
    ca_free(ca);
    return NULL;
}

const struct tls_ca *tls_certs_ca(struct tls_certs *certs, struct slice pem, char *why,
                                  size_t why_size)
{
    unsigned char digest[TLS_DIGEST_SIZE];
    struct tls_process *p = certs->process;
    struct tls_ca *ca;

    if (!digest_of(pem, 'c', digest)) {
        (void)snprintf(why, why_size, "%s", tls_openssl_error());
        return NULL;
    }
    ca = smap_get(&p->cas, key_of_digest(digest));
    if (!ca) {
        ca = ca_parse(pem, why, why_size);
        if (!ca)
            return NULL;
        memcpy(ca->digest, digest, sizeof digest);
        smap_put(&p->cas, key_of_digest(ca->digest), ca);
    }
    ca->refs++;
    *VEC_PUSH(&certs->cas) = ca;
    return ca;
}

/* ---- certificates ---- */

static void cert_free(struct tls_cert *cert)
{
    if (cert->chain.leaf)
        tls_chain_fini(&cert->chain);
    tls_names_fini(&cert->names);
    EVP_PKEY_free(cert->key);
    free(cert);
}

static void cert_unref(struct tls_process *p, struct tls_cert *cert)
{
    if (!cert || --cert->refs > 0)
        return;
    (void)smap_remove(&p->certs, key_of_digest(cert->digest));
    cert_free(cert);
}

/* Each kind of key has a place of its own in a context. */
static enum tls_kind kind_of(const X509 *leaf)
{
    switch (EVP_PKEY_get_base_id(X509_get0_pubkey(leaf))) {
    case EVP_PKEY_RSA: return TLS_KIND_RSA;
    case EVP_PKEY_EC: return TLS_KIND_EC;
    default: return TLS_KIND_OTHER;
    }
}

/* While the certificates of a generation are gathered. */
struct loading {
    struct tls_process *process;
    SSL_CTX *probe;      /* that takes what others will; made when it is needed */
    int keyring;         /* -1: private keys are elsewhere */
    struct keyring ring; /* opened when a key is needed that is not known */
    bool is_open;
    struct report *report;
    char why[TLS_WHY_MAX];
};

static EVP_PKEY *key_from_ring(struct loading *l, const struct tls_chain *chain)
{
    EVP_PKEY *key;

    if (!l->is_open && keyring_open(l->keyring, &l->ring) < 0) {
        (void)snprintf(l->why, sizeof l->why, "keyring: %s", strerror(errno));
        return NULL;
    }
    l->is_open = true;
    key = keyring_find(&l->ring, chain->key_id);
    if (key && EVP_PKEY_up_ref(key))
        return key;
    (void)snprintf(l->why, sizeof l->why, "it is not in the keyring");
    return NULL;
}

static EVP_PKEY *key_of(struct loading *l, const struct tls_chain *chain)
{
    const struct tls_keys *k = l->process->keys;

    if (l->keyring >= 0)
        return key_from_ring(l, chain);
    if (k && k->keys)
        return k->key(k->keys, chain->leaf, chain->key_id, l->why, sizeof l->why);
    (void)snprintf(l->why, sizeof l->why, "there is no keyring");
    return NULL;
}

/* OpenSSL has rules of its own (openssl-ciphers(1), SECLEVEL). */
static bool is_accepted(struct loading *l, const struct tls_cert *cert)
{
    struct tls_site *site;

    if (!l->probe)
        l->probe = tls_context_new(l->process, true, CONF_TLS_1_2, &site);
    return l->probe && tls_cert_use(cert, l->probe);
}

/* NULL, reported: it cannot be had. */
static struct tls_cert *cert_parse(struct loading *l, const struct conf_certificate *c)
{
    struct tls_cert *cert = xcalloc(1, sizeof *cert);

    cert->is_remote = l->keyring < 0;
    if (tls_chain_parse(&cert->chain, c->cert.content, l->why, sizeof l->why) < 0) {
        report_error_at(l->report, conf_place(&c->origin), "[certificate %s] cert: %s", c->name,
                        l->why);
        cert->chain.leaf = NULL;
        cert_free(cert);
        return NULL;
    }
    tls_names_of(cert->chain.leaf, &cert->names);
    cert->kind = kind_of(cert->chain.leaf);
    cert->key = key_of(l, &cert->chain);
    if (!cert->key)
        report_error_at(l->report, conf_place(&c->origin), "[certificate %s] key: %s", c->name,
                        l->why);
    else if (is_accepted(l, cert))
        return cert;
    else
        report_error_at(l->report, conf_place(&c->origin), "[certificate %s] cannot be used: %s",
                        c->name, tls_openssl_error());
    cert_free(cert);
    return NULL;
}

static struct tls_cert *cert_get(struct loading *l, const struct conf_certificate *c)
{
    unsigned char digest[TLS_DIGEST_SIZE];
    struct tls_cert *cert;

    if (!digest_of(c->cert.content, l->keyring < 0 ? 'r' : 'l', digest)) {
        report_error(l->report, "TLS: %s", tls_openssl_error());
        return NULL;
    }
    cert = smap_get(&l->process->certs, key_of_digest(digest));
    if (!cert) {
        cert = cert_parse(l, c);
        if (!cert)
            return NULL;
        memcpy(cert->digest, digest, sizeof digest);
        smap_put(&l->process->certs, key_of_digest(cert->digest), cert);
    }
    cert->refs++;
    return cert;
}

/* ---- a generation's ---- */

struct tls_certs *tls_certs_new(struct tls_process *p, const struct conf *conf, int keyring,
                                struct report *report)
{
    struct loading l = { .process = p, .keyring = keyring, .report = report };
    struct tls_certs *certs;
    bool is_good = true;

    if (tls_process_start(p) < 0) {
        report_error(report, "TLS: %s", tls_openssl_error());
        return NULL;
    }
    certs = xcalloc(1, sizeof *certs);
    certs->refs = 1;
    certs->process = p;
    certs->n = conf->ncertificates;
    certs->v = xcalloc(certs->n + 1, sizeof *certs->v);
    for (size_t i = 0; i < certs->n; i++) {
        certs->v[i] = cert_get(&l, &conf->certificates[i]);
        is_good &= certs->v[i] != NULL;
    }
    if (l.is_open)
        keyring_fini(&l.ring);
    SSL_CTX_free(l.probe);
    if (!is_good)
        tls_certs_unref(&certs);
    return certs;
}

struct tls_certs *tls_certs_ref(struct tls_certs *certs)
{
    certs->refs++;
    return certs;
}

void tls_certs_unref(struct tls_certs **cp)
{
    struct tls_certs *certs = *cp;

    *cp = NULL;
    if (!certs || --certs->refs > 0)
        return;
    for (size_t i = 0; i < certs->n; i++)
        cert_unref(certs->process, certs->v[i]);
    for (size_t i = 0; i < certs->cas.n; i++)
        ca_unref(certs->process, certs->cas.v[i]);
    VEC_FREE(&certs->cas);
    free(certs->v);
    free(certs);
}

const struct tls_cert *tls_certs_get(const struct tls_certs *certs,
                                     const struct conf_certificate *c)
{
    return certs->v[c->index];
}

bool tls_cert_use(const struct tls_cert *cert, SSL_CTX *ctx)
{
    return SSL_CTX_use_cert_and_key(ctx, cert->chain.leaf, cert->key, cert->chain.rest, 1) == 1;
}
