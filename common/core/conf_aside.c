/* Settings of a route's requests to other backends beside its own: auth_request, mirror. Reached
 * through the rows of the settings table only. */
#include "common/core/conf_impl.h"
#include "common/core/units.h"

#define SHARE_ALL 10000

/* The first word of *rest as a backend; NULL when reported. */
static const struct conf_backend *cut_backend(struct conf_cursor *c, struct slice *rest)
{
    struct slice name = conf_cut_word(rest);
    struct conf_section *s = conf_find_section(c, CONF_KIND_backend, name);

    return s ? s->target : NULL;
}

/* ---- auth_request ---- */

static bool is_target(struct slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= ' ' || (unsigned char)text.p[i] >= 0x7f ||
            text.p[i] == '#')
            return false;
    return true;
}

static void parse_auth_request(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_auth_request *out = field;
    struct slice path = text;
    const struct conf_backend *backend = cut_backend(c, &path);

    if (!backend)
        return;
    if (path.n > 0 && *path.p != '/')
        conf_value_error(c, "'%.*s' behind the backend is no path: write `%s /verify`",
                         SLICE_ARG(path), backend->name);
    else if (!is_target(path))
        conf_value_error(c, "'%.*s': a path has no blanks, no '#', and ASCII characters only",
                         SLICE_ARG(path));
    else
        *out = (struct conf_auth_request){ backend, conf_dup(c->b, path) };
}

static void clear_auth_request(void *field)
{
    struct conf_auth_request *out = field;

    *out = (struct conf_auth_request){ NULL, SLICE("") };
}

static size_t count_auth_request(const void *field)
{
    const struct conf_auth_request *value = field;

    return value->backend != NULL;
}

static void print_auth_request(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_auth_request *value = field;

    (void)i;
    strbuf_adds(out, value->backend->name);
    if (value->path.n > 0) {
        strbuf_addc(out, ' ');
        conf_print_escaped(out, value->path);
    }
}

TYPE(AUTH_REQUEST, .name = "backend, perhaps with a path", .takes_empty = true,
     .clear = clear_auth_request, .parse = parse_auth_request, .count = count_auth_request,
     .print = print_auth_request);

/* ---- auth_request_header ---- */

static void parse_field_name(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_field_names *list = field;

    if (!conf_field_name_is_good(c, text))
        return;
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = conf_dup(c->b, text);
}

static void print_field_name(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_field_names *list = field;

    conf_print_escaped(out, list->v[i]);
}

COUNT_OF(ASKED_FIELDS)
LIST_TYPE(ASKED_FIELDS, .name = "list of fields", .parse = parse_field_name,
          .count = count_ASKED_FIELDS, .print = print_field_name);

/* ---- mirror ---- */

static bool parse_share(struct conf_cursor *c, struct slice text, uint32_t *share)
{
    struct strbuf error;
    uint64_t value;
    bool is_good;

    strbuf_init(&error);
    is_good = units_percent(text, &value, &error);
    if (is_good && (value == 0 || value > SHARE_ALL)) {
        strbuf_printf(&error, "'%.*s': a share is above 0%% and at most 100%%", SLICE_ARG(text));
        is_good = false;
    }
    if (is_good)
        *share = (uint32_t)value;
    else
        conf_value_error(c, "%s", error.s);
    strbuf_fini(&error);
    return is_good;
}

static void parse_mirror(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_mirror *out = field;
    struct slice rest = text;
    const struct conf_backend *backend = cut_backend(c, &rest);
    uint32_t share = SHARE_ALL;

    if (backend && (rest.n == 0 || parse_share(c, rest, &share)))
        *out = (struct conf_mirror){ backend, share };
}

static size_t count_mirror(const void *field)
{
    const struct conf_mirror *value = field;

    return value->backend != NULL;
}

static void print_mirror(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_mirror *value = field;

    (void)i;
    strbuf_printf(out, "%s ", value->backend->name);
    units_print_percent(value->share, out);
}

TYPE(MIRROR, .name = "backend, perhaps with a share", .takes_empty = true, .parse = parse_mirror,
     .count = count_mirror, .print = print_mirror);
