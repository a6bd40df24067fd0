/* Settings of what is answered from here: files, their types, pages of errors. Reached through the
 * rows of the settings table, and by conf_build at its end. The files come with the text. */
#include <string.h>
#include "common/core/conf_impl.h"

/* ---- types ---- */

static const struct {
    struct slice suffix, type;
} media_types[] = {
#define MEDIA(suffix, type) { SLICE_INIT(suffix), SLICE_INIT(type) }
    MEDIA(".html", "text/html; charset=utf-8"),
    MEDIA(".htm", "text/html; charset=utf-8"),
    MEDIA(".txt", "text/plain; charset=utf-8"),
    MEDIA(".css", "text/css; charset=utf-8"),
    MEDIA(".csv", "text/csv; charset=utf-8"),
    MEDIA(".md", "text/markdown; charset=utf-8"),
    MEDIA(".js", "text/javascript; charset=utf-8"),
    MEDIA(".mjs", "text/javascript; charset=utf-8"),
    MEDIA(".json", "application/json"),
    MEDIA(".xml", "application/xml"),
    MEDIA(".pdf", "application/pdf"),
    MEDIA(".wasm", "application/wasm"),
    MEDIA(".webmanifest", "application/manifest+json"),
    MEDIA(".svg", "image/svg+xml"),
    MEDIA(".png", "image/png"),
    MEDIA(".jpg", "image/jpeg"),
    MEDIA(".jpeg", "image/jpeg"),
    MEDIA(".gif", "image/gif"),
    MEDIA(".webp", "image/webp"),
    MEDIA(".avif", "image/avif"),
    MEDIA(".ico", "image/vnd.microsoft.icon"),
    MEDIA(".woff", "font/woff"),
    MEDIA(".woff2", "font/woff2"),
#undef MEDIA
};

struct slice conf_media_type(struct slice name)
{
    for (size_t i = 0; i < sizeof media_types / sizeof media_types[0]; i++) {
        struct slice suffix = media_types[i].suffix;

        if (name.n > suffix.n &&
            slice_ieq(slice_of(name.p + name.n - suffix.n, suffix.n), suffix))
            return media_types[i].type;
    }
    return SLICE("application/octet-stream");
}

/* type "/" subtype, and parameters, which are not looked into (RFC 9110 8.3.1). */
static bool is_media_type(struct slice text)
{
    struct slice rest = slice_of(text.p, slice_find(text, ';'));
    struct slice type = slice_cut(&rest, '/');

    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < ' ' || (unsigned char)text.p[i] >= 0x7f)
            return false;
    return rest.p && slice_is_token(type) && slice_is_token(slice_trim(rest));
}

static void parse_content_type(struct conf_cursor *c, struct slice text, void *field)
{
    struct slice *out = field;

    if (is_media_type(text))
        *out = conf_dup(c->b, text);
    else
        conf_value_error(c, "'%.*s' is no type: write `text/html; charset=utf-8`",
                         SLICE_ARG(text));
}

TYPE(CONTENT_TYPE, .name = "media type", .takes_empty = true, .clear = conf_clear_text,
     .parse = parse_content_type, .count = conf_count_text, .print = conf_print_text);

/* ---- pages of errors ---- */

#define TEMPLATE_SUFFIX SLICE(".tmpl")

/* Is this word a status, a class of them, or all? */
static bool parse_status(struct slice word, unsigned *status)
{
    uint64_t n;

    *status = 0;
    if (slice_ieq(word, SLICE("default")))
        return true;
    if (word.n == 3 && slice_ieq(slice_of(word.p + 1, 2), SLICE("xx")) && word.p[0] >= '0' &&
        word.p[0] <= '9') {
        *status = (unsigned)(word.p[0] - '0');
        return true;
    }
    if (word.n != 3 || !slice_u64(word, &n))
        return false;
    *status = (unsigned)n;
    return true;
}

/* Statuses may be parted by commas too: only one behind a file ends the item. */
static bool next_page(struct slice *rest, struct slice *item)
{
    struct slice all = slice_trim(*rest);
    size_t word = 0;
    unsigned status;

    if (all.n == 0)
        return false;
    for (size_t i = 0; i < all.n; i++) {
        bool is_blank = all.p[i] == ' ' || all.p[i] == '\t';

        if (all.p[i] == ',' && i > word &&
            !parse_status(slice_of(all.p + word, i - word), &status)) {
            *item = slice_trim(slice_of(all.p, i));
            *rest = slice_of(all.p + i + 1, all.n - i - 1);
            return true;
        }
        if (is_blank || all.p[i] == ',')
            word = i + 1;
    }
    *item = all;
    *rest = slice_of(all.p + all.n, 0);
    return true;
}

static struct slice cut_page_word(struct slice *rest)
{
    while (rest->n > 0 && (*rest->p == ',' || *rest->p == ' ' || *rest->p == '\t'))
        *rest = slice_of(rest->p + 1, rest->n - 1);

    size_t n = 0;
    while (n < rest->n && !strchr(", \t", rest->p[n]))
        n++;
    struct slice word = slice_of(rest->p, n);
    *rest = slice_of(rest->p + n, rest->n - n);
    return word;
}

/* What the file is. false: reported. */
static bool read_page(struct conf_cursor *c, struct slice path, struct conf_error_page *page)
{
    struct slice name = path;

    page->is_template = slice_ends(path, TEMPLATE_SUFFIX);
    if (page->is_template)
        name.n -= TEMPLATE_SUFFIX.n;
    page->file = conf_file_of(c, path);
    page->type = conf_media_type(name);
    return !page->is_template || !page->file.content.p ||
           conf_parse_template(c, page->file.content, &page->body);
}

static bool is_error_status(unsigned status)
{
    return status == 0 || status == 4 || status == 5 || (status >= 400 && status <= 599);
}

static void parse_error_page(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_error_pages *list = field;
    struct conf_error_page page = { .status = 0 };
    struct slice rest = text, word = cut_page_word(&rest), path;
    size_t n = 0;
    unsigned status;

    for (; word.n > 0 && parse_status(word, &status); n++, word = cut_page_word(&rest)) {
        if (!is_error_status(status)) {
            conf_value_error(c, "'%.*s' is no error's status: write 400 to 599, 4xx, 5xx or "
                             "default", SLICE_ARG(word));
            return;
        }
    }
    path = slice_trim(slice_of(word.p, word.n + rest.n));
    if (n == 0 || path.n == 0) {
        conf_value_error(c, "'%.*s' %s: write `502 503 504 FILE`, `5xx FILE` or `default FILE`",
                         SLICE_ARG(text), n ? "names no file" : "begins with no status");
        return;
    }
    if (!read_page(c, path, &page))
        return;
    rest = text;
    for (; n > 0; n--) {
        (void)parse_status(cut_page_word(&rest), &page.status);
        list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
        list->v[list->n++] = page;
    }
}

static void print_error_page(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_error_pages *list = field;
    const struct conf_error_page *page = &list->v[i];

    if (page->status == 0)
        strbuf_adds(out, "default ");
    else
        strbuf_printf(out, page->status < 10 ? "%uxx " : "%u ", page->status);
    conf_print_escaped(out, slice_str(page->file.path));
}

COUNT_OF(ERROR_PAGES)
static const struct conf_file *error_page_file(const void *field, size_t i)
{
    const struct conf_error_pages *pages = field;

    return &pages->v[i].file;
}

LIST_TYPE(ERROR_PAGES, .name = "list of statuses and files", .parse = parse_error_page,
          .next_item = next_page, .count = count_ERROR_PAGES, .print = print_error_page,
          .file = error_page_file);

/* ---- what a route answers ---- */

static void settle(struct conf_builder *b, struct conf_route *r)
{
    const struct conf_file *file = &r->respond_file;
    bool has_file = *file->path != '\0';

    if (has_file && r->respond.status == 0)
        r->respond.status = 200;
    if (r->respond_type.n > 0)
        r->respond_as = r->respond_type;
    else if (has_file)
        r->respond_as = conf_media_type(slice_str(file->path));
    else
        r->respond_as = SLICE("text/plain; charset=utf-8");
    if (has_file && file->content.p && r->respond.status == 200)
        r->respond_etag = arena_printf(&b->conf->memory->arena, "\"%016llx-%zx\"",
                                       (unsigned long long)hash_stable(file->content.p,
                                                                       file->content.n),
                                       file->content.n);
}

static void check(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_route *r = s->target;

    if (!*r->respond_file.path || s->has_errors)
        return;
    if (r->respond.body.source.n > 0)
        conf_section_error(b, s, "respond_file", "the text of `respond` and a file exclude each "
                           "other: leave one of them out");
    else if (r->respond.status == 204 || r->respond.status == 205 || r->respond.status == 304)
        conf_section_error(b, s, "respond_file", "a %u has no body: leave the file out",
                           r->respond.status);
}

void conf_settle_pages(struct conf_builder *b)
{
    for (size_t i = 0; i < b->sections.n; i++) {
        const struct conf_section *s = &b->sections.v[i];

        if (s->kind != CONF_KIND_route || s->is_defaults || s->is_refused)
            continue;
        check(b, s);
        settle(b, s->target);
    }
}
