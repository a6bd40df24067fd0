/* Backends and servers of the helper. Owns them; called by helper.c with each generation. What is
 * of the same name stays as it is: the state of its check, and what outliers are counted from. */
#include "helper/servers.h"

#include <stdlib.h>
#include <string.h>
#include "common/base/mem.h"
#include "common/base/strbuf.h"

/* ---- life ---- */

static struct helper_server *server_new(struct servers *all, struct helper_backend *b,
                                        const char *name)
{
    struct helper_server *s = xcalloc(1, sizeof *s);

    s->backend = b;
    s->name = xstrdup(name);
    check_init(&s->check, &all->checks);
    list_push(&b->servers, &s->link);
    (void)smap_put(&b->by_name, slice_str(s->name), s);
    return s;
}

static void server_free(struct helper_server *s)
{
    check_stop(&s->check);
    (void)smap_remove(&s->backend->by_name, slice_str(s->name));
    list_remove(&s->link);
    free(s->name);
    free(s->tls_name);
    free(s);
}

static struct helper_backend *backend_new(struct servers *all, const char *name)
{
    struct helper_backend *b = xcalloc(1, sizeof *b);

    b->name = xstrdup(name);
    list_init(&b->servers);
    smap_init(&b->by_name, false);
    check_queue_init(&b->queue);
    list_push(&all->backends, &b->link);
    (void)smap_put(&all->by_name, slice_str(b->name), b);
    return b;
}

static void view_free(struct names_view **view)
{
    if (*view)
        names_view_fini(*view);
    free(*view);
    *view = NULL;
}

static void backend_free(struct servers *all, struct helper_backend *b)
{
    LIST_EACH(it, &b->servers)
        server_free(CONTAINER(it, struct helper_server, link));
    (void)smap_remove(&all->by_name, slice_str(b->name));
    list_remove(&b->link);
    smap_fini(&b->by_name);
    view_free(&b->view);
    tls_back_unref(&b->tls);
    free(b->name);
    free(b);
}

void servers_init(struct servers *all, struct segment *segment, struct conn_pool *conns,
                  struct tls_process *tls, const struct names *names)
{
    *all = (struct servers){ .segment = segment, .tls = tls, .names = names };
    checks_init(&all->checks, conns);
    list_init(&all->backends);
    smap_init(&all->by_name, false);
}

void servers_fini(struct servers *all)
{
    LIST_EACH(it, &all->backends)
        backend_free(all, CONTAINER(it, struct helper_backend, link));
    smap_fini(&all->by_name);
}

/* ---- TLS of a generation ---- */

static bool needs_tls(const struct conf_backend *b)
{
    return b->tls && b->check.how != CONF_CHECK_OFF;
}

/* One for each backend, NULL where it needs none. */
static struct tls_back **build_backs(struct servers *all, const struct conf *conf, int keyring,
                                     struct report *report)
{
    struct tls_back **backs = xcalloc(conf->nbackends + 1, sizeof *backs);
    struct tls_certs *certs = NULL;
    unsigned errors = report->errors;

    for (size_t i = 0; i < conf->nbackends && report->errors == errors; i++) {
        const struct conf_backend *b = &conf->backends[i];

        if (!needs_tls(b))
            continue;
        if (!certs)
            certs = tls_certs_new(all->tls, conf, keyring, report);
        if (certs)
            backs[i] = tls_back_new(all->tls, conf, b, certs, report);
    }
    tls_certs_unref(&certs);
    if (report->errors == errors)
        return backs;
    for (size_t i = 0; i < conf->nbackends; i++)
        tls_back_unref(&backs[i]);
    free(backs);
    return NULL;
}

/* ---- a generation ---- */

static bool is_same_check(const struct conf_backend *a, const struct conf_backend *b)
{
    const struct conf_check_value *x = &a->check, *y = &b->check;

    return x->how == y->how && a->send_proxy == b->send_proxy && slice_eq(x->method, y->method)
           && slice_eq(x->path, y->path) && slice_eq(x->host, y->host)
           && slice_eq(x->body, y->body) && x->status_min == y->status_min
           && x->status_max == y->status_max;
}

/* Whether the name is what it was. */
static bool name_it(struct helper_server *s, const char *tls_name)
{
    char *name = *tls_name ? xstrdup(tls_name) : tls_host_of(s->conf->text);
    bool is_same = s->tls_name && strcmp(s->tls_name, name) == 0;

    free(s->tls_name);
    s->tls_name = name;
    return is_same;
}

static void apply_server(struct servers *all, struct helper_backend *b,
                         const struct conf_server *conf, bool is_same)
{
    struct helper_server *s = smap_get(&b->by_name, slice_str(conf->name));
    struct strbuf name;

    if (!s)
        s = server_new(all, b, conf->name);
    s->serial = all->serial;
    s->conf = conf;
    is_same = name_it(s, b->conf->tls_name) && is_same;
    is_same = addr_eq(&s->addr, &conf->addr) && is_same;
    s->addr = conf->addr;
    strbuf_init(&name);
    strbuf_printf(&name, "%s/%s", b->name, s->name);
    s->health = (struct health){ b->conf->name, conf->name,
                                 STATS_SHARED(all->segment, server, name.s), b->shared };
    strbuf_fini(&name);
    if (s->health.server)
        check_apply(s, is_same);
    else /* the master makes it before it hands the generation out */
        server_free(s);
}

/* Every server that it has at the moment; those of before that are not among them go. */
static void apply_servers(struct servers *all, struct helper_backend *b,
                          const struct conf_backend *conf, bool is_same)
{
    struct names_view *old = b->view;

    b->view = xcalloc(1, sizeof *b->view);
    b->conf = names_view(b->view, all->names, conf);
    for (size_t i = 0; b->shared && i < b->conf->server.n; i++)
        apply_server(all, b, &b->conf->server.v[i], is_same);
    LIST_EACH(it, &b->servers) {
        struct helper_server *s = CONTAINER(it, struct helper_server, link);

        if (s->serial != all->serial)
            server_free(s);
    }
    view_free(&old);
}

/* Takes `tls` over. */
static void apply_backend(struct servers *all, const struct conf_backend *conf,
                          struct tls_back *tls)
{
    struct helper_backend *b = smap_get(&all->by_name, slice_str(conf->name));
    bool is_same;

    if (!b)
        b = backend_new(all, conf->name);
    is_same = b->conf && is_same_check(b->conf, conf) && tls_back_is_same(b->tls, tls);
    b->serial = all->serial;
    b->shared = STATS_SHARED(all->segment, backend, conf->name);
    /* Servers have it by pointer. One that is the same resumes what the other began. */
    tls_back_unref(&b->tls);
    b->tls = tls;
    apply_servers(all, b, conf, is_same);
}

void servers_change(struct servers *all, const struct conf_backend *conf)
{
    struct helper_backend *b = smap_get(&all->by_name, slice_str(conf->name));

    if (!b)
        return;
    all->serial++;
    all->checks.fresh = 0;
    apply_servers(all, b, conf, true);
}

bool servers_apply(struct servers *all, const struct conf *conf, int keyring,
                   struct report *report)
{
    struct tls_back **backs = build_backs(all, conf, keyring, report);

    if (!backs)
        return false;
    all->serial++;
    all->checks.fresh = 0;
    for (size_t i = 0; i < conf->nbackends; i++)
        apply_backend(all, &conf->backends[i], backs[i]);
    free(backs);
    LIST_EACH(it, &all->backends) {
        struct helper_backend *b = CONTAINER(it, struct helper_backend, link);

        if (b->serial != all->serial)
            backend_free(all, b);
    }
    return true;
}
