/* Settings of compression: codings and media types. Reached through the rows of the settings
 * table, and conf_check_compress by conf_check. Which codings there are is the build's doing. */
#include "common/core/conf_words.h"

static const struct conf_word codings[] = {
    { "gzip", CONF_CODING_GZIP, !RPD_HAS_ZLIB },
    { "zstd", CONF_CODING_ZSTD, !RPD_HAS_ZSTD },
    { "br", CONF_CODING_BR, !RPD_HAS_BROTLI },
};

struct slice conf_coding_name(enum conf_coding coding)
{
    for (size_t i = 0; i < CONF_NWORDS(codings); i++)
        if (codings[i].value == (int)coding)
            return slice_str(codings[i].name);
    return SLICE("identity");
}

static void parse_coding(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_codings *list = field;
    int i = conf_find_word(text, codings, CONF_NWORDS(codings));
    bool is_off = slice_ieq(text, SLICE("off"));

    if (list->is_off || (is_off && list->n > 0)) {
        conf_value_error(c, "`off` stands alone");
        return;
    }
    list->is_off = is_off;
    if (is_off)
        return;
    if (i < 0) {
        conf_unknown_word(c, text, codings, CONF_NWORDS(codings), "off");
        return;
    }
    if (codings[i].is_later) {
        conf_value_error(c, "this rpd was built without %s: its library's header was not there",
                         codings[i].name);
        return;
    }
    for (size_t k = 0; k < list->n; k++) {
        if ((int)list->v[k] == codings[i].value) {
            conf_value_error(c, "'%s' is named twice", codings[i].name);
            return;
        }
    }
    list->v[list->n++] = (enum conf_coding)codings[i].value;
}

static void print_coding(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_codings *list = field;

    strbuf_add(out, conf_coding_name(list->v[i]));
}

COUNT_OF(CODINGS)
LIST_TYPE(CODINGS, .name = "list of codings", .parse = parse_coding, .count = count_CODINGS,
          .print = print_coding);

/* A type, a type with all its subtypes, or a suffix (RFC 6839). */
static bool is_pattern(struct slice text)
{
    struct slice rest = text, type = slice_cut(&rest, '/');

    if (!rest.p)
        return text.n > 2 && slice_starts(text, SLICE("*+")) && slice_is_token(text);
    return slice_is_token(type) && slice_find(type, '*') == type.n && slice_is_token(rest) &&
           (slice_find(rest, '*') == rest.n || slice_eq(rest, SLICE("*")));
}

static void parse_media_type(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_media_types *list = field;

    if (!is_pattern(text)) {
        conf_value_error(c, "'%.*s' is none of `text/html`, `text/*` and `*+xml`",
                         SLICE_ARG(text));
        return;
    }
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = conf_dup(c->b, text);
}

static void print_media_type(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_media_types *list = field;

    conf_print_escaped(out, list->v[i]);
}

COUNT_OF(MEDIA_TYPES)
LIST_TYPE(MEDIA_TYPES, .name = "list of media types", .parse = parse_media_type,
          .count = count_MEDIA_TYPES, .print = print_media_type);

void conf_check_compress(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_route *r = s->target;

    if (!s->has_errors && r->compress.n > 0 && r->compress_types.n == 0)
        conf_section_warning(b, s, "compress_types", "no type is left for `compress`");
}
