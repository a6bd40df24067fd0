/* Takes an answer of the helper for what it is, or refuses it: it has talked to strangers. The
 * master's table, which workers and helpers that start later get, is m->names. Called by helper.c
 * and worker.c; blocks nowhere. */
#include "master/naming.h"

#include <errno.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/core/ipc.h"
#include "master/helper.h"
#include "master/master.h"
#include "master/objects.h"

#define REFUSED_LOG_US 60000000ull

/* One backend that has servers by the name. */
struct affected {
    const struct conf_backend *backend;
    struct names_view view, view_was;
    const struct conf_backend *now, *was;
};

struct answer {
    struct master *master;
    const struct name_answer *said;
    VEC(struct affected) backends;
};

static void add_backends(struct answer *a, const struct generation *g)
{
    const struct names_user *user = names_users_of(&g->users, slice_str(a->said->name));

    for (size_t i = 0; user && i < user->backends.n; i++)
        VEC_PUSH(&a->backends)->backend = &g->conf->backends[user->backends.v[i]];
}

/* In a trial some workers have one configuration, and some the other. */
static void find_backends(struct answer *a)
{
    struct master *m = a->master;

    add_backends(a, &m->generation);
    if (m->listen.is_trial)
        add_backends(a, &m->apply.before);
    for (size_t i = 0; i < a->backends.n; i++) {
        struct affected *b = &a->backends.v[i];

        b->was = names_view(&b->view_was, &m->names, b->backend);
    }
}

static void tell(const struct answer *a, const struct affected *b, const struct objects_count *n)
{
    if (n->added + n->removed > 0)
        log_notice("backend %s: %s has %zu address%s now: %u server%s came, %u went",
                   b->backend->name, a->said->name, a->said->addresses.n,
                   a->said->addresses.n == 1 ? "" : "es", n->added, n->added == 1 ? "" : "s",
                   n->removed);
    else
        log_notice("backend %s: servers of %s have changed", b->backend->name, a->said->name);
}

/* The helper says it again and again. */
static void tell_refused(struct master *m, const char *name, const struct report *report)
{
    uint64_t now = clock_mono_us();

    if (m->names_refused_us != 0 && now - m->names_refused_us < REFUSED_LOG_US)
        return;
    m->names_refused_us = now;
    log_errorx("the new addresses of %s cannot be used, those of before stay:", name);
    logs_report(report);
}

/* false: there was no room for one of them. */
static bool make_servers(struct answer *a)
{
    struct objects_count count = { 0, 0 };
    struct report report;
    bool is_good = true;

    report_init(&report);
    for (size_t i = 0; i < a->backends.n; i++) {
        struct affected *b = &a->backends.v[i];

        b->now = names_view(&b->view, &a->master->names, b->backend);
        if (is_good)
            is_good = objects_change(a->master->segment, b->now, b->was, &count, &report);
        if (is_good)
            tell(a, b, &count);
    }
    if (!is_good)
        tell_refused(a->master, a->said->name, &report);
    report_fini(&report);
    return is_good;
}

static void fini(struct answer *a)
{
    for (size_t i = 0; i < a->backends.n; i++) {
        names_view_fini(&a->backends.v[i].view);
        names_view_fini(&a->backends.v[i].view_was);
    }
    VEC_FREE(&a->backends);
}

/* Whether it changes something. */
static bool take(struct master *m, const struct name_answer *said)
{
    struct slice name = slice_str(said->name);
    struct answer a = { .master = m, .said = said };
    struct names kept;
    bool is_good = false;

    names_init(&kept);
    if (names_get(&m->names, name))
        (void)names_set(&kept, name, names_get(&m->names, name));
    find_backends(&a);
    if (a.backends.n > 0 && names_set(&m->names, name, &said->addresses)) {
        is_good = make_servers(&a);
        if (!is_good)
            names_restore(&m->names, name, &kept);
    }
    fini(&a);
    names_fini(&kept);
    return is_good;
}

void naming_take(struct master *m, const struct ipc_msg *msg)
{
    struct names said;
    bool is_new = false;

    names_init(&said);
    if (msg->nfds != 1 || names_open(msg->fds[0], &said) != 0)
        log_errorx("what the helper says of names cannot be read");
    else
        LIST_EACH(it, &said.order)
            is_new |= take(m, CONTAINER(it, struct name_answer, link));
    names_fini(&said);
    if (!is_new)
        return;
    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++)
        if (worker_is_alive(&m->workers[i]))
            worker_sync(&m->workers[i]);
    helper_sync(m);
}

bool naming_message(const struct master *m, uint64_t serial, struct ipc_msg *msg)
{
    int fd;

    if (serial >= m->names.serial)
        return false;
    fd = names_seal(&m->names, serial + 1);
    if (fd < 0) {
        log_warn("answers of name servers cannot be handed on: they come with the next");
        return false;
    }
    msg->type = IPC_NAMES;
    msg->number = m->names.serial;
    msg->nfds = 1;
    msg->fds[0] = fd;
    return true;
}
