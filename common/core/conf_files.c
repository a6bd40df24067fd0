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

struct files {
    struct conf_text *text;
    struct report *report;
    struct smap done; /* path -> itself */
};

/* The setting a file is named by. */
struct use {
    const char *kind, *section, *key;
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
static int read_whole(const char *path, struct strbuf *out)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    return fd_read_file(path, FILE_MAX_SIZE, out);
}

static void keep(struct files *f, const char *path, struct strbuf *content)
{
    char *name = xstrdup(path);
    size_t n = content->n;
    char *bytes = strbuf_take(content);

    *VEC_PUSH(&f->text->memory) = name;
    *VEC_PUSH(&f->text->memory) = bytes;
    *VEC_PUSH(&f->text->files) = (struct conf_file_read){ name, slice_of(bytes, n) };
    (void)smap_put(&f->done, slice_str(name), name);
}

/* What is read goes to every worker. */
static bool has_private_key(const struct strbuf *content)
{
    static const char mark[] = "PRIVATE KEY-----";

    return memmem(content->s, content->n, mark, sizeof mark - 1) != NULL;
}

static void read_file(struct files *f, const struct use *use, const char *path)
{
    struct strbuf content;

    if (smap_get(&f->done, slice_str(path)))
        return;
    strbuf_init(&content);
    if (read_whole(path, &content) != 0) {
        complain(f, use, "cannot read '%s': %s", path, strerror(errno));
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

static void read_section(struct files *f, enum conf_kind kind, const char *name,
                         const void *section)
{
    for (size_t i = 0; i < conf_nsettings; i++) {
        const struct conf_setting *s = &conf_settings[i];
        const struct conf_file *file;

        if (s->kind != kind || s->type != &conf_type_FILE || is_private_key(s))
            continue;
        file = (const void *)((const char *)section + s->offset);
        if (*file->path)
            read_file(f, &(struct use){ conf_kinds[kind].name, name, s->key, &file->origin },
                      file->path);
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
    if (path && read_whole(path, &content) == 0) {
        keep(f, "", &content);
    } else {
        const struct conf_backend *b = &conf->backends[i];

        complain(f, &(struct use){ "backend", b->name, "tls_ca", &b->origin },
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
    read_section(&f, CONF_KIND_global, "", &conf->global);
    for (size_t i = 0; i < conf->nlisteners; i++)
        read_section(&f, CONF_KIND_listener, conf->listeners[i].name, &conf->listeners[i]);
    for (size_t i = 0; i < conf->nbackends; i++)
        read_section(&f, CONF_KIND_backend, conf->backends[i].name, &conf->backends[i]);
    for (size_t i = 0; i < conf->ncertificates; i++)
        read_section(&f, CONF_KIND_certificate, conf->certificates[i].name,
                     &conf->certificates[i]);
    read_system_ca(&f, conf, system_ca);
    smap_fini(&f.done);
}
