/* A route's `rewrite`: what the server gets in place of the client's path. Reached through the rows
 * of the settings table only, but for conf_check_rewrite, a part of conf_check. */
#include <string.h>
#include "common/base/regex.h"
#include "common/core/conf_words.h"

static const struct conf_word hows[] = {
    { "prefix", CONF_REWRITE_PREFIX, false },
    { "regex", CONF_REWRITE_REGEX, false },
};

static void parse_prefix(struct conf_cursor *c, struct slice text, struct conf_rewrite *out)
{
    struct conf_rewrite value = { .how = CONF_REWRITE_PREFIX };
    struct slice path = SLICE("");

    if (text.n == 0) {
        conf_value_error(c, "what replaces the prefix is missing: write `prefix /new`, or "
                         "`prefix /` to strip it");
        return;
    }
    if (slice_find(text, '$') < text.n) {
        conf_value_error(c, "'%.*s': `prefix` takes no variables; `regex` does", SLICE_ARG(text));
        return;
    }
    conf_type_PATH.parse(c, text, &path);
    if (path.n == 0)
        return;
    value.prefix = path.n > 1 ? path : SLICE("");
    value.source = arena_printf(&c->b->conf->memory->arena, "prefix %.*s", SLICE_ARG(path));
    *out = value;
}

/* What stands in the replacement for itself goes to the server as it is. */
static bool is_written_well(struct conf_cursor *c, const struct template *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct slice text = t->parts[i].text;

        for (size_t k = 0; t->parts[i].var == VAR_LITERAL && k < text.n; k++) {
            unsigned char ch = (unsigned char)text.p[k];

            if (ch > 0x20 && ch < 0x7f && !strchr("#\"<>\\^`{|}", ch))
                continue;
            conf_value_error(c, "'%.*s': a request's target holds no '%c': write %%%02X",
                             SLICE_ARG(t->source), ch, ch);
            return false;
        }
    }
    return true;
}

static bool has_groups(struct conf_cursor *c, const struct conf_rewrite *r,
                       const struct template *t)
{
    unsigned groups = regex_groups(r->pattern), captures = template_captures(t);

    if (captures <= groups + 1)
        return true;
    conf_value_error(c, "'$%u': the pattern has %u group%s", captures - 1, groups,
                     groups == 1 ? "" : "s");
    return false;
}

static bool parse_target(struct conf_cursor *c, struct slice text, const struct conf_rewrite *r,
                         struct template *t)
{
    return conf_parse_template(c, text, t) && is_written_well(c, t) && has_groups(c, r, t);
}

static bool is_path(struct conf_cursor *c, struct slice text)
{
    if (slice_istarts(text, SLICE("http://")) || slice_istarts(text, SLICE("https://"))) {
        conf_value_error(c, "'%.*s': a rewrite stays with the backend; a URL belongs in redirect",
                         SLICE_ARG(text));
        return false;
    }
    if (*text.p != '/' && *text.p != '$') {
        conf_value_error(c, "'%.*s' does not begin with '/'", SLICE_ARG(text));
        return false;
    }
    return true;
}

static void parse_pattern(struct conf_cursor *c, struct slice text, struct conf_rewrite *out)
{
    struct conf_rewrite value = { .how = CONF_REWRITE_REGEX };
    struct slice rest = text, pattern = conf_cut_word(&rest), path, query = rest;

    if (rest.n == 0) {
        conf_value_error(c, "'%.*s': write `regex PATTERN REPLACEMENT`, like `regex ^/old/(.*)$ "
                         "/new/$1`", SLICE_ARG(text));
        return;
    }
    if (slice_find(rest, ' ') < rest.n || slice_find(rest, '\t') < rest.n) {
        conf_value_error(c, "'%.*s': a path holds no space (in a pattern write \\s or \\x20)",
                         SLICE_ARG(rest));
        return;
    }
    value.pattern = conf_parse_regex(c, pattern, 0);
    if (!value.pattern || !is_path(c, rest))
        return;
    path = slice_cut(&query, '?');
    value.has_query = query.p != NULL;
    if (!parse_target(c, path, &value, &value.path) ||
        (value.has_query && !parse_target(c, query, &value, &value.query)))
        return;
    value.source = arena_printf(&c->b->conf->memory->arena, "regex %.*s", SLICE_ARG(text));
    *out = value;
}

static void parse_rewrite(struct conf_cursor *c, struct slice text, void *field)
{
    struct slice rest = text, word = conf_cut_word(&rest);

    if (*text.p == '/')
        conf_value_error(c, "'%.*s': write `prefix %.*s` or `regex PATTERN REPLACEMENT`",
                         SLICE_ARG(text), SLICE_ARG(word));
    else if (slice_eq(word, SLICE("prefix")))
        parse_prefix(c, rest, field);
    else if (slice_eq(word, SLICE("regex")))
        parse_pattern(c, rest, field);
    else
        conf_unknown_word(c, word, hows, CONF_NWORDS(hows), NULL);
}

static size_t count_rewrite(const void *field)
{
    const struct conf_rewrite *value = field;

    return value->how != CONF_REWRITE_OFF;
}

static void print_rewrite(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_rewrite *value = field;

    (void)i;
    strbuf_add(out, value->source);
}

TYPE(REWRITE, .name = "prefix or pattern", .takes_empty = true, .takes_variables = true,
     .takes_captures = true, .parse = parse_rewrite, .count = count_rewrite,
     .print = print_rewrite);

void conf_check_rewrite(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_route *r = s->target;

    if (r->rewrite.how == CONF_REWRITE_OFF)
        return;
    if (r->rewrite.how == CONF_REWRITE_PREFIX && r->path.n == 0 && r->path_exact.n == 0 &&
        !s->has_errors)
        conf_section_error(b, s, "rewrite", "`prefix` replaces what `path` matched, and the route "
                           "has no path");
    if (r->raw_path)
        conf_section_error(b, s, "rewrite", "it makes a new path, and raw_path = on sends the "
                           "client's as it came: only one of them can be");
    if (r->respond.status != 0 || r->redirect.status != 0)
        conf_section_warning(b, s, "rewrite", "means nothing, for nothing is sent to a server");
}
