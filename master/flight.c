/* The files of workers' flight recorders. Called by worker.c, supervise.c and start.c; never looks
 * at what workers write but for the pid by which a file is known. */
#include "master/flight.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/core/flight_read.h"
#include "master/master.h"

#define MODE 0640
#define PREFIX "flight."

struct paths {
    struct strbuf now, old, new, postmortem;
};

static void paths_init(struct paths *n, const struct master *m, unsigned index)
{
    strbuf_init(&n->now);
    strbuf_init(&n->old);
    strbuf_init(&n->new);
    strbuf_init(&n->postmortem);
    strbuf_printf(&n->now, "%s/" PREFIX "%u", m->run_dir, index);
    strbuf_printf(&n->old, "%s/" PREFIX "%u.old", m->run_dir, index);
    strbuf_printf(&n->new, "%s/" PREFIX "%u.new", m->run_dir, index);
    strbuf_printf(&n->postmortem, "%s/postmortem.%u", m->run_dir, index);
}

static void paths_fini(struct paths *n)
{
    strbuf_fini(&n->now);
    strbuf_fini(&n->old);
    strbuf_fini(&n->new);
    strbuf_fini(&n->postmortem);
}

/* Whether a living worker writes the file. */
static bool is_in_use(const char *path, unsigned index)
{
    uint64_t pid = flight_log_pid(path);

    return pid > 0 && flight_log_is_alive(pid, index);
}

/* A file of our own making, whatever lay there. */
static void *make_file(const char *path, unsigned index)
{
    struct flight_header h;
    int fd;
    void *p = MAP_FAILED;

    if (unlink(path) != 0 && errno != ENOENT)
        return NULL;
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, MODE);
    if (fd < 0)
        return NULL;
    flight_format(&h, index, clock_wall_us());
    /* Never through the mapping: that a file system is full must not end the master. */
    if (fchmod(fd, MODE) == 0 && ftruncate(fd, (off_t)flight_size()) == 0
        && pwrite(fd, &h, sizeof h, 0) == (ssize_t)sizeof h)
        p = mmap(NULL, flight_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    fd_close(&fd);
    return p == MAP_FAILED ? NULL : p;
}

void *flight_make(const struct master *m, unsigned index)
{
    struct paths n;
    void *memory;
    int err;

    if (m->takeover.kind == TAKEOVER_TRIAL)
        return NULL;
    paths_init(&n, m, index);
    memory = make_file(n.new.s, index);
    err = errno;
    if (!is_in_use(n.old.s, index))
        (void)unlink(n.old.s);
    if (memory && is_in_use(n.now.s, index))
        (void)rename(n.now.s, n.old.s);
    if (memory && rename(n.new.s, n.now.s) != 0) {
        err = errno;
        munmap(memory, flight_size());
        memory = NULL;
    }
    if (!memory) {
        errno = err;
        log_warn("%s: worker %u goes without a flight recorder", n.now.s, index);
        (void)unlink(n.new.s);
    }
    paths_fini(&n);
    return memory;
}

void flight_made(const struct master *m, unsigned index, void **memory, pid_t pid)
{
    struct flight_header *h = *memory;
    struct paths n;

    if (!h)
        return;
    *memory = NULL;
    if (pid > 0)
        h->pid = (uint64_t)pid; /* this page is there */
    munmap(h, flight_size());
    if (pid > 0)
        return;
    paths_init(&n, m, index);
    (void)unlink(n.now.s);
    paths_fini(&n);
}

/* ---- the end ---- */

static int write_death(const char *path, const char *how)
{
    char died[FLIGHT_DIED_SIZE] = "";
    uint64_t now = clock_wall_us();
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool is_written;

    if (fd < 0)
        return -1;
    (void)snprintf(died, sizeof died, "%s", how);
    is_written = pwrite(fd, died, sizeof died, offsetof(struct flight_header, died)) > 0
                 && pwrite(fd, &now, sizeof now, offsetof(struct flight_header, died_us)) > 0;
    fd_close(&fd);
    return is_written ? 0 : -1;
}

static void keep(const char *path, const char *postmortem, unsigned index, const char *how)
{
    if (write_death(path, how) != 0 || rename(path, postmortem) != 0)
        log_warn("%s", postmortem);
    else
        log_notice("rpctl postmortem %u shows its last streams", index);
}

void flight_ended(const struct master *m, unsigned index, pid_t pid, bool is_well, const char *how)
{
    struct paths n;
    const char *path = NULL;

    paths_init(&n, m, index);
    if (flight_log_pid(n.now.s) == (uint64_t)pid)
        path = n.now.s;
    else if (flight_log_pid(n.old.s) == (uint64_t)pid)
        path = n.old.s;
    if (path && is_well)
        (void)unlink(path);
    else if (path)
        keep(path, n.postmortem.s, index, how);
    paths_fini(&n);
}

void flight_sweep(const struct master *m)
{
    DIR *dir = opendir(m->run_dir);
    const struct dirent *e;
    struct strbuf path;

    strbuf_init(&path);
    while (dir && (e = readdir(dir)) != NULL) {
        struct slice name = slice_str(e->d_name), number;
        uint64_t index = STATS_WORKERS_MAX;

        if (!slice_starts(name, SLICE(PREFIX)))
            continue;
        name = slice_of(name.p + strlen(PREFIX), name.n - strlen(PREFIX));
        number = slice_cut(&name, '.');
        strbuf_clear(&path);
        strbuf_printf(&path, "%s/%s", m->run_dir, e->d_name);
        if (slice_u64(number, &index) && !is_in_use(path.s, (unsigned)index))
            (void)unlink(path.s);
    }
    if (dir)
        closedir(dir);
    strbuf_fini(&path);
}
