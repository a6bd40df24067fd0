/* Start-up, in the order in which a failure does least harm: configuration, lock, sockets, then
 * processes. Called by main. Blocks (files, names) until the loop runs, never afterwards. */
#include "master/start.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/proctitle.h"
#include "common/core/bundle.h"
#include "master/flight.h"
#include "master/identity.h"
#include "master/install.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/signals.h"
#include "master/supervise.h"

#define START_TIMEOUT_MS 30000
#define CRASH_WAIT_MS 2000 /* for the workers of a master that was killed to let go */

static void say(const struct master *m, const char *text)
{
    (void)dprintf(m->daemon.terminal, "rpd: %s\n", text);
}

static void say_report(int fd, const struct report *report)
{
    if (report->text.n > 0)
        (void)dprintf(fd, "%s", report->text.s);
}

/* ---- the configuration ---- */

static struct conf *load(const char *file, struct conf_text *text, struct identity *id,
                         struct report *report)
{
    struct conf *conf = config_load(file, text, report);

    *id = (struct identity){ NULL, NULL };
    if (conf)
        identity_choose(id, text, conf, report);
    if (report->errors > 0)
        conf_free(&conf);
    return conf;
}

int start_check(const char *file)
{
    struct identity id;
    struct conf_text text;
    struct report report;
    struct conf *conf;
    int status = EXIT_FAILURE;

    report_init(&report);
    conf = load(file, &text, &id, &report);
    say_report(STDERR_FILENO, &report);
    if (conf) {
        (void)dprintf(STDERR_FILENO, "rpd: configuration %s is valid\n", file);
        status = EXIT_SUCCESS;
    }
    conf_free(&conf);
    conf_text_fini(&text);
    identity_fini(&id);
    report_fini(&report);
    return status;
}

/* The first generation, with all findings said. */
static bool read_first(struct master *m, struct generation *first)
{
    struct identity id;
    struct report report;

    generation_init(first);
    first->number = 1;
    report_init(&report);
    first->conf = load(m->file, &first->text, &id, &report);
    say_report(m->daemon.terminal, &report);
    report_fini(&report);
    m->user = id.user;
    m->group = id.group;
    if (!first->conf)
        return false;
    first->bundle = bundle_seal(&first->text, first->number);
    if (first->bundle >= 0)
        return true;
    log_error("the configuration cannot be handed to workers");
    return false;
}

/* ---- the process ---- */

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("the limit of descriptors cannot be raised");
}

/* 0 taken; 1 taken from a master that was killed; -1 after saying why not. */
static int take_run_dir(struct master *m)
{
    pid_t holder = 0;

    if (mkdir(m->run_dir, 0755) != 0 && errno != EEXIST) {
        log_error("run_dir %s", m->run_dir);
        return -1;
    }
    switch (pidfile_take(&m->pidfile, m->run_dir, &holder)) {
    case PIDFILE_HELD:
        return 0;
    case PIDFILE_HELD_AFTER_CRASH:
        return 1;
    case PIDFILE_TAKEN:
        log_errorx("rpd runs there already: process %d holds %s", (int)holder, m->pidfile.path);
        return -1;
    case PIDFILE_ERROR:
        log_error("%s", m->pidfile.path);
        return -1;
    }
    return -1;
}

static char *segment_path(const struct master *m)
{
    struct strbuf path;

    strbuf_init(&path);
    strbuf_printf(&path, "%s/stats", m->run_dir);
    return strbuf_take(&path);
}

static bool make_segment(struct master *m)
{
    char *path = segment_path(m);

    m->segment = segment_create(path);
    if (!m->segment)
        log_error("%s", path);
    free(path);
    if (!m->segment)
        return false;
    m->stats = STATS_SHARED(m->segment, rpd, "rpd");
    (void)slice_copy(m->stats->version, sizeof m->stats->version, SLICE(RPD_VERSION));
    stat_set(&m->stats->started, clock_wall_us());
    stat_set(&m->stats->pid, (uint64_t)m->pid);
    return true;
}

static void on_timeout(struct deadline *d)
{
    start_failed(CONTAINER(d, struct master, start_deadline), "workers do not become ready");
}

static void init(struct master *m, const char *file, bool is_background)
{
    m->file = file;
    m->is_background = is_background;
    m->phase = MASTER_STARTING;
    list_init(&m->events.deadlines);
    m->events.epoll = -1;
    event_init(&m->signals);
    deadline_init(&m->start_deadline, on_timeout);
    daemon_init(&m->daemon);
    pidfile_init(&m->pidfile);
    generation_init(&m->generation);
    logs_init(&m->logs);
    listen_init(&m->listen);
    reader_init(m);
    reload_init(m);
    control_init(&m->control);
    stop_init(&m->stop);
    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++)
        worker_init(&m->workers[i], m, i);
}

/* Everything that must be there before the first worker is. */
static bool prepare(struct master *m, const struct conf *conf, bool *is_after_crash)
{
    int r;

    kept_init(&m->kept, conf);
    m->run_dir = xstrdup(conf->global.run_dir);
    m->pid = getpid();
    r = take_run_dir(m);
    *is_after_crash = r == 1;
    if (r < 0)
        return false;
    raise_descriptors();
    if (events_init(&m->events) != 0 || signals_init(m) != 0) {
        log_error("start");
        return false;
    }
    if (control_open(m) != 0) {
        log_error("control socket %s/rpd.sock", m->run_dir);
        return false;
    }
    flight_sweep(m);
    return make_segment(m);
}

/* In the background nothing comes back to a terminal. */
static bool leave_terminal(struct master *m, const struct conf *conf)
{
    if (!m->is_background)
        return true;
    if (conf_log_target(conf->global.log) == CONF_LOG_STDERR)
        say(m, "warning: the error log is lost in the background: set log to syslog or a file");
    if (conf_log_target(conf->global.access_log) == CONF_LOG_STDOUT)
        say(m, "warning: the access log is lost in the background: set access_log to a file");
    if (daemon_detach(&m->daemon) == 0)
        return true;
    log_error("background");
    return false;
}

static bool start(struct master *m)
{
    struct generation first;
    struct report report;
    bool is_done, is_after_crash;

    report_init(&report);
    is_done = read_first(m, &first) && prepare(m, first.conf, &is_after_crash)
              && leave_terminal(m, first.conf)
              && install(m, &first, is_after_crash ? CRASH_WAIT_MS : 0, &report);
    say_report(m->daemon.terminal, &report);
    report_fini(&report);
    generation_fini(&first);
    return is_done;
}

/* ---- ready, or not ---- */

void start_progress(struct master *m)
{
    if (m->phase != MASTER_STARTING || !supervise_is_settled(m))
        return;
    deadline_cancel(&m->start_deadline);
    m->phase = MASTER_SERVING;
    log_notice("rpd %s ready: %u worker%s, generation %llu", RPD_VERSION, m->nworkers,
               m->nworkers == 1 ? "" : "s", (unsigned long long)m->generation.number);
    daemon_report(&m->daemon, EXIT_SUCCESS);
    notify_ready(m->pid);
    reload_allow(m);
}

void start_failed(struct master *m, const char *why)
{
    if (m->phase != MASTER_STARTING)
        return;
    say(m, why);
    m->exit_status = EXIT_FAILURE;
    stop_now(m, NULL);
}

/* ---- the end ---- */

/* Counts outlive the daemon; those of a start that failed mean nothing. */
static void leave_segment(struct master *m)
{
    char *path;

    if (m->segment && m->exit_status != EXIT_SUCCESS) {
        path = segment_path(m);
        (void)unlink(path);
        free(path);
    }
    segment_close(&m->segment);
}

static void finish(struct master *m)
{
    /* Whoever waits for the end sees it once there is nothing left to meet. */
    listen_fini(&m->listen);
    control_close(m);
    pidfile_fini(&m->pidfile);
    control_fini(m);
    reload_fini(m);
    signals_fini(m);
    events_fini(&m->events);
    leave_segment(m);
    generation_fini(&m->generation);
    logs_fini(&m->logs);
    kept_fini(&m->kept);
    free(m->run_dir);
    free(m->user);
    free(m->group);
}

int start_run(struct master *m, const char *file, bool is_background)
{
    init(m, file, is_background);
    if (is_background && daemon_fork(&m->daemon) != 0) {
        log_error("background");
        return EXIT_FAILURE;
    }
    proctitle_set("rpd: master (%s)", file);
    if (start(m)) {
        deadline_set(&m->events, &m->start_deadline, START_TIMEOUT_MS);
        while (!m->stop.is_done)
            events_step(&m->events);
        log_notice("stopped");
    } else
        m->exit_status = EXIT_FAILURE;
    daemon_report(&m->daemon, m->phase == MASTER_SERVING ? m->exit_status : EXIT_FAILURE);
    finish(m);
    return m->exit_status;
}
