/* Requests of rpd's own. What of a body has not left is bounded for each of them and for all of a
 * worker's: whoever feeds one does not wait for it. */
#include "worker/proxy/aside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "worker/proxy/affinity.h"
#include "worker/proxy/attempt.h"
#include "worker/up/failure.h"

/* Bytes of a body that one may be behind its feeder, and all of them together. */
#define HELD_MAX (1u << 20)
#define HELD_MAX_ALL (16u << 20)
/* Of those that have ended, for the next ones. */
#define FREE_MAX 64

static const struct stream_ops aside_stream_ops;
static const struct up_request_ops aside_up_ops;

static struct aside *aside_of(struct stream *st)
{
    return CONTAINER(st, struct aside, stream);
}

static uint64_t now_of(const struct aside *a)
{
    return a->proxy->loop.now_us;
}

/* ---- memory ---- */

static void aside_free(struct dead *d)
{
    struct aside *a = CONTAINER(d, struct aside, dead);
    struct asides *pool = &a->proxy->asides;

    bufq_clear(&a->body);
    bufq_clear(&a->answer);
    arena_reset(&a->stream.arena);
    if (pool->nfree == FREE_MAX) {
        free(a);
        return;
    }
    a->dead.next = pool->free;
    pool->free = &a->dead;
    pool->nfree++;
}

static struct aside *aside_alloc(struct asides *pool)
{
    struct dead *d = pool->free;

    if (!d)
        return malloc(sizeof(struct aside));
    pool->free = d->next;
    pool->nfree--;
    return CONTAINER(d, struct aside, dead);
}

void asides_init(struct proxy *p)
{
    p->asides = (struct asides){ .free = NULL };
    list_init(&p->asides.mirrors);
}

void asides_fini(struct proxy *p)
{
    struct asides *pool = &p->asides;

    LIST_EACH(it, &pool->mirrors) {
        struct aside *a = CONTAINER(it, struct aside, link);

        aside_cancel(&a);
    }
    loop_reap(&p->loop);
    assert(pool->held == 0);
    while (pool->free)
        free(aside_alloc(pool));
}

/* ---- the end ---- */

static void drop_side(struct aside *a, enum end_reason why)
{
    struct side *side = &a->h1_up.side;

    if (!a->is_connected)
        return;
    a->is_connected = false;
    a->stream.up = NULL;
    side->ops->reset(side, why);
}

static struct up_result result_of(const struct aside *a, enum end_reason why, unsigned status)
{
    return (struct up_result){
        .status = status,
        .why = why,
        .detail = a->detail,
        .latency_us = now_of(a) - a->sent_us,
    };
}

static void leave(struct aside *a, enum end_reason why)
{
    struct up_result result = result_of(a, why, a->status);

    drop_side(a, why);
    if (a->is_open)
        up_end(&a->up, a->sent_us ? &result : NULL);
    a->is_open = false;
    timer_clear(&a->proxy->loop.timers, &a->timer);
    list_remove(&a->link);
    a->proxy->asides.held -= a->held;
    generation_unref(&a->generation);
    loop_bury(&a->proxy->loop, &a->dead, aside_free);
}

static void finish(struct aside *a, enum end_reason why)
{
    leave(a, why);
    a->way.ops->on_end(a, why);
}

void aside_cancel(struct aside **ap)
{
    struct aside *a = *ap;

    *ap = NULL;
    if (a)
        leave(a, END_CLIENT_CLOSED);
}

static void on_timer(struct timer *t)
{
    struct aside *a = CONTAINER(t, struct aside, timer);

    if (a->is_connected)
        finish(a, END_SERVER_TIMEOUT);
    else
        finish(a, a->up.server ? END_CONNECT_TIMEOUT : END_QUEUE_TIMEOUT);
}

/* At another server, in place of this one. */
static bool try_again(struct aside *a, enum end_reason why, unsigned status)
{
    struct up_result result;

    if (!up_seek(&a->up, failure_of(why, status)))
        return false;
    result = result_of(a, why, status);
    drop_side(a, why);
    a->sent_us = 0;
    up_again(&a->up, &result);
    return true;
}

/* ---- to the server ---- */

/* As far as the credit of one direction goes. While bytes are on their way, only bufs that are
 * full: many small pieces do not hold many of them. */
static void pump(struct aside *a)
{
    struct side *side = &a->h1_up.side;

    while (a->body.head && a->on_way < STREAM_CREDIT &&
           (a->on_way == 0 || a->is_body_done || a->body.head->next)) {
        struct buf *b = bufq_shift(&a->body);

        a->on_way += b->len;
        side->ops->send_data(side, b);
    }
    if (a->is_body_done && !a->body.head && !a->h1_up.is_request_done)
        side->ops->send_end(side, a->trailers);
}

static void release_conn(void *arg, struct conn *c)
{
    struct aside *a = arg;

    if (c)
        server_keep(a->up.server, c);
}

static void on_ready(struct up_request *r, struct conn *c, bool is_reused)
{
    struct aside *a = CONTAINER(r, struct aside, up);
    struct side *side = &a->h1_up.side;
    const struct server *s = r->server;
    const struct h1_up_config config = {
        .response_timeout_ms = a->response_timeout_ms,
        .stream_timeout_ms = a->response_timeout_ms,
        .max_header_size = a->max_header_size,
        .keep_alive = s->backend->keepalive > 0 &&
                      s->backend->send_proxy == CONF_SEND_PROXY_OFF,
        .bytes_in = &s->stats->bytes_in,
        .bytes_out = &s->stats->bytes_out,
    };

    h1_up_init(&a->h1_up, &a->stream, c, is_reused, &config, release_conn, a);
    a->is_connected = true;
    a->stream.up = side;
    a->sent_us = now_of(a);
    a->on_way = 0;
    if (a->way.is_host_server)
        a->stream.request.authority = server_authority(s);
    side->ops->send_head(side, &a->stream.request);
    pump(a);
}

static void on_chosen(struct up_request *r, struct server *s)
{
    (void)r;
    (void)s;
}

static void on_failed(struct up_request *r, enum end_reason why)
{
    struct aside *a = CONTAINER(r, struct aside, up);

    a->is_open = false;
    a->detail = r->detail;
    finish(a, why);
}

static const struct up_request_ops aside_up_ops = {
    .on_chosen = on_chosen,
    .on_ready = on_ready,
    .on_failed = on_failed,
};

/* ---- what the side tells ---- */

static void on_head(struct stream *st, struct side *s, struct head *h)
{
    struct aside *a = aside_of(st);

    if (h->status < 200 || (h->status >= 500 && try_again(a, END_OK, h->status)))
        return;
    a->status = h->status;
    up_answered(&a->up, now_of(a) - a->sent_us);
    if (a->way.ops->on_head)
        a->way.ops->on_head(a, h);
    s->ops->grant(s, STREAM_CREDIT);
}

static void on_data(struct stream *st, struct side *s, struct buf *b)
{
    struct aside *a = aside_of(st);
    uint32_t n = b->len;
    bool is_kept = true;

    a->is_too_long = a->way.answer_max > 0 && a->answer.bytes + n > a->way.answer_max;
    if (a->way.answer_max > 0 && !a->is_too_long)
        is_kept = bufq_add(&a->answer, b->pool, buf_slice(b)); /* dense, however it came */
    buf_put(&b);
    if (a->is_too_long || !is_kept)
        finish(a, is_kept ? END_OK : END_EXHAUSTED);
    else
        s->ops->grant(s, n);
}

static void on_end(struct stream *st, struct side *s, const struct fields *trailers)
{
    struct aside *a = aside_of(st);

    (void)trailers;
    a->is_connected = false;
    st->up = NULL;
    s->ops->detach(s);
    finish(a, END_OK);
}

static void on_credit(struct stream *st, struct side *s, uint64_t bytes)
{
    struct aside *a = aside_of(st);

    (void)s;
    a->on_way -= bytes;
    a->held -= bytes;
    a->proxy->asides.held -= bytes;
    pump(a);
}

static void on_reset(struct stream *st, struct side *s, enum end_reason why)
{
    struct aside *a = aside_of(st);

    (void)s;
    a->is_connected = false;
    st->up = NULL;
    a->detail = a->h1_up.detail;
    if (!a->up.is_said_once && h1_up_died_idle(&a->h1_up)) {
        a->sent_us = 0;
        up_anew(&a->up);
    } else if (a->status != 0 || !try_again(a, why, 0)) {
        finish(a, why);
    }
}

static void on_done(struct stream *st, struct side *s)
{
    (void)st;
    (void)s;
    assert(!"it has no client's side");
}

static void on_bad(struct stream *st, struct side *s, enum end_reason why)
{
    (void)why;
    on_done(st, s);
}

static const struct stream_ops aside_stream_ops = {
    .on_head = on_head,
    .on_data = on_data,
    .on_end = on_end,
    .on_credit = on_credit,
    .on_done = on_done,
    .on_bad = on_bad,
    .on_reset = on_reset,
};

/* ---- the beginning ---- */

static void fill_up(struct aside *a)
{
    const struct exchange *x = a->exchange;
    const struct conf_route *route = x->route;
    const struct conf_backend *backend = a->way.backend;
    struct up_request *r = &a->up;
    struct vars v;

    r->ops = &aside_up_ops;
    r->backend = a->generation->backends[backend->index];
    r->connect_timeout_ms = route->timeout_connect_ms;
    r->retries = a->way.retries;
    r->retry_on = route->retry_on;
    r->can_reuse = true;
    r->is_said_once = a->way.has_body; /* it is not kept to be said again */
    r->alpn = SLICE("http/1.1");
    r->client = x->forwarded.client;
    if (r->backend->send_proxy != CONF_SEND_PROXY_OFF)
        r->local = conn_local(x->client);
    if (affinity_is_wanted(backend)) {
        exchange_vars(x, &v);
        affinity_fill(r, backend, &v);
    }
}

struct aside *aside_new(struct exchange *x, const struct aside_way *way)
{
    struct aside *a = aside_alloc(&x->proxy->asides);

    assert(!way->has_body || way->retries == 0);
    if (!a)
        return NULL;
    memset(a, 0, offsetof(struct aside, h1_up));
    a->stream.ops = &aside_stream_ops;
    arena_init(&a->stream.arena, &x->proxy->arenas);
    head_init(&a->stream.request, &a->stream.arena);
    list_init(&a->link);
    timer_init(&a->timer, on_timer);
    bufq_init(&a->body);
    bufq_init(&a->answer);
    a->proxy = x->proxy;
    a->generation = generation_ref(x->generation);
    a->exchange = x;
    a->stats = x->route_stats;
    a->way = *way;
    a->response_timeout_ms = way->timeout_ms;
    a->max_header_size = x->listener->http.limits.max_header_size;
    return a;
}

bool aside_copy_fields(struct fields *to, const struct fields *from)
{
    FIELDS_EACH(f, from) {
        char *line = arena_alloc(to->arena, f->name.n + f->value.n + 4), *at;

        if (!line)
            return false;
        at = slice_put(slice_put(line, f->name), SLICE(": "));
        at = slice_put(slice_put(at, f->value), SLICE("\r\n"));
        if (!fields_add_line(to, f->id, f->name.n, slice_of(line, (size_t)(at - line))))
            return false;
    }
    return true;
}

static void end_within(struct aside *a)
{
    a->is_body_done = true;
    timer_set(&a->proxy->loop.timers, &a->timer, now_of(a), (uint64_t)a->way.timeout_ms * 1000);
}

void aside_begin(struct aside *a)
{
    fill_up(a);
    if (!a->way.has_body)
        end_within(a);
    a->is_open = true;
    up_begin(&a->up);
}

/* ---- its body ---- */

bool aside_body(struct aside *a, struct slice bytes)
{
    struct asides *all = &a->proxy->asides;

    if (a->held + bytes.n > HELD_MAX || all->held + bytes.n > HELD_MAX_ALL ||
        !bufq_add(&a->body, &a->proxy->bufs, bytes))
        return false;
    a->held += bytes.n;
    all->held += bytes.n;
    a->body_at += bytes.n;
    if (a->is_connected)
        pump(a);
    return true;
}

/* Without memory there are none. */
static const struct fields *copy_trailers(struct aside *a, const struct fields *trailers)
{
    struct fields *copy = arena_zalloc(&a->stream.arena, sizeof *copy);

    if (!copy)
        return NULL;
    copy->arena = &a->stream.arena;
    return aside_copy_fields(copy, trailers) ? copy : NULL;
}

void aside_body_end(struct aside *a, const struct fields *trailers)
{
    a->trailers = trailers ? copy_trailers(a, trailers) : NULL;
    end_within(a);
    if (a->is_connected)
        pump(a);
}

struct slice aside_answer(const struct aside *a, struct arena *arena)
{
    char *text = arena_alloc(arena, a->answer.bytes + 1), *at = text;

    if (!text)
        return SLICE_NONE;
    for (const struct buf *b = a->answer.head; b; b = b->next)
        at = slice_put(at, buf_slice(b));
    return slice_of(text, a->answer.bytes);
}
