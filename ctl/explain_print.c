/* What explain has found, for people and as JSON. Pure. */
#include <assert.h>
#include <string.h>
#include "common/base/json.h"
#include "common/core/nets.h"
#include "ctl/explain.h"

/* So many of the routes that were not taken are told of. */
#define OTHERS_MAX 12

/* What a request meets on its route, in the order it does. */
static const char *const met[] = {
    "allow", "deny", "cors", "limit", "auth_basic", "jwt_key", "auth_request", "fault", "redirect",
    "respond", "respond_file", "cache", "canary", "backend", "split_sticky", "mirror", "rewrite",
    "raw_path", "host_header", "request_header", "response_header", "compress",
};

/* ---- settings, as they are printed ---- */

/* The lines of a section: those of `[KIND NAME]` up to the empty one. */
static struct slice section_of(const struct strbuf *printed, const char *kind, const char *name)
{
    struct slice rest = strbuf_slice(printed), end;
    struct strbuf head;
    const char *at;

    strbuf_init(&head);
    strbuf_printf(&head, "[%s %s]\n", kind, name);
    at = memmem(rest.p, rest.n, head.s, head.n);
    rest = at ? slice_of(at + head.n, rest.n - (size_t)(at - rest.p) - head.n) : SLICE_NONE;
    strbuf_fini(&head);
    end = SLICE("\n\n");
    at = rest.n > 0 ? memmem(rest.p, rest.n, end.p, end.n) : NULL;
    return at ? slice_of(rest.p, (size_t)(at - rest.p)) : rest;
}

/* The next value of the key that says more than nothing. */
static bool next_value(struct slice *rest, const char *key, struct slice *value)
{
    while (rest->p) {
        struct slice line = slice_cut(rest, '\n'), name = slice_trim(slice_cut(&line, '='));

        *value = line.p ? slice_trim(line) : line;
        if (slice_eq(name, slice_str(key)) && value->n > 0 && !slice_eq(*value, SLICE("off")) &&
            !slice_eq(*value, SLICE("preserve")))
            return true;
    }
    return false;
}

/* ---- why not ---- */

static unsigned path_rank(const struct conf_route *r)
{
    return r->path_exact.n > 0 ? 3 : r->path.n > 1 ? 2 : r->path_regex.re ? 1 : 0;
}

static struct slice path_text(const struct conf_route *r)
{
    return r->path_exact.n > 0 ? r->path_exact : r->path_regex.re ? r->path_regex.text : r->path;
}

static void put_host(const struct conf_host *host, struct strbuf *out)
{
    if (host)
        strbuf_printf(out, "host %s%.*s", host->is_wildcard ? "*" : "", SLICE_ARG(host->name));
    else
        strbuf_adds(out, "any host");
}

static void put_path(const struct conf_route *r, struct strbuf *out)
{
    static const char *const kinds[] = { "any path", "path_regex ", "path prefix ",
                                         "path_exact " };

    strbuf_adds(out, kinds[path_rank(r)]);
    if (path_rank(r) > 0)
        strbuf_add(out, path_text(r));
}

/* By what it takes requests. */
static void put_claim(const struct route_seen *seen, struct strbuf *out)
{
    put_host(seen->host, out);
    strbuf_adds(out, ", ");
    put_path(seen->route, out);
}

/* It would take the request, were it not for the winner. */
static void why_behind(const struct route_seen *seen, const struct route_seen *winner,
                       struct strbuf *out)
{
    const struct conf_route *r = seen->route, *w = winner->route;

    if (seen->host != winner->host &&
        !(seen->host && winner->host && slice_eq(seen->host->name, winner->host->name) &&
          seen->host->is_wildcard == winner->host->is_wildcard)) {
        put_host(seen->host, out);
        if (winner->host)
            strbuf_printf(out, " is less specific than %s%.*s",
                          winner->host->is_wildcard ? "*" : "", SLICE_ARG(winner->host->name));
    } else if (path_rank(r) != path_rank(w) || r->path.n != w->path.n) {
        put_path(r, out);
        if (path_rank(r) == 2 && path_rank(w) == 2)
            strbuf_printf(out, " is shorter than %.*s", SLICE_ARG(w->path));
        else {
            strbuf_adds(out, " is less specific than ");
            put_path(w, out);
        }
    } else if ((r->method.n > 0) != (w->method.n > 0)) {
        strbuf_adds(out, "names no method");
    } else if (r->header.n + r->cookie.n != w->header.n + w->cookie.n) {
        strbuf_adds(out, "asks for fewer fields and cookies");
    } else if (r->query.n != w->query.n) {
        strbuf_adds(out, "asks for fewer query parameters");
    } else {
        strbuf_adds(out, "comes later in the file");
    }
}

static void why_condition(const struct explain *e, const struct route_seen *seen, const char *what,
                          const char *between, struct strbuf *out)
{
    const struct conf_condition *one = seen->condition;
    bool has_one = false;

    strbuf_printf(out, "wants %s %.*s", what, SLICE_ARG(one->name));
    if (one->how != CONF_IS_THERE)
        strbuf_printf(out, "%s%s%.*s", between, one->how == CONF_IS_LIKE ? "~" : "",
                      SLICE_ARG(one->value));
    if (seen->verdict != ROUTE_HEADER)
        return;
    for (size_t i = 0; i < e->fields.n; i++)
        if (slice_ieq(e->fields.v[i].name, one->name)) {
            strbuf_printf(out, "%s%.*s", has_one ? ", " : ", has ",
                          SLICE_ARG(e->fields.v[i].value));
            has_one = true;
        }
    strbuf_adds(out, has_one ? "" : ", has none");
}

static void put_why(const struct explain *e, const struct route_seen *seen, struct strbuf *out)
{
    const struct conf_route *r = seen->route;

    switch (seen->verdict) {
    case ROUTE_TAKES:
        assert(e->winner); /* what takes it first */
        why_behind(seen, e->winner, out);
        break;
    case ROUTE_METHOD:
        strbuf_adds(out, "method ");
        for (size_t i = 0; i < r->method.n; i++)
            strbuf_printf(out, "%s%.*s", i > 0 ? ", " : "", SLICE_ARG(r->method.v[i]));
        strbuf_printf(out, ", not %.*s", SLICE_ARG(e->method));
        break;
    case ROUTE_HEADER:
        why_condition(e, seen, "header", ": ", out);
        break;
    case ROUTE_COOKIE:
        why_condition(e, seen, "cookie", "=", out);
        break;
    case ROUTE_QUERY:
        why_condition(e, seen, "query", "=", out);
        break;
    case ROUTE_PATTERN:
        strbuf_printf(out, "path_regex %.*s does not match", SLICE_ARG(r->path_regex.text));
        break;
    case ROUTE_LIMIT:
        strbuf_adds(out, "a pattern takes too much work");
        break;
    }
}

/* ---- for people ---- */

static void row(struct strbuf *out, const char *label, struct slice value)
{
    strbuf_printf(out, "%-16s %.*s\n", label, SLICE_ARG(value));
}

static const char *access_of(const struct explain *e)
{
    const struct conf_route *r = e->winner->route;

    if (!r->access)
        return NULL;
    if (!e->client)
        return "depends on the client (--client says which)";
    return nets_allow(r->access, &e->client_ip) ? "allowed" : "denied: 403";
}

static void backend_text(const struct strbuf *printed, const struct conf_backend *b,
                         struct strbuf *out)
{
    struct slice lines = section_of(printed, "backend", b->name), rest = lines, value;
    struct strbuf text;
    size_t n = 0;

    strbuf_init(&text);
    strbuf_printf(&text, "%s: ", b->name);
    if (next_value(&rest, "balance", &value))
        strbuf_printf(&text, "%.*s of ", SLICE_ARG(value));
    for (rest = lines; next_value(&rest, "server", &value); n++)
        strbuf_printf(&text, "%s%.*s", n > 0 ? ", " : "", SLICE_ARG(value));
    row(out, "servers", strbuf_slice(&text));
    strbuf_fini(&text);
}

static void winner_text(const struct explain *e, const struct strbuf *printed, struct strbuf *out)
{
    const struct conf_route *r = e->winner->route;
    struct slice lines = section_of(printed, "route", r->name), value;
    const char *access = access_of(e);
    struct strbuf claim;

    strbuf_init(&claim);
    strbuf_printf(&claim, "%s  (", r->name);
    put_claim(e->winner, &claim);
    strbuf_adds(&claim, ")");
    row(out, "route", strbuf_slice(&claim));
    strbuf_fini(&claim);
    if (access)
        row(out, "access", slice_str(access));
    for (size_t i = 0; i < sizeof met / sizeof *met; i++)
        for (struct slice rest = lines; next_value(&rest, met[i], &value);)
            row(out, met[i], value);
    for (size_t i = 0; i < conf_route_nbackends(r); i++)
        backend_text(printed, conf_route_backend(r, i), out);
}

static void others_text(const struct explain *e, struct strbuf *out)
{
    struct strbuf why;
    size_t n = 0;

    strbuf_init(&why);
    for (size_t i = 0; i < e->seen.n && n < OTHERS_MAX; i++) {
        const struct route_seen *seen = &e->seen.v[i];

        if (seen == e->winner)
            continue;
        strbuf_clear(&why);
        put_why(e, seen, &why);
        strbuf_printf(out, "%s  %-14s %s\n", n++ == 0 ? "\nnot taken:\n" : "", seen->route->name,
                      why.s);
    }
    strbuf_fini(&why);
}

void explain_text(const struct explain *e, struct strbuf *out)
{
    struct slice raw = slice_of(e->target.p, slice_find(e->target, '?'));
    struct strbuf printed;

    strbuf_init(&printed);
    conf_print(e->conf, &printed);
    row(out, "listener", slice_str(e->listener->name));
    if (!e->refused && raw.n > 0 && !slice_eq(raw, e->path))
        strbuf_printf(out, "%-16s %.*s, sent as %.*s\n", "path", SLICE_ARG(e->path),
                      SLICE_ARG(raw));
    if (e->refused)
        strbuf_printf(out, "%-16s 400: %s\n", "refused", e->refused);
    else if (e->winner)
        winner_text(e, &printed, out);
    else if (e->listener->default_backend)
        strbuf_printf(out, "%-16s none\n%-16s %s\n", "route", "default_backend",
                      e->listener->default_backend->name);
    else
        strbuf_printf(out, "%-16s none: 404\n", "route");
    if (!e->winner && !e->refused && e->listener->default_backend)
        backend_text(&printed, e->listener->default_backend, out);
    others_text(e, out);
    strbuf_fini(&printed);
}

/* ---- JSON ---- */

static void values_json(struct json *j, const char *key, const char *as, struct slice lines)
{
    struct slice rest = lines, value;

    if (!next_value(&rest, key, &value))
        return;
    json_array(j, as);
    do
        json_str(j, NULL, value);
    while (next_value(&rest, key, &value));
    json_array_end(j);
}

static void backend_json(struct json *j, const struct strbuf *printed,
                         const struct conf_backend *b)
{
    struct slice lines = section_of(printed, "backend", b->name), rest = lines, value;

    json_object(j, NULL);
    json_str(j, "name", slice_str(b->name));
    if (next_value(&rest, "balance", &value))
        json_str(j, "balance", value);
    values_json(j, "server", "servers", lines);
    json_object_end(j);
}

static void winner_json(struct json *j, const struct explain *e, const struct strbuf *printed)
{
    const struct conf_route *r = e->winner->route;
    struct slice lines = section_of(printed, "route", r->name);

    json_str(j, "route", slice_str(r->name));
    if (r->access && e->client)
        json_bool(j, "allowed", nets_allow(r->access, &e->client_ip));
    json_object(j, "settings");
    for (size_t i = 0; i < sizeof met / sizeof *met; i++)
        values_json(j, met[i], met[i], lines);
    json_object_end(j);
    json_array(j, "backends");
    for (size_t i = 0; i < conf_route_nbackends(r); i++)
        backend_json(j, printed, conf_route_backend(r, i));
    json_array_end(j);
}

static void others_json(struct json *j, const struct explain *e)
{
    struct strbuf why;

    strbuf_init(&why);
    json_array(j, "others");
    for (size_t i = 0; i < e->seen.n; i++) {
        if (&e->seen.v[i] == e->winner)
            continue;
        strbuf_clear(&why);
        put_why(e, &e->seen.v[i], &why);
        json_object(j, NULL);
        json_str(j, "route", slice_str(e->seen.v[i].route->name));
        json_bool(j, "matches", e->seen.v[i].verdict == ROUTE_TAKES);
        json_str(j, "why", strbuf_slice(&why));
        json_object_end(j);
    }
    json_array_end(j);
    strbuf_fini(&why);
}

void explain_json(const struct explain *e, struct strbuf *out)
{
    const struct conf_backend *other = e->listener->default_backend;
    struct strbuf printed;
    struct json j;

    strbuf_init(&printed);
    conf_print(e->conf, &printed);
    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "method", e->method);
    json_str(&j, "host", e->authority);
    json_str(&j, "target", e->target);
    json_str(&j, "listener", slice_str(e->listener->name));
    if (e->refused) {
        json_u64(&j, "status", 400);
        json_str(&j, "refused", slice_str(e->refused));
    } else {
        json_str(&j, "path", e->path);
        if (e->winner)
            winner_json(&j, e, &printed);
        else
            json_null(&j, "route");
        if (!e->winner && other)
            json_str(&j, "default_backend", slice_str(other->name));
        else if (!e->winner)
            json_u64(&j, "status", 404);
    }
    others_json(&j, e);
    json_object_end(&j);
    strbuf_addc(out, '\n');
    strbuf_fini(&printed);
}
