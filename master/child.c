/* Forking, and waiting for room in a channel. Called by who has children; owns nothing. */
#include "master/child.h"

#include <errno.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/core/ipc.h"

#define RETRY_MS 100

pid_t child_fork(struct events *ev, struct event *e, event_fn *fn, int *end)
{
    int pair[2], error;
    pid_t pid = -1;

    if (ipc_pair(pair) != 0)
        return -1;
    if (event_add(ev, e, pair[0], EPOLLIN, fn) == 0)
        pid = fork();
    error = errno;
    if (pid == 0) {
        *end = pair[1];
        return 0;
    }
    fd_close(&pair[1]);
    if (pid < 0) {
        event_remove(ev, e);
        fd_close(&pair[0]);
        errno = error;
    }
    return pid;
}

void child_tell_later(struct events *ev, struct event *e, struct deadline *retry,
                      const char *name)
{
    int error = errno;

    event_want(ev, e, error == EAGAIN ? EPOLLIN | EPOLLOUT : EPOLLIN);
    if (error == EAGAIN)
        return;
    errno = error;
    log_warn("%s cannot be told: it is tried again", name);
    deadline_set(ev, retry, RETRY_MS);
}
