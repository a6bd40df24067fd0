/* Puts a generation in force, all of it or nothing. Owns nothing: what it makes becomes the
 * master's. Called by start.c and reload.c; whether workers took it is supervise.c's. */
#include "master/install.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/core/limits.h"
#include "master/master.h"
#include "master/objects.h"
#include "master/supervise.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Settings that the table marks RESTART: all are of [global] and texts (or this does not
 * compile). */
#define TEXT_OFFSET(field)                         \
    (_Generic(((struct conf_global *)NULL)->field, \
              const char *: offsetof(struct conf_global, field)))
static const struct {
    const char *key;
    size_t offset;
} restart[] = {
#define SETTING(kind, field, key, TYPE, def, lo, hi, when, help) KEEP_##when(kind, field, key)
#define LATER(kind, key, help)
#define SECTION(kind, is_named, help)
#define KEEP_RELOAD(kind, field, key)
#define KEEP_RESTART(kind, field, key) { key, TEXT_OFFSET(field) },
#include "common/core/settings.def"
#undef SETTING
#undef LATER
#undef SECTION
};

_Static_assert(COUNT(restart) <= KEPT_MAX, "room for each");

static const char **setting_of(struct conf_global *global, size_t i)
{
    return (const char **)(void *)((char *)global + restart[i].offset);
}

void kept_init(struct kept *kept, const struct conf *conf)
{
    struct conf_global global = conf->global;

    for (size_t i = 0; i < COUNT(restart); i++)
        kept->v[i] = xstrdup(*setting_of(&global, i));
}

void kept_fini(struct kept *kept)
{
    for (size_t i = 0; i < COUNT(restart); i++) {
        free(kept->v[i]);
        kept->v[i] = NULL;
    }
}

void kept_restore(const struct kept *kept, struct conf *conf, struct report *report)
{
    for (size_t i = 0; i < COUNT(restart); i++) {
        const char **setting = setting_of(&conf->global, i);

        if (strcmp(kept->v[i], *setting) != 0)
            report_warning(report, "[global] %s: only a restart changes it: %s is kept, not %s",
                           restart[i].key, kept->v[i], *setting);
        *setting = kept->v[i];
    }
}

/* Each client connection may need one to a server as well. */
static void warn_of_descriptors(const struct conf *conf)
{
    struct rlimit limit;
    uint64_t wanted = (uint64_t)conf->global.max_connections * 2 + 64;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted)
        log_warnx("max_connections = %u may need %llu descriptors in each worker, and the limit "
                  "(ulimit -n, LimitNOFILE=) is %llu", conf->global.max_connections,
                  (unsigned long long)wanted, (unsigned long long)limit.rlim_cur);
}

static void take_over(struct master *m, struct generation *next, const struct logs *logs)
{
    bool is_new_limit = !m->generation.conf
                        || m->generation.conf->global.max_connections
                           != next->conf->global.max_connections;

    listen_commit(&m->listen, next->conf, next->number, m->takeover.kind != TAKEOVER_TRIAL);
    logs_use(logs);
    apply_keep(m); /* what there was, or frees it */
    m->logs = *logs;
    m->generation = *next;
    generation_init(next);
    if (!m->listen.is_trial)
        names_follow(&m->names, m->generation.conf);
    if (!m->listen.is_trial)
        m->nworkers = m->takeover.kind == TAKEOVER_TRIAL ? 1 : m->generation.conf->global.workers;
    stat_set(&m->stats->generation, m->generation.number);
    stat_set(&m->stats->workers, m->nworkers);
    if (is_new_limit)
        warn_of_descriptors(m->generation.conf);
}

static bool make_objects(struct master *m, const struct conf *conf, const struct conf *old,
                         struct report *report)
{
    /* In a reload's trial as in an upgrade's others work by another configuration. */
    bool is_trial = m->listen.is_trial || m->takeover.kind == TAKEOVER_TRIAL;

    if (!limits_apply(m->limits, conf, old, is_trial, report))
        return false;
    return m->listen.is_trial ? objects_add(m->segment, &m->names, conf, old, report)
                              : objects_apply(m->segment, &m->names, conf, old, report);
}

bool install(struct master *m, struct generation *next, unsigned wait_ms, struct report *report)
{
    const struct conf *old = apply_objects(m);
    struct logs logs;

    if (!listen_prepare(&m->listen, next->conf, next->conf->global.workers, wait_ms, report))
        return false;
    if (!logs_open(&logs, next->conf, report)) {
        listen_abort(&m->listen);
        return false;
    }
    if (!make_objects(m, next->conf, old, report)) {
        struct report again;

        report_init(&again);
        if (old)
            (void)make_objects(m, old, old, &again);
        report_fini(&again);
        listen_abort(&m->listen);
        logs_fini(&logs);
        return false;
    }
    take_over(m, next, &logs);
    canary_programs_run(m);
    supervise_settle(m);
    return true;
}
