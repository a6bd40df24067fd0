/* A route's `redirect`: a status and a URL, or `https`. Reached through the rows of the settings
 * table only, but for conf_check_redirect, a part of conf_check. */
#include "common/core/conf_impl.h"

#define HTTPS_PORT 443

static bool is_redirect_status(unsigned status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* `https`, `https:8443`. */
static bool is_https(struct slice text)
{
    return slice_eq(text, SLICE("https")) ||
           (slice_starts(text, SLICE("https:")) && !slice_starts(text, SLICE("https:/")));
}

static void parse_https(struct conf_cursor *c, struct slice text, struct conf_redirect *out)
{
    struct slice number = text;
    uint64_t port = HTTPS_PORT;

    (void)slice_cut(&number, ':');
    if (number.p && (!slice_u64(number, &port) || port == 0 || port > UINT16_MAX)) {
        conf_value_error(c, "'%.*s' is no port: write `https` or `https:8443`", SLICE_ARG(number));
        return;
    }
    *out = (struct conf_redirect){ .status = 301, .https_port = (uint16_t)port };
}

static void parse_redirect(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_redirect *out = field, value = { 0, { NULL, 0, SLICE_NONE }, 0 };
    struct slice rest = text;

    if (is_https(text)) {
        parse_https(c, text, out);
        return;
    }
    value.status = conf_cut_status(&rest);
    if (!is_redirect_status(value.status)) {
        conf_value_error(c, "'%.*s' begins with none of 301, 302, 303, 307, 308: write "
                         "`301 https://$host$uri`, or `https`", SLICE_ARG(text));
        return;
    }
    if (rest.n == 0) {
        conf_value_error(c, "no place to go to follows the %u", value.status);
        return;
    }
    if (slice_find(rest, ' ') < rest.n || slice_find(rest, '\t') < rest.n) {
        conf_value_error(c, "'%.*s': a URL holds no space", SLICE_ARG(rest));
        return;
    }
    if (conf_parse_template(c, rest, &value.location))
        *out = value;
}

static size_t count_redirect(const void *field)
{
    const struct conf_redirect *value = field;

    return value->status != 0;
}

static void print_redirect(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_redirect *value = field;

    (void)i;
    if (value->https_port == HTTPS_PORT) {
        strbuf_adds(out, "https");
    } else if (value->https_port) {
        strbuf_printf(out, "https:%u", value->https_port);
    } else {
        strbuf_printf(out, "%u ", value->status);
        strbuf_add(out, value->location.source);
    }
}

TYPE(REDIRECT, .name = "status and URL, or https", .takes_empty = true, .takes_variables = true,
     .takes_captures = true, .parse = parse_redirect, .count = count_redirect,
     .print = print_redirect);

void conf_check_redirect(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_route *r = s->target;
    size_t n = 0;

    if (r->redirect.status == 0 || !r->redirect.https_port)
        return;
    for (size_t i = 0; i < b->conf->nlisteners; i++) {
        const struct conf_listener *l = &b->conf->listeners[i];

        if (!conf_route_belongs(r, l))
            continue;
        n++;
        if (!l->tls)
            return;
    }
    if (n > 0)
        conf_section_error(b, s, "redirect", "leads back here for ever: all its listeners have "
                           "TLS; name the one without in `listener`");
}
