/* Routes of requests. */
#include "worker/proxy/route.h"

#include "common/base/path.h"

/* Puts the path into its normal form: what routes match, logs show and servers get. *path: it,
 * without the query. Not END_OK: it is to be refused. */
static enum end_reason settle_path(struct exchange *x, struct slice *path)
{
    struct head *h = &x->stream.request;
    struct slice raw = h->path;
    enum path_verdict verdict;
    size_t end, n;
    char *text;

    *path = raw;
    if (path_scan(raw, &path->n) || *raw.p != '/')
        return END_OK;
    end = path->n;
    text = arena_alloc(&x->stream.arena, raw.n);
    if (!text)
        return END_EXHAUSTED;
    verdict = path_normalise(*path, text, &n);
    if (verdict != PATH_GOOD) {
        x->detail = path_verdict_text(verdict);
        stat_inc(&x->listener->stats->bad_requests);
        return END_BAD_REQUEST;
    }
    memcpy(text + n, raw.p + end, raw.n - end);
    x->raw_path = raw;
    h->path = slice_of(text, n + raw.n - end);
    *path = slice_of(text, n);
    return END_OK;
}

/* Of route_request. Upgrade is no field of a head, and yet a field of the request. */
static bool next_field(const void *from, struct slice name, size_t *at, struct slice *value)
{
    const struct head *h = from;

    for (; *at < h->fields.n; ++*at) {
        if (!slice_ieq(h->fields.v[*at].name, name))
            continue;
        *value = h->fields.v[(*at)++].value;
        return true;
    }
    if (*at > h->fields.n || h->upgrade.n == 0 || !slice_ieq(name, SLICE("Upgrade")))
        return false;
    *at = (size_t)h->fields.n + 1;
    *value = h->upgrade;
    return true;
}

static bool keep_captures(struct exchange *x, const struct regex_captures *captures)
{
    struct regex_captures *kept = arena_alloc(&x->stream.arena, sizeof *kept);

    if (kept)
        *kept = *captures;
    x->captures = kept;
    return kept != NULL;
}

/* What no route takes is default_backend's, by the defaults of [route]. */
static enum end_reason find(struct exchange *x, struct slice path)
{
    const struct conf_listener *l = x->listener->conf;
    const struct head *h = &x->stream.request;
    size_t behind = path.n < h->path.n ? path.n + 1 : path.n; /* the question mark */
    struct regex_captures captures;
    struct route_request q = {
        .host = authority_host(h->authority),
        .path = path,
        .query = slice_of(h->path.p + behind, h->path.n - behind),
        .method = h->method_text,
        .field = next_field,
        .from = h,
        .room = x->proxy->regexes,
        .captures = &captures,
    };

    x->route = router_find(x->generation->routers[l->index], &q, NULL);
    if (!x->route) {
        x->route = &x->generation->conf->route_defaults;
        x->backend = l->default_backend;
        return x->backend ? END_OK : END_NO_ROUTE;
    }
    x->route_stats = x->generation->routes[x->route->index];
    stat_inc(&x->route_stats->active);
    x->backend = x->route->backend;
    if (x->route->path_regex.re && !keep_captures(x, &captures))
        return END_EXHAUSTED;
    return END_OK;
}

/* RFC 9110 15.5.20: a name for which TLS is passed through is not served here, though the client
 * has a connection whose certificate it may take for that name's too. */
static bool is_misdirected(const struct exchange *x)
{
    return x->tls &&
           sni_router_is_passthrough(x->generation->sni_routers[x->listener->conf->index],
                                     authority_host(x->stream.request.authority));
}

enum end_reason exchange_route(struct exchange *x)
{
    struct slice path;
    enum end_reason why = settle_path(x, &path);

    if (why != END_OK)
        return why;
    return is_misdirected(x) ? END_MISDIRECTED : find(x, path);
}
