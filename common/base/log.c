/* The error log. Owns this process's log settings, not the descriptor. Anybody calls it, at any
 * time; it allocates nothing, keeps errno, and never writes a line in two parts: lines of
 * several processes in one file must not mix. */
#include "common/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/slice.h"

/* This process's log: settings that the whole process shares. */
static struct {
    enum log_target target;
    enum log_level level;
    int fd;
    const char *process;
} log_root = { LOG_TO_FD, LOG_LEVEL_NOTICE, STDERR_FILENO, "rpd" };

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_LEVEL_DEBUG] = { "debug", LOG_DEBUG },
    [LOG_LEVEL_INFO] = { "info", LOG_INFO },
    [LOG_LEVEL_NOTICE] = { "notice", LOG_NOTICE },
    [LOG_LEVEL_WARNING] = { "warning", LOG_WARNING },
    [LOG_LEVEL_ERROR] = { "error", LOG_ERR },
};

void log_open(enum log_target target, int fd, enum log_level level, const char *process)
{
    if (log_root.target == LOG_TO_SYSLOG)
        closelog();
    log_root.target = target;
    log_root.fd = target == LOG_TO_FD ? fd : STDERR_FILENO;
    log_root.level = level;
    log_root.process = process;
    if (target == LOG_TO_SYSLOG)
        openlog("rpd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void log_process(const char *process)
{
    log_root.process = process;
}

const char *log_process_name(void)
{
    return log_root.process;
}

int log_fd(void)
{
    return log_root.fd;
}

bool log_enabled(enum log_level level)
{
    return level >= log_root.level;
}

const char *log_level_name(enum log_level level)
{
    return levels[level].name;
}

int log_level_of(const char *name)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(levels[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* One character of *rest as the log may hold it: what a terminal or a line-wise reader would act
 * on (C0, DEL, C1) and what is not UTF-8 becomes text. Returns its length, at most 4. */
static size_t put_safe(char out[4], struct slice *rest)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char c = (unsigned char)rest->p[0];
    size_t n = slice_utf8(*rest);
    bool is_c1 = n == 2 && c == 0xc2 && (unsigned char)rest->p[1] < 0xa0;

    if (n > 0 && !is_c1 && c >= 0x20 && c != 0x7f) {
        memcpy(out, rest->p, n);
    } else if (c == '\n' || c == '\t' || c == '\r') {
        memcpy(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r", 2);
        *rest = slice_of(rest->p + 1, rest->n - 1);
        return 2;
    } else {
        memcpy(out, "\\x", 2);
        out[2] = hex[c >> 4];
        out[3] = hex[c & 15];
        *rest = slice_of(rest->p + 1, rest->n - 1);
        return 4;
    }
    *rest = slice_of(rest->p + n, rest->n - n);
    return n;
}

/* All of s made safe, in at most cap bytes; what is too long ends in "...". */
static size_t put_all_safe(char *dst, size_t cap, struct slice s)
{
    size_t n = 0, mark = 0;

    while (s.n > 0) {
        char one[4];
        size_t len = put_safe(one, &s);

        if (len > cap - n) {
            memcpy(dst + mark, "...", 3);
            return mark + 3;
        }
        memcpy(dst + n, one, len);
        n += len;
        if (n + 3 <= cap)
            mark = n;
    }
    return n;
}

static size_t put_head(char *line, size_t cap, enum log_level level)
{
    char when[CLOCK_TEXT_MAX];
    int n;

    if (log_root.target == LOG_TO_SYSLOG) /* which adds time, name and pid itself */
        n = snprintf(line, cap, "%.64s: ", log_root.process);
    else {
        (void)clock_iso8601_utc(when, clock_wall_us());
        n = snprintf(line, cap, "%s %s %.64s[%d]: ", when, levels[level].name,
                     log_root.process, (int)getpid());
    }
    return n > 0 ? (size_t)n : 0;
}

static void put_line(enum log_level level, struct slice text, const char *reason)
{
    char line[LOG_LINE_MAX + 1]; /* and a NUL, for syslog */
    size_t n = put_head(line, sizeof line, level);
    size_t reason_n = reason ? strnlen(reason, 128) + 2 : 0;
    ssize_t written;

    n += put_all_safe(line + n, LOG_LINE_MAX - 1 - reason_n - n, text);
    if (reason) {
        memcpy(line + n, ": ", 2);
        memcpy(line + n + 2, reason, reason_n - 2);
        n += reason_n;
    }
    if (log_root.target == LOG_TO_SYSLOG) {
        line[n] = '\0';
        syslog(levels[level].priority, "%s", line);
        return;
    }
    line[n++] = '\n';
    do
        written = write(log_root.fd, line, n);
    while (written < 0 && errno == EINTR);
}

__attribute__((format(printf, 2, 0)))
static void vlog(enum log_level level, const char *fmt, va_list ap, bool with_errno)
{
    int saved_errno = errno;
    char text[LOG_LINE_MAX + 1]; /* longer than a line holds, so a cut shows */
    int n;

    if (log_enabled(level)) {
        n = vsnprintf(text, sizeof text, fmt, ap);
        if (n < 0)
            n = 0;
        if ((size_t)n >= sizeof text)
            n = (int)sizeof text - 1;
        put_line(level, slice_of(text, (size_t)n), with_errno ? strerror(saved_errno) : NULL);
    }
    errno = saved_errno;
}

void log_debug(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vlog(LOG_LEVEL_DEBUG, fmt, ap, false);
    va_end(ap);
}

void log_info(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vlog(LOG_LEVEL_INFO, fmt, ap, false);
    va_end(ap);
}

void log_notice(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vlog(LOG_LEVEL_NOTICE, fmt, ap, false);
    va_end(ap);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vlog(LOG_LEVEL_WARNING, fmt, ap, true);
    va_end(ap);
}

void log_warnx(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vlog(LOG_LEVEL_WARNING, fmt, ap, false);
    va_end(ap);
}

void log_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vlog(LOG_LEVEL_ERROR, fmt, ap, true);
    va_end(ap);
}

void log_errorx(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vlog(LOG_LEVEL_ERROR, fmt, ap, false);
    va_end(ap);
}
