/* Which signal does what. Owns the signalfd. Called by start.c and by the loop; nothing runs in a
 * signal handler. */
#include "master/signals.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/log.h"
#include "master/logs.h"
#include "master/master.h"
#include "master/reload.h"
#include "master/stop.h"
#include "master/supervise.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void on_hup(struct master *m)
{
    reload_request(m, NULL);
}

static void on_upgrade(struct master *m)
{
    upgrade_request(m, NULL);
}

static void on_stop(struct master *m)
{
    stop_now(m, NULL);
}

static void on_quit(struct master *m)
{
    stop_gently(m, NULL);
}

static void on_reopen(struct master *m)
{
    (void)logs_reopen(m, NULL);
}

static const struct {
    int number;
    void (*fn)(struct master *m);
} handled[] = {
    { SIGHUP, on_hup },
    { SIGUSR1, on_reopen },
    { SIGUSR2, on_upgrade },
    { SIGQUIT, on_quit },
    { SIGTERM, on_stop },
    { SIGINT, on_stop },
    { SIGCHLD, supervise_reap },
};

static void on_signal(struct event *e, uint32_t mask)
{
    struct master *m = CONTAINER(e, struct master, signals);
    struct signalfd_siginfo info;

    (void)mask;
    if (read(e->fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    for (size_t i = 0; i < COUNT(handled); i++)
        if ((uint32_t)handled[i].number == info.ssi_signo)
            handled[i].fn(m);
}

int signals_init(struct master *m)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    for (size_t i = 0; i < COUNT(handled); i++)
        sigaddset(&set, handled[i].number);
    /* An ignored SIGCHLD, inherited over exec, would hide how children ended. */
    if (signal(SIGCHLD, SIG_DFL) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR
        || sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -1;
    if (event_add(&m->events, &m->signals, fd, EPOLLIN, on_signal) == 0)
        return 0;
    fd_close(&fd);
    return -1;
}

void signals_fini(struct master *m)
{
    event_close(&m->events, &m->signals);
}

void signals_reset(void)
{
    struct sigaction dfl = { .sa_handler = SIG_DFL };
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        (void)sigaction(i, &dfl, NULL); /* fails for KILL, STOP and libc's own */
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

const char *signals_name(int number, char buf[32])
{
    const char *abbrev = sigabbrev_np(number);

    if (abbrev)
        (void)snprintf(buf, 32, "SIG%s", abbrev);
    else
        (void)snprintf(buf, 32, "signal %d", number);
    return buf;
}
