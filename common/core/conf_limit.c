/* Settings of limits: rate, key, a route's list of them, and what they say together. Reached
 * through the rows of the settings table, and as a step of conf_build. */
#include <string.h>
#include "common/core/conf_impl.h"

#define RATE_COUNT_MAX 1000000
#define NS_PER_SECOND 1000000000u
#define LIMITS_MAX 8 /* of a route */
#define KNOWN_STEPS (CONF_STEP_BASIC | CONF_STEP_JWT | CONF_STEP_AUTH_REQUEST)

/* ---- rate ---- */

static const struct {
    const char *name;
    uint32_t seconds;
} periods[] = { { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 } };
#define NPERIODS (sizeof periods / sizeof *periods)

static uint32_t seconds_of(struct slice name)
{
    for (size_t i = 0; i < NPERIODS; i++)
        if (slice_eq(name, slice_str(periods[i].name)))
            return periods[i].seconds;
    return 0;
}

static void parse_rate(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_rate *out = field;
    struct slice period = text, number = slice_trim(slice_cut(&period, '/'));
    uint32_t seconds = period.p ? seconds_of(slice_trim(period)) : 0;
    uint64_t count;

    if (slice_eq(text, SLICE("off")) || slice_eq(text, SLICE("0"))) {
        *out = (struct conf_rate){ 0, 0 };
        return;
    }
    if (!slice_u64(number, &count))
        conf_value_error(c, "'%.*s' is no rate: write 10/s, 600/m, 1000/h or 5000/d, or off",
                         SLICE_ARG(text));
    else if (!period.p)
        conf_value_error(c, "'%.*s' has no period: did you mean %.*s/s or %.*s/m?",
                         SLICE_ARG(text), SLICE_ARG(text), SLICE_ARG(text));
    else if (seconds == 0)
        conf_value_error(c, "'%.*s': a rate is for /s, /m, /h or /d", SLICE_ARG(text));
    else if (count == 0)
        conf_value_error(c, "'%.*s' would let nothing through: write off for any rate",
                         SLICE_ARG(text));
    else if (count > RATE_COUNT_MAX)
        conf_value_error(c, "'%.*s' is above the most, %u", SLICE_ARG(text), RATE_COUNT_MAX);
    else
        *out = (struct conf_rate){ (uint32_t)count, seconds };
}

static void print_rate(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_rate *rate = field;

    (void)i;
    for (size_t k = 0; k < NPERIODS; k++)
        if (rate->count && periods[k].seconds == rate->seconds)
            strbuf_printf(out, "%u/%s", rate->count, periods[k].name);
    if (!rate->count)
        strbuf_adds(out, "off");
}

TYPE(RATE, .name = "rate or off", .parse = parse_rate, .print = print_rate);

uint64_t conf_rate_interval(struct conf_rate rate)
{
    return rate.count ? (uint64_t)rate.seconds * NS_PER_SECOND / rate.count : 0;
}

/* ---- key ---- */

static void parse_key(struct conf_cursor *c, struct slice text, void *field)
{
    struct template *out = field, t;

    if (!conf_parse_template(c, text, &t))
        return;
    if (text.n > CONF_LIMIT_KEY_MAX / 2)
        conf_value_error(c, "longer than %u bytes", CONF_LIMIT_KEY_MAX / 2);
    else
        *out = t;
}

static void print_key(const void *field, size_t i, struct strbuf *out)
{
    const struct template *t = field;

    (void)i;
    strbuf_add(out, t->source);
}

TYPE(KEY, .name = "text with variables", .takes_variables = true, .parse = parse_key,
     .print = print_key);

/* Of a variable that is known once somebody was let in. */
static bool is_of_access(enum var_id id)
{
    static const struct slice names[] = {
        SLICE_INIT(""),
#define VAR(ID, name, help) SLICE_INIT(name),
#define VAR_PREFIX(ID, name, help) SLICE_INIT(name),
#include "common/core/vars.def"
#undef VAR
#undef VAR_PREFIX
    };

    return id < VAR_COUNT && (slice_starts(names[id], SLICE("auth_")) ||
                              slice_starts(names[id], SLICE("jwt_")));
}

static bool is_by_access(const struct conf_limit *limit)
{
    for (size_t i = 0; i < limit->key.n; i++)
        if (is_of_access(limit->key.parts[i].var))
            return true;
    return false;
}

static bool is_by_field(const struct conf_limit *limit)
{
    for (size_t i = 0; i < limit->key.n; i++)
        if (limit->key.parts[i].var == VAR_HEADER)
            return true;
    return false;
}

bool conf_limit_is_after(const struct conf_route *r, const struct conf_limit *limit)
{
    return is_by_access(limit) || (r->auth_request_header.n > 0 && is_by_field(limit));
}

/* ---- a route's limits ---- */

static void parse_limit(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_limits *list = field;
    const void *one = conf_find_once(c, CONF_KIND_limit, text, list->v, list->n);

    if (!one)
        return;
    if (list->n == LIMITS_MAX) {
        conf_value_error(c, "more than %u limits of one route", LIMITS_MAX);
        return;
    }
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = one;
}

static void print_limit(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_limits *list = field;

    strbuf_adds(out, list->v[i]->name);
}

COUNT_OF(LIMITS)
LIST_TYPE(LIMITS, .name = "list of limits", .parse = parse_limit, .count = count_LIMITS,
          .print = print_limit);

/* ---- what they say together ---- */

static bool is_said(const struct conf_section *s, size_t offset)
{
    return (s->set & conf_bit(CONF_KIND_limit, offset)) != 0;
}

/* Who asks for max_conns alone gets no rate from the table. */
void conf_settle_limits(struct conf_builder *b)
{
    for (size_t i = 0; i < b->sections.n; i++) {
        struct conf_section *s = &b->sections.v[i];
        struct conf_limit *limit = s->target;

        if (s->kind == CONF_KIND_limit && !s->is_defaults && limit->max_conns > 0 &&
            !is_said(s, offsetof(struct conf_limit, rate)) &&
            !is_said(s, offsetof(struct conf_limit, burst)) &&
            !(b->defaults_set[CONF_KIND_limit] & conf_bit(CONF_KIND_limit,
                                                          offsetof(struct conf_limit, rate))))
            limit->rate = (struct conf_rate){ 0, 0 };
    }
}

/* A key that sessions never have would let them all through. */
static void check_session_key(struct conf_builder *b, const struct conf_section *s,
                              const struct conf_limit *limit)
{
    for (size_t i = 0; i < limit->key.n; i++) {
        if (conf_var_is_of_sessions(limit->key.parts[i].var))
            continue;
        conf_section_error(b, s, "limit", "the key of [limit %s], '%.*s', is nothing that tcp "
                           "sessions have: such as $client_ip and $sni are", limit->name,
                           SLICE_ARG(limit->key.source));
        return;
    }
}

/* So would one that is nobody's claim. */
static void check_access_key(struct conf_builder *b, const struct conf_section *s,
                             const struct conf_limit *limit)
{
    const struct conf_route *r = s->target;

    if (is_by_access(limit) && !(r->steps & KNOWN_STEPS))
        conf_section_error(b, s, "limit", "the key of [limit %s], '%.*s', is known of who has "
                           "shown who he is, which this route does not ask for", limit->name,
                           SLICE_ARG(limit->key.source));
}

static bool is_limit_of(const struct conf_route *r, const struct conf_limit *limit)
{
    for (size_t i = 0; i < r->limit.n; i++)
        if (r->limit.v[i] == limit)
            return true;
    return false;
}

static void check_use(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_limit *limit = s->target;
    bool is_used = is_limit_of(&b->conf->route_defaults, limit);

    for (size_t i = 0; !is_used && i < b->conf->nroutes; i++)
        is_used = is_limit_of(&b->conf->routes[i], limit);
    if (!is_used)
        conf_section_warning(b, s, NULL, "nothing uses it");
}

static void check_limit(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_limit *limit = s->target;

    if (limit->rate.count == 0 && limit->max_conns == 0 && !s->has_errors)
        conf_section_error(b, s, NULL, "limits nothing: it needs a rate or max_conns");
    check_use(b, s);
}

void conf_check_limits(struct conf_builder *b)
{
    for (size_t i = 0; i < b->sections.n; i++) {
        const struct conf_section *s = &b->sections.v[i];
        const struct conf_route *r = s->target;

        if (s->is_defaults || s->is_refused)
            continue;
        if (s->kind == CONF_KIND_limit)
            check_limit(b, s);
        for (size_t k = 0; s->kind == CONF_KIND_route && k < r->limit.n; k++)
            if (conf_route_use(r) != CONF_USE_HTTP)
                check_session_key(b, s, r->limit.v[k]);
            else
                check_access_key(b, s, r->limit.v[k]);
    }
}
