/* Hand-off records in the making: handing.h. Called by upgrade.c, takeover.c and the modules that
 * have something to hand on. */
#include "master/handing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "common/base/fd.h"

void handing_args(struct handing_args *a, char *program, char *file, bool is_background)
{
    *a = (struct handing_args){ .config = "-c", .daemon = "-d" };
    a->v[0] = program;
    a->v[1] = a->config;
    a->v[2] = file;
    a->v[3] = is_background ? a->daemon : NULL;
}

void handing_init(struct handing *h)
{
    *h = (struct handing){ .fds = { NULL, 0, 0 }, .program = -1 };
    strbuf_init(&h->text);
    handoff_begin(&h->text);
}

void handing_fini(struct handing *h)
{
    strbuf_fini(&h->text);
    VEC_FREE(&h->fds);
    fd_close(&h->program);
}

void handing_fd(struct handing *h, const char *key, int fd)
{
    handoff_number(&h->text, key, (uint64_t)fd);
    *VEC_PUSH(&h->fds) = fd;
}

void handing_program(struct handing *h, const char *key)
{
    h->program = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (h->program >= 0)
        handing_fd(h, key, h->program);
}

void handing_worker(struct handing *h, pid_t pid, unsigned index, int channel)
{
    handoff_kind(&h->text, "worker");
    handoff_number(&h->text, "pid", (uint64_t)pid);
    handoff_number(&h->text, "index", index);
    handing_fd(h, "fd", channel);
}

static int write_record(const struct handing *h)
{
    int fd = memfd_create("rpd hand-off", MFD_CLOEXEC);

    if (fd >= 0 && fd_write_all(fd, h->text.s, h->text.n) != 0)
        fd_close(&fd);
    return fd;
}

/* Whether the descriptors, and `record`, survive an exec. */
static void keep(const struct handing *h, int record, bool on)
{
    for (size_t i = 0; i < h->fds.n; i++)
        (void)fd_cloexec(h->fds.v[i], !on);
    (void)fd_cloexec(record, !on);
}

void handing_exec(const struct handing *h, const struct handing_args *a, int program)
{
    int err, record = write_record(h);
    char text[16];

    if (record < 0)
        return;
    (void)snprintf(text, sizeof text, "%d", record);
    if (setenv(HANDING_VARIABLE, text, 1) == 0) {
        keep(h, record, true);
        (void)(program < 0 ? execv(a->v[0], a->v) : fexecve(program, a->v, environ));
        err = errno;
        keep(h, record, false);
        handing_forget();
        errno = err;
    }
    fd_close(&record);
}

void handing_forget(void)
{
    (void)unsetenv(HANDING_VARIABLE);
}
