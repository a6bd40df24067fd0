/* Reading the segment on behalf of a command, and printing what came of it. */
#include "ctl/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/base/fd.h"

void ctl_error(const char *fmt, ...)
{
    struct strbuf line;
    va_list ap;

    strbuf_init(&line);
    strbuf_adds(&line, "rpctl: ");
    va_start(ap, fmt);
    strbuf_vprintf(&line, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < line.n; i++)
        if ((unsigned char)line.s[i] < 0x20 || line.s[i] == 0x7f)
            line.s[i] = '?';
    strbuf_addc(&line, '\n');
    (void)fd_write_all(STDERR_FILENO, line.s, line.n);
    strbuf_fini(&line);
}

struct model *ctl_try(const struct ctl *ctl, enum ctl_exit *status, struct strbuf *why)
{
    struct model *m = model_read(ctl->run_dir, why);

    *status = CTL_DONE;
    if (!m)
        *status = errno == ENOENT || errno == ENOTDIR ? CTL_NO_DAEMON : CTL_FAILED;
    return m;
}

struct model *ctl_load(const struct ctl *ctl, enum ctl_exit *status)
{
    struct strbuf why;
    struct model *m;

    strbuf_init(&why);
    m = ctl_try(ctl, status, &why);
    if (!m)
        ctl_error("%s", why.s);
    strbuf_fini(&why);
    return m;
}

void ctl_note_gone(const struct model *m)
{
    if (!m->is_running)
        ctl_error("the master (pid %llu) is not running; this is what it left behind",
                  (unsigned long long)m->pid);
}

enum ctl_exit ctl_print(const struct strbuf *text)
{
    if (fd_write_all(STDOUT_FILENO, text->s, text->n) == 0 || errno == EPIPE)
        return CTL_DONE;
    ctl_error("standard output: %s", strerror(errno));
    return CTL_FAILED;
}
