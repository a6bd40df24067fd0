/* Private keys against the certificates they are named with, and the keyring made of them. Called
 * in a process of its own that ends right afterwards (master/key_check.c). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/tls/check.h"
#include "common/tls/keyring.h"

#define KEY_FILE_MAX ((size_t)1 << 20)

struct checker {
    const struct conf *conf;
    struct report *report;
    struct tls_chain *chains; /* by index of the certificate; leaf NULL: none */
};

__attribute__((format(printf, 3, 4)))
static void complain(struct checker *k, const struct conf_certificate *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    tls_complain(k->report, true, c, "key", &c->key, fmt, ap);
    va_end(ap);
}

/* NULL: reported. */
static EVP_PKEY *read_key(struct checker *k, const struct conf_certificate *c)
{
    char why[TLS_WHY_MAX];
    EVP_PKEY *key = NULL;
    struct strbuf pem;
    struct stat st;

    strbuf_init(&pem);
    if (stat(c->key.path, &st) == 0 && !S_ISREG(st.st_mode))
        complain(k, c, "it is no file");
    else if (fd_read_file(c->key.path, KEY_FILE_MAX, &pem) != 0)
        complain(k, c, "cannot be read: %s", strerror(errno));
    else if (!(key = tls_key_parse(strbuf_slice(&pem), why, sizeof why)))
        complain(k, c, "%s", why);
    if (pem.n > 0)
        OPENSSL_cleanse(pem.s, pem.n);
    strbuf_fini(&pem);
    return key;
}

static bool is_of(const X509 *certificate, const EVP_PKEY *key)
{
    const EVP_PKEY *own = X509_get0_pubkey(certificate);
    bool is_same = own && EVP_PKEY_eq(own, key) == 1;

    ERR_clear_error();
    return is_same;
}

/* The key may be that of another certificate: of the same file, or of another section. */
static void mismatch(struct checker *k, const struct conf_certificate *c, const EVP_PKEY *key)
{
    const struct tls_chain *chain = &k->chains[c->index];

    for (size_t i = 1; i < tls_chain_count(chain); i++)
        if (is_of(tls_chain_at(chain, i), key)) {
            complain(k, c, "it is the key of certificate %zu of '%s': that one has to be the first "
                     "there", i + 1, c->cert.path);
            return;
        }
    for (size_t i = 0; i < k->conf->ncertificates; i++)
        if (k->chains[i].leaf && is_of(k->chains[i].leaf, key)) {
            complain(k, c, "it does not match the certificate in '%s', but that of [certificate "
                     "%s]", c->cert.path, k->conf->certificates[i].name);
            return;
        }
    complain(k, c, "it does not match the certificate in '%s'", c->cert.path);
}

/* Appends the key where it is as it should be. */
static void check_key(struct checker *k, const struct conf_certificate *c,
                      struct keyring_key *keys, size_t *n)
{
    const struct tls_chain *chain = &k->chains[c->index];
    EVP_PKEY *key = read_key(k, c);

    if (!key)
        return;
    if (chain->leaf && is_of(chain->leaf, key)) {
        memcpy(keys[*n].id, chain->key_id, sizeof keys[*n].id);
        keys[(*n)++].key = key;
        return;
    }
    if (chain->leaf)
        mismatch(k, c, key);
    EVP_PKEY_free(key);
}

int tls_check_keys(const struct conf *conf, struct report *report)
{
    struct checker k = { .conf = conf, .report = report };
    struct keyring_key *keys = xcalloc(conf->ncertificates + 1, sizeof *keys);
    unsigned errors = report->errors;
    size_t n = 0;
    int fd = -1;

    k.chains = xcalloc(conf->ncertificates + 1, sizeof *k.chains);
    for (size_t i = 0; i < conf->ncertificates; i++) {
        struct slice pem = conf->certificates[i].cert.content;
        char why[TLS_WHY_MAX];

        if (pem.p)
            (void)tls_chain_parse(&k.chains[i], pem, why, sizeof why); /* tls_check reports it */
    }
    for (size_t i = 0; i < conf->ncertificates; i++)
        check_key(&k, &conf->certificates[i], keys, &n);
    if (report->errors == errors && n > 0 && (fd = keyring_write(keys, n)) < 0)
        report_error(report, "private keys cannot be handed on: %s", strerror(errno));
    for (size_t i = 0; i < n; i++)
        EVP_PKEY_free(keys[i].key);
    for (size_t i = 0; i < conf->ncertificates; i++)
        if (k.chains[i].leaf)
            tls_chain_fini(&k.chains[i]);
    free(k.chains);
    free(keys);
    return fd;
}
