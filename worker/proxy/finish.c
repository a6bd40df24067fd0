/* The end of an exchange: counters, access log, memory. */
#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include "worker/proxy/canary.h"
#include "worker/proxy/encode.h"
#include "worker/proxy/limit.h"
#include "worker/proxy/mirror.h"

static struct slice text_or_none(const char *s)
{
    return s ? slice_str(s) : SLICE_NONE;
}

uint32_t exchange_retries(const struct exchange *x)
{
    return x->first.up.retried + (x->hedge ? x->hedge->up.retried : 0);
}

void exchange_vars(const struct exchange *x, struct vars *v)
{
    uint64_t now = x->proxy->loop.now_us;

    *v = (struct vars){
        .request = &x->stream.request,
        .client = x->forwarded.client,
        .conn = x->client,
        .tls = x->tls,
        .scheme = x->forwarded.scheme,
        .claims = x->claims,
        .request_id = x->forwarded.request_id,
        .auth_user = x->auth_user,
        .listener = slice_str(x->listener->name),
        .route = x->route ? slice_str(x->route->name) : SLICE_NONE, /* "" for default_backend */
        .backend = text_or_none(x->backend_name),
        .server = x->server ? slice_str(x->server->name) : SLICE_NONE,
        .status = x->status,
        .bytes_in = x->stream.down ? x->stream.down->wire_in : 0,
        .bytes_out = x->stream.down ? x->stream.down->wire_out : 0,
        .duration_us = now - x->began_us,
        .response_us = x->response_us,
        .connect_us = x->connect_us,
        .retries = exchange_retries(x),
        .end = x->end,
        .fault = x->fault ? x->fault->text : SLICE_NONE,
        .captures = x->captures,
    };
}

bool exchange_rules(const struct exchange *x, const struct conf_field_rules *rules,
                    struct fields *f)
{
    struct vars v;

    if (rules->n == 0)
        return true;
    exchange_vars(x, &v);
    return rules_apply(rules, f, &v, f->arena);
}

void proxy_count_shed(struct proxy *p, enum end_reason why)
{
    if (why == END_EXHAUSTED)
        stat_inc(&p->stats->shed_memory);
    else if (why == END_NO_DESCRIPTORS)
        stat_inc(&p->stats->shed_descriptors);
}

static void count_status(struct stats_route *r, unsigned status)
{
    switch (status / 100) {
    case 0: break;
    case 1: stat_inc(&r->status_1xx); break;
    case 2: stat_inc(&r->status_2xx); break;
    case 3: stat_inc(&r->status_3xx); break;
    case 4: stat_inc(&r->status_4xx); break;
    default: stat_inc(&r->status_5xx); break;
    }
}

static void count_route(const struct exchange *x, const struct side *down, uint64_t us)
{
    struct stats_route *r = x->route_stats;

    if (!r)
        return;
    stat_dec(&r->active);
    stat_inc(&r->requests_total);
    count_status(r, x->status);
    stat_add(&r->bytes_in, down->wire_in);
    stat_add(&r->bytes_out, down->wire_out);
    if (x->first.up.retried || x->hedge)
        stat_add(&r->retries, exchange_retries(x));
    if (x->end != END_OK && !x->is_error_told)
        stat_inc(&r->aborted);
    histogram_add(&r->latency, us);
    if (x->route->canary && x->backend_name)
        canary_request_done(x, us);
}

static void log_line(struct exchange *x)
{
    struct proxy *p = x->proxy;
    struct vars v;

    if (!access_log_is_on(&p->log) || (x->route && x->route->access_log))
        return;
    exchange_vars(x, &v);
    access_log_line(&p->log, &x->generation->conf->global.access_log_format, &v);
}

static void exchange_free(struct dead *d)
{
    struct exchange *x = CONTAINER(d, struct exchange, dead);
    struct proxy *p = x->proxy;

    demand_give(&p->exchanges, 1);
    if (!demand_keeps(&p->exchanges, p->free_exchange_count + 1)) {
        free(x);
        return;
    }
    x->dead.next = p->free_exchanges;
    p->free_exchanges = &x->dead;
    p->free_exchange_count++;
}

void exchange_finish(struct exchange *x, const struct side *down, enum end_reason why)
{
    struct proxy *p = x->proxy;

    assert(!x->has_hedge_timer && !x->first.has_timer);
    if (x->end == END_OK)
        x->end = why;
    count_route(x, down, p->loop.now_us - x->began_us);
    stat_inc(&x->listener->stats->requests_total);
    stat_inc(&p->stats->requests);
    proxy_count_shed(p, x->end);
    exchange_record_end(x, down);
    log_line(x);
    if (x->mirror) /* the rest of the body will not come */
        mirror_drop(x);
    if (x->limits)
        limit_request_over(x);
    if (x->server)
        server_unref(&x->server);
    if (x->encode)
        encode_fini(x);
    if (x->spool)
        spool_fini(x->spool);
    arena_reset(&x->stream.arena);
    tls_info_unref(&x->tls);
    generation_unref(&x->generation);
    x->stream.down = x->stream.up = NULL;
    loop_bury(&p->loop, &x->dead, exchange_free);
}

static void drop_free(struct proxy *p)
{
    struct dead *d = p->free_exchanges;

    p->free_exchanges = d->next;
    p->free_exchange_count--;
    free(CONTAINER(d, struct exchange, dead));
}

void proxy_tick(struct proxy *p)
{
    size_t free_count = p->arenas.free_count + p->free_exchange_count;

    buf_pool_tick(&p->bufs);
    arena_pool_tick(&p->arenas);
    demand_tick(&p->exchanges);
    compress_pool_tick(&p->compressors);
    if (p->generation)
        limits_tick(p->generation);
    while (p->free_exchanges && !demand_keeps(&p->exchanges, p->free_exchange_count))
        drop_free(p);
    /* The allocator keeps what was freed, unless it is told; while nobody waits. */
    if (p->arenas.free_count + p->free_exchange_count < free_count && p->exchanges.used == 0)
        malloc_trim(0);
}

void exchanges_fini(struct proxy *p)
{
    while (p->free_exchanges)
        drop_free(p);
}
