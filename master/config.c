/* Reading a configuration. Owns nothing but what it returns. Called by main (-t), start and the
 * reader child, and by reload for what the reader sent; never blocks there. */
#include "master/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/clock.h"
#include "common/core/bundle.h"
#include "common/net/resolve.h"
#include "common/jwt/jwt_check.h"
#include "common/tls/check.h"
#include "master/key_check.h"

/* What was not found before; a line has its place in it, so that no two are the same. */
static void add_new(struct report *report, const struct report *again)
{
    struct slice rest = slice_of(again->text.s, again->text.n);

    while (rest.n > 0) {
        struct slice line = slice_of(rest.p, slice_find(rest, '\n') + 1);

        if (!memmem(report->text.s, report->text.n, line.p, line.n))
            strbuf_add(&report->text, line);
        rest = slice_of(rest.p + line.n, rest.n - line.n);
    }
    report->errors += again->errors;
}

/* The text a second time: addresses and files are in it now. All else was right before: what this
 * finds is wrong in a file. */
static struct conf *rebuild(const struct conf_text *text, struct conf **conf,
                            struct report *report)
{
    struct report again;
    struct conf *built;

    conf_free(conf);
    report_init(&again);
    built = conf_build(text, &again);
    if (again.errors > 0)
        add_new(report, &again);
    report_fini(&again);
    return built;
}

struct conf *config_load(const char *path, const struct names *known, struct conf_text *text,
                         int *keyring, struct report *report)
{
    struct conf *conf;

    *keyring = -1;
    memset(text, 0, sizeof *text);
    (void)conf_read(text, path, report);
    if (text->entries.n == 0 && report->errors > 0)
        return NULL; /* the file could not be read: what is missing in it is no finding */
    conf = conf_build(text, report);
    if (!conf)
        return NULL;
    conf_resolve(text, conf, known, report);
    conf_read_files(text, conf, tls_system_ca(), report);
    conf_check_system(conf, report);
    conf = rebuild(text, &conf, report);
    if (!conf)
        return NULL;
    tls_check(conf, clock_wall_us(), report);
    jwt_check(conf, report);
    *keyring = key_check(conf, report);
    if (report->errors > 0) {
        fd_close(keyring);
        conf_free(&conf);
    }
    return conf;
}

const struct conf_entry *config_global_entry(const struct conf_text *text, const char *key)
{
    for (size_t i = 0; i < text->entries.n; i++) {
        const struct conf_entry *e = &text->entries.v[i];

        if (!e->is_section && !e->is_defaults && strcmp(e->kind, "global") == 0
            && strcmp(e->key, key) == 0)
            return e;
    }
    return NULL;
}

void generation_init(struct generation *g)
{
    *g = (struct generation){ .bundle = -1, .keyring = -1 };
}

bool generation_open(struct generation *g, int bundle, int keyring, struct report *report)
{
    generation_init(g);
    g->bundle = bundle;
    g->keyring = keyring;
    if (bundle_open(bundle, &g->text, &g->number) != 0)
        report_error(report, "the bundle cannot be read: %s", strerror(errno));
    else
        g->conf = conf_build(&g->text, report);
    if (g->conf) {
        names_users_init(&g->users, g->conf);
        return true;
    }
    generation_fini(g);
    return false;
}

void generation_fini(struct generation *g)
{
    if (g->conf)
        names_users_fini(&g->users);
    conf_free(&g->conf);
    conf_text_fini(&g->text);
    fd_close(&g->bundle);
    fd_close(&g->keyring);
    generation_init(g);
}

int generation_keyring_of_workers(const struct generation *g)
{
    return g->conf->global.key_process ? -1 : g->keyring;
}

int generation_share_keyring(const struct generation *g, struct report *report)
{
    int fd;

    if (g->keyring < 0)
        return -1;
    fd = fcntl(g->keyring, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        report_error(report, "the keyring cannot be kept: %s", strerror(errno));
    return fd;
}
