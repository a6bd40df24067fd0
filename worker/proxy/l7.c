/* Layer 7: the client's side of a request, and where it goes. Sides tell, this and attempt.c
 * decide. Called by the codecs through stream_ops; never touches the wire. */
#include <assert.h>
#include <stdlib.h>
#include "worker/proxy/affinity.h"
#include "worker/proxy/attempt.h"
#include "worker/proxy/auth_request.h"
#include "worker/proxy/body.h"
#include "worker/proxy/encode.h"
#include "worker/proxy/route.h"
#include "worker/proxy/steps.h"
#include "worker/proxy/target.h"

/* A request body up to this is taken in before a canned answer, so that the connection stays. */
#define DRAIN_MAX 65536

static const struct stream_ops l7_stream_ops;

static struct exchange *exchange_of(struct stream *st)
{
    return CONTAINER(st, struct exchange, stream);
}

/* ---- opening ---- */

static struct listener *listener_of(struct http_service *svc)
{
    return CONTAINER(svc, struct listener, http);
}

static struct exchange *exchange_alloc(struct proxy *p)
{
    struct dead *d = p->free_exchanges;
    struct exchange *x;

    if (d) {
        p->free_exchanges = d->next;
        p->free_exchange_count--;
        x = CONTAINER(d, struct exchange, dead);
    } else {
        x = malloc(sizeof *x);
    }
    if (x)
        demand_take(&p->exchanges, 1);
    return x;
}

static struct stream *service_open(struct http_service *svc, struct side *down, struct conn *c)
{
    struct listener *l = listener_of(svc);
    struct proxy *p = l->proxy;
    struct exchange *x = exchange_alloc(p);

    if (!x) {
        stat_inc(&p->stats->shed_memory);
        return NULL;
    }
    memset(x, 0, offsetof(struct exchange, first.h1_up));
    x->stream.ops = &l7_stream_ops;
    x->stream.down = down;
    arena_init(&x->stream.arena, &p->arenas);
    x->proxy = p;
    x->first.exchange = x;
    x->lead = &x->first;
    x->listener = l;
    x->generation = generation_ref(l->generation);
    x->client = c;
    x->tls = tls_info_ref(conn_tls(c));
    x->peer = c->peer;
    x->forwarded.client = c->peer;
    x->forwarded.scheme = x->tls ? SLICE("https") : SLICE("http");
    x->began_us = p->loop.now_us;
    x->response_us = x->connect_us = UINT64_MAX;
    return &x->stream;
}

static void service_closed(struct http_service *svc)
{
    front_closed(listener_of(svc));
}

static bool service_keep_alive(struct http_service *svc)
{
    struct listener *l = listener_of(svc);

    return !l->is_removed && !l->proxy->is_retiring;
}

const struct http_service_ops l7_service_ops = {
    .open = service_open,
    .closed = service_closed,
    .keep_alive = service_keep_alive,
};

/* ---- ending ---- */

void exchange_abort(struct exchange *x, enum end_reason why)
{
    struct side *down = x->stream.down;

    steps_drop(x);
    attempts_drop(x, why);
    if (down)
        down->ops->reset(down, why);
    exchange_finish(x, down, why);
}

void exchange_fail(struct exchange *x, enum end_reason why)
{
    steps_drop(x);
    attempts_drop(x, why);
    if (x->state >= X_ANSWERING)
        exchange_abort(x, why);
    else
        reply_error(x, why);
}

/* ---- to a server ---- */

/* Adds what a proxy adds, then asks for a server. */
static void forward(struct exchange *x, const struct conf_backend *backend)
{
    struct head *h = &x->stream.request;

    enum end_reason why = target_rewrite(x);

    if (why != END_OK) {
        exchange_fail(x, why);
        return;
    }
    x->state = X_FORWARDING;
    x->backend_name = backend->name;
    if (!forwarded_write(&x->forwarded, h, &x->peer, &x->stream.arena)) {
        exchange_fail(x, END_EXHAUSTED);
        return;
    }
    x->first.up.backend = x->generation->backends[backend->index];
    exchange_record_backend(x);
    if (affinity_is_wanted(backend))
        affinity_find(x, backend);
    if (!x->is_request_done)
        body_keep(x);
    attempt_begin(x);
}

/* ---- the route's other answers ---- */

static void answer_canned(struct exchange *x)
{
    enum end_reason why;
    struct slice location;
    unsigned status;

    if (!x->route->redirect.status) {
        reply_route(x);
        return;
    }
    why = target_redirect(x, &status, &location);
    if (why == END_OK)
        reply_text(x, status, location, SLICE_NONE);
    else
        exchange_fail(x, why);
}

static void canned(struct exchange *x)
{
    const struct head *h = &x->stream.request;
    bool is_small = h->body == BODY_CHUNKED ||
                    (h->body == BODY_LENGTH && h->content_length <= DRAIN_MAX);

    if (h->body == BODY_NONE || x->is_request_done || !is_small || h->expects_continue) {
        answer_canned(x);
        return;
    }
    x->state = X_DRAINING;
    x->stream.down->ops->grant(x->stream.down, DRAIN_MAX + 1); /* one more says: too much */
}

static void spool_begin(struct exchange *x)
{
    struct side *down = x->stream.down;
    struct head *h = &x->stream.request, interim;

    if (!body_spool(x)) {
        exchange_fail(x, END_EXHAUSTED);
        return;
    }
    x->state = X_SPOOLING;
    if (h->expects_continue) {
        head_init(&interim, &x->stream.arena);
        interim.status = 100;
        interim.minor = 1;
        interim.reason = status_reason(100);
        down->ops->send_head(down, &interim);
        fields_remove(&h->fields, FIELD_EXPECT);
        h->expects_continue = false;
        x->is_continued = true;
    }
    down->ops->grant(down, STREAM_CREDIT);
}

/* ---- the head ---- */

/* RFC 9110 7.6.2. true: it was for us. */
static bool is_last_hop(struct head *h, struct arena *arena)
{
    struct field *f;
    uint64_t left;

    if (h->method != METHOD_OPTIONS && h->method != METHOD_TRACE)
        return false;
    f = fields_find(&h->fields, FIELD_MAX_FORWARDS);
    if (!f || !slice_u64(f->value, &left))
        return false;
    if (left == 0)
        return true;
    field_set_value(f, arena_printf(arena, "%llu", (unsigned long long)(left - 1)));
    return f->value.p == NULL;
}

/* An upgrade to HTTP/2 would take the connection out of our sight: not passed on. */
static void filter_upgrade(struct head *h)
{
    struct slice rest = h->upgrade, item;

    while (slice_next_item(&rest, &item))
        if (slice_istarts(item, SLICE("h2c")))
            h->upgrade = SLICE_NONE;
}

void exchange_answer(struct exchange *x)
{
    if (x->route->redirect.status || x->route->respond.status)
        canned(x);
    else if (x->route->buffer_request && !x->is_request_done)
        spool_begin(x);
    else
        forward(x, x->backend);
}

static void on_request_head(struct exchange *x, struct head *h)
{
    struct arena *arena = &x->stream.arena;
    enum end_reason why;

    h->scheme = x->forwarded.scheme;
    filter_upgrade(h);
    if (!forwarded_read(&x->forwarded, h, &x->peer, &x->listener->conf->trusted_proxies,
                        &x->proxy->ids, arena)) {
        exchange_fail(x, END_EXHAUSTED);
        return;
    }
    x->is_request_done = h->body == BODY_NONE ||
                         (h->body == BODY_LENGTH && h->content_length == 0);
    why = exchange_route(x);
    exchange_record(x);
    if (why != END_OK)
        exchange_fail(x, why);
    else if (is_last_hop(h, arena))
        reply_text(x, 200, SLICE_NONE, SLICE_NONE);
    else if (x->route->steps)
        steps_begin(x);
    else
        exchange_answer(x);
}

/* ---- what the sides tell ---- */

static void on_response_end(struct exchange *x, const struct fields *trailers)
{
    if (x->state != X_TUNNELLING)
        attempt_done(x->lead);
    answer_end(x, trailers);
}

static void on_head(struct stream *st, struct side *s, struct head *h)
{
    struct exchange *x = exchange_of(st);

    if (s == st->down)
        on_request_head(x, h);
    else
        attempt_head(attempt_of(s), h);
}

static void on_request_data(struct exchange *x, struct buf *b)
{
    struct side *up = x->stream.up, *down = x->stream.down;
    uint32_t n = b->len;

    if (x->state == X_SPOOLING) {
        if (spool_add(x->spool, b) < 0)
            exchange_fail(x, END_EXHAUSTED);
        else
            down->ops->grant(down, n);
    } else if (x->state == X_DRAINING) {
        buf_put(&b);
        x->drained += n;
        if (x->drained > DRAIN_MAX)
            answer_canned(x);
    } else if (x->state == X_TUNNELLING) {
        up->ops->send_data(up, b);
    } else {
        body_data(x, b);
    }
}

static void on_data(struct stream *st, struct side *s, struct buf *b)
{
    if (s == st->down)
        on_request_data(exchange_of(st), b);
    else
        answer_data(exchange_of(st), b);
}

static void on_request_end(struct exchange *x, const struct fields *trailers)
{
    struct head *h = &x->stream.request;
    bool was_done = x->is_request_done;

    x->is_request_done = true;
    x->trailers = x->auth && trailers ? auth_request_trailers(x, trailers) : trailers;
    if (x->state == X_SPOOLING) {
        x->trailers = NULL;
        h->body = BODY_LENGTH;
        h->content_length = x->spool->size;
        fields_remove(&h->fields, FIELD_TRAILER); /* they are not kept */
        forward(x, x->backend);
    } else if (x->state == X_DRAINING) {
        answer_canned(x);
    } else if (x->state != X_STEPPING && (!was_done || x->state == X_TUNNELLING)) {
        body_end(x);
        if (x->state == X_FORWARDING) {
            if (x->route->retry_timeout_ms)
                attempt_sent(x->lead);
            if (hedge_is_on(x->route))
                hedge_wait(x);
        }
    }
}

static void on_end(struct stream *st, struct side *s, const struct fields *trailers)
{
    if (s == st->down)
        on_request_end(exchange_of(st), trailers);
    else
        on_response_end(exchange_of(st), trailers);
}

static void on_credit(struct stream *st, struct side *s, uint64_t bytes)
{
    struct exchange *x = exchange_of(st);
    struct side *other = s == st->down ? st->up : st->down;

    if (s != st->down && x->state != X_TUNNELLING)
        body_gone(attempt_of(s), bytes);
    else if (x->encode)
        encode_credit(x, bytes);
    else if (other)
        other->ops->grant(other, bytes);
    else if (x->rest.n > 0)
        reply_go_on(x, bytes);
}

static void on_done(struct stream *st, struct side *s)
{
    struct exchange *x = exchange_of(st);

    if (st->up) /* a tunnel, both ways ended */
        attempt_done(x->lead);
    exchange_finish(x, s, END_OK);
}

static void on_bad(struct stream *st, struct side *s, enum end_reason why)
{
    struct exchange *x = exchange_of(st);

    (void)s;
    if (why != END_EXHAUSTED)
        stat_inc(&x->listener->stats->bad_requests);
    exchange_fail(x, why);
}

static void on_reset(struct stream *st, struct side *s, enum end_reason why)
{
    struct exchange *x = exchange_of(st);

    if (s != st->down) {
        attempt_reset(attempt_of(s), why);
        return;
    }
    steps_drop(x);
    attempts_drop(x, why);
    exchange_finish(x, s, why);
}

static const struct stream_ops l7_stream_ops = {
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_credit = on_credit,
    .on_done = on_done,
    .on_bad = on_bad,
    .on_reset = on_reset,
};
