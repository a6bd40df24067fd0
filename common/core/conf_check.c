/* What is wrong between sections that are in order each for itself: addresses bound twice, routes
 * that never match or say nothing, tcp listeners with what only requests have, servers of one
 * name, backends nobody uses. Last step of conf_build. */
#include <stdlib.h>
#include <string.h>
#include "common/core/conf_impl.h"

struct checker {
    struct conf_builder *b;
    struct conf *conf;
    size_t nhttp;             /* http listeners */
    struct arena arena;       /* keys of the maps below */
    struct smap binds;        /* address -> struct conf_bind */
    struct smap claims;       /* listener, host and path -> struct conf_route */
    const struct conf_route **sessions; /* by listener: the route of a tcp one */
    bool *is_routed;          /* by listener: some route belongs to it */
    bool *is_used;            /* by backend */
};

/* ---- addresses ---- */

static void check_bind(struct checker *k, const struct conf_listener *l,
                       const struct conf_bind *bind)
{
    char text[ADDR_TEXT_MAX];
    const char *key = bind->addr.len ? addr_format(&bind->addr, text) : bind->text;
    struct slice kept = arena_dup(&k->arena, slice_str(key));
    const struct conf_bind *before = smap_get(&k->binds, kept);

    if (!before) {
        smap_put(&k->binds, kept, (void *)(uintptr_t)bind);
        return;
    }
    report_error_at(k->b->report, conf_place(&bind->origin),
                    "[listener %s] bind: '%s' is bound twice, first at %s:%u", l->name,
                    bind->text, before->origin.file, before->origin.line);
}

static void check_listener_binds(struct checker *k)
{
    for (size_t i = 0; i < k->conf->nlisteners; i++) {
        const struct conf_listener *l = &k->conf->listeners[i];

        for (size_t j = 0; j < l->bind.n; j++)
            check_bind(k, l, &l->bind.v[j]);
    }
}

/* ---- routes ---- */

static bool is_set(const struct conf_section *s, size_t offset)
{
    return (s->set & conf_bit(CONF_KIND_route, offset)) != 0;
}

/* backend, respond and redirect: exactly one. */
static void check_answer(struct checker *k, const struct conf_section *s,
                         const struct conf_route *r)
{
    size_t own = is_set(s, offsetof(struct conf_route, backend)) +
                 is_set(s, offsetof(struct conf_route, respond)) +
                 is_set(s, offsetof(struct conf_route, redirect));
    size_t n = (r->backend != NULL) + (r->respond.status != 0) + (r->redirect.status != 0);

    if (n == 0 && (own == 0 || !s->has_errors))
        conf_section_error(k->b, s, NULL, "says nothing to do: it needs one of backend, respond "
                           "and redirect");
    else if (n > 1)
        conf_section_error(k->b, s, NULL, "backend, respond and redirect exclude each other: it "
                           "needs exactly one");
}

/* Remembers the claim on requests; true when it was free. *before: who had it. */
static bool claim(struct checker *k, const struct conf_route *r, size_t listener,
                  const struct conf_host *host, const struct conf_route **before)
{
    /* A path of "/" is any. */
    struct slice path = r->path.n > 1 ? r->path : SLICE("");
    struct slice key = arena_printf(&k->arena, "%zu %s%.*s %.*s", listener,
                                    host && host->is_wildcard ? "*" : "",
                                    SLICE_ARG(host ? host->name : SLICE("")), SLICE_ARG(path));
    const struct conf_route *owner = smap_get(&k->claims, key);

    if (!owner) {
        smap_put(&k->claims, key, (void *)(uintptr_t)r);
        return true;
    }
    if (owner == r)
        return true;
    *before = owner;
    return false;
}

/* Does the route get anything of this listener that no route before it takes? */
static bool claim_listener(struct checker *k, const struct conf_section *s, size_t listener,
                           const struct conf_route **before)
{
    const struct conf_route *r = s->target;
    bool has_some = false;

    k->is_routed[listener] = true;
    if (s->has_errors)
        return true; /* what it was to take is unknown */
    if (r->host.n == 0)
        return claim(k, r, listener, NULL, before);
    for (size_t i = 0; i < r->host.n; i++)
        has_some |= claim(k, r, listener, &r->host.v[i], before);
    return has_some;
}

static void check_http_route(struct checker *k, const struct conf_section *s,
                             const struct conf_route *r)
{
    const struct conf_route *before = NULL;
    bool has_some = false;

    if (r->listener.n > 0) {
        for (size_t i = 0; i < r->listener.n; i++)
            has_some |= claim_listener(k, s, r->listener.v[i]->index, &before);
    } else {
        for (size_t i = 0; i < k->conf->nlisteners; i++) {
            if (k->conf->listeners[i].mode == CONF_MODE_HTTP)
                has_some |= claim_listener(k, s, i, &before);
        }
    }
    if (!has_some && before)
        conf_section_error(k->b, s, NULL, "never matches: [route %s] at %s:%u takes the same "
                           "listener, host and path", before->name, before->origin.file,
                           before->origin.line);
}

static void check_tcp_route(struct checker *k, const struct conf_section *s,
                            const struct conf_route *r)
{
    for (size_t i = 0; i < conf_nsettings; i++) {
        const struct conf_setting *setting = &conf_settings[i];

        if (conf_setting_is_http(setting) && s->set & (uint64_t)1 << setting->bit)
            conf_section_error(k->b, s, setting->key, "does not belong in a route of a tcp "
                               "listener, which takes listener, backend, timeouts, retries, "
                               "retry_on and access_log");
    }
    for (size_t i = 0; i < r->listener.n; i++) {
        const struct conf_listener *l = r->listener.v[i];
        const struct conf_route *before = k->sessions[l->index];

        k->is_routed[l->index] = true;
        if (before)
            conf_section_error(k->b, s, "listener", "never matches: [route %s] at %s:%u takes "
                               "all of the tcp listener '%s'", before->name, before->origin.file,
                               before->origin.line, l->name);
        else
            k->sessions[l->index] = r;
    }
}

static void check_route(struct checker *k, const struct conf_section *s)
{
    const struct conf_route *r = s->target;
    size_t ntcp = 0;

    check_answer(k, s, r);
    if (r->backend)
        k->is_used[r->backend->index] = true;
    for (size_t i = 0; i < r->listener.n; i++)
        ntcp += r->listener.v[i]->mode == CONF_MODE_TCP;
    if (r->listener.n == 0 && is_set(s, offsetof(struct conf_route, listener)) && s->has_errors)
        return; /* the listeners it was to have are unknown */
    if (ntcp > 0 && ntcp < r->listener.n)
        conf_section_error(k->b, s, "listener", "http and tcp listeners cannot share a route");
    else if (ntcp > 0)
        check_tcp_route(k, s, r);
    else if (r->listener.n == 0 && k->nhttp == 0 && k->conf->nlisteners > 0)
        conf_section_error(k->b, s, NULL, "never matches: there is no http listener, and a tcp "
                           "one must be named in `listener`");
    else
        check_http_route(k, s, r);
}

/* ---- listeners ---- */

static void check_listener(struct checker *k, const struct conf_section *s)
{
    const struct conf_listener *l = s->target;

    if (l->default_backend)
        k->is_used[l->default_backend->index] = true;
    if (k->is_routed[l->index] || l->default_backend || s->has_errors)
        return;
    if (l->mode == CONF_MODE_TCP)
        conf_section_error(k->b, s, NULL, "is in tcp mode and needs a route that names it in "
                           "`listener`, or a default_backend");
    else
        conf_section_warning(k->b, s, NULL, "has neither a route nor a default_backend: every "
                             "request will be answered 404");
}

/* ---- backends ---- */

static void check_servers(struct checker *k, const struct conf_section *s)
{
    struct conf_backend *backend = s->target;
    struct smap names;

    smap_init(&names, false);
    for (size_t i = 0; i < backend->server.n; i++) {
        struct conf_server *server = &backend->server.v[i];
        const struct conf_server *before = smap_get(&names, slice_str(server->name));
        struct report_place at = conf_place(&server->origin);

        if (before && server->name != server->text) {
            report_error_at(k->b->report, at, "[backend %s] server: a server named '%s' is "
                            "there already, at %s:%u", backend->name, server->name,
                            before->origin.file, before->origin.line);
        } else if (before) {
            /* Nobody needs the name of a server that was not given one. */
            struct slice name = arena_printf(&k->conf->memory->arena, "%s#%zu", server->text,
                                             i + 1);
            server->name = name.p;
            report_warning_at(k->b->report, at, "[backend %s] server: '%s' is there twice: if "
                              "that is meant, give it a name=", backend->name, server->text);
        }
        smap_put(&names, slice_str(server->name), server);
    }
    smap_fini(&names);
}

static void check_backend(struct checker *k, const struct conf_section *s)
{
    check_servers(k, s);
    if (!k->is_used[s->index])
        conf_section_warning(k->b, s, NULL, "nothing uses it");
}

/* ---- the whole ---- */

static void checker_init(struct checker *k, struct conf_builder *b)
{
    struct conf *conf = b->conf;

    memset(k, 0, sizeof *k);
    k->b = b;
    k->conf = conf;
    arena_init(&k->arena, NULL);
    smap_init(&k->binds, false);
    smap_init(&k->claims, false);
    k->sessions = xcalloc(conf->nlisteners + 1, sizeof *k->sessions);
    k->is_routed = xcalloc(conf->nlisteners + 1, sizeof *k->is_routed);
    k->is_used = xcalloc(conf->nbackends + 1, sizeof *k->is_used);
    for (size_t i = 0; i < conf->nlisteners; i++)
        k->nhttp += conf->listeners[i].mode == CONF_MODE_HTTP;
}

static void checker_fini(struct checker *k)
{
    arena_reset(&k->arena);
    smap_fini(&k->binds);
    smap_fini(&k->claims);
    free((void *)k->sessions);
    free(k->is_routed);
    free(k->is_used);
}

/* In file order, one kind after the other: what routes use must be known before listeners and
 * backends are judged. */
static void check_kind(struct checker *k, enum conf_kind kind,
                       void (*check)(struct checker *, const struct conf_section *))
{
    for (size_t i = 0; i < k->b->sections.n; i++) {
        const struct conf_section *s = &k->b->sections.v[i];

        if (s->kind == kind && !s->is_defaults && !s->is_refused)
            check(k, s);
    }
}

void conf_check(struct conf_builder *b)
{
    struct checker k;

    checker_init(&k, b);
    check_listener_binds(&k);
    check_kind(&k, CONF_KIND_route, check_route);
    check_kind(&k, CONF_KIND_listener, check_listener);
    check_kind(&k, CONF_KIND_backend, check_backend);
    if (b->conf->nlisteners == 0)
        report_warning(b->report, "there is no [listener]: nothing will be served");
    checker_fini(&k);
}
