/* A generation's certificates with their keys, and the CAs that it verifies by, each parsed once.
 * Called while a generation is built. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/mem.h"
#include "common/tls/keyring.h"
#include "worker/io/tls_impl.h"

static struct report_place place_of(const struct conf_certificate *c)
{
    return (struct report_place){ c->origin.file, c->origin.line, c->origin.chain };
}

const char *tls_openssl_error(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return text ? text : "out of memory";
}

void tls_report_failure(struct report *report, const struct conf_certificate *c)
{
    report_error_at(report, place_of(c), "[certificate %s] cannot be used: %s", c->name,
                    tls_openssl_error());
}

/* ---- CAs ---- */

static void ca_free(struct tls_ca *ca)
{
    X509_STORE_free(ca->store);
    sk_X509_pop_free(ca->list, X509_free);
    free(ca);
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

const struct tls_ca *tls_certs_ca(struct tls_certs *certs, struct slice pem, char *why,
                                  size_t why_size)
{
    struct tls_ca *ca;

    for (size_t i = 0; i < certs->cas.n; i++)
        if (slice_eq(certs->cas.v[i]->pem, pem))
            return certs->cas.v[i];
    ca = xcalloc(1, sizeof *ca);
    ca->pem = pem;
    ca->list = tls_certificates_parse(pem, why, why_size);
    if (ca->list && (ca->store = store_of(ca->list)) != NULL) {
        *VEC_PUSH(&certs->cas) = ca;
        return ca;
    }
    if (ca->list)
        (void)snprintf(why, why_size, "%s", tls_openssl_error());
    ca_free(ca);
    return NULL;
}

/* ---- certificates ---- */

static EVP_PKEY *key_of(const struct tls_process *p, const struct keyring *ring,
                        const struct tls_chain *chain, char *why, size_t why_size)
{
    EVP_PKEY *key;

    if (!ring && p->keys)
        return p->keys->key(p->keys->keys, chain->leaf, chain->key_id, why, why_size);
    key = ring ? keyring_find(ring, chain->key_id) : NULL;
    if (key && EVP_PKEY_up_ref(key))
        return key;
    (void)snprintf(why, why_size, "it is not in the keyring");
    return NULL;
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

static void load(struct tls_process *p, struct tls_cert *cert, const struct conf_certificate *c,
                 const struct keyring *ring, struct report *report)
{
    char why[TLS_WHY_MAX];

    cert->conf = c;
    if (tls_chain_parse(&cert->chain, c->cert.content, why, sizeof why) < 0) {
        report_error_at(report, place_of(c), "[certificate %s] cert: %s", c->name, why);
        return;
    }
    tls_names_of(cert->chain.leaf, &cert->names);
    cert->kind = kind_of(cert->chain.leaf);
    cert->is_remote = !ring;
    cert->key = key_of(p, ring, &cert->chain, why, sizeof why);
    if (!cert->key)
        report_error_at(report, place_of(c), "[certificate %s] key: %s", c->name, why);
}

struct tls_certs *tls_certs_new(struct tls_process *p, const struct conf *conf,
                                const struct keyring *ring, struct report *report)
{
    unsigned before = report->errors;
    struct tls_certs *certs;

    if (tls_process_start(p) < 0) {
        report_error(report, "TLS: %s", tls_openssl_error());
        return NULL;
    }
    certs = xcalloc(1, sizeof *certs);
    certs->n = conf->ncertificates;
    certs->v = xcalloc(certs->n + 1, sizeof *certs->v);
    for (size_t i = 0; i < certs->n; i++)
        load(p, &certs->v[i], &conf->certificates[i], ring, report);
    if (report->errors > before)
        tls_certs_free(&certs);
    return certs;
}

void tls_certs_free(struct tls_certs **cp)
{
    struct tls_certs *certs = *cp;

    *cp = NULL;
    if (!certs)
        return;
    for (size_t i = 0; i < certs->n; i++) {
        tls_chain_fini(&certs->v[i].chain);
        tls_names_fini(&certs->v[i].names);
        EVP_PKEY_free(certs->v[i].key);
    }
    for (size_t i = 0; i < certs->cas.n; i++)
        ca_free(certs->cas.v[i]);
    VEC_FREE(&certs->cas);
    free(certs->v);
    free(certs);
}

const struct tls_cert *tls_certs_get(const struct tls_certs *certs,
                                     const struct conf_certificate *c)
{
    return &certs->v[c->index];
}

bool tls_cert_use(const struct tls_cert *cert, SSL_CTX *ctx, struct tls_site *site)
{
    site->is_remote |= cert->is_remote;
    return SSL_CTX_use_cert_and_key(ctx, cert->chain.leaf, cert->key, cert->chain.rest, 1) == 1;
}
