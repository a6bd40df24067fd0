/* Settings of TLS: files, certificates, protocols. Reached through the rows of the settings table
 * only. What is in a file is a matter of common/tls; here it is bytes that the text carries. */
#include <string.h>
#include "common/core/conf_words.h"

#define PROTOCOL_MAX 255 /* bytes of a name in ALPN, RFC 7301 3.1 */

/* ---- files ---- */

struct slice conf_file_content(struct conf_builder *b, struct slice path)
{
    const struct slice *content = smap_get(&b->files, path);

    return content ? *content : SLICE_NONE;
}

/* As an include: a relative path begins where the file is that names it. */
static struct slice beside(struct conf_builder *b, const char *file, struct slice path)
{
    const char *slash = file ? strrchr(file, '/') : NULL;

    if (path.p[0] == '/' || !slash)
        return conf_dup(b, path);

    size_t n = (size_t)(slash + 1 - file);
    char *joined = conf_alloc(b, n + path.n + 1);

    memcpy(joined, file, n);
    memcpy(joined + n, path.p, path.n);
    return slice_of(joined, n + path.n);
}

struct conf_file conf_file_of(struct conf_cursor *c, struct slice path)
{
    struct slice whole = beside(c->b, c->origin.file, path);

    return (struct conf_file){ whole.p, conf_file_content(c->b, whole), c->origin };
}

struct report_place conf_file_place(const char *path, unsigned line,
                                    const struct conf_origin *origin, struct strbuf *chain)
{
    strbuf_printf(chain, ", named at %s:%u%s", origin->file, origin->line, origin->chain);
    return (struct report_place){ path, line, chain->s };
}

static void parse_file(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_file *out = field;

    *out = conf_file_of(c, text);
}

static void clear_file(void *field)
{
    struct conf_file *out = field;

    *out = (struct conf_file){ .path = "" };
}

static size_t count_file(const void *field)
{
    const struct conf_file *file = field;

    return *file->path != '\0';
}

static void print_file(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_file *file = field;

    (void)i;
    conf_print_escaped(out, slice_str(file->path));
}

static const struct conf_file *file_file(const void *field, size_t i)
{
    (void)i;
    return field;
}

TYPE(FILE, .name = "file", .takes_empty = true, .clear = clear_file, .parse = parse_file,
     .count = count_file, .print = print_file, .file = file_file);

/* ---- certificates ---- */

static void parse_certificate(struct conf_cursor *c, struct slice text, void *field)
{
    const struct conf_certificate **out = field;
    struct conf_section *s = conf_find_section(c, CONF_KIND_certificate, text);

    if (s)
        *out = s->target;
}

static size_t count_certificate(const void *field)
{
    const struct conf_certificate *const *value = field;

    return *value != NULL;
}

static void print_certificate(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_certificate *const *value = field;

    (void)i;
    strbuf_adds(out, (*value)->name);
}

TYPE(CERTIFICATE, .name = "certificate", .takes_empty = true, .parse = parse_certificate,
     .count = count_certificate, .print = print_certificate);

static void parse_certificates(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_certificates *list = field;
    const void *one = conf_find_once(c, CONF_KIND_certificate, text, list->v, list->n);

    if (!one)
        return;
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = one;
}

static size_t count_certificates(const void *field)
{
    const struct conf_certificates *list = field;

    return list->n;
}

static void print_one_certificate(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_certificates *list = field;

    strbuf_adds(out, list->v[i]->name);
}

LIST_TYPE(CERTIFICATES, .name = "list of certificates", .parse = parse_certificates,
          .count = count_certificates, .print = print_one_certificate);

/* ---- protocols ---- */

static void parse_alpn(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_alpns *list = field;

    if (text.n > PROTOCOL_MAX) {
        conf_value_error(c, "longer than %d bytes: no protocol's name is", PROTOCOL_MAX);
        return;
    }
    for (size_t i = 0; i < list->n; i++) {
        if (slice_eq(list->v[i], text)) {
            conf_value_error(c, "'%.*s' is named twice", SLICE_ARG(text));
            return;
        }
    }
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = conf_dup(c->b, text);
}

static size_t count_alpns(const void *field)
{
    const struct conf_alpns *list = field;

    return list->n;
}

static void print_alpn(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_alpns *list = field;

    conf_print_escaped(out, list->v[i]);
}

LIST_TYPE(ALPNS, .name = "list of protocols", .parse = parse_alpn, .count = count_alpns,
          .print = print_alpn);

/* ---- names ---- */

static void parse_tls_name(struct conf_cursor *c, struct slice text, void *field)
{
    const char **out = field;
    struct slice lower = conf_lower(c->b, text);

    if (conf_is_domain(lower))
        *out = lower.p;
    else
        conf_value_error(c, "'%.*s' is no name of a host", SLICE_ARG(text));
}

static void clear_tls_name(void *field)
{
    const char **out = field;

    *out = "";
}

static size_t count_tls_name(const void *field)
{
    const char *const *name = field;

    return **name != '\0';
}

static void print_tls_name(const void *field, size_t i, struct strbuf *out)
{
    const char *const *name = field;

    (void)i;
    strbuf_adds(out, *name);
}

TYPE(TLS_NAME, .name = "host", .takes_empty = true, .clear = clear_tls_name,
     .parse = parse_tls_name, .count = count_tls_name, .print = print_tls_name);
