/* Conditions of routes. */
#include "common/route/rule.h"

#include "common/base/log.h"

/* Longer parameters, escaped as they are, hold no condition of a value. */
#define PARAM_MAX 4096

enum answer { NO, YES, LIMIT };

/* ---- making ---- */

struct rule *rule_new(const struct conf_route *r, struct arena *arena)
{
    struct rule *rule = arena_xalloc(arena, sizeof *rule);

    *rule = (struct rule){ .route = r };
    rule->is_plain = r->method.n + r->header.n + r->cookie.n + r->query.n == 0 &&
                     !r->path_regex.re;
    return rule;
}

bool rule_is_before(const struct rule *a, const struct rule *b)
{
    const struct conf_route *r = a->route, *s = b->route;
    size_t fields = r->header.n + r->cookie.n, others = s->header.n + s->cookie.n;

    if ((r->method.n > 0) != (s->method.n > 0))
        return r->method.n > 0;
    if (fields != others)
        return fields > others;
    return r->query.n > s->query.n;
}

/* ---- patterns and values ---- */

static enum answer match(struct rule *rule, const struct regex *re,
                         const struct route_request *q, struct slice subject,
                         struct regex_captures *captures)
{
    switch (regex_match(re, q->room, subject, captures)) {
    case REGEX_MATCH: return YES;
    case REGEX_NO_MATCH: return NO;
    case REGEX_LIMIT: break;
    }
    if (!rule->is_limit_told)
        log_warnx("[route %s]: a pattern takes more work than a match may: it does not match",
                  rule->route->name);
    rule->is_limit_told = true;
    return LIMIT;
}

static enum answer holds(struct rule *rule, const struct conf_condition *one,
                         const struct route_request *q, struct slice value)
{
    switch (one->how) {
    case CONF_IS_THERE: return YES;
    case CONF_IS_VALUE: return slice_eq(one->value, value) ? YES : NO;
    case CONF_IS_LIKE: return match(rule, one->like, q, value, NULL);
    }
    return NO;
}

/* ---- fields and cookies ---- */

/* One of several fields of a name is enough. */
static enum answer ask_header(struct rule *rule, const struct conf_condition *one,
                              const struct route_request *q)
{
    enum answer answer = NO;
    struct slice value;
    size_t at = 0;

    while (answer == NO && q->field(q->from, one->name, &at, &value))
        answer = holds(rule, one, q, value);
    return answer;
}

/* RFC 6265 5.4; a name without `=` is no cookie. */
static enum answer ask_cookie(struct rule *rule, const struct conf_condition *one,
                              const struct route_request *q)
{
    enum answer answer = NO;
    struct slice rest;
    size_t at = 0;

    while (q->field(q->from, SLICE("Cookie"), &at, &rest)) {
        while (answer == NO && rest.p) {
            struct slice pair = slice_trim(slice_cut(&rest, ';'));
            struct slice name = slice_cut(&pair, '=');

            if (pair.p && slice_eq(name, one->name))
                answer = holds(rule, one, q, pair);
        }
    }
    return answer;
}

/* ---- query parameters ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As forms encode them: `+` is a blank. What is no escape stays. p NULL: too long. */
static struct slice decode(struct slice s, char room[PARAM_MAX])
{
    char *w = room;

    if (slice_find(s, '%') == s.n && slice_find(s, '+') == s.n)
        return s;
    if (s.n > PARAM_MAX)
        return SLICE_NONE;
    for (size_t i = 0; i < s.n; i++) {
        int high = s.n - i > 2 && s.p[i] == '%' ? hex_digit(s.p[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(s.p[i + 2]) : -1;

        if (low >= 0) {
            *w++ = (char)(high << 4 | low);
            i += 2;
        } else {
            *w++ = s.p[i] == '+' ? ' ' : s.p[i];
        }
    }
    return slice_of(room, (size_t)(w - room));
}

static enum answer ask_query(struct rule *rule, const struct conf_condition *one,
                             const struct route_request *q)
{
    struct slice rest = q->query, value, name;
    enum answer answer = NO;
    char room[PARAM_MAX];

    while (answer == NO && rest.n > 0) {
        value = slice_cut(&rest, '&');
        name = slice_cut(&value, '=');
        if (name.n < one->name.n || !slice_eq(decode(name, room), one->name))
            continue;
        value = value.p ? decode(value, room) : SLICE("");
        if (value.p)
            answer = holds(rule, one, q, value);
    }
    return answer;
}

/* ---- the whole ---- */

typedef enum answer ask_fn(struct rule *rule, const struct conf_condition *one,
                           const struct route_request *q);

/* The first condition that does not hold, or ROUTE_TAKES. */
static enum route_verdict ask_all(struct rule *rule, const struct conf_conditions *list,
                                  ask_fn *ask, enum route_verdict otherwise,
                                  const struct route_request *q,
                                  const struct conf_condition **condition)
{
    for (size_t i = 0; i < list->n; i++) {
        enum answer answer = ask(rule, &list->v[i], q);

        if (answer == YES)
            continue;
        *condition = &list->v[i];
        return answer == LIMIT ? ROUTE_LIMIT : otherwise;
    }
    return ROUTE_TAKES;
}

static bool has_method(const struct conf_methods *list, struct slice method)
{
    size_t i = 0;

    while (i < list->n && !slice_eq(list->v[i], method))
        i++;
    return list->n == 0 || i < list->n;
}

/* A preflight asks for a request that is to come, of another method: a route that answers them is
 * for those of its methods (Fetch, CORS-preflight fetch). */
static bool is_for_preflight(const struct conf_route *r, const struct route_request *q)
{
    struct slice method;
    size_t at = 0;

    return r->cors_texts && q->field && slice_eq(q->method, SLICE("OPTIONS")) &&
           q->field(q->from, SLICE("access-control-request-method"), &at, &method) &&
           has_method(&r->method, method);
}

enum route_verdict rule_ask(struct rule *rule, const struct route_request *q,
                            struct regex_captures *captures,
                            const struct conf_condition **condition)
{
    const struct conf_route *r = rule->route;
    enum route_verdict v = ROUTE_TAKES;

    *condition = NULL;
    if (!has_method(&r->method, q->method) && !is_for_preflight(r, q))
        return ROUTE_METHOD;
    v = ask_all(rule, &r->header, ask_header, ROUTE_HEADER, q, condition);
    if (v == ROUTE_TAKES)
        v = ask_all(rule, &r->cookie, ask_cookie, ROUTE_COOKIE, q, condition);
    if (v == ROUTE_TAKES)
        v = ask_all(rule, &r->query, ask_query, ROUTE_QUERY, q, condition);
    if (v != ROUTE_TAKES || !r->path_regex.re)
        return v;
    switch (match(rule, r->path_regex.re, q, q->path, captures)) {
    case YES: return ROUTE_TAKES;
    case NO: return ROUTE_PATTERN;
    case LIMIT: break;
    }
    return ROUTE_LIMIT;
}
