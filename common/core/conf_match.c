/* What a route asks of requests beside host and path prefix: exact paths, patterns, methods, and
 * conditions on fields, query parameters and cookies. Reached through the rows of the settings
 * table only; and what tells two routes' requests apart, for conf_check. */
#include <stdlib.h>
#include <string.h>
#include "common/base/regex.h"
#include "common/core/conf_impl.h"

/* ---- paths ---- */

static void parse_path_exact(struct conf_cursor *c, struct slice text, void *field)
{
    struct slice *out = field;

    if (conf_parse_path(c, &text))
        *out = text;
}

TYPE(PATH_EXACT, .name = "path", .takes_empty = true, .clear = conf_clear_text,
     .parse = parse_path_exact, .count = conf_count_text, .print = conf_print_text);

static void parse_path_regex(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_pattern *out = field;
    const struct regex *re;

    if (slice_starts(text, SLICE("~"))) {
        conf_value_error(c, "'%.*s': leave the '~' out, here is always a pattern",
                         SLICE_ARG(text));
        return;
    }
    re = conf_parse_regex(c, text, 0);
    if (re)
        *out = (struct conf_pattern){ conf_dup(c->b, text), re };
}

static void clear_path_regex(void *field)
{
    struct conf_pattern *out = field;

    *out = CONF_NO_PATTERN;
}

static size_t count_path_regex(const void *field)
{
    const struct conf_pattern *value = field;

    return value->re != NULL;
}

/* Dollar signs are the pattern's own. */
static void print_path_regex(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_pattern *value = field;

    (void)i;
    strbuf_add(out, value->text);
}

TYPE(PATH_REGEX, .name = "PCRE2 pattern", .takes_empty = true, .takes_variables = true,
     .clear = clear_path_regex, .parse = parse_path_regex, .count = count_path_regex,
     .print = print_path_regex);

/* ---- methods ---- */

static const char *const methods[] = {
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH",
};
#define NMETHODS (sizeof methods / sizeof *methods)

static bool method_is_good(struct conf_cursor *c, struct slice text)
{
    struct slice upper = conf_dup(c->b, text);
    char *p = (char *)(uintptr_t)upper.p;

    for (size_t i = 0; i < upper.n; i++)
        if (p[i] >= 'a' && p[i] <= 'z')
            p[i] = (char)(p[i] - 'a' + 'A');
    if (!slice_is_token(text)) {
        conf_value_error(c, "'%.*s' is no method: write `GET, HEAD`", SLICE_ARG(text));
    } else if (!slice_eq(upper, text)) {
        conf_value_error(c, "'%.*s': methods are written in capitals%s", SLICE_ARG(text),
                         conf_did_you_mean(c->b, upper, methods, NMETHODS));
    } else if (slice_eq(text, SLICE("CONNECT"))) {
        conf_value_error(c, "CONNECT is answered 501, whatever the route");
    } else {
        return true;
    }
    return false;
}

static void parse_method(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_methods *list = field;

    if (!method_is_good(c, text))
        return;
    for (size_t i = 0; i < list->n; i++)
        if (slice_eq(list->v[i], text))
            return;
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = conf_dup(c->b, text);
}

static void print_method(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_methods *list = field;

    strbuf_add(out, list->v[i]);
}

COUNT_OF(METHODS)
LIST_TYPE(METHODS, .name = "list of methods", .parse = parse_method, .count = count_METHODS,
          .print = print_method);

/* ---- conditions ---- */

/* Where the name ends: before `:`, for parameters also before `=`. text.n: it is all. */
static size_t name_end(struct slice text, bool is_param)
{
    size_t i = 0;

    while (i < text.n && text.p[i] != ':' && !(is_param && text.p[i] == '='))
        i++;
    return i;
}

static bool param_name_is_good(struct slice name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || strchr(",;&#\"~", name.p[i]))
            return false;
    return name.n > 0;
}

/* `text` stands behind a comma. */
static bool begins_condition(struct slice text, bool is_param)
{
    size_t end = name_end(text, is_param), comma = slice_find(text, ',');
    bool is_apart = text.n > 0 && *text.p == ' ';
    struct slice name;

    if (is_param && is_apart && comma < end)
        end = comma;
    name = slice_trim(slice_of(text.p, end));
    if (end == text.n && !(is_param && is_apart))
        return false;
    return is_param ? param_name_is_good(name) : slice_is_token(name);
}

/* A comma may belong to a value, or to a pattern: it parts two conditions where another name and
 * its value follow, and behind a name without one. In values of fields a comma and a blank are
 * common, in those of parameters they part as well. */
static bool next_condition(struct slice *rest, struct slice *item, bool is_param)
{
    struct slice all = *rest;

    do {
        all = slice_trim(all);
        if (all.n == 0)
            return false;
        *item = all;
        *rest = SLICE_NONE;
        for (size_t i = 0; i < all.n; i++) {
            struct slice next = slice_of(all.p + i + 1, all.n - i - 1);

            if (all.p[i] != ',')
                continue;
            *item = slice_trim(slice_of(all.p, i));
            if (name_end(*item, is_param) == item->n || begins_condition(next, is_param)) {
                *rest = next;
                break;
            }
            *item = all;
        }
        all = *rest;
    } while (item->n == 0);
    return true;
}

static bool next_header(struct slice *rest, struct slice *item)
{
    return next_condition(rest, item, false);
}

static bool next_param(struct slice *rest, struct slice *item)
{
    return next_condition(rest, item, true);
}

/* Behind the name: nothing, a value, or `~` and a pattern. */
static bool parse_wanted(struct conf_cursor *c, struct slice rest, bool is_param,
                         struct conf_condition *out)
{
    struct slice value = rest.n > 0 ? slice_trim(slice_of(rest.p + 1, rest.n - 1)) : rest;
    bool is_empty_param = rest.n > 0 && *rest.p == '=' && value.n == 0;

    if (rest.n == 0) {
        out->how = CONF_IS_THERE;
    } else if (slice_starts(value, SLICE("~"))) {
        value = slice_trim(slice_of(value.p + 1, value.n - 1));
        out->how = CONF_IS_LIKE;
        if (value.n == 0) {
            conf_value_error(c, "no pattern follows the '~'");
            return false;
        }
        out->like = conf_parse_regex(c, value, 0);
        if (!out->like)
            return false;
    } else if (value.n > 0 || (is_param && is_empty_param)) {
        out->how = CONF_IS_VALUE;
    } else {
        conf_value_error(c, "no value follows '%.*s:': write `%.*s` if any will do",
                         SLICE_ARG(out->name), SLICE_ARG(out->name));
        return false;
    }
    out->value = conf_dup(c->b, value);
    return true;
}

static void parse_condition(struct conf_cursor *c, struct slice text, bool is_param, void *field)
{
    struct conf_conditions *list = field;
    size_t end = name_end(text, is_param);
    struct conf_condition one = { .name = conf_dup(c->b, slice_trim(slice_of(text.p, end))) };

    if (!parse_wanted(c, slice_of(text.p + end, text.n - end), is_param, &one))
        return;
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = one;
}

/* What belongs to the connection is not in a head that is routed (RFC 9110 7.6.1). */
static const char *const connection_fields[] = {
    "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "TE", "Trailer",
    "Transfer-Encoding",
};

static bool header_name_is_good(struct conf_cursor *c, struct slice name)
{
    size_t equals = slice_find(name, '=');

    if (name.n == 0) {
        conf_value_error(c, "no field's name: write `X-Beta: yes`, `X-Beta` or `X-Beta: ~^v[23]`");
        return false;
    }
    if (equals > 0 && equals < name.n && slice_is_token(slice_of(name.p, equals))) {
        conf_value_error(c, "'%.*s' is no field's name (did you mean '%.*s: %.*s'?)",
                         SLICE_ARG(name), (int)equals, name.p, (int)(name.n - equals - 1),
                         name.p + equals + 1);
        return false;
    }
    if (!slice_is_token(name)) {
        conf_value_error(c, "'%.*s' is no field's name", SLICE_ARG(name));
        return false;
    }
    if (slice_ieq(name, SLICE("Host"))) {
        conf_value_error(c, "Host is matched by `host`");
        return false;
    }
    for (size_t i = 0; i < sizeof connection_fields / sizeof *connection_fields; i++)
        if (slice_ieq(name, slice_str(connection_fields[i]))) {
            conf_value_error(c, "%s belongs to the connection: no route can ask for it",
                             connection_fields[i]);
            return false;
        }
    return true;
}

static void parse_header(struct conf_cursor *c, struct slice text, void *field)
{
    if (header_name_is_good(c, slice_trim(slice_of(text.p, name_end(text, false)))))
        parse_condition(c, text, false, field);
}

static void parse_param(struct conf_cursor *c, struct slice text, void *field)
{
    struct slice name = slice_trim(slice_of(text.p, name_end(text, true)));

    if (param_name_is_good(name))
        parse_condition(c, text, true, field);
    else
        conf_value_error(c, name.n > 0 ? "'%.*s' is no name: write `name=value`, `name` or "
                         "`name=~^v[23]`" : "no name%.*s: write `name=value`, `name` or "
                         "`name=~^v[23]`", SLICE_ARG(name));
}

static void print_condition(const void *field, size_t i, const char *between, struct strbuf *out)
{
    const struct conf_conditions *list = field;
    const struct conf_condition *one = &list->v[i];

    strbuf_add(out, one->name);
    if (one->how == CONF_IS_THERE)
        return;
    strbuf_adds(out, between);
    strbuf_adds(out, one->how == CONF_IS_LIKE ? "~" : "");
    strbuf_add(out, one->value);
}

static void print_header(const void *field, size_t i, struct strbuf *out)
{
    print_condition(field, i, ": ", out);
}

static void print_param(const void *field, size_t i, struct strbuf *out)
{
    print_condition(field, i, "=", out);
}

COUNT_OF(HEADERS)
LIST_TYPE(HEADERS, .name = "list of conditions", .takes_variables = true, .parse = parse_header,
          .next_item = next_header, .count = count_HEADERS, .print = print_header);
COUNT_OF(PARAMS)
LIST_TYPE(PARAMS, .name = "list of conditions", .takes_variables = true, .parse = parse_param,
          .next_item = next_param, .count = count_PARAMS, .print = print_param);

/* ---- what a path's pattern catches ---- */

static void check_captures(struct conf_builder *b, const struct conf_section *s, const char *key,
                           const struct template *t)
{
    const struct regex *re = ((const struct conf_route *)s->target)->path_regex.re;
    unsigned n = template_captures(t), groups = re ? regex_groups(re) : 0;

    if (n == 0 || (re && n <= groups + 1))
        return;
    if (re)
        conf_section_error(b, s, key, "'$%u': path_regex has %u group%s", n - 1, groups,
                           groups == 1 ? "" : "s");
    else
        conf_section_error(b, s, key, "'$%u' is what path_regex caught, and there is none (a "
                           "dollar sign is written '$$')", n - 1);
}

void conf_check_captures(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_route *r = s->target;

    if (s->has_errors)
        return;
    if (r->redirect.status)
        check_captures(b, s, "redirect", &r->redirect.location);
    if (r->respond.status)
        check_captures(b, s, "respond", &r->respond.body);
    if (r->host_header.how == CONF_HOST_VALUE)
        check_captures(b, s, "host_header", &r->host_header.value);
    for (size_t i = 0; i < r->request_header.n; i++)
        check_captures(b, s, "request_header", &r->request_header.v[i].value);
    for (size_t i = 0; i < r->response_header.n; i++)
        check_captures(b, s, "response_header", &r->response_header.v[i].value);
}

/* ---- what tells requests apart ---- */

static int by_text(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* In an order of their own: which stands first says nothing. */
static void add_conditions(struct strbuf *key, const char *kind, const struct conf_conditions *list,
                           bool has_case, struct arena *arena)
{
    struct slice *texts = arena_xalloc(arena, (list->n + 1) * sizeof *texts);

    for (size_t i = 0; i < list->n; i++) {
        const struct conf_condition *one = &list->v[i];
        struct slice text = arena_printf(arena, "%s %.*s %d %.*s", kind, SLICE_ARG(one->name),
                                         (int)one->how, SLICE_ARG(one->value));
        char *p = (char *)(uintptr_t)text.p;

        for (size_t k = strlen(kind); !has_case && k < strlen(kind) + 1 + one->name.n; k++)
            p[k] = ascii_lower(p[k]);
        texts[i] = text;
    }
    if (list->n > 1)
        qsort(texts, list->n, sizeof *texts, by_text);
    for (size_t i = 0; i < list->n; i++) {
        strbuf_addc(key, '\n');
        strbuf_add(key, texts[i]);
    }
}

void conf_match_key(const struct conf_route *r, struct arena *arena, struct strbuf *key)
{
    /* A path of "/" is any. */
    if (r->path.n > 1)
        strbuf_printf(key, "below %.*s", SLICE_ARG(r->path));
    if (r->path_exact.n > 0)
        strbuf_printf(key, "is %.*s", SLICE_ARG(r->path_exact));
    if (r->path_regex.re)
        strbuf_printf(key, "like %.*s", SLICE_ARG(r->path_regex.text));
    add_conditions(key, "header", &r->header, false, arena);
    add_conditions(key, "query", &r->query, true, arena);
    add_conditions(key, "cookie", &r->cookie, true, arena);
}
