/* Probes: connect, handshake, ask, listen, with one limit of time for all of it. What is said is a
 * kind of check's (struct check_ops: tcp and http below; another protocol's goes beside them).
 * Called by check.c. */
#include "helper/probe.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include "common/base/mem.h"
#include "common/core/units.h"
#include "worker/io/proxy_header.h"

#define READ_MAX 16384

/* ---- the end ---- */

static void probe_free(struct dead *d)
{
    struct probe *p = CONTAINER(d, struct probe, dead);

    if (p->ops->fini)
        p->ops->fini(p);
    free(p);
}

static void on_ending(struct task *t)
{
    struct probe *p = CONTAINER(t, struct probe, ending);

    p->done(p->owner, &p->outcome);
    loop_bury(p->loop, &p->dead, probe_free);
}

static void finish(struct probe *p, enum check_result result, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The caller touches the conn no more. */
static void finish(struct probe *p, enum check_result result, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(p->outcome.detail, sizeof p->outcome.detail, fmt, ap);
    va_end(ap);
    p->outcome.result = result;
    p->outcome.status = p->http.status;
    p->outcome.took_us = clock_mono_us() - p->started_us;
    conn_close(&p->conn);
    loop_soon(p->loop, &p->ending);
}

/* Memory or descriptors or ports are at their end: that is no server's fault. */
static bool is_exhausted(int error)
{
    return error == ENOMEM || error == ENOBUFS || error == EMFILE || error == ENFILE
           || error == EADDRNOTAVAIL;
}

static void connect_failed(struct probe *p, int error)
{
    if (is_exhausted(error))
        finish(p, CHECK_NONE, "%s", strerror(error));
    else if (error == ECONNREFUSED)
        finish(p, CHECK_REFUSED, "connect refused");
    else
        finish(p, CHECK_CONNECT, "connect failed: %s", strerror(error));
}

static const char *tls_reason(const struct conn *c)
{
    if (conn_tls_failure(c) != TLS_FAIL_CERTIFICATE)
        return conn_tls_reason(c);
    switch (conn_tls_verify(c)) {
    case TLS_VERIFY_EXPIRED:
        return "certificate expired";
    case TLS_VERIFY_NAME:
        return "certificate of another name";
    case TLS_VERIFY_UNTRUSTED:
        return "certificate untrusted";
    case TLS_VERIFY_NOT_YET:
        return "certificate not valid yet";
    case TLS_VERIFY_OK:
    case TLS_VERIFY_MISSING:
    case TLS_VERIFY_OTHER:
        return conn_tls_reason(c);
    }
    return conn_tls_reason(c);
}

static void tls_failed(struct probe *p, int error)
{
    if (is_exhausted(error))
        finish(p, CHECK_NONE, "%s", strerror(error));
    else if (conn_tls_failure(p->conn) == TLS_FAIL_KEYS)
        finish(p, CHECK_NONE, "the client certificate's key cannot be used");
    else
        finish(p, CHECK_TLS, "TLS failed: %s", tls_reason(p->conn));
}

/* What a kind of check found. CHECK_NONE: it goes on. */
static void found(struct probe *p, enum check_result result)
{
    switch (result) {
    case CHECK_NONE:
        break;
    case CHECK_PASSED:
        finish(p, result, "passed");
        break;
    case CHECK_STATUS:
        finish(p, result, "status %u", p->http.status);
        break;
    case CHECK_BODY:
        finish(p, result, "the body has no '%.*s'",
               SLICE_ARG(p->target->conf->check.body));
        break;
    case CHECK_BAD_ANSWER:
        finish(p, result, "no HTTP/1 answer");
        break;
    case CHECK_CLOSED:
        finish(p, result, "closed %s", p->http.status ? "within the answer"
                                                         : "before an answer");
        break;
    case CHECK_REFUSED:
    case CHECK_TIMEOUT:
    case CHECK_CONNECT:
    case CHECK_TLS:
        assert(!"no kind of check finds that");
    }
}

/* ---- the connection ---- */

/* Nobody's connection is carried: LOCAL, or UNKNOWN. */
static bool put_proxy_header(struct probe *p)
{
    const struct ip none = { .family = AF_UNIX };
    char header[PROXY_HEADER_MAX];
    size_t n = 0;

    switch (p->target->conf->send_proxy) {
    case CONF_SEND_PROXY_OFF:
        return true;
    case CONF_SEND_PROXY_V1:
        n = proxy_header_write_v1(header, &none, &none);
        break;
    case CONF_SEND_PROXY_V2:
        n = proxy_header_write_v2(header, &none, &none);
        break;
    }
    return bufq_add(&p->conn->out, p->conn->pool->bufs, slice_of(header, n));
}

static void begin_tls(struct probe *p)
{
    const struct probe_target *t = p->target;

    p->is_tls = true;
    if (conn_tls_connect(p->conn, t->tls, t->tls_name, p->ops->alpn, NULL) < 0)
        finish(p, CHECK_NONE, "TLS: %s", strerror(errno));
}

static void on_connected(struct conn *c, int error)
{
    struct probe *p = c->owner;

    if (error) {
        if (p->is_tls)
            tls_failed(p, error);
        else
            connect_failed(p, error);
        return;
    }
    if (!p->is_tls && !put_proxy_header(p)) {
        finish(p, CHECK_NONE, "out of buffers");
        return;
    }
    if (p->target->tls && !p->is_tls) {
        begin_tls(p);
        return;
    }
    if (c->out.bytes > 0)
        conn_flush(c);
    found(p, p->ops->begin(p));
}

static void on_readable(struct conn *c)
{
    struct probe *p = c->owner;
    char bytes[READ_MAX];
    struct iovec iov = { bytes, sizeof bytes };
    enum check_result result = CHECK_NONE;
    ssize_t n;

    if (!p->ops->take)
        return;
    do {
        n = conn_readv(c, &iov, 1);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            finish(p, CHECK_CLOSED, "%s", p->is_tls && conn_tls_failure(c)
                       ? conn_tls_reason(c) : strerror(errno));
            return;
        }
        result = n > 0 ? p->ops->take(p, slice_of(bytes, (size_t)n)) : p->ops->end(p);
    } while (result == CHECK_NONE && c->is_readable);
    found(p, result);
}

static void on_sent(struct conn *c, size_t n)
{
    struct probe *p = c->owner;

    (void)n;
    if (p->ops->sent && c->out.bytes == 0)
        found(p, p->ops->sent(p));
}

static void on_timer(struct conn *c)
{
    struct probe *p = c->owner;
    struct strbuf limit;

    strbuf_init(&limit);
    units_print_duration(p->target->conf->check_timeout_ms, &limit);
    finish(p, CHECK_TIMEOUT, "timeout after %s", limit.s);
    strbuf_fini(&limit);
}

static void on_broken(struct conn *c, int error)
{
    struct probe *p = c->owner;

    finish(p, CHECK_CLOSED, "%s", strerror(error));
}

static const struct conn_user user = {
    .on_connected = on_connected,
    .on_readable = on_readable,
    .on_sent = on_sent,
    .on_timer = on_timer,
    .on_broken = on_broken,
};

/* ---- tcp: that it connects is all ---- */

/* A PROXY header, if one is due, leaves first: who waits for it would complain. */
static enum check_result tcp_begin(struct probe *p)
{
    return p->conn->out.bytes > 0 ? CHECK_NONE : CHECK_PASSED;
}

static enum check_result tcp_sent(struct probe *p)
{
    return p->conn->is_connecting ? CHECK_NONE : CHECK_PASSED;
}

static const struct check_ops tcp_ops = { .begin = tcp_begin, .sent = tcp_sent };

/* ---- http ---- */

static void http_init(struct probe *p)
{
    check_http_init(&p->http, &p->target->conf->check);
}

static void http_moved(struct probe *p)
{
    p->http.check = &p->target->conf->check;
}

static void http_fini(struct probe *p)
{
    check_http_fini(&p->http);
}

static enum check_result http_begin(struct probe *p)
{
    struct conn *c = p->conn;
    struct strbuf request;
    bool is_added;

    strbuf_init(&request);
    check_http_request(&request, &p->target->conf->check, p->target->address);
    is_added = bufq_add(&c->out, c->pool->bufs, strbuf_slice(&request));
    strbuf_fini(&request);
    if (!is_added) {
        finish(p, CHECK_NONE, "out of buffers");
        return CHECK_NONE;
    }
    conn_flush(c);
    return CHECK_NONE;
}

static enum check_result http_take(struct probe *p, struct slice bytes)
{
    return check_http_take(&p->http, bytes);
}

static enum check_result http_end(struct probe *p)
{
    return check_http_end(&p->http);
}

static const struct check_ops http_ops = {
    .alpn = SLICE_INIT("http/1.1"),
    .init = http_init,
    .fini = http_fini,
    .moved = http_moved,
    .begin = http_begin,
    .take = http_take,
    .end = http_end,
};

/* ---- life ---- */

static const struct check_ops *ops_of(enum conf_check how)
{
    switch (how) {
    case CONF_CHECK_OFF:
    case CONF_CHECK_TCP:
        return &tcp_ops;
    case CONF_CHECK_HTTP:
        return &http_ops;
    }
    return &tcp_ops;
}

struct probe *probe_start(struct conn_pool *conns, const struct probe_target *target,
                          probe_fn *done, void *owner)
{
    struct probe *p = xcalloc(1, sizeof *p);

    p->loop = conns->loop;
    p->target = target;
    p->ops = ops_of(target->conf->check.how);
    p->done = done;
    p->owner = owner;
    p->started_us = clock_mono_us();
    task_init(&p->ending, on_ending);
    if (p->ops->init)
        p->ops->init(p);
    p->conn = conn_connect(conns, &target->addr, &user, p);
    if (p->conn)
        conn_timer(p->conn, target->conf->check_timeout_ms * 1000ull);
    else
        connect_failed(p, errno);
    return p;
}

void probe_moved(struct probe *p)
{
    if (p->ops->moved)
        p->ops->moved(p);
}

void probe_cancel(struct probe **pp)
{
    struct probe *p = *pp;

    if (!p)
        return;
    *pp = NULL;
    task_cancel(&p->ending);
    conn_close(&p->conn);
    loop_bury(p->loop, &p->dead, probe_free);
}
