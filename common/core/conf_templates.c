/* Settings of one value that may hold request variables: log format, Host and canned replies.
 * Reached through the rows of the settings table only. */
#include <string.h>
#include "common/core/conf_words.h"

static const struct conf_word log_formats[] = {
    { "combined", CONF_FORMAT_COMBINED, false },
    { "json", CONF_FORMAT_JSON, false },
};

static void parse_log_format(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_log_format_value *out = field;
    int i = conf_find_word(text, log_formats, CONF_NWORDS(log_formats));
    struct template t;

    if (i >= 0) {
        *out = (struct conf_log_format_value){ .how = (enum conf_log_format)log_formats[i].value };
        return;
    }
    if (!conf_parse_template(c, text, &t))
        return;
    if (template_is_literal(&t))
        conf_unknown_word(c, text, log_formats, CONF_NWORDS(log_formats), "a string of variables");
    else
        *out = (struct conf_log_format_value){ CONF_FORMAT_CUSTOM, t };
}

static void print_log_format(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_log_format_value *value = field;

    (void)i;
    if (value->how == CONF_FORMAT_CUSTOM)
        strbuf_add(out, value->value.source);
    else
        conf_print_word(out, (int)value->how, log_formats, CONF_NWORDS(log_formats));
}

TYPE(LOG_FORMAT, .name = "format", .takes_variables = true, .parse = parse_log_format,
     .print = print_log_format);

static const struct conf_word host_headers[] = {
    { "preserve", CONF_HOST_PRESERVE, false },
    { "server", CONF_HOST_SERVER, false },
};

/* What a Host field may hold: uri-host [":" port] (RFC 9110 7.2). */
static bool is_host_text(struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char ch = (unsigned char)text.p[i];

        if (ch <= 0x20 || ch >= 0x7f || strchr("/?#@\\<>\"{}|^`", ch))
            return false;
    }
    return text.n > 0;
}

static void parse_host_header(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_host_header_value *out = field;
    int i = conf_find_word(text, host_headers, CONF_NWORDS(host_headers));
    struct template t;

    if (i >= 0) {
        *out = (struct conf_host_header_value){
            .how = (enum conf_host_header)host_headers[i].value,
        };
        return;
    }
    if (!conf_parse_template(c, text, &t))
        return;
    for (size_t k = 0; k < t.n; k++) {
        if (t.parts[k].var == VAR_LITERAL && !is_host_text(t.parts[k].text)) {
            conf_value_error(c, "'%.*s' is no host", SLICE_ARG(text));
            return;
        }
    }
    *out = (struct conf_host_header_value){ CONF_HOST_VALUE, t };
}

static void print_host_header(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_host_header_value *value = field;

    (void)i;
    if (value->how == CONF_HOST_VALUE)
        strbuf_add(out, value->value.source);
    else
        conf_print_word(out, (int)value->how, host_headers, CONF_NWORDS(host_headers));
}

TYPE(HOST_HEADER, .name = "preserve, server or a host", .takes_variables = true,
     .takes_captures = true, .parse = parse_host_header, .print = print_host_header);

unsigned conf_cut_status(struct slice *text)
{
    struct slice rest = *text;
    size_t n = 0;
    uint64_t status = 0;

    while (n < rest.n && rest.p[n] != ' ' && rest.p[n] != '\t')
        n++;
    if (n != 3 || !slice_u64(slice_of(rest.p, n), &status))
        return 0;
    *text = slice_trim(slice_of(rest.p + n, rest.n - n));
    return (unsigned)status;
}

static void parse_respond(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_respond *out = field, value;
    struct slice rest = text;

    value.status = conf_cut_status(&rest);
    if (value.status < 200 || value.status > 599) {
        conf_value_error(c, "'%.*s' begins with no status from 200 to 599: write "
                         "`200 text`", SLICE_ARG(text));
        return;
    }
    if (rest.n > 0 && (value.status == 204 || value.status == 205 || value.status == 304)) {
        conf_value_error(c, "a %u has no body: leave the text out", value.status);
        return;
    }
    if (conf_parse_template(c, rest, &value.body))
        *out = value;
}

static size_t count_respond(const void *field)
{
    const struct conf_respond *value = field;

    return value->status != 0;
}

static void print_respond(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_respond *value = field;

    (void)i;
    strbuf_printf(out, "%u%s", value->status, value->body.source.n ? " " : "");
    strbuf_add(out, value->body.source);
}

TYPE(RESPOND, .name = "status and text", .takes_empty = true, .takes_variables = true,
     .takes_captures = true, .parse = parse_respond, .count = count_respond,
     .print = print_respond);
