/* The reader child, both ends: it answers (answer.h) with what it found and, when that has no
 * error, with a sealed bundle and a keyring. Called by reload.c and
 * supervise.c; never decides anything. */
#include "master/reader.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/proctitle.h"
#include "common/core/bundle.h"
#include "common/core/ipc.h"
#include "master/answer.h"
#include "master/child.h"
#include "master/master.h"
#include "master/reload.h"
#include "master/signals.h"

/* Files on a dead network, a name server that keeps silent: given up after this. */
#define READER_TIMEOUT_MS 60000

/* ---- the child ---- */

/* The bundle, or -1 with errors in the report. Names that the master has answers of keep them. */
static int read_files(const struct master *m, int *keyring, struct report *report)
{
    struct conf_text text; /* the child's own: nothing is freed */
    int fd;

    if (config_load(m->reader.file, &m->names, &text, keyring, report) == NULL)
        return -1;
    fd = bundle_seal(&text, m->generation.number + 1);
    if (fd < 0)
        report_error(report, "the configuration cannot be handed on: %s", strerror(errno));
    return fd;
}

static int reader_main(const struct master *m, int sock)
{
    struct report report;
    int bundle, keyring = -1;

    proctitle_set("rpd: reader");
    report_init(&report);
    bundle = read_files(m, &keyring, &report);
    return answer_send(sock, &report, bundle, keyring) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void child(const struct master *m, int sock)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setpgid(0, 0); /* Ctrl-C is the master's */
    fd_close_from(3, &sock, 1);
    signals_reset();
    if (getppid() == m->pid)
        _exit(reader_main(m, sock));
    _exit(EXIT_FAILURE);
}

/* ---- the master ---- */

static void done(struct master *m)
{
    deadline_cancel(&m->reader.deadline);
    event_close(&m->events, &m->reader.event);
}

static void answer(struct master *m, struct ipc_msg *msg)
{
    struct report report;
    int bundle, keyring;

    report_init(&report);
    (void)answer_take(msg, &report, &bundle, &keyring);
    done(m);
    reload_read(m, bundle, keyring, &report);
    report_fini(&report);
}

/* It ended, or was given up, without an answer. */
static void fail(struct master *m, const char *why)
{
    struct report report;

    done(m);
    report_init(&report);
    report_error(&report, "%s: %s", m->reader.file, why);
    reload_read(m, -1, -1, &report);
    report_fini(&report);
}

static void on_event(struct event *e, uint32_t mask)
{
    struct master *m = CONTAINER(e, struct master, reader.event);
    struct ipc_msg msg;
    int r = ipc_recv(e->fd, &msg);

    (void)mask;
    if (r == 1)
        answer(m, &msg);
    else if (r == 0 || errno != EAGAIN)
        fail(m, "the process that reads the configuration died");
}

static void on_deadline(struct deadline *d)
{
    struct master *m = CONTAINER(d, struct master, reader.deadline);

    (void)kill(m->reader.pid, SIGKILL);
    fail(m, "reading the configuration took longer than a minute");
}

void reader_init(struct master *m)
{
    event_init(&m->reader.event);
    deadline_init(&m->reader.deadline, on_deadline);
}

int reader_start(struct master *m, const char *file)
{
    int end;
    pid_t pid;

    m->reader.file = file;
    pid = child_fork(&m->events, &m->reader.event, on_event, &end);
    if (pid == 0)
        child(m, end);
    if (pid < 0)
        return -1;
    m->reader.pid = pid;
    deadline_set(&m->events, &m->reader.deadline, READER_TIMEOUT_MS);
    return 0;
}

bool reader_exited(struct master *m, pid_t pid, int status)
{
    if (pid != m->reader.pid)
        return false;
    (void)status; /* its answer, or the end of its channel, says how it went */
    m->reader.pid = 0;
    reload_reader_gone(m);
    return true;
}

void reader_stop(struct master *m)
{
    if (m->reader.event.fd >= 0)
        done(m);
    if (m->reader.pid > 0)
        (void)kill(m->reader.pid, SIGKILL);
}
