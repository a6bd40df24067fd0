/* Binary upgrade, the old program's part: upgrade.h. Owns the process in which the new one is
 * tried. Called by signals.c, command.c, reload.c and supervise.c; the new program's part is
 * takeover.c. */
#include "master/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/log.h"
#include "master/apply.h"
#include "master/handing.h"
#include "master/master.h"
#include "master/notify.h"
#include "master/signals.h"
#include "master/stop.h"
#include "master/takeover.h"

#define TRIAL_MS 40000 /* longer than a start's own limit, which says more */
#define OUTPUT_MAX 16384

/* ---- the outcome ---- */

static void log_lines(struct slice rest)
{
    while (rest.n > 0) {
        struct slice line = slice_cut(&rest, '\n');

        log_errorx("upgrade: %.*s", SLICE_ARG(line));
    }
}

static void refuse(struct master *m, const char *why)
{
    struct upgrade *u = &m->upgrade;
    struct strbuf text;

    strbuf_init(&text);
    strbuf_printf(&text, "upgrade refused: %s: %s\n", m->program, why);
    strbuf_add(&text, strbuf_slice(&u->text));
    log_errorx("upgrade refused: %s: %s", m->program, why);
    log_lines(strbuf_slice(&u->text));
    u->phase = UPGRADE_IDLE;
    notify_ready(m->pid);
    control_answer_all(&m->upgrade.waiting, false, strbuf_slice(&text));
    strbuf_fini(&text);
    reload_allow(m);
}

/* ---- exec ---- */

static void exec_it(struct master *m)
{
    struct handing_args args;
    struct handing h;

    handing_args(&args, m->program, m->file, m->is_background);
    handing_init(&h);
    takeover_hand(m, &h);
    log_notice("upgrade: %s takes over", m->program);
    helper_leave_none(m);
    handing_exec(&h, &args, -1);
    strbuf_printf(&m->upgrade.text, "exec: %s\n", strerror(errno));
    handing_fini(&h);
}

/* ---- the trial, in a child ---- */

static void child(struct master *m, int output, int status)
{
    struct handing_args args;
    struct handing h;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0); /* Ctrl-C is the master's */
    if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
        _exit(EXIT_FAILURE);
    handing_args(&args, m->program, m->file, false);
    handing_init(&h);
    takeover_hand_trial(m, &h, status);
    signals_reset();
    handing_exec(&h, &args, -1);
    (void)dprintf(STDERR_FILENO, "exec: %s\n", strerror(errno));
    _exit(EXIT_FAILURE);
}

/* ---- the trial, seen from here ---- */

static void describe(const struct upgrade *u, char *text, size_t size)
{
    if (WIFSIGNALED(u->exit_status))
        (void)snprintf(text, size, "died of signal %d", WTERMSIG(u->exit_status));
    else if (WEXITSTATUS(u->exit_status) != 0)
        (void)snprintf(text, size, "ended with status %d", WEXITSTATUS(u->exit_status));
    else
        (void)snprintf(text, size, "ended without a word that it is ready");
}

/* Both its end and all it said are there. */
static void conclude(struct master *m)
{
    struct upgrade *u = &m->upgrade;
    char why[64];

    if (u->phase != UPGRADE_TRYING || u->pid != 0 || u->output.fd >= 0 || u->status.fd >= 0)
        return;
    deadline_cancel(&u->deadline);
    if (m->phase != MASTER_SERVING) {
        u->phase = UPGRADE_IDLE;
        stop_progress(m);
        return;
    }
    if (u->is_ready && WIFEXITED(u->exit_status) && WEXITSTATUS(u->exit_status) == 0) {
        exec_it(m); /* comes back only if it failed */
        refuse(m, "cannot be run");
        return;
    }
    describe(u, why, sizeof why);
    refuse(m, why);
}

static void on_output(struct event *e, uint32_t mask)
{
    struct master *m = CONTAINER(e, struct master, upgrade.output);
    struct strbuf *text = &m->upgrade.text;
    char buf[4096];
    ssize_t n = read(e->fd, buf, sizeof buf);

    (void)mask;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        if (text->n < OUTPUT_MAX)
            strbuf_add(text, slice_of(buf, (size_t)n));
        return;
    }
    event_close(&m->events, e);
    conclude(m);
}

static void on_status(struct event *e, uint32_t mask)
{
    struct master *m = CONTAINER(e, struct master, upgrade.status);
    char c;
    ssize_t n = read(e->fd, &c, 1);

    (void)mask;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n == 1 && c == TAKEOVER_READY) {
        m->upgrade.is_ready = true;
        return;
    }
    event_close(&m->events, e);
    conclude(m);
}

static void on_deadline(struct deadline *d)
{
    struct master *m = CONTAINER(d, struct master, upgrade.deadline);
    struct upgrade *u = &m->upgrade;

    strbuf_printf(&u->text, "it was not ready within %d s\n", TRIAL_MS / 1000);
    u->is_ready = false;
    if (u->pid != 0)
        (void)kill(-u->pid, SIGKILL);
    /* Whatever it has left behind may hold the pipes. */
    event_close(&m->events, &u->output);
    event_close(&m->events, &u->status);
    conclude(m);
}

bool upgrade_exited(struct master *m, pid_t pid, int status)
{
    if (pid != m->upgrade.pid)
        return false;
    m->upgrade.pid = 0;
    m->upgrade.exit_status = status;
    conclude(m);
    return true;
}

/* ---- its beginning ---- */

static int watch(struct master *m, struct event *e, int fd, event_fn *fn)
{
    return fd_nonblock(fd) == 0 ? event_add(&m->events, e, fd, EPOLLIN, fn) : -1;
}

/* -1 with errno. */
static int try_it(struct master *m)
{
    struct upgrade *u = &m->upgrade;
    int output[2] = { -1, -1 }, status[2] = { -1, -1 };
    pid_t pid = -1;

    if (pipe2(output, O_CLOEXEC) == 0 && pipe2(status, O_CLOEXEC) == 0
        && watch(m, &u->output, output[0], on_output) == 0
        && watch(m, &u->status, status[0], on_status) == 0)
        pid = fork();
    if (pid == 0)
        child(m, output[1], status[1]);
    fd_close(&output[1]);
    fd_close(&status[1]);
    if (pid > 0) {
        (void)setpgid(pid, pid); /* it does so too: the group is there before we may end it */
        u->pid = pid;
        deadline_set(&m->events, &u->deadline, TRIAL_MS);
        return 0;
    }
    event_remove(&m->events, &u->output);
    event_remove(&m->events, &u->status);
    fd_close(&output[0]);
    fd_close(&status[0]);
    return -1;
}

/* Each process that counts has a slot in the next segment. */
static bool is_room(const struct master *m)
{
    unsigned n = retirees_count(m) + 1;

    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++)
        n += worker_is_alive(&m->workers[i]);
    return n + m->nworkers <= STATS_SLOTS_MAX;
}

/* Not over the head of who may still have to confirm. */
static void refuse_pending(struct master *m)
{
    struct strbuf why;

    strbuf_init(&why);
    apply_reason(m, &why);
    m->upgrade.is_wanted = false;
    log_errorx("upgrade refused: %.*s", (int)why.n - 1, why.s);
    control_answer_all(&m->upgrade.waiting, false, strbuf_slice(&why));
    strbuf_fini(&why);
}

static void begin(struct master *m)
{
    struct upgrade *u = &m->upgrade;

    u->is_wanted = false;
    u->is_ready = false;
    u->phase = UPGRADE_TRYING;
    strbuf_clear(&u->text);
    apply_make_way(m);
    notify_reloading();
    log_notice("upgrade: trying %s", m->program);
    if (!is_room(m))
        refuse(m, "not now: too many workers of before have yet to finish");
    else if (try_it(m) != 0)
        refuse(m, strerror(errno));
}

void upgrade_progress(struct master *m)
{
    if (!m->upgrade.is_wanted || m->phase != MASTER_SERVING)
        return;
    if (apply_is_pending(m))
        refuse_pending(m);
    else if (reload_is_idle(m))
        begin(m);
}

bool upgrade_refuses(struct client *client)
{
    if (!upgrade_is_busy(&client->master->upgrade))
        return false;
    control_answer(client, false, SLICE("an upgrade is being tried: wait until it is done\n"));
    return true;
}

void upgrade_request(struct master *m, struct client *client)
{
    if (m->phase == MASTER_RETIRING || m->phase == MASTER_STOPPING) {
        log_warnx("upgrade refused: rpd is stopping");
        if (client)
            control_answer(client, false, SLICE("rpd is stopping\n"));
        return;
    }
    if (client)
        list_push(&m->upgrade.waiting, &client->waiting);
    /* In the midst of one: what comes of that is the answer. */
    if (m->upgrade.phase != UPGRADE_IDLE
        || (m->phase == MASTER_STARTING && m->takeover.kind == TAKEOVER_UPGRADE))
        return;
    m->upgrade.is_wanted = true;
    upgrade_progress(m);
}

void upgrade_init(struct master *m)
{
    struct upgrade *u = &m->upgrade;

    u->phase = UPGRADE_IDLE;
    event_init(&u->output);
    event_init(&u->status);
    deadline_init(&u->deadline, on_deadline);
    strbuf_init(&u->text);
    list_init(&u->waiting);
}

void upgrade_fini(struct master *m)
{
    strbuf_fini(&m->upgrade.text);
}

void upgrade_stop(struct master *m)
{
    struct upgrade *u = &m->upgrade;

    u->is_wanted = false;
    deadline_cancel(&u->deadline);
    if (u->pid != 0)
        (void)kill(-u->pid, SIGKILL);
    event_close(&m->events, &u->output);
    event_close(&m->events, &u->status);
    control_answer_all(&m->upgrade.waiting, false, SLICE("rpd is stopping\n"));
}
