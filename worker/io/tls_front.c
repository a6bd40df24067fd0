/* What a listener that ends TLS presents: contexts found by the name that the client asks for.
 * Built with a generation; looked into for each handshake.
 *
 * Each name has a set of certificates, at most one of each kind of key, so that an ECDSA and an RSA
 * one stand side by side; names with the same set share a context, made when the first client asks
 * for it. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/log.h"
#include "common/base/mem.h"
#include "worker/io/tls_impl.h"

#define NAME_MAX_SIZE 256
/* After a full handshake. Each takes a fifteenth of what the handshake does; browsers that open
 * some connections at once would use a second one. */
#define TICKETS 1

struct member {
    const struct tls_cert *cert; /* NULL: none of that kind */
    const struct conf_certificate *conf;
};

struct tls_set {
    struct member by_kind[TLS_KINDS];
};

struct context {
    struct tls_set set;
    SSL_CTX *ctx; /* NULL: nobody has asked for it yet */
};

/* A name, "*.example.com" with its asterisk, and what serves it. */
struct name {
    struct slice key;
    struct tls_set set;
    struct context *context;
};

struct tls_front {
    struct tls_process *process;
    const struct conf_listener *listener;
    struct tls_certs *certs;
    struct tls_tickets *tickets;
    const struct tls_ca *ca; /* of clients; NULL: they are not asked for a certificate */
    VEC(struct name *) all;
    struct smap names;       /* struct name */
    VEC(struct context *) contexts;
    struct smap by_set;      /* struct context */
    struct context *fallback; /* NULL: there is no certificate */
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

static bool offer_alpn(struct tls_site *s, SSL_CTX *ctx, const struct conf_alpns *alpn)
{
    unsigned n = 0;

    if (alpn->n == 0)
        return true;
    for (size_t i = 0; i < alpn->n; i++)
        s->alpn_size += 1 + (unsigned)alpn->v[i].n;
    s->alpn = malloc(s->alpn_size);
    if (!s->alpn)
        return false;
    for (size_t i = 0; i < alpn->n; i++) {
        s->alpn[n++] = (unsigned char)alpn->v[i].n;
        memcpy(s->alpn + n, alpn->v[i].p, alpn->v[i].n);
        n += (unsigned)alpn->v[i].n;
    }
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    return true;
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

static bool staple(struct tls_site *s, SSL_CTX *ctx, const struct member *m)
{
    struct slice response = m->conf->ocsp.content;
    struct tls_staple *st = &s->staples[m->cert->kind];

    if (response.n == 0)
        return true;
    st->response = malloc(response.n);
    if (!st->response)
        return false;
    st->leaf = m->cert->chain.leaf; /* the context has a reference */
    memcpy(st->response, response.p, response.n);
    st->size = response.n;
    (void)SSL_CTX_set_tlsext_status_cb(ctx, on_status);
    return true;
}

/* ---- contexts ---- */

/* Sessions are for where they were made: this listener, and these CAs. */
static bool set_session_id(const struct conf_listener *l, SSL_CTX *ctx)
{
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
static bool ask_for_certificate(const struct tls_front *f, SSL_CTX *ctx)
{
    if (!f->ca)
        return true;
    SSL_CTX_set_verify(ctx, verify_mode(f->listener->client_verify), NULL);
    SSL_CTX_set1_cert_store(ctx, f->ca->store);
    for (int i = 0; i < sk_X509_num(f->ca->list); i++)
        if (!SSL_CTX_add_client_CA(ctx, sk_X509_value(f->ca->list, i)))
            return false;
    return true;
}

static bool use_certificates(SSL_CTX *ctx, struct tls_site *site, const struct tls_set *set)
{
    for (unsigned i = 0; i < TLS_KINDS; i++) {
        const struct member *m = &set->by_kind[i];

        if (!m->cert)
            continue;
        if (!tls_cert_use(m->cert, ctx) || !staple(site, ctx, m))
            return false;
        site->is_remote |= m->cert->is_remote;
    }
    return true;
}

/* NULL: OpenSSL's queue says why. */
static SSL_CTX *make_context(const struct tls_front *f, const struct tls_set *set)
{
    struct tls_site *site = NULL;
    SSL_CTX *ctx = tls_context_new(f->process, true, f->listener->tls_min_version, &site);

    if (ctx && use_certificates(ctx, site, set) && set_session_id(f->listener, ctx)
        && ask_for_certificate(f, ctx) && offer_alpn(site, ctx, &f->listener->alpn)) {
        tls_tickets_unref(&site->tickets);
        site->tickets = tls_tickets_ref(f->tickets);
        tls_tickets_use(ctx);
        (void)SSL_CTX_set_num_tickets(ctx, TICKETS);
        (void)SSL_CTX_set_tlsext_servername_callback(ctx, on_servername);
        return ctx;
    }
    SSL_CTX_free(ctx);
    return NULL;
}

static struct context *context_of(struct tls_front *f, const struct tls_set *set)
{
    struct context *x = smap_get(&f->by_set, slice_of((const char *)set, sizeof *set));

    if (x)
        return x;
    x = xcalloc(1, sizeof *x);
    x->set = *set;
    *VEC_PUSH(&f->contexts) = x;
    smap_put(&f->by_set, slice_of((const char *)&x->set, sizeof x->set), x);
    return x;
}

/* Now that it is asked for: one takes OpenSSL a quarter of a millisecond, and there may be
 * thousands. NULL: OpenSSL's queue says why. */
static SSL_CTX *open_context(const struct tls_front *f, struct context *x)
{
    if (!x->ctx)
        x->ctx = make_context(f, &x->set);
    return x->ctx;
}

/* ---- names ---- */

static void add_name(struct tls_front *f, const struct member *m, struct slice key)
{
    struct name *name = smap_get(&f->names, key);

    if (!name) {
        name = xcalloc(1, sizeof *name);
        name->key = slice_of(xstrndup(key.p, key.n), key.n);
        *VEC_PUSH(&f->all) = name;
        smap_put(&f->names, name->key, name);
    }
    if (!name->set.by_kind[m->cert->kind].cert)
        name->set.by_kind[m->cert->kind] = *m;
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
        if (!name->set.by_kind[i].cert)
            name->set.by_kind[i] = wildcard->set.by_kind[i];
}

static struct member member_of(const struct tls_front *f, size_t i)
{
    const struct conf_certificate *conf = f->listener->certificate.v[i];

    return (struct member){ tls_certs_get(f->certs, conf), conf };
}

/* The first certificate's, with those of other kinds that its first name has. */
static struct tls_set default_set(const struct tls_front *f)
{
    const struct member first = member_of(f, 0);
    const struct tls_names *names = &first.cert->names;
    const struct name *name = names->n > 0 ? smap_get(&f->names, slice_str(names->v[0])) : NULL;
    struct tls_set set;

    memset(&set, 0, sizeof set);
    if (name)
        set = name->set;
    set.by_kind[first.cert->kind] = first;
    return set;
}

static void add_names(struct tls_front *f)
{
    for (size_t i = 0; i < f->listener->certificate.n; i++) {
        const struct member m = member_of(f, i);

        for (size_t n = 0; n < m.cert->names.n; n++)
            add_name(f, &m, slice_str(m.cert->names.v[n]));
    }
    for (size_t i = 0; i < f->all.n; i++) {
        complete(f, f->all.v[i]);
        f->all.v[i]->context = context_of(f, &f->all.v[i]->set);
    }
}

/* ---- life ---- */

/* A file's, if the configuration has one; false: it is of no use. */
static bool choose_tickets(struct tls_front *f, const struct conf_file *file,
                           struct report *report)
{
    if (file->content.n == 0) {
        f->tickets = tls_tickets_ref(f->process->tickets);
        return true;
    }
    f->tickets = tls_tickets_new();
    if (f->tickets && tls_tickets_set(f->tickets, file->content) == 0)
        return true;
    report_error(report, "ticket_key_file %s: no keys of 80 or 48 bytes", file->path);
    return false;
}

static bool choose_ca(struct tls_front *f, struct report *report)
{
    const struct conf_listener *l = f->listener;
    char why[TLS_WHY_MAX];

    if (l->client_verify == CONF_CLIENT_VERIFY_OFF)
        return true;
    f->ca = tls_certs_ca(f->certs, l->client_ca.content, why, sizeof why);
    if (!f->ca)
        report_error(report, "[listener %s] client_ca: %s", l->name, why);
    return f->ca != NULL;
}

static bool make_default(struct tls_front *f, struct report *report)
{
    struct tls_set set;

    if (f->listener->certificate.n == 0)
        return true;
    set = default_set(f);
    f->fallback = context_of(f, &set);
    if (open_context(f, f->fallback))
        return true;
    report_error(report, "[listener %s] TLS: %s", f->listener->name, tls_openssl_error());
    return false;
}

struct tls_front *tls_front_new(struct tls_process *p, const struct conf *conf,
                                const struct conf_listener *listener, struct tls_certs *certs,
                                struct report *report)
{
    struct tls_front *f = xcalloc(1, sizeof *f);

    f->process = p;
    f->listener = listener;
    f->certs = tls_certs_ref(certs);
    smap_init(&f->names, false);
    smap_init(&f->by_set, false);
    add_names(f);
    if (!choose_tickets(f, &conf->global.ticket_key_file, report) || !choose_ca(f, report)
        || !make_default(f, report))
        tls_front_free(&f);
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
        SSL_CTX_free(f->contexts.v[i]->ctx);
        free(f->contexts.v[i]);
    }
    VEC_FREE(&f->all);
    VEC_FREE(&f->contexts);
    smap_fini(&f->names);
    smap_fini(&f->by_set);
    tls_tickets_unref(&f->tickets);
    tls_certs_unref(&f->certs);
    free(f);
}

SSL_CTX *tls_front_find(struct tls_front *f, struct slice sni, bool *is_known)
{
    const struct name *name = sni.n > 0 ? smap_get(&f->names, sni) : NULL;
    struct context *x;

    if (!name && sni.n > 0)
        name = find_wildcard(f, sni);
    *is_known = name != NULL;
    x = name ? name->context : f->fallback;
    if (x && !open_context(f, x))
        log_errorx("listener %s: TLS: %s", f->listener->name, tls_openssl_error());
    return x ? x->ctx : NULL;
}
