/* The error log: one line a message, `2026-11-23T19:20:21.123Z level process[pid]: text`, in one
 * write(2) of at most LOG_LINE_MAX bytes, so that lines of several processes never mix. Control
 * characters and what is not UTF-8 are escaped. The only global of base besides the hash seed and
 * the process title: one log a process.
 */
#ifndef RPD_BASE_LOG_H
#define RPD_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>

#define LOG_LINE_MAX 1024

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_NOTICE, LOG_LEVEL_WARNING,
                 LOG_LEVEL_ERROR };

enum log_target {
    LOG_TO_FD,     /* `fd` of log_open: stderr or a file opened by the master */
    LOG_TO_SYSLOG, /* facility daemon */
};

/* Before log_open everything goes to fd 2 at notice. `process` is kept by pointer ("master",
 * "worker 0"). The fd stays the caller's. May be called again (log rotation). */
void log_open(enum log_target target, int fd, enum log_level level, const char *process);
void log_process(const char *process);
const char *log_process_name(void);
/* Where lines go: the descriptor of log_open, 2 before it and with syslog. */
int log_fd(void);
bool log_enabled(enum log_level level);
/* The name of a level, and back (-1 when unknown). */
const char *log_level_name(enum log_level level);
int log_level_of(const char *name);

void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* log_warn and log_error add ": strerror(errno)"; the x forms do not. errno is kept. */
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warnx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_errorx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
