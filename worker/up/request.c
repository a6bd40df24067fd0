/* up_request: from "I want a server of this backend" to a connection, over the queue, and the end
 * of it. What is done when a try fails: again.c. */
#include "worker/up/internal.h"

#include <assert.h>
#include <errno.h>
#include "worker/io/proxy_header.h"
#include "worker/up/failure.h"

#define QUEUE_TICK_US 1000 /* at each of the loop's ticks: a place is not left empty for longer */
#define LOG_EVERY_US 1000000

static struct loop *loop_of(const struct up_request *r)
{
    return r->backend->up->loop;
}

/* ---- failure ---- */

static void stop(struct up_request *r)
{
    assert(r->is_begun);
    r->is_begun = false;
    task_cancel(&r->fail);
    if (r->beside) { /* which is the request from now on */
        r->beside->beside = NULL;
        r->beside = NULL;
        return;
    }
    stat_dec(&r->backend->stats->active);
    stat_inc(&r->backend->stats->requests_total);
}

static void connect_failed(struct up_request *r, enum end_reason why);

static void on_fail_task(struct task *t)
{
    struct up_request *r = CONTAINER(t, struct up_request, fail);

    if (r->server) {
        connect_failed(r, r->why);
        return;
    }
    stop(r);
    r->ops->on_failed(r, r->why);
}

/* Told from a task, so that on_failed never comes from within up_begin or up_again, and so that a
 * queue whose requests all fail at once does not make a deep stack. */
static void fail(struct up_request *r, enum end_reason why)
{
    r->why = why;
    loop_soon(loop_of(r), &r->fail);
}

static void note_error(struct server *s, enum server_error error, enum end_reason why,
                       const char *detail)
{
    uint64_t now = s->backend->up->loop->now_us;

    stat_set(&s->shared->last_error, error);
    stat_set(&s->shared->last_error_at, clock_wall_us());
    if (s->logged_us && now - s->logged_us < LOG_EVERY_US)
        return;
    s->logged_us = now;
    log_warnx("backend %s: server %s: %s%s%s", s->backend->name, s->name, end_reason_text(why),
              detail ? ": " : "", detail ? detail : "");
}

static enum server_error error_of(enum end_reason why)
{
    static const uint8_t map[END_REASONS] = {
        [END_CONNECT_REFUSED] = SERVER_ERROR_REFUSED,
        [END_CONNECT_TIMEOUT] = SERVER_ERROR_CONNECT_TIMEOUT,
        [END_CONNECT_FAILED] = SERVER_ERROR_CONNECT,
        [END_SERVER_TLS] = SERVER_ERROR_TLS,
        [END_SERVER_ALERT] = SERVER_ERROR_TLS_REFUSED,
        [END_SERVER_CERT_EXPIRED] = SERVER_ERROR_CERT_EXPIRED,
        [END_SERVER_CERT_NAME] = SERVER_ERROR_CERT_NAME,
        [END_SERVER_CERT_UNTRUSTED] = SERVER_ERROR_CERT_UNTRUSTED,
        [END_SERVER_CERT_REFUSED] = SERVER_ERROR_CERT_REFUSED,
        [END_SERVER_CLOSED] = SERVER_ERROR_CLOSED,
        [END_SERVER_TRUNCATED] = SERVER_ERROR_TRUNCATED,
        [END_SERVER_RESET] = SERVER_ERROR_RESET,
        [END_SERVER_TIMEOUT] = SERVER_ERROR_RESPONSE_TIMEOUT,
        [END_SERVER_WRITE_TIMEOUT] = SERVER_ERROR_RESPONSE_TIMEOUT,
        [END_BAD_RESPONSE] = SERVER_ERROR_BAD_RESPONSE,
        [END_RESPONSE_HEADER_TOO_LARGE] = SERVER_ERROR_BAD_RESPONSE,
    };

    return map[why];
}

/* There was no connection yet that a request could have been sent on. */
static bool is_connect_error(enum server_error error)
{
    switch (error) {
    case SERVER_ERROR_REFUSED:
    case SERVER_ERROR_CONNECT_TIMEOUT:
    case SERVER_ERROR_CONNECT:
    case SERVER_ERROR_TLS:
    case SERVER_ERROR_TLS_REFUSED:
    case SERVER_ERROR_CERT_EXPIRED:
    case SERVER_ERROR_CERT_NAME:
    case SERVER_ERROR_CERT_UNTRUSTED:
    case SERVER_ERROR_CERT_REFUSED:
        return true;
    case SERVER_ERROR_NONE:
    case SERVER_ERROR_RESPONSE_TIMEOUT:
    case SERVER_ERROR_CLOSED:
    case SERVER_ERROR_RESET:
    case SERVER_ERROR_BAD_RESPONSE:
    case SERVER_ERROR_UNRESOLVED:
    case SERVER_ERROR_TRUNCATED:
        return false;
    }
    return false;
}

static void count_failure(struct server *s, enum end_reason why, const char *detail)
{
    enum server_error error = error_of(why);

    if (error == SERVER_ERROR_NONE)
        return; /* not the server's fault */
    stat_inc(&s->stats->failures);
    note_error(s, error, why, detail);
    if (is_connect_error(error))
        stat_inc(&s->stats->connect_errors);
    if (why == END_CONNECT_TIMEOUT || why == END_SERVER_TIMEOUT || why == END_SERVER_WRITE_TIMEOUT)
        stat_inc(&s->stats->timeouts);
}

void server_give_back(struct server *s)
{
    server_release(s);
    if (!s->is_removed)
        backend_wake(s->backend, s);
    server_unref(&s);
}

void request_leave(struct up_request *r)
{
    struct server *s = r->server;

    r->server = NULL;
    server_give_back(s);
}

/* ---- connecting ---- */

static void ready(struct up_request *r, struct conn *c, bool is_reused)
{
    struct stats_server *st = r->server->stats;

    if (is_reused)
        stat_inc(&st->connections_reused);
    else
        stat_inc(&st->connections_total);
    r->conn = NULL;
    r->ops->on_ready(r, c, is_reused);
}

static bool queue_proxy_header(struct up_request *r, struct conn *c)
{
    char header[PROXY_HEADER_MAX];
    size_t n;

    if (r->backend->send_proxy == CONF_SEND_PROXY_OFF)
        return true;
    if (r->backend->send_proxy == CONF_SEND_PROXY_V1)
        n = proxy_header_write_v1(header, &r->client, &r->local);
    else
        n = proxy_header_write_v2(header, &r->client, &r->local);
    if (!bufq_add(&c->out, c->pool->bufs, slice_of(header, n)))
        return false;
    conn_flush(c);
    return true;
}

static enum end_reason connect_reason(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case ENOENT: /* a Unix socket that is not there */
        return END_CONNECT_REFUSED;
    case ETIMEDOUT:
        return END_CONNECT_TIMEOUT;
    case EMFILE:
    case ENFILE:
        return END_NO_DESCRIPTORS;
    case ENOMEM:
    case ENOBUFS:
        return END_EXHAUSTED;
    default:
        return END_CONNECT_FAILED;
    }
}

static bool is_ours(enum end_reason why)
{
    return why == END_EXHAUSTED || why == END_NO_DESCRIPTORS || why == END_INTERNAL;
}

static void connect_failed(struct up_request *r, enum end_reason why)
{
    /* For want of our own resources another server would not do better. */
    bool is_going_on = !is_ours(why) && up_seek(r, failure_of(why, 0));

    conn_close(&r->conn);
    count_failure(r->server, why, r->detail);
    server_judge(r->server, why, 0);
    if (is_going_on) {
        request_move_on(r);
    } else {
        request_leave(r);
        fail(r, why);
    }
}

/* If it is us who refuse, the alert that tells the server why is given the time to arrive. */
static void tls_failed(struct up_request *r, int error)
{
    enum tls_failure failure = conn_tls_failure(r->conn);
    enum end_reason why = server_insecure(r->server, r->conn, error);

    r->detail = conn_tls_reason(r->conn);
    if (failure != TLS_FAIL_ALERT && failure != TLS_FAIL_CLOSED)
        conn_linger(&r->conn, NULL, NULL);
    if (why == END_INTERNAL)
        log_warnx("backend %s: server %s: client certificate: %s", r->backend->name,
                  r->server->name, r->detail);
    connect_failed(r, why);
}

static void connected(struct up_request *r)
{
    struct conn *c = r->conn;

    if (c->tls)
        server_secured(r->server, c);
    r->connect_us = loop_of(r)->now_us - r->began_us;
    conn_timer_clear(c);
    ready(r, c, false);
}

/* Of TCP first and then, where there is TLS, of that. */
static void on_connected(struct conn *c, int error)
{
    struct up_request *r = c->owner;

    if (error && c->tls)
        tls_failed(r, error);
    else if (error)
        connect_failed(r, connect_reason(error));
    else if (c->tls)
        connected(r);
    else if (!queue_proxy_header(r, c) ||
             (r->backend->tls && server_secure(r->server, c, r->alpn) < 0))
        connect_failed(r, END_EXHAUSTED);
    else if (!c->tls)
        connected(r);
}

static void on_timer(struct conn *c)
{
    struct up_request *r = c->owner;

    if (c->tls) {
        (void)server_insecure(r->server, c, ETIMEDOUT);
        r->detail = "within the TLS handshake";
    }
    connect_failed(r, END_CONNECT_TIMEOUT);
}

static void on_broken(struct conn *c, int error)
{
    connect_failed(c->owner, connect_reason(error));
}

static void on_readable(struct conn *c)
{
    (void)c; /* is_readable stays set: the next user is told */
}

static void on_sent(struct conn *c, size_t n)
{
    (void)c;
    (void)n;
}

static const struct conn_user connect_user = {
    .on_connected = on_connected,
    .on_readable = on_readable,
    .on_sent = on_sent,
    .on_timer = on_timer,
    .on_broken = on_broken,
};

void request_connect(struct up_request *r)
{
    r->began_us = loop_of(r)->now_us;
    r->conn = conn_connect(r->backend->up->conns, &r->server->addr, &connect_user, r);
    if (!r->conn) {
        fail(r, connect_reason(errno));
        return;
    }
    r->conn->epoch = r->server->moves;
    conn_timer(r->conn, (uint64_t)r->connect_timeout_ms * 1000);
}

void request_go(struct up_request *r, struct server *s, bool can_reuse)
{
    struct conn *c = NULL;

    r->server = s;
    r->connect_us = 0;
    r->detail = NULL;
    r->ops->on_chosen(r, s);
    if (can_reuse)
        c = server_idle_get(s, r->is_said_once);
    if (c)
        ready(r, c, true);
    else
        request_connect(r);
}

/* ---- the queue ---- */

static struct up_request *first_waiting(const struct backend *b)
{
    return CONTAINER(b->queue.next, struct up_request, wait);
}

/* backend_pick for who has waited since then, or comes now. */
static struct server *pick_in_turn(struct up_request *r, uint64_t since, bool *is_full)
{
    struct server *s = backend_pick(r->backend, r, is_full);

    if (s && turn_yields(r->backend, since)) {
        server_release(s);
        server_unref(&s);
        *is_full = true;
    }
    return s;
}

static void unwait(struct up_request *r)
{
    struct backend *b = r->backend;

    list_remove(&r->wait);
    r->is_waiting = false;
    b->queued--;
    stat_dec(&b->stats->queued);
    turn_tell(b);
    if (b->queued == 0)
        timer_clear(&b->up->loop->timers, &b->queue_timer);
}

static void wait_turn(struct up_request *r)
{
    struct backend *b = r->backend;

    if (b->queued >= b->queue_max) {
        stat_inc(&b->stats->queue_full);
        fail(r, END_QUEUE_FULL);
        return;
    }
    r->ntried = 0; /* any place will do: those behind do not wait for a certain one */
    r->is_waiting = true;
    r->began_us = b->up->loop->now_us;
    list_push(&b->queue, &r->wait);
    b->queued++;
    stat_inc(&b->stats->queued);
    turn_tell(b);
    if (!timer_is_set(&b->queue_timer))
        timer_set(&b->up->loop->timers, &b->queue_timer, b->up->loop->now_us, QUEUE_TICK_US);
}

void backend_wake(struct backend *b, struct server *s)
{
    struct up_request *r = list_empty(&b->queue) ? NULL : first_waiting(b);

    if (r && server_has_turn(s) && !turn_yields(b, r->began_us) && server_is_usable(s) &&
        server_try_take(s)) {
        unwait(r);
        request_go(r, s, r->can_reuse);
    } else if (!s->is_in && s->max_conns != 0) {
        server_settle(s);
    }
}

/* Places freed by other workers, and requests that waited too long. */
void backend_queue_timer(struct timer *t)
{
    struct backend *b = CONTAINER(t, struct backend, queue_timer);
    uint64_t now = b->up->loop->now_us;

    b->refs++; /* a request that ends here may hold the last generation with it */
    while (!list_empty(&b->queue)) {
        struct up_request *r = first_waiting(b);
        bool is_full;
        struct server *s = pick_in_turn(r, r->began_us, &is_full);

        if (s) {
            unwait(r);
            request_go(r, s, r->can_reuse);
        } else if (now - r->began_us >= (uint64_t)b->queue_timeout_ms * 1000) {
            unwait(r);
            stat_inc(&b->stats->queue_timeouts);
            fail(r, END_QUEUE_TIMEOUT);
        } else {
            break;
        }
    }
    if (!list_empty(&b->queue))
        timer_set(&b->up->loop->timers, t, now, QUEUE_TICK_US);
    backend_unref(&b);
}

/* ---- the user's calls ---- */

void request_attempt(struct up_request *r)
{
    struct backend *b = r->backend;
    bool is_full = true;
    struct server *s = NULL;

    if (list_empty(&b->queue)) /* nobody overtakes those who wait */
        s = pick_in_turn(r, b->up->loop->now_us, &is_full);
    if (s) {
        request_go(r, s, r->can_reuse);
    } else if (is_full) {
        wait_turn(r);
    } else {
        stat_inc(&b->stats->no_server);
        fail(r, END_NO_SERVER);
    }
}

void request_begin(struct up_request *r)
{
    assert(!r->is_begun);
    r->is_begun = true;
    r->is_waiting = false;
    r->server = r->next = NULL;
    r->beside = NULL;
    r->conn = NULL;
    r->detail = NULL;
    r->retried = 0;
    r->connect_us = 0;
    list_init(&r->wait);
    task_init(&r->fail, on_fail_task);
}

void up_begin(struct up_request *r)
{
    request_begin(r);
    r->ntried = 0;
    budget_earn(&r->backend->budget);
    stat_inc(&r->backend->stats->active);
    request_attempt(r);
}

void request_count(struct server *s, const struct up_result *result)
{
    struct stats_server *st = s->stats;

    stat_inc(&st->requests_total);
    if (result->why != END_OK)
        count_failure(s, result->why, result->detail);
    server_judge(s, result->why, result->status);
    if (result->is_cut) { /* it would have taken that long at least */
        histogram_add(&st->latency, result->latency_us);
        if (s->backend->balance == CONF_BALANCE_EWMA)
            server_timed(s, result->latency_us);
    }
    if (result->status == 0)
        return;
    switch (result->status / 100) {
    case 1: stat_inc(&st->status_1xx); break;
    case 2: stat_inc(&st->status_2xx); break;
    case 3: stat_inc(&st->status_3xx); break;
    case 4: stat_inc(&st->status_4xx); break;
    default: stat_inc(&st->status_5xx); break;
    }
    histogram_add(&st->latency, result->latency_us);
}

void up_end(struct up_request *r, const struct up_result *result)
{
    if (!r->is_begun)
        return;
    assert(!r->next);
    if (r->is_waiting)
        unwait(r);
    conn_close(&r->conn);
    if (r->server) {
        if (result)
            request_count(r->server, result);
        request_leave(r);
    }
    stop(r);
}
