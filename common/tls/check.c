/* Certificates, OCSP responses and CA files of a configuration against each other and the clock.
 * Called by who reads a configuration; opens no file. */
#include "common/tls/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/tls/chain.h"
#include "common/tls/ocsp.h"
#include "common/tls/tickets.h"

#define US_PER_S 1000000u
#define S_PER_DAY 86400u
#define SPAN_MAX 32

/* A certificate of the configuration, as far as it could be read. */
struct subject {
    const struct conf_certificate *conf;
    struct tls_chain chain; /* leaf NULL: unreadable, reported */
    struct tls_names names;
};

struct checker {
    const struct conf *conf;
    uint64_t now_us;
    struct report *report;
    struct subject *subjects; /* by index of the certificate */
    SSL_CTX *ctx;             /* takes what workers' contexts will take */
    struct smap done;         /* files of CAs that were looked at */
};

void tls_complain(struct report *report, bool is_error, const struct conf_certificate *c,
                  const char *key, const struct conf_file *file, const char *fmt, va_list ap)
{
    void (*say)(struct report *, struct report_place, const char *, ...)
        __attribute__((format(printf, 3, 4))) = is_error ? report_error_at : report_warning_at;
    struct strbuf line;

    strbuf_init(&line);
    strbuf_vprintf(&line, fmt, ap);
    say(report, conf_place(&file->origin), "[certificate %s] %s: '%s': %s", c->name, key,
        file->path, line.s);
    strbuf_fini(&line);
}

__attribute__((format(printf, 4, 5)))
static void complain(struct checker *k, const struct subject *s, bool is_error, const char *fmt,
                     ...)
{
    va_list ap;

    va_start(ap, fmt);
    tls_complain(k->report, is_error, s->conf, "cert", &s->conf->cert, fmt, ap);
    va_end(ap);
}

/* ---- dates ---- */

/* `9 days`, `1 hour`: what lies between two moments. */
static const char *span(char buf[SPAN_MAX], uint64_t from_us, uint64_t to_us)
{
    uint64_t s = (to_us - from_us) / US_PER_S;
    bool is_days = s >= S_PER_DAY;
    unsigned long long n = is_days ? s / S_PER_DAY : s / 3600;

    snprintf(buf, SPAN_MAX, "%llu %s%s", n, is_days ? "day" : "hour", n == 1 ? "" : "s");
    return buf;
}

/* Certificate i of the chain: "it" for the leaf. */
static const char *which(const struct tls_chain *chain, size_t i, char *buf, size_t size)
{
    char subject[TLS_SUBJECT_MAX];

    if (i == 0)
        snprintf(buf, size, "it");
    else
        snprintf(buf, size, "certificate %zu (%s)", i + 1,
                 tls_subject(tls_chain_at(chain, i), subject, sizeof subject));
    return buf;
}

static void check_dates(struct checker *k, const struct subject *s, size_t i)
{
    const X509 *x = tls_chain_at(&s->chain, i);
    uint64_t from = tls_not_before_us(x), until = tls_not_after_us(x);
    const uint64_t soon_us = (uint64_t)TLS_DAYS_SOON * S_PER_DAY * US_PER_S;
    char who[TLS_SUBJECT_MAX + 32], time[SPAN_MAX], date[CLOCK_TEXT_MAX];

    which(&s->chain, i, who, sizeof who);
    clock_iso8601(date, from > k->now_us ? from : until);
    if (until <= k->now_us)
        complain(k, s, false, "%s expired %s ago (%.10s)", who, span(time, until, k->now_us),
                 date);
    else if (from > k->now_us)
        complain(k, s, false, "%s is not valid yet, but in %s (%.10s)", who,
                 span(time, k->now_us, from), date);
    else if (until - k->now_us < soon_us)
        complain(k, s, false, "%s expires in %s (%.10s)", who, span(time, k->now_us, until),
                 date);
}

/* ---- chains ---- */

/* Certificate `next` did not issue the one before it; maybe a later one did. */
static void out_of_order(struct checker *k, const struct subject *s, size_t next)
{
    const struct tls_chain *chain = &s->chain;
    char wrong[TLS_SUBJECT_MAX], of[TLS_SUBJECT_MAX], right[TLS_SUBJECT_MAX + 64] = "";
    X509 *issued = tls_chain_at(chain, next - 1);

    for (size_t i = next + 1; i < tls_chain_count(chain) && !*right; i++)
        if (X509_check_issued(tls_chain_at(chain, i), issued) == X509_V_OK)
            snprintf(right, sizeof right, ": certificate %zu (%s) did, and belongs there", i + 1,
                     tls_subject(tls_chain_at(chain, i), wrong, sizeof wrong));
    complain(k, s, false, "the chain is out of order: certificate %zu (%s) did not issue "
             "certificate %zu (%s)%s", next + 1,
             tls_subject(tls_chain_at(chain, next), wrong, sizeof wrong), next,
             tls_subject(issued, of, sizeof of), right);
}

static bool has_addresses(const X509 *leaf)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    bool has_some = false;

    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++)
        has_some |= sk_GENERAL_NAME_value(all, i)->type == GEN_IPADD;
    GENERAL_NAMES_free(all);
    return has_some;
}

/* The last word is OpenSSL's, which may know of more than the reasons above. */
static void check_context(struct checker *k, const struct subject *s)
{
    bool is_good = SSL_CTX_use_certificate(k->ctx, s->chain.leaf) == 1;

    for (size_t i = 1; is_good && i < tls_chain_count(&s->chain); i++)
        is_good = SSL_CTX_add1_chain_cert(k->ctx, tls_chain_at(&s->chain, i)) == 1;
    if (!is_good) {
        const char *reason = ERR_reason_error_string(ERR_peek_last_error());

        complain(k, s, true, "OpenSSL does not take it: %s", reason ? reason : "?");
    }
    SSL_CTX_clear_chain_certs(k->ctx);
    ERR_clear_error();
}

static void check_strength(struct checker *k, const struct subject *s)
{
    char why[TLS_WHY_MAX], who[TLS_SUBJECT_MAX + 32];
    unsigned errors = k->report->errors;

    if (!tls_key_is_usable(s->chain.leaf, why, sizeof why))
        complain(k, s, true, "%s", why);
    for (size_t i = 0; i < tls_chain_count(&s->chain); i++)
        if (!tls_signature_is_usable(tls_chain_at(&s->chain, i), why, sizeof why))
            complain(k, s, true, "%s%s%s", i > 0 ? which(&s->chain, i, who, sizeof who) : "",
                     i > 0 ? ": " : "", why);
    if (k->report->errors == errors)
        check_context(k, s);
}

static void check_chain(struct checker *k, struct subject *s)
{
    size_t n = tls_chain_count(&s->chain), last = tls_chain_break(&s->chain);

    check_strength(k, s);
    for (size_t i = 0; i < n; i++)
        check_dates(k, s, i);
    if (last + 1 < n)
        out_of_order(k, s, last + 1);
    tls_names_of(s->chain.leaf, &s->names);
    if (s->names.n == 0 && !has_addresses(s->chain.leaf))
        complain(k, s, false, "it names no host: clients that verify names refuse it");
}

static void check_ocsp(struct checker *k, const struct subject *s)
{
    const struct conf_file *file = &s->conf->ocsp;
    char why[TLS_WHY_MAX];

    if (!file->content.p)
        return;
    switch (tls_ocsp_check(file->content, &s->chain, k->now_us, why, sizeof why)) {
    case TLS_OCSP_GOOD:
        break;
    case TLS_OCSP_BAD:
        report_error_at(k->report, conf_place(&file->origin), "[certificate %s] ocsp: '%s': %s",
                        s->conf->name, file->path, why);
        break;
    case TLS_OCSP_DOUBTFUL:
        report_warning_at(k->report, conf_place(&file->origin), "[certificate %s] ocsp: '%s': %s",
                          s->conf->name, file->path, why);
        break;
    }
}

static void check_certificate(struct checker *k, struct subject *s)
{
    char why[TLS_WHY_MAX];

    if (!s->conf->cert.content.p)
        return; /* it could not be read, reported */
    if (tls_chain_parse(&s->chain, s->conf->cert.content, why, sizeof why) != 0) {
        complain(k, s, true, "%s", why);
        return;
    }
    check_chain(k, s);
    check_ocsp(k, s);
}

/* ---- CAs ---- */

static void check_ca(struct checker *k, const struct conf_file *file, const char *kind,
                     const char *name, const char *key)
{
    struct slice path = slice_str(file->path);
    char why[TLS_WHY_MAX];
    STACK_OF(X509) *list;

    if (!file->content.p || smap_put(&k->done, path, (void *)(uintptr_t)file))
        return;
    list = tls_certificates_parse(file->content, why, sizeof why);
    if (!list)
        report_error_at(k->report, conf_place(&file->origin), "[%s %s] %s: '%s': %s", kind, name,
                        key, file->path, why);
    sk_X509_pop_free(list, X509_free);
}

static void check_cas(struct checker *k)
{
    const struct conf *conf = k->conf;
    char why[TLS_WHY_MAX];

    for (size_t i = 0; i < conf->nlisteners; i++)
        check_ca(k, &conf->listeners[i].client_ca, "listener", conf->listeners[i].name,
                 "client_ca");
    for (size_t i = 0; i < conf->nbackends; i++)
        check_ca(k, &conf->backends[i].tls_ca, "backend", conf->backends[i].name, "tls_ca");
    if (conf->system_ca.p) {
        STACK_OF(X509) *list = tls_certificates_parse(conf->system_ca, why, sizeof why);

        if (!list)
            report_error(k->report, "the system's CA certificates (%s): %s",
                         tls_system_ca() ? tls_system_ca() : "?", why);
        sk_X509_pop_free(list, X509_free);
    }
}

/* OpenSSL's own place, then where distributions have it. */
const char *tls_system_ca(void)
{
    static const char *const known[] = {
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
    };
    const char *said = getenv(X509_get_default_cert_file_env());

    if (said && *said)
        return said;
    if (access(X509_get_default_cert_file(), R_OK) == 0)
        return X509_get_default_cert_file();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (access(known[i], R_OK) == 0)
            return known[i];
    return NULL;
}

/* ---- ticket keys ---- */

static void check_tickets(struct checker *k)
{
    const struct conf_file *file = &k->conf->global.ticket_key_file;
    struct ticket_keys keys;

    if (!file->content.p)
        return;
    if (ticket_keys_parse(&keys, file->content) != 0)
        report_error_at(k->report, conf_place(&file->origin), "[global] ticket_key_file: '%s' has "
                        "%zu bytes: it holds keys of 80 or 48 random bytes each, at most %d "
                        "(openssl rand 80 makes one)", file->path, file->content.n,
                        TICKET_KEYS_MAX);
    ticket_keys_wipe(&keys);
}

/* ---- names ---- */

static bool is_named(const struct checker *k, const struct conf_listener *l, struct slice host)
{
    for (size_t i = 0; i < l->certificate.n; i++) {
        const struct subject *s = &k->subjects[l->certificate.v[i]->index];

        if (!s->chain.leaf || tls_names_match(&s->names, host))
            return true; /* of one that could not be read nothing is known */
    }
    return false;
}

/* Its clients would see a certificate of another name. */
static void check_hosts(struct checker *k, const struct conf_listener *l,
                        const struct conf_route *r)
{
    for (size_t i = 0; i < r->host.n; i++) {
        const struct conf_host *host = &r->host.v[i];

        if (host->is_wildcard || host->name.p[0] == '[' || is_named(k, l, host->name))
            continue;
        report_warning_at(k->report, conf_place(&r->origin), "[route %s] host: no certificate of "
                          "[listener %s] names '%.*s': clients get that of [certificate %s]",
                          r->name, l->name, SLICE_ARG(host->name), l->certificate.v[0]->name);
    }
}

static void check_names(struct checker *k)
{
    for (size_t i = 0; i < k->conf->nroutes; i++) {
        const struct conf_route *r = &k->conf->routes[i];

        for (size_t j = 0; r->tls == CONF_ROUTE_TERMINATE && j < k->conf->nlisteners; j++) {
            const struct conf_listener *l = &k->conf->listeners[j];

            if (l->tls && l->certificate.n > 0 && conf_route_belongs(r, l))
                check_hosts(k, l, r);
        }
    }
}

/* ---- certificates for the same ---- */

/* Of a listener's certificates of one kind for one host the first is shown: the other may be what
 * was to replace it. */
static void check_twins(struct checker *k, const struct conf_listener *l, size_t i, int kind,
                        struct smap *seen)
{
    const struct subject *s = &k->subjects[l->certificate.v[i]->index];

    if (!s->chain.leaf || EVP_PKEY_get_base_id(X509_get0_pubkey(s->chain.leaf)) != kind)
        return;
    for (size_t n = 0; n < s->names.n; n++) {
        struct slice name = slice_str(s->names.v[n]);
        const struct subject *first = smap_get(seen, name);

        if (first == s)
            continue;
        if (!first) {
            smap_put(seen, name, &k->subjects[s->conf->index]);
            continue;
        }
        report_warning_at(k->report, conf_place(&s->conf->origin), "[certificate %s] names '%.*s' "
                          "with a key of the same kind as [certificate %s], which [listener %s] "
                          "has first: clients get that one", s->conf->name, SLICE_ARG(name),
                          first->conf->name, l->name);
        return;
    }
}

static void check_listeners_twins(struct checker *k)
{
    static const int kinds[] = { EVP_PKEY_EC, EVP_PKEY_RSA, EVP_PKEY_ED25519, EVP_PKEY_ED448 };

    for (size_t j = 0; j < k->conf->nlisteners; j++) {
        for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
            struct smap seen;

            smap_init(&seen, false);
            for (size_t i = 0; i < k->conf->listeners[j].certificate.n; i++)
                check_twins(k, &k->conf->listeners[j], i, kinds[kind], &seen);
            smap_fini(&seen);
        }
    }
}

/* ---- the whole ---- */

void tls_check(const struct conf *conf, uint64_t now_us, struct report *report)
{
    struct checker k = { .conf = conf, .now_us = now_us, .report = report };

    k.subjects = xcalloc(conf->ncertificates + 1, sizeof *k.subjects);
    k.ctx = SSL_CTX_new(TLS_server_method());
    if (!k.ctx)
        abort();
    smap_init(&k.done, false);
    for (size_t i = 0; i < conf->ncertificates; i++) {
        k.subjects[i].conf = &conf->certificates[i];
        check_certificate(&k, &k.subjects[i]);
    }
    check_cas(&k);
    check_tickets(&k);
    check_names(&k);
    check_listeners_twins(&k);
    for (size_t i = 0; i < conf->ncertificates; i++) {
        if (k.subjects[i].chain.leaf)
            tls_chain_fini(&k.subjects[i].chain);
        tls_names_fini(&k.subjects[i].names);
    }
    smap_fini(&k.done);
    SSL_CTX_free(k.ctx);
    free(k.subjects);
}
