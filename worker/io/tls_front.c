/* What a listener that ends TLS presents: contexts found by the name that the client asks for.
 * Built with a generation; looked into for each handshake.
 *
 * Each name has a set of certificates, at most one of each kind of key, so that an ECDSA and an RSA
 * one stand side by side; names with the same set share a context. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "worker/io/tls_impl.h"

#define NAME_MAX_SIZE 256

struct tls_set {
    const struct tls_cert *by_kind[TLS_KINDS];
};

/* A name, "*.example.com" with its asterisk, and what serves it. */
struct name {
    struct slice key;
    struct tls_set set;
    SSL_CTX *ctx;
};

struct context {
    struct tls_set *set;
    SSL_CTX *ctx;
};

struct tls_front {
    VEC(struct name *) all;
    struct smap names;  /* struct name */
    VEC(struct context) contexts;
    struct smap by_set; /* SSL_CTX */
    SSL_CTX *fallback;
};

/* While it is built. */
struct builder {
    struct tls_front *front;
    struct tls_process *process;
    const struct conf_listener *listener;
    struct tls_certs *certs;
    struct tls_tickets *tickets;
    const struct tls_ca *ca;
    struct report *report;
};

/* ---- what the client may choose ---- */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *size,
                   const unsigned char *theirs, unsigned theirs_size, void *arg)
{
    const struct tls_site *s = tls_site_of(ssl);
    unsigned char *chosen;

    (void)arg;
    if (SSL_select_next_proto(&chosen, size, s->alpn, s->alpn_size, theirs, theirs_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301 3.2 */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* The context was chosen by it already. */
static int on_servername(SSL *ssl, int *alert, void *arg)
{
    (void)alert;
    (void)arg;
    return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) ? SSL_TLSEXT_ERR_OK
                                                              : SSL_TLSEXT_ERR_NOACK;
}

static void offer_alpn(struct tls_site *s, SSL_CTX *ctx, const struct conf_alpns *alpn)
{
    unsigned n = 0;

    if (alpn->n == 0)
        return;
    for (size_t i = 0; i < alpn->n; i++)
        s->alpn_size += 1 + (unsigned)alpn->v[i].n;
    s->alpn = xmalloc(s->alpn_size);
    for (size_t i = 0; i < alpn->n; i++) {
        s->alpn[n++] = (unsigned char)alpn->v[i].n;
        memcpy(s->alpn + n, alpn->v[i].p, alpn->v[i].n);
        n += (unsigned)alpn->v[i].n;
    }
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
}

/* ---- OCSP ---- */

static int on_status(SSL *ssl, void *arg)
{
    const struct tls_site *s = tls_site_of(ssl);
    const X509 *leaf = SSL_get_certificate(ssl);

    (void)arg;
    for (unsigned i = 0; i < TLS_KINDS; i++) {
        const struct tls_staple *staple = &s->staples[i];
        unsigned char *copy;

        if (staple->leaf != leaf || staple->size == 0)
            continue;
        copy = OPENSSL_memdup(staple->response, staple->size);
        if (!copy)
            return SSL_TLSEXT_ERR_NOACK;
        (void)SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->size);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static void staple(struct tls_site *s, SSL_CTX *ctx, const struct tls_cert *cert)
{
    struct slice response = cert->conf->ocsp.content;
    struct tls_staple *st = &s->staples[cert->kind];

    if (response.n == 0)
        return;
    st->leaf = cert->chain.leaf; /* the context has a reference */
    st->response = xmalloc(response.n);
    memcpy(st->response, response.p, response.n);
    st->size = response.n;
    (void)SSL_CTX_set_tlsext_status_cb(ctx, on_status);
}

/* ---- contexts ---- */

/* Sessions are for where they were made: for this listener, and these CAs. */
static bool set_session_id(const struct builder *b, SSL_CTX *ctx)
{
    const struct conf_listener *l = b->listener;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    unsigned char id[EVP_MAX_MD_SIZE];
    unsigned char verify = (unsigned char)l->client_verify;
    unsigned n = 0;
    bool is_good = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL)
                   && EVP_DigestUpdate(md, l->name, strlen(l->name) + 1)
                   && EVP_DigestUpdate(md, &verify, 1)
                   && EVP_DigestUpdate(md, l->client_ca.content.p, l->client_ca.content.n)
                   && EVP_DigestFinal_ex(md, id, &n);

    EVP_MD_CTX_free(md);
    return is_good && SSL_CTX_set_session_id_context(ctx, id, n);
}

static int verify_mode(enum conf_client_verify v)
{
    switch (v) {
    case CONF_CLIENT_VERIFY_OFF: return SSL_VERIFY_NONE;
    case CONF_CLIENT_VERIFY_OPTIONAL: return SSL_VERIFY_PEER;
    case CONF_CLIENT_VERIFY_REQUIRED: return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    }
    return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
}

/* And says who may have issued it. */
static bool ask_for_certificate(const struct builder *b, SSL_CTX *ctx)
{
    if (!b->ca)
        return true;
    SSL_CTX_set_verify(ctx, verify_mode(b->listener->client_verify), NULL);
    SSL_CTX_set1_cert_store(ctx, b->ca->store);
    for (int i = 0; i < sk_X509_num(b->ca->list); i++)
        if (!SSL_CTX_add_client_CA(ctx, sk_X509_value(b->ca->list, i)))
            return false;
    return true;
}

/* Whose fault it was, if one certificate's. */
static bool use_certificates(const struct builder *b, SSL_CTX *ctx, struct tls_site *site,
                             const struct tls_set *set)
{
    for (unsigned i = 0; i < TLS_KINDS; i++) {
        const struct tls_cert *cert = set->by_kind[i];

        if (!cert)
            continue;
        if (!tls_cert_use(cert, ctx, site)) {
            tls_report_failure(b->report, cert->conf);
            return false;
        }
        staple(site, ctx, cert);
    }
    return true;
}

static SSL_CTX *make_context(const struct builder *b, const struct tls_set *set)
{
    struct tls_site *site = NULL;
    SSL_CTX *ctx = tls_context_new(b->process, true, b->listener->tls_min_version, &site);
    unsigned before = b->report->errors;

    if (ctx && use_certificates(b, ctx, site, set) && set_session_id(b, ctx)
        && ask_for_certificate(b, ctx)) {
        tls_tickets_unref(&site->tickets);
        site->tickets = tls_tickets_ref(b->tickets);
        tls_tickets_use(ctx);
        offer_alpn(site, ctx, &b->listener->alpn);
        (void)SSL_CTX_set_tlsext_servername_callback(ctx, on_servername);
        return ctx;
    }
    if (b->report->errors == before)
        report_error(b->report, "[listener %s] TLS: %s", b->listener->name, tls_openssl_error());
    SSL_CTX_free(ctx);
    return NULL;
}

static SSL_CTX *context_of(const struct builder *b, const struct tls_set *set)
{
    struct tls_front *f = b->front;
    struct slice key = slice_of((const char *)set, sizeof *set);
    struct tls_set *kept;
    SSL_CTX *ctx = smap_get(&f->by_set, key);

    if (ctx)
        return ctx;
    ctx = make_context(b, set);
    if (!ctx)
        return NULL;
    kept = xmalloc(sizeof *kept);
    *kept = *set;
    *VEC_PUSH(&f->contexts) = (struct context){ kept, ctx };
    smap_put(&f->by_set, slice_of((const char *)kept, sizeof *kept), ctx);
    return ctx;
}

/* ---- names ---- */

static void add_name(struct tls_front *f, const struct tls_cert *cert, struct slice key)
{
    struct name *name = smap_get(&f->names, key);

    if (!name) {
        name = xcalloc(1, sizeof *name);
        name->key = slice_of(xstrndup(key.p, key.n), key.n);
        *VEC_PUSH(&f->all) = name;
        smap_put(&f->names, name->key, name);
    }
    if (!name->set.by_kind[cert->kind])
        name->set.by_kind[cert->kind] = cert;
}

/* What "*.example.com" is for "www.example.com"; n 0: no such name. */
static struct slice wildcard_of(struct slice name, char room[NAME_MAX_SIZE])
{
    size_t label = slice_find(name, '.');

    if (label == 0 || label + 1 >= name.n || name.n - label + 1 > NAME_MAX_SIZE)
        return SLICE_NONE;
    room[0] = '*';
    memcpy(room + 1, name.p + label, name.n - label);
    return slice_of(room, name.n - label + 1);
}

static struct name *find_wildcard(const struct tls_front *f, struct slice name)
{
    char room[NAME_MAX_SIZE];
    struct slice wildcard = wildcard_of(name, room);

    return wildcard.n > 0 ? smap_get(&f->names, wildcard) : NULL;
}

/* Kinds of key that an exact name lacks come from the wildcard that covers it. */
static void complete(const struct tls_front *f, struct name *name)
{
    const struct name *wildcard = name->key.p[0] == '*' ? NULL : find_wildcard(f, name->key);

    for (unsigned i = 0; wildcard && i < TLS_KINDS; i++)
        if (!name->set.by_kind[i])
            name->set.by_kind[i] = wildcard->set.by_kind[i];
}

/* The first certificate's, with those of other kinds that its first name has. */
static struct tls_set default_set(const struct tls_front *f, const struct tls_cert *first)
{
    const struct name *name =
        first->names.n > 0 ? smap_get(&f->names, slice_str(first->names.v[0])) : NULL;
    struct tls_set set = { { NULL } };

    if (name)
        set = name->set;
    set.by_kind[first->kind] = first;
    return set;
}

static bool build(const struct builder *b)
{
    const struct conf_certificates *list = &b->listener->certificate;
    struct tls_front *f = b->front;
    struct tls_set set;

    for (size_t i = 0; i < list->n; i++) {
        const struct tls_cert *cert = tls_certs_get(b->certs, list->v[i]);

        for (size_t n = 0; n < cert->names.n; n++)
            add_name(f, cert, slice_str(cert->names.v[n]));
    }
    for (size_t i = 0; i < f->all.n; i++) {
        complete(f, f->all.v[i]);
        f->all.v[i]->ctx = context_of(b, &f->all.v[i]->set);
        if (!f->all.v[i]->ctx)
            return false;
    }
    if (list->n == 0)
        return true;
    set = default_set(f, tls_certs_get(b->certs, list->v[0]));
    f->fallback = context_of(b, &set);
    return f->fallback != NULL;
}

/* ---- life ---- */

/* A file's, if the configuration has one; -1: it is of no use. */
static int choose_tickets(struct builder *b, const struct conf_file *file)
{
    if (file->content.n == 0) {
        b->tickets = tls_tickets_ref(b->process->tickets);
        return 0;
    }
    b->tickets = tls_tickets_new();
    if (b->tickets && tls_tickets_set(b->tickets, file->content) == 0)
        return 0;
    report_error(b->report, "ticket_key_file %s: no keys of 80 or 48 bytes", file->path);
    return -1;
}

static int choose_ca(struct builder *b)
{
    char why[TLS_WHY_MAX];

    if (b->listener->client_verify == CONF_CLIENT_VERIFY_OFF)
        return 0;
    b->ca = tls_certs_ca(b->certs, b->listener->client_ca.content, why, sizeof why);
    if (b->ca)
        return 0;
    report_error(b->report, "[listener %s] client_ca: %s", b->listener->name, why);
    return -1;
}

struct tls_front *tls_front_new(struct tls_process *p, const struct conf *conf,
                                const struct conf_listener *listener, struct tls_certs *certs,
                                struct report *report)
{
    struct tls_front *f = xcalloc(1, sizeof *f);
    struct builder b = { .front = f, .process = p, .listener = listener, .certs = certs,
                         .report = report };

    smap_init(&f->names, false);
    smap_init(&f->by_set, false);
    if (choose_tickets(&b, &conf->global.ticket_key_file) < 0 || choose_ca(&b) < 0 || !build(&b))
        tls_front_free(&f);
    tls_tickets_unref(&b.tickets);
    return f;
}

void tls_front_free(struct tls_front **fp)
{
    struct tls_front *f = *fp;

    *fp = NULL;
    if (!f)
        return;
    for (size_t i = 0; i < f->all.n; i++) {
        free((char *)(uintptr_t)f->all.v[i]->key.p);
        free(f->all.v[i]);
    }
    for (size_t i = 0; i < f->contexts.n; i++) {
        SSL_CTX_free(f->contexts.v[i].ctx);
        free(f->contexts.v[i].set);
    }
    VEC_FREE(&f->all);
    VEC_FREE(&f->contexts);
    smap_fini(&f->names);
    smap_fini(&f->by_set);
    free(f);
}

SSL_CTX *tls_front_find(const struct tls_front *f, struct slice sni, bool *is_known)
{
    const struct name *name = sni.n > 0 ? smap_get(&f->names, sni) : NULL;

    if (!name && sni.n > 0)
        name = find_wildcard(f, sni);
    *is_known = name != NULL;
    return name ? name->ctx : f->fallback;
}
