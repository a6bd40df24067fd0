/* A route's CORS settings. Reached through the rows of the settings table only, but for
 * conf_settle_cors and conf_check_cors, steps of conf_build. */
#include <inttypes.h>
#include "common/core/conf_impl.h"

/* ---- origins ---- */

struct origin_parts {
    struct slice scheme; /* with "://" */
    struct slice host;   /* without `*.` */
    struct slice port;   /* with its colon; may be empty */
    bool is_wildcard;
};

/* Without it, an origin could not be meant. */
static bool has_scheme(struct slice text, size_t *n)
{
    static const struct slice mark = SLICE_INIT("://");
    size_t i = 0;

    while (i < text.n && ((text.p[i] >= 'a' && text.p[i] <= 'z') ||
                          (text.p[i] >= '0' && text.p[i] <= '9') || text.p[i] == '-' ||
                          text.p[i] == '+' || text.p[i] == '.'))
        i++;
    *n = i + mark.n;
    return i > 0 && slice_starts(slice_of(text.p + i, text.n - i), mark);
}

static bool is_host(struct slice host, bool is_wildcard)
{
    struct ip ip;

    if (conf_is_domain(host))
        return true;
    return !is_wildcard && host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']' &&
           ip_parse(slice_of(host.p + 1, host.n - 2), &ip) && ip.family == AF_INET6;
}

/* Browsers leave the scheme's own port out. false: it is none. */
static bool settle_port(struct origin_parts *o)
{
    uint64_t port;

    if (o->port.n == 0)
        return true;
    if (!slice_u64(slice_of(o->port.p + 1, o->port.n - 1), &port) || port == 0 ||
        port > UINT16_MAX)
        return false;
    if ((port == 443 && slice_eq(o->scheme, SLICE("https://"))) ||
        (port == 80 && slice_eq(o->scheme, SLICE("http://"))))
        o->port = SLICE("");
    return true;
}

/* `rest` is what follows the scheme. */
static bool split_origin(struct origin_parts *o, struct slice rest)
{
    size_t end = 0, colon;

    o->is_wildcard = slice_starts(rest, SLICE("*."));
    if (o->is_wildcard)
        rest = slice_of(rest.p + 2, rest.n - 2);
    if (rest.n > 0 && *rest.p == '[')
        end = slice_find(rest, ']');
    colon = end + slice_find(slice_of(rest.p + end, rest.n - end), ':');
    o->host = slice_of(rest.p, colon);
    o->port = slice_of(rest.p + colon, rest.n - colon);
    return is_host(o->host, o->is_wildcard) && settle_port(o);
}

/* false when reported. */
static bool parse_parts(struct conf_cursor *c, struct slice text, struct slice lower,
                        struct origin_parts *o)
{
    size_t n, end;
    struct slice rest;

    if (slice_eq(lower, SLICE("null"))) {
        conf_value_error(c, "'null' is the origin of any sandboxed page: to let it in is to let "
                         "everybody in, which `*` says");
        return false;
    }
    if (!has_scheme(lower, &n)) {
        conf_value_error(c, "'%.*s' has no scheme: did you mean https://%.*s?", SLICE_ARG(text),
                         (int)slice_find(lower, '/'), lower.p);
        return false;
    }
    rest = slice_of(lower.p + n, lower.n - n);
    end = slice_find(rest, '/');
    if (end < rest.n) {
        conf_value_error(c, "'%.*s': an origin has no path and no slash at its end: did you mean "
                         "%.*s?", SLICE_ARG(text), (int)(n + end), lower.p);
        return false;
    }
    o->scheme = slice_of(lower.p, n);
    if (split_origin(o, rest))
        return true;
    conf_value_error(c, "'%.*s' is no origin: write https://app.example.com, "
                     "https://*.example.com or *", SLICE_ARG(text));
    return false;
}

static void parse_origin(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_cors_origins *list = field;
    struct conf_cors_origin value = { .is_any = slice_eq(text, SLICE("*")) };
    struct arena *arena = &c->b->conf->memory->arena;
    struct origin_parts o;

    if (!value.is_any) {
        if (!parse_parts(c, text, conf_lower(c->b, text), &o))
            return;
        value.is_wildcard = o.is_wildcard;
        if (o.is_wildcard) {
            value.text = o.scheme;
            value.tail = arena_printf(arena, ".%.*s%.*s", SLICE_ARG(o.host), SLICE_ARG(o.port));
        } else {
            value.text = arena_printf(arena, "%.*s%.*s%.*s", SLICE_ARG(o.scheme),
                                      SLICE_ARG(o.host), SLICE_ARG(o.port));
        }
    }
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = value;
}

static void print_origin(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_cors_origins *list = field;
    const struct conf_cors_origin *o = &list->v[i];

    if (!o->is_any)
        strbuf_add(out, o->text);
    if (o->is_any || o->is_wildcard)
        strbuf_adds(out, "*");
    if (o->is_wildcard)
        strbuf_add(out, o->tail);
}

COUNT_OF(CORS_ORIGINS)
LIST_TYPE(CORS_ORIGINS, .name = "list of origins", .parse = parse_origin,
          .count = count_CORS_ORIGINS, .print = print_origin);

/* ---- methods and fields ---- */

static void add_token(struct conf_cursor *c, struct slice text, struct conf_tokens *list)
{
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = conf_dup(c->b, text);
}

/* Fetch, 2.2.1: but for a few, methods differ by case; browsers send `patch` as it is written. */
static bool has_lower(struct slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] >= 'a' && text.p[i] <= 'z')
            return true;
    return false;
}

static struct slice upper(struct conf_cursor *c, struct slice text)
{
    struct slice copy = conf_dup(c->b, text);
    char *p = (char *)(uintptr_t)copy.p;

    for (size_t i = 0; i < copy.n; i++)
        if (p[i] >= 'a' && p[i] <= 'z')
            p[i] = (char)(p[i] - 'a' + 'A');
    return copy;
}

static void parse_method(struct conf_cursor *c, struct slice text, void *field)
{
    if (!slice_is_token(text))
        conf_value_error(c, "'%.*s' is no method", SLICE_ARG(text));
    else if (has_lower(text))
        conf_value_error(c, "'%.*s': methods are written in upper case: did you mean %s?",
                         SLICE_ARG(text), upper(c, text).p);
    else
        add_token(c, text, field);
}

static void parse_name(struct conf_cursor *c, struct slice text, void *field)
{
    if (slice_is_token(text))
        add_token(c, text, field);
    else
        conf_value_error(c, "'%.*s' is no name of a field", SLICE_ARG(text));
}

static size_t count_tokens(const void *field)
{
    const struct conf_tokens *list = field;

    return list->n;
}

static void print_token(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_tokens *list = field;

    conf_print_escaped(out, list->v[i]);
}

LIST_TYPE(CORS_METHODS, .name = "list of methods", .parse = parse_method, .count = count_tokens,
          .print = print_token);
LIST_TYPE(FIELD_NAMES, .name = "list of fields", .parse = parse_name, .count = count_tokens,
          .print = print_token);

/* ---- what answers say ---- */

static struct slice joined(struct conf_builder *b, const struct conf_tokens *list)
{
    struct strbuf text;
    struct slice kept;

    strbuf_init(&text);
    for (size_t i = 0; i < list->n; i++) {
        strbuf_adds(&text, i > 0 ? ", " : "");
        strbuf_add(&text, list->v[i]);
    }
    kept = conf_dup(b, strbuf_slice(&text));
    strbuf_fini(&text);
    return kept;
}

static bool is_any_origin(const struct conf_route *r)
{
    for (size_t i = 0; i < r->cors.n; i++)
        if (r->cors.v[i].is_any)
            return true;
    return false;
}

static void settle(struct conf_builder *b, struct conf_route *r)
{
    struct conf_cors_texts *texts;

    if (r->cors.n == 0)
        return;
    texts = conf_alloc(b, sizeof *texts);
    texts->methods = joined(b, &r->cors_methods);
    texts->headers = joined(b, &r->cors_headers);
    texts->expose = joined(b, &r->cors_expose);
    texts->max_age = arena_printf(&b->conf->memory->arena, "%" PRIu32, r->cors_max_age_ms / 1000);
    texts->is_any = is_any_origin(r);
    r->cors_texts = texts;
}

void conf_settle_cors(struct conf_builder *b)
{
    for (size_t i = 0; i < b->conf->nroutes; i++)
        settle(b, &b->conf->routes[i]);
    settle(b, &b->conf->route_defaults);
}

/* ---- checks ---- */

static bool has_star(const struct conf_tokens *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (slice_eq(list->v[i], SLICE("*")))
            return true;
    return false;
}

/* Fetch, 3.2.5: with credentials `*` is no wildcard; and any site could act as its visitors. */
static void check_credentials(struct conf_builder *b, const struct conf_section *s,
                              const struct conf_route *r)
{
    const struct {
        const char *key;
        bool is_wild;
    } lists[] = {
        { "cors_methods", has_star(&r->cors_methods) },
        { "cors_headers", has_star(&r->cors_headers) },
        { "cors_expose", has_star(&r->cors_expose) },
    };

    if (is_any_origin(r))
        conf_section_error(b, s, "cors_credentials", "with `cors = *` any site could act as those "
                           "who visit it: name the origins, or leave it off");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (lists[i].is_wild)
            conf_section_error(b, s, lists[i].key, "with cors_credentials = on browsers take `*` "
                               "for a name: list what is meant");
}

void conf_check_cors(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_route *r = s->target;

    if (r->cors.n > 0 && r->cors_credentials)
        check_credentials(b, s, r);
}
