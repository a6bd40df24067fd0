/* Log files. Owns their descriptors in the master. Called by install.c (a new generation),
 * signals.c and control.c (reopen), worker.c (a fresh child); writes no line of its own but when
 * opening fails. */
#include "master/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "master/master.h"
#include "master/supervise.h"

#define LOG_MODE 0640

void logs_init(struct logs *l)
{
    *l = (struct logs){ .error_target = CONF_LOG_STDERR, .level = LOG_LEVEL_NOTICE,
                        .error_fd = -1, .access_fd = -1 };
}

void logs_fini(struct logs *l)
{
    fd_close(&l->error_fd);
    if (l->access_fd != STDOUT_FILENO)
        fd_close(&l->access_fd);
    l->access_fd = -1;
}

/* Without O_NONBLOCK a named pipe would hold up the master until somebody reads it. */
static int open_file(const char *path, const char *key, struct report *report)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                  LOG_MODE);

    if (fd < 0)
        report_error(report, "[global] %s: %s: %s", key, path, strerror(errno));
    return fd;
}

bool logs_open(struct logs *l, const struct conf *conf, struct report *report)
{
    enum conf_log_target access = conf_log_target(conf->global.access_log);
    unsigned errors = report->errors;

    logs_init(l);
    l->error_target = conf_log_target(conf->global.log);
    l->level = conf->global.log_level;
    if (l->error_target == CONF_LOG_FILE)
        l->error_fd = open_file(conf->global.log, "log", report);
    if (access == CONF_LOG_FILE)
        l->access_fd = open_file(conf->global.access_log, "access_log", report);
    else if (access == CONF_LOG_STDOUT)
        l->access_fd = STDOUT_FILENO;
    if (report->errors == errors)
        return true;
    logs_fini(l);
    return false;
}

static void use(const struct logs *l, int fd, const char *process)
{
    enum log_target target = l->error_target == CONF_LOG_SYSLOG ? LOG_TO_SYSLOG : LOG_TO_FD;

    log_open(target, fd, l->level, process);
}

void logs_use(const struct logs *l)
{
    use(l, l->error_fd >= 0 ? l->error_fd : STDERR_FILENO, "master");
}

void logs_child(const struct logs *l, const char *process)
{
    if (l->error_fd >= 0)
        (void)dup2(l->error_fd, STDERR_FILENO);
    use(l, STDERR_FILENO, process);
}

void logs_report(const struct report *report)
{
    struct slice rest = strbuf_slice(&report->text);

    while (rest.p && rest.n > 0) {
        struct slice line = slice_cut(&rest, '\n');

        if (memmem(line.p, line.n, "warning: ", 9))
            log_warnx("%.*s", SLICE_ARG(line));
        else
            log_errorx("%.*s", SLICE_ARG(line));
    }
}

void logs_message(const struct logs *l, int bundle, struct ipc_msg *msg)
{
    msg->fds[msg->nfds++] = bundle;
    if (l->error_fd >= 0) {
        msg->flags |= IPC_HAS_LOG;
        msg->fds[msg->nfds++] = l->error_fd;
    }
    if (l->access_fd >= 0) {
        msg->flags |= IPC_HAS_ACCESS_LOG;
        msg->fds[msg->nfds++] = l->access_fd;
    }
}

bool logs_reopen(struct master *m, struct strbuf *why)
{
    struct report report;
    struct logs fresh;
    bool is_open;

    report_init(&report);
    is_open = logs_open(&fresh, m->generation.conf, &report);
    if (is_open && !apply_reopen(m, &report)) {
        logs_fini(&fresh);
        is_open = false;
    }
    if (is_open) {
        logs_use(&fresh);
        logs_fini(&m->logs);
        m->logs = fresh;
        m->logs_number++;
        supervise_settle(m);
        retirees_reopen(m);
        log_notice("logs reopened");
    } else {
        logs_report(&report);
        if (why)
            strbuf_add(why, strbuf_slice(&report.text));
    }
    report_fini(&report);
    return is_open;
}
