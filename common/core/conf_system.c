/* What a configuration needs of the machine: names that resolve, files that can be written. The
 * master and rpd -t call it; it may block. Users are the master's business. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/hash.h"
#include "common/core/conf.h"

/* ---- names ---- */

struct resolver {
    struct conf_text *text;
    struct report *report;
    struct smap done; /* names that were looked up */
};

/* The first IPv4 address, else the first of all: a conf has one address for a name, and of the
 * two that "localhost" has servers more often listen on that one. */
static bool take_address(const struct addrinfo *list, struct addr *out)
{
    const struct addrinfo *best = list;

    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        if (ai->ai_family == AF_INET) {
            best = ai;
            break;
        }
    }
    if (!best || best->ai_addrlen > sizeof out->in6)
        return false;
    out->len = best->ai_addrlen;
    memcpy(&out->sa, best->ai_addr, best->ai_addrlen);
    return true;
}

/* NULL, or what getaddrinfo says. */
static const char *look_up(const char *text, struct addr *out)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    struct slice name;

    out->len = 0;
    if (addr_parse(slice_str(text), out, &name) != ADDR_NAME)
        return "no name";

    char *host = xstrndup(name.p, name.n);
    in_port_t port = out->in4.sin_port;
    memset(out, 0, sizeof *out);
    int rc = getaddrinfo(host, NULL, &hints, &list);
    free(host);
    if (rc != 0)
        return rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc);

    bool is_good = take_address(list, out);
    freeaddrinfo(list);
    if (!is_good)
        return "no address that can be used";
    /* The port is at one place in both. */
    if (out->sa.sa_family == AF_INET6)
        out->in6.sin6_port = port;
    else
        out->in4.sin_port = port;
    return NULL;
}

/* Looks a name up once; NULL, or why it does not resolve. */
static const char *resolve(struct resolver *r, const char *text)
{
    struct addr addr;
    const char *why;

    if (smap_get(&r->done, slice_str(text)))
        return NULL;
    char *name = xstrdup(text);
    *VEC_PUSH(&r->text->memory) = name;
    smap_put(&r->done, slice_str(name), name);
    why = look_up(name, &addr);
    *VEC_PUSH(&r->text->resolved) = (struct conf_resolved){ name, addr };
    return why;
}

static void resolve_server(struct resolver *r, const struct conf *conf,
                           const struct conf_backend *b, const struct conf_server *s)
{
    const char *why = s->addr.len == 0 ? resolve(r, s->text) : NULL;

    if (why && conf->global.strict)
        report_error_at(r->report, conf_place(&s->origin), "[backend %s] server: '%s' does not "
                        "resolve: %s", b->name, s->text, why);
    else if (why)
        report_warning_at(r->report, conf_place(&s->origin), "[backend %s] server: '%s' does not "
                          "resolve and is down: %s", b->name, s->text, why);
}

void conf_resolve(struct conf_text *text, const struct conf *conf, struct report *report)
{
    struct resolver r = { .text = text, .report = report };

    smap_init(&r.done, false);
    for (size_t i = 0; i < text->resolved.n; i++)
        smap_put(&r.done, slice_str(text->resolved.v[i].name),
                 (void *)(uintptr_t)text->resolved.v[i].name);
    for (size_t i = 0; i < conf->nlisteners; i++) {
        const struct conf_listener *l = &conf->listeners[i];

        for (size_t j = 0; j < l->bind.n; j++) {
            const struct conf_bind *bind = &l->bind.v[j];
            const char *why = bind->addr.len == 0 ? resolve(&r, bind->text) : NULL;

            if (why)
                report_error_at(report, conf_place(&bind->origin), "[listener %s] bind: '%s' does "
                                "not resolve: %s", l->name, bind->text, why);
        }
    }
    for (size_t i = 0; i < conf->nbackends; i++) {
        const struct conf_backend *b = &conf->backends[i];

        for (size_t j = 0; j < b->server.n; j++)
            resolve_server(&r, conf, b, &b->server.v[j]);
    }
    smap_fini(&r.done);
}

/* ---- files ---- */

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* Can things be made in the directory? 0 or errno. */
static int directory_error(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return errno;
    if (!S_ISDIR(st.st_mode))
        return ENOTDIR;
    return access(path, W_OK | X_OK) == 0 ? 0 : errno;
}

/* Can the file be written, or made? */
static int file_error(const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return EISDIR;
        return access(path, W_OK) == 0 ? 0 : errno;
    }
    if (errno != ENOENT)
        return errno;

    char *directory = directory_of(path);
    int error = directory_error(directory);
    free(directory);
    return error;
}

static void check_log(const struct conf *conf, const char *key, const char *setting,
                      struct report *report)
{
    int error = conf_log_target(setting) == CONF_LOG_FILE ? file_error(setting) : 0;

    if (error)
        report_error_at(report, conf_place(&conf->global.origin), "[global] %s: '%s' cannot be "
                        "written: %s", key, setting, strerror(error));
}

static void check_run_dir(const struct conf *conf, struct report *report)
{
    const char *path = conf->global.run_dir;
    int error = directory_error(path);

    if (error == ENOENT) { /* it will be made */
        char *parent = directory_of(path);
        error = directory_error(parent);
        free(parent);
    }
    if (error)
        report_error_at(report, conf_place(&conf->global.origin), "[global] run_dir: '%s' cannot "
                        "be written: %s", path, strerror(error));
}

void conf_check_system(const struct conf *conf, struct report *report)
{
    check_log(conf, "log", conf->global.log, report);
    check_log(conf, "access_log", conf->global.access_log, report);
    check_run_dir(conf, report);
}
