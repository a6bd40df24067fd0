/* Tries at servers. A failure is hidden by another try where the request has no side effect or no
 * byte of it was sent, its body is still to be had, and the client has no final head yet.
 *
 *   up_begin -> on_ready -> head, body -> response head -> (the client's)
 *      ^                        |              |
 *      +------ up_again <-------+--- 502.. ----+      up_request makes its own further tries while
 *                                                     there is no connection
 */
#include "worker/proxy/attempt.h"

#include <assert.h>
#include "worker/proxy/affinity.h"
#include "worker/proxy/auth_request.h"
#include "worker/proxy/body.h"
#include "worker/proxy/cors.h"
#include "worker/proxy/encode.h"
#include "worker/proxy/fault.h"
#include "worker/proxy/limit.h"
#include "worker/proxy/mirror.h"
#include "worker/proxy/split.h"
#include "worker/up/failure.h"

/* ---- the end of a try ---- */

static struct up_result result_of(const struct attempt *a, enum end_reason why, unsigned status)
{
    const struct exchange *x = a->exchange;

    return (struct up_result){
        .status = status,
        .why = why,
        .detail = x->detail,
        .latency_us = x->proxy->loop.now_us - a->sent_us,
    };
}

static void stop_timer(struct attempt *a)
{
    if (a->has_timer)
        timer_clear(&a->exchange->proxy->loop.timers, &a->timer);
    a->has_timer = false;
}

/* The side must be gone already. */
static void leave_server(struct attempt *a, const struct up_result *result)
{
    stop_timer(a);
    if (!a->is_open)
        return;
    a->is_open = false;
    up_end(&a->up, a->sent_us ? result : NULL);
}

/* Of the one that leads, be there an answer or not. */
static void end_with(struct attempt *a, enum end_reason why)
{
    const struct exchange *x = a->exchange;
    bool is_answered = a == x->lead && x->response_us != UINT64_MAX;
    struct up_result result = result_of(a, why, is_answered ? x->status : 0);

    leave_server(a, &result);
}

static void drop_side(struct attempt *a, enum end_reason why)
{
    struct side *side = &a->h1_up.side;

    if (!a->is_connected)
        return;
    a->is_connected = false;
    if (a == a->exchange->lead)
        a->exchange->stream.up = NULL;
    side->ops->reset(side, why);
}

static void drop(struct attempt *a, enum end_reason why)
{
    drop_side(a, why);
    end_with(a, why);
}

void attempt_left(struct attempt *a, enum end_reason why, unsigned status)
{
    struct up_result result = result_of(a, why, status);

    drop_side(a, why);
    leave_server(a, &result);
}

void attempt_cut(struct attempt *a)
{
    struct up_result result = result_of(a, END_CLIENT_CLOSED, 0);

    result.is_cut = true;
    result.detail = NULL;
    drop_side(a, END_CLIENT_CLOSED);
    leave_server(a, &result);
}

void attempts_drop(struct exchange *x, enum end_reason why)
{
    if (x->has_hedge_timer)
        hedge_forget(x);
    drop(x->lead, why);
    if (x->rival)
        attempt_cut(x->rival);
    x->rival = NULL;
}

void attempt_done(struct attempt *a)
{
    struct side *side = &a->h1_up.side;

    a->is_connected = false;
    a->exchange->stream.up = NULL;
    side->ops->detach(side);
    end_with(a, END_OK);
}

/* ---- another try ---- */

static bool may_try_again(const struct attempt *a)
{
    const struct exchange *x = a->exchange;

    return x->state == X_FORWARDING && body_is_kept(x) &&
           (method_is_idempotent(x->stream.request.method) || a->h1_up.side.wire_out == 0);
}

/* At another server, in place of this one. `status` is what it answered, 0: nothing. */
static bool try_again(struct attempt *a, enum end_reason why, unsigned status)
{
    struct up_result result;

    if (!may_try_again(a) || !up_seek(&a->up, failure_of(why, status)))
        return false;
    result = result_of(a, why, status);
    drop_side(a, why);
    stop_timer(a);
    a->sent_us = 0;
    up_again(&a->up, &result);
    return true;
}

void attempt_failed(struct attempt *a, enum end_reason why)
{
    struct exchange *x = a->exchange;

    if (!hedge_leave(a, why, 0) && !try_again(a, why, 0))
        exchange_fail(x, why);
}

void attempt_reset(struct attempt *a, enum end_reason why)
{
    struct exchange *x = a->exchange;

    a->is_connected = false;
    if (a == x->lead)
        x->stream.up = NULL;
    x->detail = a->h1_up.detail;
    if (may_try_again(a) && h1_up_died_idle(&a->h1_up)) {
        stop_timer(a);
        a->sent_us = 0;
        up_anew(&a->up);
    } else {
        attempt_failed(a, why);
    }
}

/* ---- time ---- */

/* retry_timeout. Who has nowhere else to go waits on, for timeout_response. */
static void on_timer(struct timer *t)
{
    struct attempt *a = CONTAINER(t, struct attempt, timer);

    if (a->exchange->state != X_FORWARDING || !a->is_connected)
        return;
    if (!hedge_leave(a, END_SERVER_TIMEOUT, 0))
        (void)try_again(a, END_SERVER_TIMEOUT, 0);
}

void attempt_sent(struct attempt *a)
{
    const struct exchange *x = a->exchange;
    struct loop *loop = &x->proxy->loop;

    if (!(x->route->retry_on & CONF_FAIL_TIMEOUT) || x->state != X_FORWARDING ||
        !a->is_connected)
        return;
    if (!a->has_timer)
        timer_init(&a->timer, on_timer);
    a->has_timer = true;
    timer_set(&loop->timers, &a->timer, loop->now_us, (uint64_t)x->route->retry_timeout_ms * 1000);
}

/* ---- to the server ---- */

static void release_conn(void *arg, struct conn *c)
{
    struct attempt *a = arg;

    if (c)
        server_keep(a->up.server, c);
}

struct slice server_authority(const struct server *s)
{
    return s->addr.sa.sa_family == AF_UNIX ? SLICE("localhost") : slice_str(s->text);
}

static bool host_for_server(const struct attempt *a, struct head *h)
{
    struct exchange *x = a->exchange;
    const struct conf_host_header_value *how = &x->route->host_header;
    struct vars v;

    switch (how->how) {
    case CONF_HOST_PRESERVE:
        return true;
    case CONF_HOST_SERVER:
        h->authority = server_authority(a->up.server);
        return true;
    case CONF_HOST_VALUE:
        exchange_vars(x, &v);
        h->authority = vars_text(&how->value, &v, &x->stream.arena);
        return h->authority.p != NULL;
    }
    return false;
}

/* The client has been told to go on, or has gone on unasked: nobody will wait for another 100. */
static void answer_expectation(struct exchange *x)
{
    struct head *h = &x->stream.request;

    if (!h->expects_continue || (!x->is_continued && (!x->spool || x->spool->size == 0)))
        return;
    fields_remove(&h->fields, FIELD_EXPECT);
    h->expects_continue = false;
}

/* The head as this server gets it. Rules may name the server, so they wait until it is known;
 * they are applied once, whatever is sent again. */
static bool prepare_head(const struct attempt *a, struct head *h)
{
    struct exchange *x = a->exchange;
    struct fields *f = &x->stream.request.fields;

    answer_expectation(x);
    if (!x->is_ruled && x->route->compress.n > 0)
        x->coding = (uint8_t)encode_choice(x);
    if (!x->is_ruled && !exchange_rules(x, &x->route->request_header, f))
        return false;
    x->is_ruled = true;
    *h = x->stream.request;
    if (x->raw_path.p && x->route->raw_path)
        h->path = x->raw_path;
    if (x->new_path.p)
        h->path = x->new_path;
    return host_for_server(a, h);
}

static void begin_side(struct attempt *a, struct conn *c, bool is_reused)
{
    struct exchange *x = a->exchange;
    const struct server *s = a->up.server;
    const struct h1_up_config config = {
        .response_timeout_ms = x->route->timeout_response_ms,
        .stream_timeout_ms = x->route->timeout_stream_ms,
        .max_header_size = x->listener->http.limits.max_header_size,
        .keep_alive = s->backend->keepalive > 0 &&
                      s->backend->send_proxy == CONF_SEND_PROXY_OFF,
        .bytes_in = &s->stats->bytes_in,
        .bytes_out = &s->stats->bytes_out,
    };

    h1_up_init(&a->h1_up, &x->stream, c, is_reused, &config, release_conn, a);
    a->is_connected = true;
    a->sent_us = x->proxy->loop.now_us;
}

/* Its side is the stream's. */
static void lead(struct attempt *a, bool is_reused)
{
    struct exchange *x = a->exchange;

    x->stream.up = &a->h1_up.side;
    x->detail = NULL;
    x->connect_us = a->up.connect_us;
    x->stream.down->wants_pipe = x->stream.up->can_pipe && !x->spool && !x->mirror;
    exchange_record_sent(x, is_reused);
}

static void on_ready(struct up_request *r, struct conn *c, bool is_reused)
{
    struct attempt *a = CONTAINER(r, struct attempt, up);
    struct exchange *x = a->exchange;
    struct side *up = &a->h1_up.side;
    struct head head;

    begin_side(a, c, is_reused);
    if (a == x->lead)
        lead(a, is_reused);
    if (!prepare_head(a, &head)) {
        attempt_failed(a, END_EXHAUSTED);
        return;
    }
    if (mirror_is_due(x))
        mirror_begin(x, &head);
    up->wants_pipe = x->stream.down->can_pipe;
    up->ops->send_head(up, &head);
    body_begin(a);
    if (a->is_connected && x->route->retry_timeout_ms && x->is_request_done)
        attempt_sent(a); /* else x may have ended, and its route with it */
}

static void on_chosen(struct up_request *r, struct server *s)
{
    struct attempt *a = CONTAINER(r, struct attempt, up);
    struct exchange *x = a->exchange;

    if (a != x->lead) { /* if it fails, the first has been there */
        up_avoid(&x->lead->up, s);
        return;
    }
    attempt_at(x, s);
    if (hedge_is_on(x->route) && x->is_request_done)
        hedge_wait(x);
}

static void on_failed(struct up_request *r, enum end_reason why)
{
    struct attempt *a = CONTAINER(r, struct attempt, up);

    a->is_open = false;
    a->exchange->detail = r->detail;
    if (!hedge_leave(a, why, 0))
        exchange_fail(a->exchange, why);
}

static const struct up_request_ops attempt_up_ops = {
    .on_chosen = on_chosen,
    .on_ready = on_ready,
    .on_failed = on_failed,
};

void attempt_at(struct exchange *x, struct server *s)
{
    if (x->server)
        server_unref(&x->server);
    x->server = server_ref(s);
    exchange_record_server(x, s);
}

void attempt_begin(struct exchange *x)
{
    const struct conf_route *route = x->route;
    struct attempt *a = &x->first;
    struct up_request *r = &a->up;

    r->ops = &attempt_up_ops;
    r->connect_timeout_ms = route->timeout_connect_ms;
    r->retries = route->retries;
    r->retry_on = route->retry_on;
    r->can_reuse = true;
    r->alpn = SLICE("http/1.1");
    r->is_said_once = !method_is_idempotent(x->stream.request.method) || !x->is_request_done;
    r->client = x->forwarded.client;
    if (r->backend->send_proxy != CONF_SEND_PROXY_OFF)
        r->local = conn_local(x->client);
    a->is_open = true;
    up_begin(r);
}

/* ---- the response's head ---- */

/* RFC 9110 15.2: none to HTTP/1.0; one 100 is enough, ours or that of a try before. */
static void on_interim(struct exchange *x, struct head *h)
{
    struct side *down = x->stream.down;

    if (x->stream.request.minor == 0 || (h->status == 100 && x->is_continued))
        return;
    if (h->status == 100)
        x->is_continued = true;
    down->ops->send_head(down, h);
}

static void begin_tunnel(struct exchange *x)
{
    struct side *down = x->stream.down, *up = x->stream.up;

    x->state = X_TUNNELLING;
    down->ops->tunnel(down);
    up->ops->tunnel(up);
    down->ops->grant(down, STREAM_CREDIT);
    up->ops->grant(up, STREAM_CREDIT);
}

/* The answer is one of those that are better dropped, and was. */
static bool is_dropped(struct attempt *a, unsigned status)
{
    if (!(failure_of(END_OK, status) & a->exchange->route->retry_on))
        return false;
    return hedge_leave(a, END_OK, status) || try_again(a, END_OK, status);
}

static void pass_on(struct attempt *a, struct head *h)
{
    struct exchange *x = a->exchange;
    struct side *down = x->stream.down;
    struct head sent;

    x->status = h->status;
    x->response_us = x->proxy->loop.now_us - a->sent_us;
    exchange_record_response(x);
    up_answered(&a->up, x->response_us);
    if (!via_add(h) || !affinity_answer(x, h) || !split_answer(x, h) ||
        !cors_answer(x, &h->fields) || !auth_request_answer(x, h) || !limit_answer(x, h) ||
        !fault_answer(x, &h->fields) ||
        !exchange_rules(x, &x->route->response_header, &h->fields)) {
        exchange_fail(x, END_EXHAUSTED);
        return;
    }
    if (x->route->compress.n > 0) {
        sent = *h; /* the server's is what its side reads the body by */
        h = &sent;
        if (!encode_head(x, h)) {
            exchange_fail(x, END_EXHAUSTED);
            return;
        }
    }
    x->state = X_ANSWERING;
    if (x->spool)
        body_forget(x);
    down->ops->send_head(down, h);
    if (h->status == 101)
        begin_tunnel(x);
    else
        x->stream.up->ops->grant(x->stream.up, STREAM_CREDIT);
}

void attempt_head(struct attempt *a, struct head *h)
{
    struct exchange *x = a->exchange;

    if (h->status < 200 && h->status != 101) {
        if (a == x->lead)
            on_interim(x, h);
        return;
    }
    /* RFC 9110 7.8: what would follow is still the request's. */
    if (h->status == 101 && !x->is_request_done) {
        exchange_fail(x, END_BAD_RESPONSE);
        return;
    }
    if (h->status >= 500 && is_dropped(a, h->status))
        return;
    if (hedge_is_on(x->route))
        hedge_settle(a);
    pass_on(a, h);
}
