/* The pid file. Owns its descriptor: a record lock goes when any descriptor of the file is closed,
 * so nothing else of this process may open it. Called by start.c. */
#include "master/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

void pidfile_init(struct pidfile *p)
{
    *p = (struct pidfile){ .fd = -1 };
}

/* Whether the locked file is still the one of that name: its holder may have removed it between
 * our open and our lock. */
static bool is_current(int fd, const char *path)
{
    struct stat mine, there;

    return fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_dev == there.st_dev
           && mine.st_ino == there.st_ino;
}

/* 1 locked, 0 held by *holder, -1 with errno. */
static int lock(int fd, pid_t *holder)
{
    struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    if (fcntl(fd, F_SETLK, &l) == 0)
        return 1;
    if (errno != EACCES && errno != EAGAIN)
        return -1;
    l = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET };
    if (fcntl(fd, F_GETLK, &l) != 0)
        return -1;
    *holder = l.l_type == F_UNLCK ? 0 : l.l_pid;
    return 0;
}

static enum pidfile_result write_pid(int fd)
{
    char text[32], old;
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    bool is_left = pread(fd, &old, 1, 0) == 1;

    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
        return PIDFILE_ERROR;
    return is_left ? PIDFILE_HELD_AFTER_CRASH : PIDFILE_HELD;
}

static char *path_in(const char *run_dir)
{
    struct strbuf path;

    strbuf_init(&path);
    strbuf_printf(&path, "%s/rpd.pid", run_dir);
    return strbuf_take(&path);
}

void pidfile_adopt(struct pidfile *p, const char *run_dir, int fd)
{
    p->fd = fd;
    p->path = path_in(run_dir);
}

enum pidfile_result pidfile_take(struct pidfile *p, const char *run_dir, pid_t *holder)
{
    int fd, r;

    p->path = path_in(run_dir);
    for (;;) {
        fd = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
            return PIDFILE_ERROR;
        r = lock(fd, holder);
        if (r == 1 && is_current(fd, p->path)) {
            p->fd = fd;
            return write_pid(fd);
        }
        fd_close(&fd);
        if (r < 0)
            return PIDFILE_ERROR;
        if (r == 0 && *holder != 0)
            return PIDFILE_TAKEN;
    }
}

void pidfile_leave(struct pidfile *p)
{
    fd_close(&p->fd);
}

void pidfile_fini(struct pidfile *p)
{
    if (p->fd >= 0)
        (void)unlink(p->path);
    fd_close(&p->fd);
    free(p->path);
    pidfile_init(p);
}
