/* Start-up, in the order in which a failure does least harm: configuration, lock, sockets, then
 * processes. Called by main. Blocks (files, names) until the loop runs, never afterwards. */
#include "master/start.h"

#include <errno.h>
#include <fcntl.h>
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
#include "common/base/fd.h"
#include "common/core/bundle.h"
#include "master/flight.h"
#include "master/identity.h"
#include "master/install.h"
#include "master/key_check.h"
#include "master/limiting.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/segments.h"
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

static struct conf *load(const char *file, const struct names *known, struct conf_text *text,
                         int *keyring, struct identity *id, struct report *report)
{
    struct conf *conf = config_load(file, known, text, keyring, report);

    *id = (struct identity){ NULL, NULL, NULL };
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
    int status = EXIT_FAILURE, keyring;

    report_init(&report);
    conf = load(file, NULL, &text, &keyring, &id, &report);
    say_report(STDERR_FILENO, &report);
    if (conf) {
        (void)dprintf(STDERR_FILENO, "rpd: configuration %s is valid\n", file);
        status = EXIT_SUCCESS;
    }
    conf_free(&conf);
    conf_text_fini(&text);
    fd_close(&keyring);
    identity_fini(&id);
    report_fini(&report);
    return status;
}

static void keep_identity(struct master *m, const struct identity *id)
{
    m->user = id->user;
    m->group = id->group;
    m->keys_user = id->keys_user;
}

/* The process was given back: what was in force before is again, whatever the files say now. */
static bool read_again(struct master *m, struct generation *first, struct report *report)
{
    int bundle = fcntl(m->takeover.bundle, F_DUPFD_CLOEXEC, 3);
    int keyring = m->takeover.keyring < 0 ? -1 : fcntl(m->takeover.keyring, F_DUPFD_CLOEXEC, 3);
    struct identity id;

    if (bundle < 0 || !generation_open(first, bundle, keyring, report))
        return false;
    if (first->keyring < 0) /* it was lost, or there is no certificate */
        first->keyring = key_check(first->conf, report);
    identity_choose(&id, &first->text, first->conf, report);
    keep_identity(m, &id);
    return report->errors == 0;
}

/* The first generation. */
static bool read_first(struct master *m, struct generation *first, struct report *report)
{
    struct identity id;

    first->number = 1;
    if (m->takeover.names >= 0 && names_open(m->takeover.names, &m->names) != 0)
        log_warnx("hand-off: answers of name servers cannot be read");
    first->conf = load(m->file, &m->names, &first->text, &first->keyring, &id, report);
    keep_identity(m, &id);
    if (!first->conf)
        return false;
    names_users_init(&first->users, first->conf);
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

bool master_make_segment(struct master *m)
{
    char *path = segments_path(m);

    m->segment = segment_prepare(path);
    if (!m->segment)
        log_error("%s", path);
    free(path);
    if (m->segment)
        m->stats = STATS_SHARED(m->segment, rpd, "rpd");
    return m->segment != NULL;
}

bool master_publish_segment(struct master *m)
{
    char *path = segments_path(m);
    int r = segment_publish(path);

    if (r != 0)
        log_error("%s", path);
    else if (m->takeover.kind == TAKEOVER_TRIAL)
        (void)unlink(path); /* nobody is to read it */
    free(path);
    return r == 0;
}

void master_sign_segment(struct master *m)
{
    (void)slice_copy(m->stats->version, sizeof m->stats->version, SLICE(RPD_VERSION));
    if (stat_get(&m->stats->started) == 0)
        stat_set(&m->stats->started, clock_wall_us());
    stat_set(&m->stats->pid, (uint64_t)m->pid);
    stat_set(&m->stats->keys_pid, 0);
    stat_set(&m->stats->helper_pid, 0);
}

static void on_timeout(struct deadline *d)
{
    start_failed(CONTAINER(d, struct master, start_deadline), "workers do not become ready");
}

static void init(struct master *m, const char *file, bool is_background)
{
    m->file = xstrdup(file);
    m->is_background = is_background;
    m->pid = getpid();
    m->phase = MASTER_STARTING;
    list_init(&m->events.deadlines);
    m->events.epoll = -1;
    event_init(&m->signals);
    deadline_init(&m->start_deadline, on_timeout);
    daemon_init(&m->daemon);
    pidfile_init(&m->pidfile);
    generation_init(&m->generation);
    names_init(&m->names);
    logs_init(&m->logs);
    rotation_init(&m->rotation);
    listen_init(&m->listen);
    keys_init(m);
    helper_init(m);
    canary_programs_init(&m->canary_programs);
    reader_init(m);
    reload_init(m);
    control_init(&m->control);
    stop_init(&m->stop);
    upgrade_init(m);
    retirees_init(m);
    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++)
        worker_init(&m->workers[i], m, i);
}

/* What every start needs first. */
static bool prepare_process(struct master *m)
{
    raise_descriptors();
    if (events_init(&m->events) == 0 && signals_init(m) == 0)
        return true;
    log_error("start");
    return false;
}

/* Everything that must be there before the first worker is. */
static bool prepare(struct master *m, const struct conf *conf)
{
    int r;

    kept_init(&m->kept, conf);
    m->run_dir = xstrdup(conf->global.run_dir);
    r = take_run_dir(m);
    m->is_after_crash = r == 1;
    if (r < 0 || !prepare_process(m))
        return false;
    if (control_open(m) != 0) {
        log_error("control socket %s/rpd.sock", m->run_dir);
        return false;
    }
    flight_sweep(m);
    limiting_begin(m, m->is_after_crash);
    if (m->is_after_crash)
        return takeover_find_orphans(m);
    segments_forget(m);
    if (!master_make_segment(m))
        return false;
    master_sign_segment(m);
    return master_publish_segment(m);
}

/* The same where a predecessor had it all: the run_dir is its own. */
static void prepare_taken(struct master *m, struct conf *conf, struct report *report)
{
    struct conf as_it_is = *conf;

    as_it_is.global.run_dir = m->run_dir;
    kept_init(&m->kept, &as_it_is);
    kept_restore(&m->kept, conf, report);
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

/* Puts the first generation in force, which is the predecessor's next. */
static bool begin(struct master *m, unsigned wait_ms, struct generation *first,
                  struct report *report)
{
    rotation_begin(m);
    if (m->generation.number == 0)
        return install(m, first, wait_ms, report);
    first->number = m->generation.number + 1;
    fd_close(&first->bundle);
    first->bundle = bundle_seal(&first->text, first->number);
    if (first->bundle >= 0)
        return install(m, first, wait_ms, report);
    report_error(report, "the configuration cannot be handed to workers: %s", strerror(errno));
    return false;
}

static bool start_fresh(struct master *m, struct generation *first, struct report *report)
{
    return read_first(m, first, report) && prepare(m, first->conf)
           && leave_terminal(m, first->conf)
           && begin(m, m->is_after_crash ? CRASH_WAIT_MS : 0, first, report);
}

static bool start_taken(struct master *m, struct generation *first, struct report *report)
{
    bool is_given_back = m->takeover.failed.n > 0;

    if (!prepare_process(m) || !takeover_adopt(m)
        || !(is_given_back ? read_again : read_first)(m, first, report))
        return false;
    prepare_taken(m, first->conf, report);
    return begin(m, 0, first, report);
}

static bool start(struct master *m)
{
    struct generation first;
    struct report report;
    bool is_done;

    generation_init(&first);
    report_init(&report);
    is_done = m->takeover.kind == TAKEOVER_NONE ? start_fresh(m, &first, &report)
                                                : start_taken(m, &first, &report);
    say_report(m->daemon.terminal, &report);
    if (!is_done)
        strbuf_add(&m->takeover.why, strbuf_slice(&report.text));
    report_fini(&report);
    generation_fini(&first);
    return is_done;
}

/* ---- ready, or not ---- */

/* It would do. Nothing was taken, and nothing is left behind. */
static void trial_passed(struct master *m)
{
    const char c = TAKEOVER_READY;

    if (fd_write_all(m->takeover.status, &c, 1) != 0)
        m->exit_status = EXIT_FAILURE;
    stop_own(m);
}

static void set_origin(struct master *m)
{
    if (m->takeover.failed.n > 0)
        origin_set(&m->origin, m->file, "start after an upgrade that failed");
    else if (m->takeover.kind == TAKEOVER_UPGRADE)
        origin_set(&m->origin, m->file, "upgrade from rpd %s", m->takeover.version.s);
    else if (m->is_after_crash)
        origin_set(&m->origin, m->file, "start after a master that was killed");
    else
        origin_set(&m->origin, m->file, "start");
}

void start_progress(struct master *m)
{
    if (m->phase != MASTER_STARTING || !supervise_is_settled(m))
        return;
    deadline_cancel(&m->start_deadline);
    if (m->takeover.kind == TAKEOVER_TRIAL) {
        trial_passed(m);
        return;
    }
    m->phase = MASTER_SERVING;
    log_notice("rpd %s ready: %u worker%s, generation %llu", RPD_VERSION, m->nworkers,
               m->nworkers == 1 ? "" : "s", (unsigned long long)m->generation.number);
    daemon_report(&m->daemon, EXIT_SUCCESS);
    notify_ready(m->pid);
    set_origin(m);
    takeover_done(m);
    reload_allow(m);
}

void start_failed(struct master *m, const char *why)
{
    if (m->phase != MASTER_STARTING)
        return;
    say(m, why);
    m->exit_status = EXIT_FAILURE;
    if (m->takeover.kind == TAKEOVER_UPGRADE && m->takeover.previous >= 0) {
        strbuf_adds(&m->takeover.why, why);
        m->phase = MASTER_STOPPING;
        m->stop.is_done = true; /* our own workers are handed over with the rest */
    } else if (m->takeover.kind != TAKEOVER_NONE)
        stop_own(m);
    else
        stop_now(m, NULL);
}

/* ---- the end ---- */

/* What was taken over, or was to be, is others' as well: it stays where the next one looks. */
static bool is_others_too(const struct master *m)
{
    return m->exit_status != EXIT_SUCCESS
           && (m->takeover.kind != TAKEOVER_NONE || m->is_after_crash);
}

/* Counts outlive the daemon; those of a start that failed mean nothing. */
static void leave_segment(struct master *m)
{
    char *path;

    if (m->segment && m->exit_status != EXIT_SUCCESS && !is_others_too(m)) {
        path = segments_path(m);
        (void)unlink(path);
        free(path);
    }
    segment_close(&m->segment);
}

static void finish(struct master *m)
{
    /* Whoever waits for the end sees it once there is nothing left to meet. */
    if (is_others_too(m)) {
        listen_leave(&m->listen);
        pidfile_leave(&m->pidfile); /* by it the next one knows that there is something to find */
    } else
        listen_fini(&m->listen);
    control_close(m);
    pidfile_fini(&m->pidfile);
    control_fini(m);
    reload_fini(m);
    retirees_fini(m);
    signals_fini(m);
    rotation_fini(&m->rotation);
    limiting_fini(m, is_others_too(m));
    events_fini(&m->events);
    leave_segment(m);
    generation_fini(&m->generation);
    names_fini(&m->names);
    canary_programs_fini(m);
    logs_fini(&m->logs);
    kept_fini(&m->kept);
    upgrade_fini(m);
    takeover_fini(m);
    free(m->program);
    free(m->file);
    free(m->run_dir);
    free(m->user);
    free(m->group);
    free(m->keys_user);
}

static void run(struct master *m)
{
    deadline_set(&m->events, &m->start_deadline, START_TIMEOUT_MS);
    supervise_reap(m); /* who ended during an exec */
    while (!m->stop.is_done)
        events_step(&m->events);
}

int start_run(struct master *m, const char *program, const char *file, bool is_background)
{
    init(m, file, is_background);
    m->program = xstrdup(program);
    if (!takeover_begin(m)) {
        m->exit_status = EXIT_FAILURE;
        finish(m);
        return m->exit_status;
    }
    if (is_background && m->takeover.kind == TAKEOVER_NONE && daemon_fork(&m->daemon) != 0) {
        log_error("background");
        return EXIT_FAILURE;
    }
    m->pid = getpid();
    proctitle_set("rpd: master (%s)", file);
    if (start(m))
        run(m);
    else
        m->exit_status = EXIT_FAILURE;
    if (m->exit_status != EXIT_SUCCESS)
        takeover_give_back(m);
    if (m->exit_status == EXIT_SUCCESS && m->takeover.kind != TAKEOVER_TRIAL)
        log_notice("stopped");
    daemon_report(&m->daemon, m->phase == MASTER_SERVING ? m->exit_status : EXIT_FAILURE);
    finish(m);
    return m->exit_status;
}
