/* Daemonising. Owns the pipe to the process that was called. Called by start.c. */
#include "master/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/base/fd.h"

void daemon_init(struct daemon *d)
{
    *d = (struct daemon){ .status = -1, .terminal = STDERR_FILENO };
}

/* The process that was called, to its end. */
static void wait_for_outcome(int status)
{
    unsigned char outcome = EXIT_FAILURE; /* a daemon that says nothing died */
    ssize_t n;

    do
        n = read(status, &outcome, 1);
    while (n < 0 && errno == EINTR);
    _exit(outcome);
}

int daemon_fork(struct daemon *d)
{
    int pipefd[2];
    pid_t pid;

    if (pipe2(pipefd, O_CLOEXEC) != 0)
        return -1;
    pid = fork();
    if (pid > 0) {
        fd_close(&pipefd[1]);
        wait_for_outcome(pipefd[0]);
    }
    fd_close(&pipefd[0]);
    if (pid < 0) {
        fd_close(&pipefd[1]);
        return -1;
    }
    d->status = pipefd[1];
    /* Not the leader of its session: it can never get a controlling terminal. */
    if (setsid() < 0)
        return -1;
    pid = fork();
    if (pid > 0)
        _exit(EXIT_SUCCESS);
    return pid < 0 ? -1 : 0;
}

int daemon_detach(struct daemon *d)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return -1;
    d->terminal = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (d->terminal < 0 || dup2(null, fd) < 0) {
            fd_close(&null);
            return -1;
        }
    if (null > STDERR_FILENO)
        fd_close(&null);
    return 0;
}

void daemon_report(struct daemon *d, int exit_status)
{
    unsigned char outcome = (unsigned char)exit_status;

    while (d->status >= 0 && write(d->status, &outcome, 1) < 0 && errno == EINTR)
        ; /* another failure: the caller has gone, nobody is to be told */
    fd_close(&d->status);
    if (d->terminal != STDERR_FILENO)
        fd_close(&d->terminal);
    d->terminal = STDERR_FILENO;
}
