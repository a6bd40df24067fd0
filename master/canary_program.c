/* Programs at canaries' changes: canary_program.h. Called by canary.c, canary_command.c, install.c
 * and supervise.c. The program runs as the workers' user, with the error log for its output; nobody
 * waits for it. */
#include "master/canary_program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/core/role.h"
#include "common/core/units.h"
#include "master/canary.h"
#include "master/master.h"
#include "master/signals.h"
#include "master/supervise.h"

#define RUN_MS 30000
#define STATUS_CANNOT 127

struct running {
    struct list list;
    struct master *master;
    char *canary;
    pid_t pid;
    enum canary_event event;
    struct deadline kill;
};

static struct running *of(struct list *it)
{
    return CONTAINER(it, struct running, list);
}

void canary_programs_init(struct canary_programs *all)
{
    list_init(&all->running);
}

static void running_free(struct running *r)
{
    free(r->canary);
    free(r);
}

void canary_programs_fini(struct master *m)
{
    LIST_EACH(it, &m->canary_programs.running) {
        deadline_cancel(&of(it)->kill);
        running_free(of(it));
    }
    list_init(&m->canary_programs.running);
}

/* ---- the program ---- */

static void put_number(const char *name, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    (void)setenv(name, text, 1);
}

/* Without the sign: 25, 0.5. */
static void print_weight(uint64_t weight, struct strbuf *out)
{
    units_print_percent(weight, out);
    out->s[--out->n] = '\0';
}

static void set_environment(const struct conf_canary *c,
                            const struct stats_canary_change_shared *change)
{
    (void)setenv("RPD_CANARY", c->name, 1);
    (void)setenv("RPD_EVENT", stats_value_name("canary_event", change->event), 1);
    (void)setenv("RPD_REASON", change->reason, 1);
    (void)setenv("RPD_STABLE", c->stable->name, 1);
    (void)setenv("RPD_RELEASE", c->canary->name, 1);
    put_number("RPD_STEP", change->step);
    put_number("RPD_STEPS", c->steps.n);
    put_number("RPD_STABLE_REQUESTS", change->stable_requests);
    put_number("RPD_STABLE_ERRORS", change->stable_errors);
    put_number("RPD_RELEASE_REQUESTS", change->canary_requests);
    put_number("RPD_RELEASE_ERRORS", change->canary_errors);
}

/* Its input is empty; what it says goes where this process's log does, but syslog. */
static void set_files(const struct logs *logs)
{
    int none = open("/dev/null", O_RDWR | O_CLOEXEC);

    logs_child(logs, "on_change");
    if (none >= 0)
        (void)dup2(none, STDIN_FILENO);
    (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    fd_close_from(STDERR_FILENO + 1, NULL, 0);
}

static void child(const struct master *m, const struct conf_canary *c,
                  const struct stats_canary_change_shared *change)
{
    char *argv[] = { xstrdup(c->on_change), xstrdup(c->name),
                     xstrdup(stats_value_name("canary_event", change->event)), NULL, NULL };
    struct strbuf weight;

    strbuf_init(&weight);
    print_weight(change->weight, &weight);
    argv[3] = weight.s;
    (void)setpgid(0, 0);
    set_environment(c, change);
    set_files(&m->logs);
    signals_reset();
    (void)alarm(RUN_MS / 1000 + 1); /* should the master not be there to end it */
    if (role_become(m->user, m->group) < 0)
        _exit(STATUS_CANNOT);
    (void)execv(argv[0], argv);
    log_error("%s", argv[0]);
    _exit(STATUS_CANNOT);
}

static void on_kill(struct deadline *d)
{
    struct running *r = CONTAINER(d, struct running, kill);

    log_warnx("canary %s: on_change (pid %d) has run for %d s: killed", r->canary, (int)r->pid,
              RUN_MS / 1000);
    (void)kill(-r->pid, SIGKILL);
}

static void start(struct master *m, const struct conf_canary *c,
                  const struct stats_canary_change_shared *change)
{
    struct running *r;
    pid_t pid = fork();

    if (pid == 0)
        child(m, c, change);
    if (pid < 0) {
        log_error("canary %s: on_change cannot be run", c->name);
        return;
    }
    (void)setpgid(pid, pid);
    r = xcalloc(1, sizeof *r);
    r->master = m;
    r->canary = xstrdup(c->name);
    r->pid = pid;
    r->event = (enum canary_event)change->event;
    list_init(&r->list);
    list_push(&m->canary_programs.running, &r->list);
    deadline_init(&r->kill, on_kill);
    deadline_set(&m->events, &r->kill, RUN_MS);
}

/* ---- what is due ---- */

static bool is_running(const struct master *m, const struct conf_canary *c)
{
    LIST_EACH(it, &m->canary_programs.running)
        if (strcmp(of(it)->canary, c->name) == 0)
            return true;
    return false;
}

static const struct stats_canary_change_shared *change_of(struct master *m,
                                                          const struct conf_canary *c,
                                                          uint64_t number)
{
    char name[STATS_NAME_MAX + 32];

    (void)snprintf(name, sizeof name, "%s/%u", c->name, (unsigned)(number % CANARY_HISTORY));
    return STATS_SHARED(m->segment, canary_change, name);
}

static void run_next(struct master *m, const struct conf_canary *c)
{
    struct stats_canary_shared *s = STATS_SHARED(m->segment, canary, c->name);
    uint64_t changes, next;

    if (!s || is_running(m, c))
        return;
    changes = stat_get(&s->changes);
    next = stat_get(&s->announced) + 1;
    if (!*c->on_change)
        next = changes + 1; /* if there will be a program, it has nothing to catch up with */
    else if (next + CANARY_HISTORY <= changes)
        next = changes - CANARY_HISTORY + 1;
    stat_set(&s->announced, next <= changes ? next : changes);
    if (next <= changes)
        start(m, c, change_of(m, c, next));
}

void canary_programs_run(struct master *m)
{
    const struct conf *conf = m->generation.conf;

    if (m->takeover.kind == TAKEOVER_TRIAL || m->listen.is_trial)
        return;
    for (size_t i = 0; i < conf->ncanaries; i++)
        run_next(m, &conf->canaries[i]);
}

static struct running *find(const struct master *m, pid_t pid)
{
    LIST_EACH(it, &m->canary_programs.running)
        if (of(it)->pid == pid)
            return of(it);
    return NULL;
}

bool canary_program_exited(struct master *m, pid_t pid, int status)
{
    struct running *r = find(m, pid);
    const char *event;
    char how[64];

    if (!r)
        return false;
    event = stats_value_name("canary_event", r->event);
    supervise_describe_end(status, how, sizeof how);
    if (status == 0)
        log_info("canary %s: on_change for %s ended", r->canary, event);
    else
        log_warnx("canary %s: on_change for %s failed: %s", r->canary, event, how);
    deadline_cancel(&r->kill);
    list_remove(&r->list);
    canary_programs_run(m); /* the next of this canary */
    running_free(r);
    return true;
}
