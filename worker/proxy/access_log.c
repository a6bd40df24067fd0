/* Access log lines. Called at the end of each request and session. */
#include "worker/proxy/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <syslog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/json.h"

/* Longest value in a line, and what it is when the line gets too long: so no request is too long
 * to be logged. */
#define VALUE_MAX 2048
#define VALUE_MAX_SHORT 128

static const char combined_source[] =
    "$client_ip - $auth_user [$time_local] \"$method $uri $protocol\" $status $bytes_out "
    "\"$referer\" \"$user_agent\"";

static void on_batch_end(struct task *t)
{
    access_log_flush(CONTAINER(t, struct access_log, task));
}

void access_log_init(struct access_log *l, struct loop *loop, uint64_t *dropped)
{
    struct strbuf error;

    *l = (struct access_log){ .loop = loop, .target = CONF_LOG_OFF, .fd = -1,
                              .pipe = { -1, -1 }, .dropped = dropped };
    task_init(&l->task, on_batch_end);
    strbuf_init(&error);
    if (!template_parse(&l->combined, SLICE(combined_source), &error))
        abort();
    strbuf_fini(&error);
}

static void close_target(struct access_log *l)
{
    fd_close(&l->fd);
    fd_close(&l->pipe[0]);
    fd_close(&l->pipe[1]);
}

void access_log_fini(struct access_log *l)
{
    access_log_flush(l);
    task_cancel(&l->task);
    close_target(l);
    free(l->buf);
    template_fini(&l->combined);
}

static enum access_log_kind kind_of(int fd)
{
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0 || S_ISREG(st.st_mode))
        return ACCESS_LOG_FILE;
    if (S_ISFIFO(st.st_mode))
        return ACCESS_LOG_PIPE;
    return S_ISSOCK(st.st_mode) ? ACCESS_LOG_SOCKET : ACCESS_LOG_OTHER;
}

void access_log_open(struct access_log *l, enum conf_log_target target, int fd)
{
    access_log_flush(l);
    close_target(l);
    l->target = target;
    l->fd = fd;
    l->kind = kind_of(fd);
    if (l->kind == ACCESS_LOG_PIPE && pipe2(l->pipe, O_NONBLOCK | O_CLOEXEC) < 0)
        l->kind = ACCESS_LOG_OTHER;
}

/* Up to PIPE_BUF bytes: one buffer of the pipe, which moves whole or not at all. */
static ssize_t write_pipe(struct access_log *l, const char *p, size_t n)
{
    char rest[PIPE_BUF];
    ssize_t moved = write(l->pipe[1], p, n);

    if (moved < 0)
        return -1;
    moved = splice(l->pipe[0], NULL, l->fd, NULL, n, SPLICE_F_NONBLOCK);
    if (moved < (ssize_t)n) {
        int error = errno;

        while (read(l->pipe[0], rest, sizeof rest) > 0)
            continue;
        errno = error;
    }
    return moved;
}

/* POLLOUT promises PIPE_BUF bytes (poll(2), pipe(7)). */
static ssize_t write_asked(const struct access_log *l, const char *p, size_t n)
{
    struct pollfd ask = { .fd = l->fd, .events = POLLOUT };

    if (poll(&ask, 1, 0) != 1) {
        errno = EAGAIN;
        return -1;
    }
    return write(l->fd, p, n);
}

static ssize_t write_some(struct access_log *l, const char *p, size_t n)
{
    switch (l->kind) {
    case ACCESS_LOG_FILE: return write(l->fd, p, n);
    case ACCESS_LOG_PIPE: return write_pipe(l, p, n);
    case ACCESS_LOG_SOCKET: return send(l->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    case ACCESS_LOG_OTHER: return write_asked(l, p, n);
    }
    return -1;
}

static size_t count_lines(const char *p, size_t n)
{
    size_t lines = 0;

    for (const char *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        lines++;
    return lines;
}

/* As many whole lines as fit in one write: no line is longer than line_max. */
static size_t piece(const struct access_log *l, const char *p, size_t n)
{
    size_t cut = PIPE_BUF;

    if (l->kind == ACCESS_LOG_FILE || n <= PIPE_BUF)
        return n;
    while (p[cut - 1] != '\n')
        cut--;
    return cut;
}

void access_log_flush(struct access_log *l)
{
    size_t at = 0;

    while (at < l->n) {
        size_t n = piece(l, l->buf + at, l->n - at);
        ssize_t written = write_some(l, l->buf + at, n);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            break;
        at += (size_t)written;
    }
    if (at < l->n)
        stat_add(l->dropped, count_lines(l->buf + at, l->n - at));
    l->n = 0;
}

/* ---- lines ---- */

/* For text lines: quotes, backslashes and control characters of peers must not forge a line. */
static size_t escape_text(char *dst, size_t cap, struct slice s)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool is_plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';

        if (n + (is_plain ? 1 : 4) > cap)
            return 0;
        if (is_plain) {
            dst[n++] = (char)c;
            continue;
        }
        dst[n++] = '\\';
        dst[n++] = 'x';
        dst[n++] = digits[c >> 4];
        dst[n++] = digits[c & 15];
    }
    return n;
}

struct json_key {
    const char *name;
    enum var_id var;
    bool is_number;
};

static const struct json_key json_keys[] = {
    { "time", VAR_TIME_ISO8601, false },     { "client_ip", VAR_CLIENT_IP, false },
    { "client_port", VAR_CLIENT_PORT, true }, { "listener", VAR_LISTENER, false },
    { "route", VAR_ROUTE, false },           { "backend", VAR_BACKEND, false },
    { "server", VAR_SERVER, false },         { "method", VAR_METHOD, false },
    { "scheme", VAR_SCHEME, false },         { "host", VAR_HOST, false },
    { "uri", VAR_URI, false },               { "protocol", VAR_PROTOCOL, false },
    { "status", VAR_STATUS, true },          { "bytes_in", VAR_BYTES_IN, true },
    { "bytes_out", VAR_BYTES_OUT, true },    { "duration", VAR_DURATION, true },
    { "response_time", VAR_RESPONSE_TIME, true },
    { "connect_time", VAR_CONNECT_TIME, true }, { "retries", VAR_RETRIES, true },
    { "request_id", VAR_REQUEST_ID, false }, { "referer", VAR_REFERER, false },
    { "user_agent", VAR_USER_AGENT, false }, { "end_reason", VAR_END_REASON, false },
    { "fault", VAR_FAULT, false },
    { "tls_version", VAR_TLS_VERSION, false }, { "tls_cipher", VAR_TLS_CIPHER, false },
    { "sni", VAR_SNI, false },
    { "tls_client_subject", VAR_TLS_CLIENT_SUBJECT, false },
};

static size_t append(char *buf, size_t cap, size_t at, const char *text)
{
    size_t n = strlen(text);

    if (at + n <= cap)
        memcpy(buf + at, text, n);
    return at + n;
}

/* Length, or more than cap. Absent values are null. */
static size_t json_line(char *buf, size_t cap, const struct vars *v)
{
    size_t at = append(buf, cap, 0, "{");

    for (size_t i = 0; i < sizeof json_keys / sizeof json_keys[0] && at <= cap; i++) {
        const struct json_key *key = &json_keys[i];
        struct template_part part = { .var = key->var };
        struct template t = { .parts = &part, .n = 1 };
        size_t start, n;

        at = append(buf, cap, at, i ? ",\"" : "\"");
        at = append(buf, cap, at, key->name);
        at = append(buf, cap, at, key->is_number ? "\":" : "\":\"");
        start = at;
        if (start > cap)
            return start;
        n = vars_expand(&t, v, buf + start, cap - start, false,
                        key->is_number ? NULL : json_escape);
        at = start + n;
        if (n == 0)
            at = append(buf, cap, key->is_number ? start : start - 1, "null");
        else if (!key->is_number)
            at = append(buf, cap, at, "\"");
    }
    return append(buf, cap, at, "}");
}

static size_t format_line(const struct access_log *l, const struct conf_log_format_value *f,
                          const struct vars *v, char *buf, size_t cap)
{
    switch (f->how) {
    case CONF_FORMAT_COMBINED:
        return vars_expand(&l->combined, v, buf, cap, true, escape_text);
    case CONF_FORMAT_JSON:
        return json_line(buf, cap, v);
    case CONF_FORMAT_CUSTOM:
        return vars_expand(&f->value, v, buf, cap, true, escape_text);
    }
    return 0;
}

/* With its end: what a pipe takes whole, and so does every line that may yet go to one. */
static size_t line_max(const struct access_log *l)
{
    return l->kind == ACCESS_LOG_FILE ? ACCESS_LOG_LINE_MAX : PIPE_BUF;
}

/* $time_local, made once a second. */
static struct slice time_local(struct access_log *l)
{
    if (l->loop->now_us >= l->time_until_us) {
        uint64_t wall_us = clock_wall_us();

        l->time_n = clock_local(l->time, wall_us);
        l->time_until_us = l->loop->now_us + 1000000 - wall_us % 1000000;
    }
    return slice_of(l->time, l->time_n);
}

void access_log_line(struct access_log *l, const struct conf_log_format_value *format,
                     const struct vars *v)
{
    size_t max = line_max(l) - 1, n;
    struct vars cut = *v;

    if (!l->buf) {
        l->buf = malloc(ACCESS_LOG_BUFFER);
        l->n = 0;
    }
    if (!l->buf) {
        stat_inc(l->dropped);
        return;
    }
    if (ACCESS_LOG_BUFFER - l->n < ACCESS_LOG_LINE_MAX)
        access_log_flush(l);
    cut.time_local = time_local(l);
    cut.value_max = VALUE_MAX;
    n = format_line(l, format, &cut, l->buf + l->n, max);
    if (n > max) {
        cut.value_max = VALUE_MAX_SHORT;
        n = format_line(l, format, &cut, l->buf + l->n, max);
    }
    if (n > max) {
        stat_inc(l->dropped);
        return;
    }
    if (l->target == CONF_LOG_SYSLOG) {
        syslog(LOG_INFO | LOG_LOCAL0, "%.*s", (int)n, l->buf + l->n);
        return;
    }
    l->buf[l->n + n] = '\n';
    l->n += n + 1;
    loop_flush_soon(l->loop, &l->task);
}
