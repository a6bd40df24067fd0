/* Where the limits' memory comes from and goes: limiting.h. Called by start.c and takeover.c; what
 * stands in it is common/core/limits.c's. */
#include "master/limiting.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "common/base/log.h"
#include "common/base/strbuf.h"
#include "common/core/limits.h"
#include "master/handing.h"
#include "master/master.h"

static void path_of(const struct master *m, struct strbuf *path)
{
    strbuf_init(path);
    strbuf_printf(path, "%s/limits", m->run_dir);
}

static void create(struct master *m)
{
    struct strbuf path;

    path_of(m, &path);
    /* Nobody is to find one of a trial. */
    m->limits = limits_create(m->takeover.kind == TAKEOVER_TRIAL ? NULL : path.s);
    if (!m->limits)
        log_warn("memory for limits, %s", path.s);
    strbuf_fini(&path);
}

static void take(struct master *m, int fd)
{
    m->limits = limits_adopt(fd);
    if (!m->limits && errno != EPROTO)
        log_warn("the limits of before");
    else if (!m->limits)
        log_warnx("the limits of before cannot be read: their counts begin anew");
}

void limiting_begin(struct master *m, bool is_after_crash)
{
    struct strbuf path;
    int fd = -1;

    path_of(m, &path);
    if (is_after_crash)
        fd = open(path.s, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    strbuf_fini(&path);
    if (fd >= 0)
        take(m, fd);
    if (m->limits)
        limits_died(m->limits, 0); /* who did while there was no master */
    else
        create(m);
}

void limiting_adopt(struct master *m, int fd)
{
    if (fd >= 0)
        take(m, fd);
    if (!m->limits)
        create(m);
}

void limiting_hand(const struct master *m, struct handing *h)
{
    if (m->limits)
        handing_fd(h, "limits", limits_fd(m->limits));
}

void limiting_fini(struct master *m, bool is_left)
{
    struct strbuf path;

    if (m->limits && !is_left && m->takeover.kind != TAKEOVER_TRIAL) {
        path_of(m, &path);
        (void)unlink(path.s);
        strbuf_fini(&path);
    }
    limits_close(&m->limits);
}
