/* Layer 7: the steps of a request from its head to a server and back. Sides tell, this decides.
 * Called by the codecs through stream_ops; never touches the wire. */
#include <assert.h>
#include <stdlib.h>
#include "worker/proxy/affinity.h"

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
    memset(x, 0, offsetof(struct exchange, h1_up));
    x->stream.ops = &l7_stream_ops;
    x->stream.down = down;
    arena_init(&x->stream.arena, &p->arenas);
    x->proxy = p;
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

/* Gives the server back, if there is one. The up side must be gone already. */
static void leave_server(struct exchange *x, enum end_reason why)
{
    struct up_result result = {
        .status = x->response_us == UINT64_MAX ? 0 : x->status,
        .why = why,
        .detail = x->detail,
        .latency_us = x->proxy->loop.now_us - x->sent_us,
    };

    if (!x->is_up_open)
        return;
    x->is_up_open = false;
    up_end(&x->up, x->sent_us ? &result : NULL);
}

static void drop_up(struct exchange *x, enum end_reason why)
{
    struct side *up = x->stream.up;

    x->stream.up = NULL;
    if (up)
        up->ops->reset(up, why);
    leave_server(x, why);
}

void exchange_abort(struct exchange *x, enum end_reason why)
{
    struct side *down = x->stream.down;

    drop_up(x, why);
    if (down)
        down->ops->reset(down, why);
    exchange_finish(x, down, why);
}

/* The server, or the way to it, failed: an error answer while that can still be given. */
static void fail(struct exchange *x, enum end_reason why)
{
    drop_up(x, why);
    if (x->state >= X_ANSWERING)
        exchange_abort(x, why);
    else
        reply_error(x, why);
}

/* ---- to the server ---- */

static void release_conn(void *arg, struct conn *c)
{
    struct exchange *x = arg;

    if (c)
        server_keep(x->up.server, c);
}

static struct slice server_authority(const struct server *s)
{
    return s->addr.sa.sa_family == AF_UNIX ? SLICE("localhost") : slice_str(s->text);
}

/* The spooled body, as far as the credit of one direction goes. */
static void pump_spool(struct exchange *x)
{
    struct side *up = x->stream.up;

    while (x->unsent < STREAM_CREDIT && spool_left(x->spool) > 0) {
        struct buf *b = spool_read(x->spool, &x->proxy->bufs, STREAM_CREDIT - x->unsent);

        if (!b) {
            fail(x, END_EXHAUSTED);
            return;
        }
        x->unsent += b->len;
        up->ops->send_data(up, b);
    }
    if (spool_left(x->spool) == 0 && !x->h1_up.is_request_done)
        up->ops->send_end(up, NULL);
}

static bool host_for_server(struct exchange *x, struct head *h)
{
    const struct conf_host_header_value *how = &x->route->host_header;
    struct vars v;

    switch (how->how) {
    case CONF_HOST_PRESERVE:
        return true;
    case CONF_HOST_SERVER:
        h->authority = server_authority(x->up.server);
        return true;
    case CONF_HOST_VALUE:
        exchange_vars(x, &v);
        h->authority = vars_text(&how->value, &v, &x->stream.arena);
        return h->authority.p != NULL;
    }
    return false;
}

/* The head as this server gets it. Rules may name the server, so they wait until it is known;
 * they are applied once, whatever is sent again. */
static bool prepare_head(struct exchange *x, struct head *h)
{
    struct fields *f = &x->stream.request.fields;

    if (!x->is_ruled && !exchange_rules(x, &x->route->request_header, f))
        return false;
    x->is_ruled = true;
    *h = x->stream.request;
    return host_for_server(x, h);
}

static void on_ready(struct up_request *r, struct conn *c, bool is_reused)
{
    struct exchange *x = CONTAINER(r, struct exchange, up);
    struct server *s = r->server;
    const struct h1_up_config config = {
        .response_timeout_ms = x->route->timeout_response_ms,
        .stream_timeout_ms = x->route->timeout_stream_ms,
        .max_header_size = x->listener->http.limits.max_header_size,
        .keep_alive = r->backend->keepalive > 0 &&
                      r->backend->send_proxy == CONF_SEND_PROXY_OFF,
        .bytes_in = &s->stats->bytes_in,
        .bytes_out = &s->stats->bytes_out,
    };
    struct head head;
    struct side *up;

    h1_up_init(&x->h1_up, &x->stream, c, is_reused, &config, release_conn, x);
    up = x->stream.up = &x->h1_up.side;
    x->detail = NULL;
    x->connect_us = r->connect_us;
    x->sent_us = x->proxy->loop.now_us;
    exchange_record_sent(x, is_reused);
    if (!prepare_head(x, &head)) {
        fail(x, END_EXHAUSTED);
        return;
    }
    up->wants_pipe = x->stream.down->can_pipe;
    x->stream.down->wants_pipe = up->can_pipe;
    up->ops->send_head(up, &head);
    if (x->spool) {
        spool_rewind(x->spool);
        x->unsent = 0;
        pump_spool(x);
    } else if (x->is_request_done) {
        up->ops->send_end(up, NULL);
    } else if (x->stream.request.body != BODY_NONE && !x->is_granted) {
        x->is_granted = true;
        x->stream.down->ops->grant(x->stream.down, STREAM_CREDIT);
    }
}

static void on_chosen(struct up_request *r, const struct server *s)
{
    struct exchange *x = CONTAINER(r, struct exchange, up);

    x->server_name = arena_dup(&x->stream.arena, slice_str(s->name)).p;
    exchange_record_server(x, s);
}

static void on_failed(struct up_request *r, enum end_reason why)
{
    struct exchange *x = CONTAINER(r, struct exchange, up);

    x->is_up_open = false;
    x->detail = r->detail;
    fail(x, why);
}

static const struct up_request_ops l7_up_ops = {
    .on_chosen = on_chosen,
    .on_ready = on_ready,
    .on_failed = on_failed,
};

/* Adds what a proxy adds, then asks for a server. */
static void forward(struct exchange *x, const struct conf_backend *backend)
{
    struct head *h = &x->stream.request;

    x->state = X_FORWARDING;
    x->backend_name = backend->name;
    if (!forwarded_write(&x->forwarded, h, &x->peer, &x->stream.arena)) {
        fail(x, END_EXHAUSTED);
        return;
    }
    x->up.ops = &l7_up_ops;
    x->up.backend = x->generation->backends[backend->index];
    exchange_record_backend(x);
    x->up.connect_timeout_ms = x->route->timeout_connect_ms;
    x->up.retries = x->route->retry_on & CONF_FAIL_CONNECT ? x->route->retries : 0;
    x->up.can_reuse = true;
    x->up.alpn = SLICE("http/1.1");
    x->up.is_said_once = !method_is_idempotent(h->method) || !x->is_request_done;
    x->up.client = x->forwarded.client;
    if (x->up.backend->send_proxy != CONF_SEND_PROXY_OFF)
        x->up.local = conn_local(x->client);
    if (affinity_is_wanted(backend))
        affinity_find(x, backend);
    x->is_up_open = true;
    up_begin(&x->up);
}

/* ---- the route's other answers ---- */

static void answer_canned(struct exchange *x)
{
    const struct conf_route *r = x->route;
    struct vars v;
    struct slice text;

    exchange_vars(x, &v);
    text = vars_text(r->redirect.status ? &r->redirect.location : &r->respond.body, &v,
                     &x->stream.arena);
    if (!text.p)
        fail(x, END_EXHAUSTED);
    else if (r->redirect.status)
        reply_text(x, r->redirect.status, text, SLICE_NONE);
    else
        reply_text(x, r->respond.status, SLICE_NONE, text);
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

    x->spool = arena_alloc(&x->stream.arena, sizeof *x->spool);
    if (!x->spool) {
        fail(x, END_EXHAUSTED);
        return;
    }
    spool_init(x->spool);
    x->state = X_SPOOLING;
    if (h->expects_continue) {
        head_init(&interim, &x->stream.arena);
        interim.status = 100;
        interim.minor = 1;
        interim.reason = status_reason(100);
        down->ops->send_head(down, &interim);
        fields_remove(&h->fields, FIELD_EXPECT);
        h->expects_continue = false;
    }
    down->ops->grant(down, STREAM_CREDIT);
}

/* ---- routing ---- */

/* For what default_backend takes: the defaults of [route]. */
static bool route_request(struct exchange *x)
{
    const struct conf_listener *l = x->listener->conf;
    const struct head *h = &x->stream.request;
    struct slice path = slice_of(h->path.p, slice_find(h->path, '?'));

    x->route = router_find(x->generation->routers[l->index], authority_host(h->authority), path);
    if (x->route) {
        x->route_stats = x->generation->routes[x->route->index];
        stat_inc(&x->route_stats->active);
        x->backend = x->route->backend;
        return true;
    }
    x->route = &x->generation->conf->route_defaults;
    x->backend = l->default_backend;
    return x->backend != NULL;
}

/* RFC 9110 15.5.20: a name for which TLS is passed through is not served here, though the client
 * has a connection whose certificate it may take for that name's too. */
static bool is_misdirected(const struct exchange *x, const struct head *h)
{
    return x->tls &&
           sni_router_is_passthrough(x->generation->sni_routers[x->listener->conf->index],
                                     authority_host(h->authority));
}

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

static void on_request_head(struct exchange *x, struct head *h)
{
    struct arena *arena = &x->stream.arena;
    bool is_elsewhere, is_routed;

    h->scheme = x->forwarded.scheme;
    filter_upgrade(h);
    if (!forwarded_read(&x->forwarded, h, &x->peer, &x->listener->conf->trusted_proxies,
                        &x->proxy->ids, arena)) {
        fail(x, END_EXHAUSTED);
        return;
    }
    x->is_request_done = h->body == BODY_NONE ||
                         (h->body == BODY_LENGTH && h->content_length == 0);
    is_elsewhere = is_misdirected(x, h);
    is_routed = !is_elsewhere && route_request(x);
    exchange_record(x);
    if (is_elsewhere)
        fail(x, END_MISDIRECTED);
    else if (!is_routed)
        fail(x, END_NO_ROUTE);
    else if (is_last_hop(h, arena))
        reply_text(x, 200, SLICE_NONE, SLICE_NONE);
    else if (x->route->redirect.status || x->route->respond.status)
        canned(x);
    else if (x->route->buffer_request && !x->is_request_done)
        spool_begin(x);
    else
        forward(x, x->backend);
}

/* ---- the response ---- */

static void on_interim(struct exchange *x, struct head *h)
{
    struct side *down = x->stream.down;

    /* RFC 9110 15.2: none to HTTP/1.0; a 100 that we have answered ourselves is dropped. */
    if (x->stream.request.minor == 0 || (h->status == 100 && x->spool))
        return;
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

static void on_response_head(struct exchange *x, struct head *h)
{
    struct side *down = x->stream.down;

    if (h->status < 200 && h->status != 101) {
        on_interim(x, h);
        return;
    }
    /* RFC 9110 7.8: what would follow is still the request's. */
    if (h->status == 101 && !x->is_request_done) {
        fail(x, END_BAD_RESPONSE);
        return;
    }
    x->status = h->status;
    x->response_us = x->proxy->loop.now_us - x->sent_us;
    exchange_record_response(x);
    up_answered(&x->up, x->response_us);
    if (!via_add(h) || !affinity_answer(x, h) ||
        !exchange_rules(x, &x->route->response_header, &h->fields)) {
        fail(x, END_EXHAUSTED);
        return;
    }
    x->state = X_ANSWERING;
    down->ops->send_head(down, h);
    if (h->status == 101)
        begin_tunnel(x);
    else
        x->stream.up->ops->grant(x->stream.up, STREAM_CREDIT);
}

static void on_response_end(struct exchange *x, const struct fields *trailers)
{
    struct side *down = x->stream.down, *up = x->stream.up;

    if (x->state != X_TUNNELLING) {
        x->stream.up = NULL;
        up->ops->detach(up);
        leave_server(x, END_OK);
    }
    down->ops->send_end(down, trailers);
}

/* ---- what the sides tell ---- */

static void on_head(struct stream *st, struct side *s, struct head *h)
{
    struct exchange *x = exchange_of(st);

    if (s == st->down)
        on_request_head(x, h);
    else
        on_response_head(x, h);
}

static void on_request_data(struct exchange *x, struct buf *b)
{
    struct side *up = x->stream.up, *down = x->stream.down;
    uint32_t n = b->len;

    if (x->state == X_SPOOLING) {
        if (spool_add(x->spool, b) < 0)
            fail(x, END_EXHAUSTED);
        else
            down->ops->grant(down, n);
    } else if (x->state == X_DRAINING) {
        buf_put(&b);
        x->drained += n;
        if (x->drained > DRAIN_MAX)
            answer_canned(x);
    } else if (up) {
        x->is_body_sent = true;
        up->ops->send_data(up, b);
    } else {
        buf_put(&b); /* the answer came first: nobody wants it */
    }
}

static void on_data(struct stream *st, struct side *s, struct buf *b)
{
    if (s == st->down)
        on_request_data(exchange_of(st), b);
    else
        st->down->ops->send_data(st->down, b);
}

static void on_request_end(struct exchange *x, const struct fields *trailers)
{
    struct head *h = &x->stream.request;
    struct side *up = x->stream.up;

    x->is_request_done = true;
    if (x->state == X_SPOOLING) {
        h->body = BODY_LENGTH;
        h->content_length = x->spool->size;
        fields_remove(&h->fields, FIELD_TRAILER); /* they are not kept */
        forward(x, x->backend);
    } else if (x->state == X_DRAINING) {
        answer_canned(x);
    } else if (up && (x->state == X_TUNNELLING || !x->h1_up.is_request_done)) {
        up->ops->send_end(up, trailers);
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

    if (s == st->up && x->spool && x->state != X_TUNNELLING) {
        x->unsent -= bytes;
        pump_spool(x);
    } else if (other) {
        other->ops->grant(other, bytes);
    }
}

static void on_done(struct stream *st, struct side *s)
{
    struct exchange *x = exchange_of(st);
    struct side *up = st->up;

    if (up) { /* a tunnel, both ways ended */
        st->up = NULL;
        up->ops->detach(up);
        leave_server(x, END_OK);
    }
    exchange_finish(x, s, END_OK);
}

static void on_bad(struct stream *st, struct side *s, enum end_reason why)
{
    struct exchange *x = exchange_of(st);

    (void)s;
    if (why != END_EXHAUSTED)
        stat_inc(&x->listener->stats->bad_requests);
    fail(x, why);
}

/* A kept connection that the server had closed meanwhile, and what can safely be said again: not
 * a body that is still coming in, for nobody keeps what came while there is no server. */
static bool retry_on_new(struct exchange *x, enum end_reason why)
{
    bool is_safe = method_is_idempotent(x->stream.request.method) ||
                   x->h1_up.side.wire_out == 0;

    if (x->state != X_FORWARDING || !is_safe || !x->is_request_done || x->is_body_sent ||
        !h1_up_died_idle(&x->h1_up))
        return false;
    return up_again(&x->up, why, true);
}

static void on_reset(struct stream *st, struct side *s, enum end_reason why)
{
    struct exchange *x = exchange_of(st);

    if (s == st->down) {
        drop_up(x, why);
        exchange_finish(x, s, why);
        return;
    }
    st->up = NULL;
    x->detail = x->h1_up.detail;
    if (!retry_on_new(x, why)) {
        if (x->state == X_TUNNELLING)
            exchange_abort(x, why);
        else
            fail(x, why);
    }
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
