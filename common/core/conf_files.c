/* Files that settings name, read into the text: processes that build the configuration from a
 * bundle open none. Called by who reads a configuration; it may block. Private keys are left where
 * they are: `rpd: keys` alone reads them. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/fd.h"
#include "common/core/conf_impl.h"

/* A list of every CA there is has a quarter of this. */
#define FILE_MAX_SIZE ((size_t)4 << 20)
/* Of what is answered: every worker has it in memory. */
#define PAGE_MAX_SIZE ((size_t)1 << 20)

struct files {
    struct conf_text *text;
    struct report *report;
    struct smap done; /* path -> its content */
    struct smap told; /* place and path -> itself: what [defaults] has, each section has */
};

/* The setting a file is named by. */
struct use {
    const char *kind, *section, *key;
    size_t max;
    const struct conf_origin *origin;
};

__attribute__((format(printf, 3, 4)))
static void complain(struct files *f, const struct use *use, const char *fmt, ...)
{
    struct strbuf line;
    va_list ap;

    strbuf_init(&line);
    strbuf_printf(&line, "[%s%s%s] %s: ", use->kind, *use->section ? " " : "", use->section,
                  use->key);
    va_start(ap, fmt);
    strbuf_vprintf(&line, fmt, ap);
    va_end(ap);
    report_error_at(f->report, conf_place(use->origin), "%s", line.s);
    strbuf_fini(&line);
}

/* 0, or -1 with errno. What is no file (a pipe) might keep the reader waiting. */
static int read_whole(const char *path, size_t max, struct strbuf *out)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    return fd_read_file(path, max, out);
}

static void keep(struct files *f, const char *path, struct strbuf *content)
{
    char *name = xstrdup(path);
    struct slice *size;
    size_t n = content->n;
    char *bytes = strbuf_take(content);

    *VEC_PUSH(&f->text->memory) = name;
    *VEC_PUSH(&f->text->memory) = bytes;
    *VEC_PUSH(&f->text->files) = (struct conf_file_read){ name, slice_of(bytes, n) };
    size = xcalloc(1, sizeof *size);
    *size = slice_of(bytes, n);
    *VEC_PUSH(&f->text->memory) = (char *)size;
    (void)smap_put(&f->done, slice_str(name), size);
}

/* What is read goes to every worker. */
static bool has_private_key(const struct strbuf *content)
{
    static const char mark[] = "PRIVATE KEY-----";

    return memmem(content->s, content->n, mark, sizeof mark - 1) != NULL;
}

/* Has this line of the configuration been complained of for this file? It is from now on. */
static bool is_told(struct files *f, const struct use *use, const char *path)
{
    struct strbuf key;
    char *text;

    strbuf_init(&key);
    strbuf_printf(&key, "%s:%u %s", use->origin->file, use->origin->line, path);
    text = strbuf_take(&key);
    *VEC_PUSH(&f->text->memory) = text;
    return smap_put(&f->told, slice_str(text), text) != NULL;
}

static void read_file(struct files *f, const struct use *use, const char *path)
{
    struct slice *known = smap_get(&f->done, slice_str(path));
    struct strbuf content;
    int error;

    if (known && known->n <= use->max)
        return;
    strbuf_init(&content);
    error = known ? EFBIG : read_whole(path, use->max, &content) != 0 ? errno : 0;
    if (error == EFBIG) {
        if (!is_told(f, use, path))
            complain(f, use, "'%s' is larger than %zu MiB", path, use->max >> 20);
    } else if (error) {
        if (!is_told(f, use, path))
            complain(f, use, "cannot read '%s': %s", path, strerror(error));
    } else if (has_private_key(&content)) {
        explicit_bzero(content.s, content.n);
        complain(f, use, "'%s' has a private key in it, which only `key` may name: keep it in a "
                 "file of its own", path);
    } else {
        keep(f, path, &content);
    }
    strbuf_fini(&content);
}

static bool is_private_key(const struct conf_setting *s)
{
    return s->kind == CONF_KIND_certificate && s->offset == offsetof(struct conf_certificate, key);
}

static bool is_page(const struct conf_setting *s)
{
    return s->type == &conf_type_ERROR_PAGES ||
           (s->kind == CONF_KIND_route && s->offset == offsetof(struct conf_route, respond_file));
}

static void read_setting(struct files *f, const struct conf_setting *s, const char *section,
                         const struct conf_file *file)
{
    const struct use use = {
        .kind = conf_kinds[s->kind].name,
        .section = section,
        .key = s->key,
        .max = is_page(s) ? PAGE_MAX_SIZE : FILE_MAX_SIZE,
        .origin = &file->origin,
    };

    if (*file->path)
        read_file(f, &use, file->path);
}

static void read_section(struct files *f, enum conf_kind kind, const char *name,
                         const void *section)
{
    for (size_t i = 0; i < conf_nsettings; i++) {
        const struct conf_setting *s = &conf_settings[i];
        const void *field = (const char *)section + s->offset;

        if (s->kind != kind || !s->type->file || is_private_key(s))
            continue;
        for (size_t k = 0; k < s->type->count(field); k++)
            read_setting(f, s, name, s->type->file(field, k));
    }
}

static bool needs_system_ca(const struct conf_backend *b)
{
    return b->tls && b->tls_verify && !*b->tls_ca.path;
}

static void read_system_ca(struct files *f, const struct conf *conf, const char *path)
{
    struct strbuf content;
    size_t i = 0;

    while (i < conf->nbackends && !needs_system_ca(&conf->backends[i]))
        i++;
    if (i == conf->nbackends)
        return;
    strbuf_init(&content);
    if (path && read_whole(path, FILE_MAX_SIZE, &content) == 0) {
        keep(f, "", &content);
    } else {
        const struct conf_backend *b = &conf->backends[i];

        complain(f, &(struct use){ "backend", b->name, "tls_ca", 0, &b->origin },
                 "none is set, and the system's CA certificates cannot be read (%s%s%s): set it, "
                 "or tls_verify = off", path ? path : "no file is known", path ? ": " : "",
                 path ? strerror(errno) : "");
    }
    strbuf_fini(&content);
}

void conf_read_files(struct conf_text *text, const struct conf *conf, const char *system_ca,
                     struct report *report)
{
    struct files f = { .text = text, .report = report };

    smap_init(&f.done, false);
    smap_init(&f.told, false);
    read_section(&f, CONF_KIND_global, "", &conf->global);
    for (size_t i = 0; i < conf->nlisteners; i++)
        read_section(&f, CONF_KIND_listener, conf->listeners[i].name, &conf->listeners[i]);
    for (size_t i = 0; i < conf->nroutes; i++)
        read_section(&f, CONF_KIND_route, conf->routes[i].name, &conf->routes[i]);
    read_section(&f, CONF_KIND_route, "", &conf->route_defaults);
    for (size_t i = 0; i < conf->nbackends; i++)
        read_section(&f, CONF_KIND_backend, conf->backends[i].name, &conf->backends[i]);
    for (size_t i = 0; i < conf->ncertificates; i++)
        read_section(&f, CONF_KIND_certificate, conf->certificates[i].name,
                     &conf->certificates[i]);
    read_system_ca(&f, conf, system_ca);
    smap_fini(&f.done);
    smap_fini(&f.told);
}
