/* Lists of files and of texts, which routes with jwt_key have, and what such a route needs.
 * Reached through the rows of the settings table, and conf_check_jwt by conf_check. */
#include "common/core/conf_impl.h"

static void parse_files(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_files *list = field;

    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = conf_file_of(c, text);
}

static void print_files(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_files *list = field;

    conf_print_escaped(out, slice_str(list->v[i].path));
}

static const struct conf_file *file_of_files(const void *field, size_t i)
{
    const struct conf_files *list = field;

    return &list->v[i];
}

COUNT_OF(FILES)
LIST_TYPE(FILES, .name = "list of files", .parse = parse_files, .count = count_FILES,
          .print = print_files, .file = file_of_files);

static void parse_text(struct conf_cursor *c, struct slice text, void *field)
{
    struct slice *out = field;

    *out = conf_dup(c->b, text);
}

TYPE(TEXT, .name = "text", .takes_empty = true, .clear = conf_clear_text, .parse = parse_text,
     .count = conf_count_text, .print = conf_print_text);

static void parse_texts(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_texts *list = field;

    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = conf_dup(c->b, text);
}

static void print_texts(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_texts *list = field;

    conf_print_escaped(out, list->v[i]);
}

COUNT_OF(TEXTS)
LIST_TYPE(TEXTS, .name = "list of texts", .parse = parse_texts, .count = count_TEXTS,
          .print = print_texts);

void conf_check_jwt(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_route *r = s->target;
    const char *key = NULL;

    if (r->jwt_key.n > 0 || s->has_errors)
        return;
    if (r->jwt_audience.n > 0)
        key = "jwt_audience";
    if (r->jwt_issuer.n > 0)
        key = "jwt_issuer";
    if (key)
        conf_section_error(b, s, key, "lets everybody in without a `jwt_key` to check tokens by");
}
