/* Settings of how requests are spread over servers and how those are watched: balance, sticky,
 * check, hedge_after. Reached through the rows of the settings table only. */
#include <inttypes.h>
#include "common/core/conf_words.h"
#include "common/core/units.h"

/* ---- balance ---- */

static const struct conf_word balances[] = {
    { "round_robin", CONF_BALANCE_ROUND_ROBIN, false },
    { "least_conn", CONF_BALANCE_LEAST_CONN, false },
    { "random", CONF_BALANCE_RANDOM, false },
    { "ewma", CONF_BALANCE_EWMA, false },
    { "hash", CONF_BALANCE_HASH, false },
};

static void parse_hash(struct conf_cursor *c, struct slice key, struct conf_balance_value *out)
{
    struct conf_balance_value value = { .how = CONF_BALANCE_HASH };

    if (key.n == 0) {
        conf_value_error(c, "hash of what? Write `hash $client_ip`, `hash $uri`, "
                         "`hash $cookie_id`");
        return;
    }
    if (!conf_parse_template(c, key, &value.key))
        return;
    if (template_is_literal(&value.key))
        conf_value_error(c, "hash '%.*s': without a variable all requests would go to one server",
                         SLICE_ARG(key));
    else
        *out = value;
}

static void parse_balance(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_balance_value *out = field;
    struct slice rest = text, word = conf_cut_word(&rest);
    int value;

    if (slice_eq(word, SLICE("hash"))) {
        parse_hash(c, rest, out);
        return;
    }
    value = conf_parse_word(c, text, balances, CONF_NWORDS(balances));
    if (value >= 0)
        *out = (struct conf_balance_value){ .how = (enum conf_balance)value };
}

static void print_balance(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_balance_value *value = field;

    (void)i;
    conf_print_word(out, (int)value->how, balances, CONF_NWORDS(balances));
    if (value->how != CONF_BALANCE_HASH)
        return;
    strbuf_addc(out, ' ');
    strbuf_add(out, value->key.source);
}

TYPE(BALANCE, .name = "word", .takes_variables = true, .parse = parse_balance,
     .print = print_balance);

/* ---- sticky ---- */

static const struct conf_word stickies[] = {
    { "off", CONF_STICKY_OFF, false },
    { "cookie", CONF_STICKY_COOKIE, false },
    { "source", CONF_STICKY_SOURCE, false },
};

static void parse_sticky(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_sticky_value *out = field;
    struct slice rest = text, word = conf_cut_word(&rest);
    int value = conf_parse_word(c, word, stickies, CONF_NWORDS(stickies));

    if (value < 0)
        return;
    if (value == CONF_STICKY_COOKIE && !slice_is_token(rest))
        conf_value_error(c, rest.n == 0 ? "which cookie? Write `cookie NAME`"
                                        : "'%.*s' is no name of a cookie", SLICE_ARG(rest));
    else if (value != CONF_STICKY_COOKIE && rest.n > 0)
        conf_value_error(c, "'%.*s' after '%.*s'", SLICE_ARG(rest), SLICE_ARG(word));
    else
        *out = (struct conf_sticky_value){ (enum conf_sticky)value, conf_dup(c->b, rest) };
}

static void print_sticky(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_sticky_value *value = field;

    (void)i;
    conf_print_word(out, (int)value->how, stickies, CONF_NWORDS(stickies));
    if (value->how != CONF_STICKY_COOKIE)
        return;
    strbuf_addc(out, ' ');
    strbuf_add(out, value->cookie);
}

TYPE(STICKY, .name = "off, cookie NAME or source", .parse = parse_sticky, .print = print_sticky);

/* ---- check ---- */

#define CHECK_FORM "write off, tcp, or `http [GET] /PATH [200-399] [host=HOST] [body=TEXT]`"

/* `200` or `200-399`. */
static bool parse_statuses(struct slice text, unsigned *min, unsigned *max)
{
    size_t dash = slice_find(text, '-');
    struct slice low = slice_of(text.p, dash), high = low;
    uint64_t from, to;

    if (dash < text.n)
        high = slice_of(text.p + dash + 1, text.n - dash - 1);
    if (!slice_u64(low, &from) || !slice_u64(high, &to) || from < 100 || to > 599 || from > to)
        return false;
    *min = (unsigned)from;
    *max = (unsigned)to;
    return true;
}

static bool is_target(struct slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= 0x20 || (unsigned char)text.p[i] >= 0x7f)
            return false;
    return text.n > 0 && text.p[0] == '/';
}

/* One of the words behind the path; body= has the rest of the line. */
static bool parse_check_option(struct conf_cursor *c, struct slice word, struct slice *rest,
                               struct conf_check_value *v)
{
    if (slice_starts(word, SLICE("host=")) && word.n > 5) {
        v->host = conf_dup(c->b, slice_of(word.p + 5, word.n - 5));
    } else if (slice_starts(word, SLICE("body=")) && word.n + rest->n > 5) {
        size_t n = (size_t)(rest->p + rest->n - word.p);

        v->body = conf_dup(c->b, slice_of(word.p + 5, n - 5));
        rest->n = 0;
    } else if (!parse_statuses(word, &v->status_min, &v->status_max)) {
        conf_value_error(c, "'%.*s': " CHECK_FORM, SLICE_ARG(word));
        return false;
    }
    return true;
}

static bool parse_http_check(struct conf_cursor *c, struct slice rest, struct conf_check_value *v)
{
    struct slice word = conf_cut_word(&rest);

    *v = (struct conf_check_value){ .how = CONF_CHECK_HTTP, .method = SLICE("GET"),
                                    .status_min = 200, .status_max = 399 };
    if (slice_is_token(word)) {
        v->method = conf_dup(c->b, word);
        word = conf_cut_word(&rest);
    }
    if (!is_target(word)) {
        conf_value_error(c, "'%.*s' is no path: " CHECK_FORM, SLICE_ARG(word));
        return false;
    }
    v->path = conf_dup(c->b, word);
    while (rest.n > 0) {
        word = conf_cut_word(&rest);
        if (!parse_check_option(c, word, &rest, v))
            return false;
    }
    return true;
}

static void parse_check(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_check_value *out = field, value = { .how = CONF_CHECK_OFF };
    struct slice rest = text, word = conf_cut_word(&rest);

    if (slice_eq(word, SLICE("http"))) {
        if (!parse_http_check(c, rest, &value))
            return;
    } else if (slice_eq(text, SLICE("tcp"))) {
        value.how = CONF_CHECK_TCP;
    } else if (!slice_eq(text, SLICE("off"))) {
        conf_value_error(c, "'%.*s': " CHECK_FORM, SLICE_ARG(text));
        return;
    }
    *out = value;
}

static void print_check(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_check_value *v = field;

    (void)i;
    if (v->how != CONF_CHECK_HTTP) {
        strbuf_adds(out, v->how == CONF_CHECK_TCP ? "tcp" : "off");
        return;
    }
    strbuf_printf(out, "http %.*s ", SLICE_ARG(v->method));
    conf_print_escaped(out, v->path);
    strbuf_printf(out, " %u-%u", v->status_min, v->status_max);
    if (v->host.n > 0)
        strbuf_printf(out, " host=%.*s", SLICE_ARG(v->host));
    if (v->body.n > 0) {
        strbuf_adds(out, " body=");
        conf_print_escaped(out, v->body);
    }
}

TYPE(CHECK, .name = "off, tcp or http", .parse = parse_check, .print = print_check);

/* ---- hedge_after ---- */

/* `p95` and `p99.9`, in thousandths; 0: it is none. */
static uint32_t parse_quantile(struct slice text)
{
    uint64_t hundredths = 0;
    struct strbuf percent, error;

    strbuf_init(&percent);
    strbuf_init(&error);
    strbuf_printf(&percent, "%.*s%%", (int)text.n - 1, text.p + 1);
    if (text.p[0] != 'p' || !units_percent(slice_str(percent.s), &hundredths, &error) ||
        hundredths % 10 != 0 || hundredths >= 10000)
        hundredths = 0;
    strbuf_fini(&percent);
    strbuf_fini(&error);
    return (uint32_t)(hundredths / 10);
}

static void parse_hedge(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_hedge *out = field, value = { .quantile = 0 };
    struct strbuf error;
    uint64_t ms = 0;

    strbuf_init(&error);
    if (text.p[0] == 'p')
        value.quantile = parse_quantile(text);
    else if (units_duration(text, &ms, &error) && ms <= UINT32_MAX)
        value.after_ms = (uint32_t)ms;
    if (value.quantile > 0 || value.after_ms > 0 || slice_eq(text, SLICE("off")))
        *out = value;
    else
        conf_value_error(c, "'%.*s' is neither off, a duration (50ms) nor a share of the backend's "
                         "latency (p95)", SLICE_ARG(text));
    strbuf_fini(&error);
}

static void print_hedge(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_hedge *value = field;

    (void)i;
    if (value->after_ms > 0)
        units_print_duration(value->after_ms, out);
    else if (value->quantile % 10)
        strbuf_printf(out, "p%" PRIu32 ".%" PRIu32, value->quantile / 10, value->quantile % 10);
    else if (value->quantile > 0)
        strbuf_printf(out, "p%" PRIu32, value->quantile / 10);
    else
        strbuf_adds(out, "off");
}

TYPE(HEDGE, .name = "off, duration or quantile", .parse = parse_hedge, .print = print_hedge);
