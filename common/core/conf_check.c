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
    struct smap claims;       /* listener, host, method and the rest -> struct conf_route */
    struct strbuf match;      /* the rest, of the route in hand: conf_match_key */
    struct smap hosts;        /* TLS listener and host -> the first struct conf_route of it */
    bool *is_routed;          /* by listener: some route belongs to it */
    const struct conf_route **ends; /* by listener: a route that ends TLS there */
    bool *is_used;            /* by backend */
    bool *has_sessions;       /* by backend: it gets some that are not requests */
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

/* backend, canary, respond and redirect: exactly one. */
static void check_answer(struct checker *k, const struct conf_section *s,
                         const struct conf_route *r)
{
    size_t own = is_set(s, offsetof(struct conf_route, split)) +
                 is_set(s, offsetof(struct conf_route, canary)) +
                 is_set(s, offsetof(struct conf_route, respond)) +
                 is_set(s, offsetof(struct conf_route, respond_file)) +
                 is_set(s, offsetof(struct conf_route, redirect));
    size_t n = (r->split.n > 0) + (r->canary != NULL) + (r->respond.status != 0) +
               (r->redirect.status != 0);

    if (n == 0 && (own == 0 || !s->has_errors))
        conf_section_error(k->b, s, NULL, "says nothing to do: it needs one of backend, canary, "
                           "respond and redirect");
    else if (n > 1)
        conf_section_error(k->b, s, NULL, "backend, canary, respond and redirect exclude each "
                           "other: it needs exactly one");
}

/* The route that had it before, or NULL: it is this one's. */
static const struct conf_route *take(struct smap *map, struct slice key,
                                     const struct conf_route *r)
{
    const struct conf_route *owner = smap_get(map, key);

    if (!owner)
        (void)smap_put(map, key, (void *)(uintptr_t)r);
    return owner == r ? NULL : owner;
}

/* The name that picks the route is all that is known before TLS is ended or passed through: false,
 * another route has it the other way, reported. */
static bool check_one_way(struct checker *k, const struct conf_section *s,
                          const struct conf_listener *l, struct slice host)
{
    const struct conf_route *r = s->target, *before;
    struct slice key = arena_printf(&k->arena, "%zu %.*s", l->index, SLICE_ARG(host));

    before = l->tls ? take(&k->hosts, key, r) : NULL;
    if (!before || before->tls == r->tls)
        return true;
    conf_section_error(k->b, s, NULL, "%s TLS for %s%.*s%s on [listener %s], and [route %s] at "
                       "%s:%u %s: only one of them can be",
                       r->tls == CONF_ROUTE_PASSTHROUGH ? "passes through" : "ends",
                       host.n > 0 ? "'" : "any host", SLICE_ARG(host), host.n > 0 ? "'" : "",
                       l->name, before->name, before->origin.file, before->origin.line,
                       r->tls == CONF_ROUTE_PASSTHROUGH ? "ends it" : "passes it through");
    return false;
}

/* Remembers the claim on requests; true when it was free. *before: who had it. */
static bool claim_method(struct checker *k, const struct conf_section *s, size_t listener,
                         struct slice name, struct slice method,
                         const struct conf_route **before)
{
    struct slice key = arena_printf(&k->arena, "%zu %.*s %.*s %s", listener, SLICE_ARG(name),
                                    SLICE_ARG(method), k->match.s);
    const struct conf_route *owner = take(&k->claims, key, s->target);

    if (owner)
        *before = owner;
    return !owner;
}

static bool claim(struct checker *k, const struct conf_section *s, size_t listener,
                  const struct conf_host *host, const struct conf_route **before)
{
    const struct conf_route *r = s->target;
    struct slice name = arena_printf(&k->arena, "%s%.*s", host && host->is_wildcard ? "*" : "",
                                     SLICE_ARG(host ? host->name : SLICE("")));
    bool has_some = false;

    if (!check_one_way(k, s, &k->conf->listeners[listener], name))
        return true;
    if (r->method.n == 0)
        return claim_method(k, s, listener, name, SLICE(""), before);
    for (size_t i = 0; i < r->method.n; i++)
        has_some |= claim_method(k, s, listener, name, r->method.v[i], before);
    return has_some;
}

/* Does the route get anything of this listener that no route before it takes? */
static bool claim_listener(struct checker *k, const struct conf_section *s, size_t listener,
                           const struct conf_route **before)
{
    const struct conf_route *r = s->target;
    bool has_some = false;

    k->is_routed[listener] = true;
    if (r->tls == CONF_ROUTE_TERMINATE && !k->ends[listener])
        k->ends[listener] = r;
    if (s->has_errors)
        return true; /* what it was to take is unknown */
    if (r->host.n == 0)
        return claim(k, s, listener, NULL, before);
    for (size_t i = 0; i < r->host.n; i++)
        has_some |= claim(k, s, listener, &r->host.v[i], before);
    return has_some;
}

bool conf_route_takes_unnamed(const struct conf_route *route, const struct conf_listener *listener)
{
    return route->tls == CONF_ROUTE_PASSTHROUGH ? listener->tls
                                                : listener->mode == CONF_MODE_HTTP;
}

bool conf_route_belongs(const struct conf_route *route, const struct conf_listener *listener)
{
    for (size_t i = 0; i < route->listener.n; i++)
        if (route->listener.v[i] == listener)
            return true;
    return route->listener.n == 0 && conf_route_takes_unnamed(route, listener);
}

/* What the route has in common with another of the same claims. */
static const char *what_is_claimed(const struct conf_route *r)
{
    if (conf_route_use(r) != CONF_USE_HTTP)
        return "listener and host";
    return r->method.n + r->header.n + r->query.n + r->cookie.n > 0
               ? "listener, host, path and conditions" : "listener, host and path";
}

static void claim_all(struct checker *k, const struct conf_section *s)
{
    const struct conf_route *r = s->target, *before = NULL;
    const char *what = what_is_claimed(r);
    bool has_some = false, has_listener = r->listener.n > 0;

    for (size_t i = 0; i < r->listener.n; i++)
        has_some |= claim_listener(k, s, r->listener.v[i]->index, &before);
    for (size_t i = 0; r->listener.n == 0 && i < k->conf->nlisteners; i++) {
        if (!conf_route_takes_unnamed(r, &k->conf->listeners[i]))
            continue;
        has_listener = true;
        has_some |= claim_listener(k, s, i, &before);
    }
    if (!has_some && before)
        conf_section_error(k->b, s, NULL, "never matches: [route %s] at %s:%u takes the same %s",
                           before->name, before->origin.file, before->origin.line, what);
    else if (!has_listener && r->tls == CONF_ROUTE_PASSTHROUGH && k->conf->nlisteners > 0)
        conf_section_error(k->b, s, NULL, "never matches: it passes TLS through, and no listener "
                           "has tls = on");
}

/* Of a listener without TLS one route takes all. */
static void claim_plain(struct checker *k, const struct conf_section *s,
                        const struct conf_listener *l)
{
    const struct conf_route *before = NULL;

    if (!claim_listener(k, s, l->index, &before))
        conf_section_error(k->b, s, "listener", "never matches: [route %s] at %s:%u takes all of "
                           "the tcp listener '%s'", before->name, before->origin.file,
                           before->origin.line, l->name);
}

/* What only requests have cannot be asked of a session. */
static void check_session_keys(struct checker *k, const struct conf_section *s,
                               enum conf_route_use use)
{
    const struct conf_route *r = s->target;

    for (size_t i = 0; i < conf_nsettings; i++) {
        const struct conf_setting *setting = &conf_settings[i];

        if (setting->kind != CONF_KIND_route || !(s->set & (uint64_t)1 << setting->bit) ||
            conf_setting_is_of(setting, use))
            continue;
        conf_section_error(k->b, s, setting->key, "does not belong in a route %s, which takes "
                           "%slistener, allow, deny, limit, backend, timeouts, retries, "
                           "retry_on and access_log",
                           r->tls == CONF_ROUTE_PASSTHROUGH ? "with tls = passthrough"
                                                            : "of a tcp listener",
                           use == CONF_USE_SNI ? "host, " : "");
    }
}

static void check_tcp_route(struct checker *k, const struct conf_section *s,
                            const struct conf_route *r)
{
    size_t nplain = 0;

    for (size_t i = 0; i < r->listener.n; i++) {
        nplain += !r->listener.v[i]->tls;
        k->is_routed[r->listener.v[i]->index] = true;
    }
    if (nplain > 0 && nplain < r->listener.n) {
        conf_section_error(k->b, s, "listener", "listeners with and without tls cannot share a "
                           "route of tcp ones");
        return;
    }
    check_session_keys(k, s, conf_route_use(r));
    if (nplain == 0)
        claim_all(k, s);
    for (size_t i = 0; nplain > 0 && i < r->listener.n; i++)
        claim_plain(k, s, r->listener.v[i]);
}

/* TLS that is not ended here. false: it has no place there, reported. */
static bool check_passthrough(struct checker *k, const struct conf_section *s,
                              const struct conf_route *r)
{
    for (size_t i = 0; i < r->listener.n; i++) {
        if (r->listener.v[i]->tls)
            continue;
        conf_section_error(k->b, s, "tls", "passthrough, but [listener %s] has no tls = on",
                           r->listener.v[i]->name);
        return false;
    }
    for (size_t i = 0; i < conf_route_nbackends(r); i++)
        if (conf_route_backend(r, i)->tls)
            conf_section_error(k->b, s, "backend", "passthrough sends the client's own TLS on, "
                               "and [backend %s] has tls = on", conf_route_backend(r, i)->name);
    return true;
}

static void check_backends(struct checker *k, const struct conf_section *s,
                           const struct conf_route *r, bool has_sessions)
{
    for (size_t i = 0; i < conf_route_nbackends(r); i++) {
        k->is_used[conf_route_backend(r, i)->index] = true;
        k->has_sessions[conf_route_backend(r, i)->index] |= has_sessions;
    }
    if (!is_set(s, offsetof(struct conf_route, split_sticky)) ||
        r->split_sticky.how == CONF_STICKY_OFF)
        return;
    if (r->split.n < 2 && !s->has_errors)
        conf_section_warning(k->b, s, "split_sticky", "means nothing, for `backend` is no split");
    else if (has_sessions && r->split_sticky.how == CONF_STICKY_COOKIE)
        conf_section_error(k->b, s, "split_sticky", "tcp sessions have no cookies: write `source`");
}

/* Keys that other files know. */
static void check_parts(struct conf_builder *b, const struct conf_section *s)
{
    conf_check_rewrite(b, s);
    conf_check_redirect(b, s);
    conf_check_jwt(b, s);
    conf_check_compress(b, s);
    conf_check_captures(b, s);
}

/* Backends that get requests of the route beside its own. */
static void use_asides(struct checker *k, const struct conf_route *r)
{
    if (r->auth_request.backend)
        k->is_used[r->auth_request.backend->index] = true;
    if (r->mirror.backend)
        k->is_used[r->mirror.backend->index] = true;
}

static void check_asides(struct checker *k, const struct conf_section *s,
                         const struct conf_route *r)
{
    use_asides(k, r);
    if (is_set(s, offsetof(struct conf_route, auth_request_header)) && !r->auth_request.backend &&
        !s->has_errors)
        conf_section_warning(k->b, s, "auth_request_header", "means nothing, for there is no "
                             "`auth_request`");
    if (is_set(s, offsetof(struct conf_route, mirror)) && r->mirror.backend &&
        conf_route_nbackends(r) == 0 && !s->has_errors)
        conf_section_warning(k->b, s, "mirror", "means nothing, for the route has no `backend`");
}

static void check_route(struct checker *k, const struct conf_section *s)
{
    const struct conf_route *r = s->target;
    size_t ntcp = 0;

    strbuf_clear(&k->match);
    if (conf_route_use(r) == CONF_USE_HTTP)
        conf_match_key(r, &k->arena, &k->match); /* a session has no more than its name */
    check_answer(k, s, r);
    check_parts(k->b, s);
    if ((r->path.n > 0) + (r->path_exact.n > 0) + (r->path_regex.re != NULL) > 1)
        conf_section_error(k->b, s, NULL, "path, path_exact and path_regex exclude each other: "
                           "at most one can say which paths are taken");
    conf_check_cors(k->b, s);
    if (is_set(s, offsetof(struct conf_route, retry_timeout_ms)) && r->retry_timeout_ms > 0 &&
        !(r->retry_on & CONF_FAIL_TIMEOUT))
        conf_section_warning(k->b, s, "retry_timeout", "means nothing, for `retry_on` has no "
                             "`timeout`");
    for (size_t i = 0; i < r->listener.n; i++)
        ntcp += r->listener.v[i]->mode == CONF_MODE_TCP;
    check_asides(k, s, r);
    check_backends(k, s, r, ntcp > 0 || r->tls == CONF_ROUTE_PASSTHROUGH);
    if (r->listener.n == 0 && is_set(s, offsetof(struct conf_route, listener)) && s->has_errors)
        return; /* the listeners it was to have are unknown */
    if (r->tls == CONF_ROUTE_PASSTHROUGH && !check_passthrough(k, s, r))
        return;
    if (ntcp > 0 && ntcp < r->listener.n)
        conf_section_error(k->b, s, "listener", "http and tcp listeners cannot share a route");
    else if (ntcp > 0)
        check_tcp_route(k, s, r);
    else if (r->listener.n == 0 && r->tls == CONF_ROUTE_TERMINATE && k->nhttp == 0 &&
             k->conf->nlisteners > 0)
        conf_section_error(k->b, s, NULL, "never matches: there is no http listener, and a tcp "
                           "one must be named in `listener`");
    else {
        check_session_keys(k, s, conf_route_use(r));
        claim_all(k, s);
    }
}

/* A canary that no route has is said to be unused itself. */
static void use_backends(struct checker *k, const struct conf_section *s)
{
    const struct conf_canary *canary = s->target;

    if (canary->stable)
        k->is_used[canary->stable->index] = true;
    if (canary->canary)
        k->is_used[canary->canary->index] = true;
}

/* ---- listeners ---- */

/* The handshake is done with one wherever TLS is ended. */
static void check_needs_certificate(struct checker *k, const struct conf_section *s,
                                    const struct conf_listener *l)
{
    const struct conf_route *r = k->ends[l->index];

    if (!l->tls || l->certificate.n > 0 || s->has_errors)
        return;
    if (r)
        conf_section_error(k->b, s, NULL, "has tls = on and no certificate, and needs one: [route "
                           "%s] at %s:%u ends TLS (tls = passthrough would not)", r->name,
                           r->origin.file, r->origin.line);
    else if (l->default_backend)
        conf_section_error(k->b, s, NULL, "has tls = on and no certificate, and needs one for its "
                           "default_backend");
}

static void check_listener(struct checker *k, const struct conf_section *s)
{
    const struct conf_listener *l = s->target;

    if (l->default_backend) {
        k->is_used[l->default_backend->index] = true;
        use_asides(k, &k->conf->route_defaults);
    }
    if (l->default_backend && l->mode == CONF_MODE_TCP)
        k->has_sessions[l->default_backend->index] = true;
    check_needs_certificate(k, s, l);
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

static void check_checks(struct checker *k, const struct conf_section *s)
{
    const struct conf_backend *backend = s->target;

    if (slice_eq(backend->check.method, SLICE("HEAD")) && backend->check.body.n > 0)
        conf_section_warning(k->b, s, "check", "an answer to HEAD has no body: every check will "
                             "fail");
}

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

bool conf_var_is_of_sessions(enum var_id var)
{
    static const enum var_id known[] = {
        VAR_LITERAL, VAR_CLIENT_IP, VAR_CLIENT_PORT, VAR_SERVER_IP, VAR_SERVER_PORT, VAR_SNI,
        VAR_TLS_CLIENT_SUBJECT, VAR_LISTENER, VAR_ROUTE,
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i] == var)
            return true;
    return false;
}

/* What sessions have no part of: such a setting does nothing for them. */
static void check_sessions(struct checker *k, const struct conf_section *s)
{
    const struct conf_backend *b = s->target;

    if (b->sticky.how == CONF_STICKY_COOKIE)
        conf_section_warning(k->b, s, "sticky", "tcp sessions have no cookies: write `source`");
    for (size_t i = 0; i < b->balance.key.n; i++)
        if (!conf_var_is_of_sessions(b->balance.key.parts[i].var)) {
            conf_section_warning(k->b, s, "balance", "'%.*s' is nothing that tcp sessions have: "
                                 "write `hash $client_ip`", SLICE_ARG(b->balance.key.source));
            return;
        }
}

static void check_backend(struct checker *k, const struct conf_section *s)
{
    check_servers(k, s);
    if (k->has_sessions[s->index])
        check_sessions(k, s);
    if (!k->is_used[s->index])
        conf_section_warning(k->b, s, NULL, "nothing uses it");
    check_checks(k, s);
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
    strbuf_init(&k->match);
    smap_init(&k->hosts, false);
    k->ends = xcalloc(conf->nlisteners + 1, sizeof *k->ends);
    k->is_routed = xcalloc(conf->nlisteners + 1, sizeof *k->is_routed);
    k->is_used = xcalloc(conf->nbackends + 1, sizeof *k->is_used);
    k->has_sessions = xcalloc(conf->nbackends + 1, sizeof *k->has_sessions);
    for (size_t i = 0; i < conf->nlisteners; i++)
        k->nhttp += conf->listeners[i].mode == CONF_MODE_HTTP;
}

static void checker_fini(struct checker *k)
{
    arena_reset(&k->arena);
    smap_fini(&k->binds);
    smap_fini(&k->claims);
    strbuf_fini(&k->match);
    smap_fini(&k->hosts);
    free((void *)k->ends);
    free(k->is_routed);
    free(k->is_used);
    free(k->has_sessions);
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
    check_kind(&k, CONF_KIND_canary, use_backends);
    check_kind(&k, CONF_KIND_listener, check_listener);
    check_kind(&k, CONF_KIND_backend, check_backend);
    for (size_t i = 0; i < b->sections.n; i++)
        if (conf_is_object(&b->sections.v[i]) && !b->sections.v[i].is_refused)
            conf_check_idle(b, &b->sections.v[i]);
    conf_check_tls(b);
    conf_check_canaries(b);
    conf_check_limits(b);
    if (b->conf->nlisteners == 0)
        report_warning(b->report, "there is no [listener]: nothing will be served");
    checker_fini(&k);
}
