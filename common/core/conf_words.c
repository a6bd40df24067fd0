/* Settings whose values are words: on and off, modes, levels. Reached through the rows of the
 * settings table; words of the language that are not built yet are told from mistakes. */
#include "common/core/conf_words.h"

#define WORDS_MAX 16 /* of one setting */

int conf_find_word(struct slice text, const struct conf_word *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (slice_eq(text, slice_str(words[i].name)))
            return (int)i;
    }
    return -1;
}

void conf_unknown_word(struct conf_cursor *c, struct slice text, const struct conf_word *words,
                         size_t n, const char *other)
{
    const char *names[WORDS_MAX];
    size_t nnames = 0;
    struct strbuf list;

    strbuf_init(&list);
    for (size_t i = 0; i < n && nnames < WORDS_MAX; i++) {
        if (words[i].is_later)
            continue;
        names[nnames++] = words[i].name;
        strbuf_printf(&list, "%s%s", nnames > 1 ? ", " : "", words[i].name);
    }
    conf_value_error(c, "'%.*s' is %s %s%s%s%s", SLICE_ARG(text),
                     nnames == 1 && !other ? "not" : "none of", list.s, other ? " or " : "",
                     other ? other : "", conf_did_you_mean(c->b, text, names, nnames));
    strbuf_fini(&list);
}

int conf_parse_word(struct conf_cursor *c, struct slice text, const struct conf_word *words,
                      size_t n)
{
    int i = conf_find_word(text, words, n);

    if (i < 0) {
        conf_unknown_word(c, text, words, n, NULL);
        return -1;
    }
    if (words[i].is_later) {
        conf_value_error(c, "'%s' is not supported yet", words[i].name);
        return -1;
    }
    return words[i].value;
}

void conf_print_word(struct strbuf *out, int value, const struct conf_word *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (words[i].value == value && !words[i].is_later) {
            strbuf_adds(out, words[i].name);
            return;
        }
    }
}

/* An enum's type from its words. The field is of type `CONF_C_T`. */
#define WORD_TYPE(T, label, words)                                                             \
    static void parse_##T(struct conf_cursor *c, struct slice text, void *field)               \
    {                                                                                          \
        CONF_C_##T *out = field;                                                               \
        int value = conf_parse_word(c, text, words, CONF_NWORDS(words));                       \
        if (value >= 0)                                                                        \
            *out = (CONF_C_##T)value;                                                          \
    }                                                                                          \
    static void print_##T(const void *field, size_t i, struct strbuf *out)                     \
    {                                                                                          \
        const CONF_C_##T *value = field;                                                       \
        (void)i;                                                                               \
        conf_print_word(out, (int)*value, words, CONF_NWORDS(words));                          \
    }                                                                                          \
    TYPE(T, .name = label, .parse = parse_##T, .print = print_##T)

static const struct conf_word modes[] = {
    { "http", CONF_MODE_HTTP, false },
    { "tcp", CONF_MODE_TCP, false },
};
WORD_TYPE(MODE, "http or tcp", modes);

static const struct conf_word protocols[] = {
    { "http1", CONF_PROTOCOL_HTTP1, false },
    { "http2", 0, true },
};
WORD_TYPE(PROTOCOL, "word", protocols);

static const struct conf_word send_proxies[] = {
    { "off", CONF_SEND_PROXY_OFF, false },
    { "v1", CONF_SEND_PROXY_V1, false },
    { "v2", CONF_SEND_PROXY_V2, false },
};
WORD_TYPE(SEND_PROXY, "off, v1 or v2", send_proxies);

static const struct conf_word tls_versions[] = {
    { "1.2", CONF_TLS_1_2, false },
    { "1.3", CONF_TLS_1_3, false },
};
WORD_TYPE(TLS_VERSION, "1.2 or 1.3", tls_versions);

static const struct conf_word client_verifies[] = {
    { "off", CONF_CLIENT_VERIFY_OFF, false },
    { "optional", CONF_CLIENT_VERIFY_OPTIONAL, false },
    { "required", CONF_CLIENT_VERIFY_REQUIRED, false },
};
WORD_TYPE(CLIENT_VERIFY, "off, optional or required", client_verifies);

static const struct conf_word route_tls[] = {
    { "terminate", CONF_ROUTE_TERMINATE, false },
    { "passthrough", CONF_ROUTE_PASSTHROUGH, false },
};
WORD_TYPE(ROUTE_TLS, "terminate or passthrough", route_tls);

static const struct conf_word log_levels[] = {
    { "debug", LOG_LEVEL_DEBUG, false },     { "info", LOG_LEVEL_INFO, false },
    { "notice", LOG_LEVEL_NOTICE, false },   { "warning", LOG_LEVEL_WARNING, false },
    { "error", LOG_LEVEL_ERROR, false },
};
WORD_TYPE(LOG_LEVEL, "level", log_levels);

static const struct conf_word booleans[] = {
    { "on", 1, false },   { "off", 0, false },   { "yes", 1, false }, { "no", 0, false },
    { "true", 1, false }, { "false", 0, false }, { "1", 1, false },   { "0", 0, false },
};
WORD_TYPE(BOOL, "on or off", booleans);

/* What fails, in retry_on and eject_on; the last can only eject. */
static const struct conf_word failures[] = {
    { "connect-failure", CONF_FAIL_CONNECT, false },
    { "reset", CONF_FAIL_RESET, false },
    { "timeout", CONF_FAIL_TIMEOUT, false },
    { "502", CONF_FAIL_502, false },
    { "503", CONF_FAIL_503, false },
    { "504", CONF_FAIL_504, false },
    { "5xx", CONF_FAIL_5XX, false },
};

static void parse_failure(struct conf_cursor *c, struct slice text, size_t nwords, void *field)
{
    uint32_t *mask = field;
    int value = conf_parse_word(c, text, failures, nwords);

    if (value > 0)
        *mask |= (uint32_t)value;
}

static void parse_retry_on(struct conf_cursor *c, struct slice text, void *field)
{
    parse_failure(c, text, CONF_NWORDS(failures) - 1, field);
}

static void parse_eject_on(struct conf_cursor *c, struct slice text, void *field)
{
    parse_failure(c, text, CONF_NWORDS(failures), field);
}

static size_t count_failures(const void *field)
{
    const uint32_t *mask = field;

    return (size_t)__builtin_popcount(*mask);
}

static void print_failure(const void *field, size_t i, struct strbuf *out)
{
    const uint32_t *mask = field;
    uint32_t rest = *mask;

    for (; i > 0; i--)
        rest &= rest - 1;
    conf_print_word(out, (int)(rest & -rest), failures, CONF_NWORDS(failures));
}

TYPE(RETRY_ON, .name = "list of words", .is_list = true, .takes_empty = true,
     .parse = parse_retry_on, .count = count_failures, .print = print_failure);
TYPE(EJECT_ON, .name = "list of words", .is_list = true, .takes_empty = true,
     .parse = parse_eject_on, .count = count_failures, .print = print_failure);

static const struct conf_word route_logs[] = {
    { "inherit", false, false }, { "off", true, false }, { "stdout", 0, true },
    { "syslog", 0, true },
};

static void parse_route_log(struct conf_cursor *c, struct slice text, void *field)
{
    bool *is_off = field;

    if (slice_find(text, '/') < text.n) {
        conf_value_error(c, "a log file of the route's own is not supported yet");
        return;
    }
    int value = conf_parse_word(c, text, route_logs, CONF_NWORDS(route_logs));
    if (value >= 0)
        *is_off = value > 0;
}

static void print_route_log(const void *field, size_t i, struct strbuf *out)
{
    const bool *is_off = field;

    (void)i;
    strbuf_adds(out, *is_off ? "off" : "inherit");
}

TYPE(ROUTE_LOG, .name = "inherit or off", .parse = parse_route_log, .print = print_route_log);
