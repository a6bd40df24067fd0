/* Workers' sockets in run_dir: heir.h. Keeps nothing. Called by worker.c and orphans.c. */
#include "master/heir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/slice.h"

#define PREFIX "worker."
#define MODE 0600

static int make_addr(struct sockaddr_un *un, const char *run_dir, pid_t worker)
{
    int n = snprintf(un->sun_path, sizeof un->sun_path, "%s/" PREFIX "%d", run_dir, (int)worker);

    un->sun_family = AF_UNIX;
    if (n > 0 && (size_t)n < sizeof un->sun_path)
        return 0;
    errno = ENAMETOOLONG;
    return -1;
}

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

int heir_open(const char *run_dir, pid_t worker)
{
    struct sockaddr_un un;
    int fd;

    if (make_addr(&un, run_dir, worker) != 0 || (fd = new_socket()) < 0)
        return -1;
    (void)unlink(un.sun_path); /* of a process that had this pid before */
    /* Nobody connects before listen(). */
    if (bind(fd, (const struct sockaddr *)&un, sizeof un) != 0 || chmod(un.sun_path, MODE) != 0
        || listen(fd, 1) != 0)
        fd_close(&fd);
    return fd;
}

void heir_remove(const char *run_dir, pid_t worker)
{
    struct sockaddr_un un;

    if (make_addr(&un, run_dir, worker) == 0)
        (void)unlink(un.sun_path);
}

int heir_connect(const char *run_dir, pid_t worker)
{
    struct sockaddr_un un;
    int fd;

    if (make_addr(&un, run_dir, worker) != 0 || (fd = new_socket()) < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&un, sizeof un) != 0)
        fd_close(&fd);
    return fd;
}

pid_t heir_pid(const char *file)
{
    struct slice name = slice_str(file);
    uint64_t pid;

    if (!slice_starts(name, SLICE(PREFIX)))
        return 0;
    name.p += sizeof PREFIX - 1;
    name.n -= sizeof PREFIX - 1;
    return slice_u64(name, &pid) && pid < INT32_MAX ? (pid_t)pid : 0;
}
