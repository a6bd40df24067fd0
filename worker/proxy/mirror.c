/* Copies of requests: how many there may be, and what is counted of them. */
#include "worker/proxy/mirror.h"

#include <assert.h>
#include "worker/proxy/aside.h"

/* Copies under way in a worker; beyond, requests have none. */
#define MIRRORS_MAX 256
/* 2^64 times the fraction of the square root of 2: its multiples cover the line evenly, and have
 * nothing to do with those that split.c draws. */
#define STRIDE 0x6a09e667f3bcc909u

static void count_failed(struct stats_route *r)
{
    if (r)
        stat_inc(&r->mirror_failed);
}

/* It is over, or given up. */
static void forget(struct aside *a)
{
    a->proxy->asides.nmirrors--;
    if (a->exchange)
        a->exchange->mirror = NULL;
    a->exchange = NULL;
}

static void on_end(struct aside *a, enum end_reason why)
{
    forget(a);
    if (why != END_OK)
        count_failed(a->stats);
}

static const struct aside_ops mirror_ops = { .on_end = on_end };

/* ---- the beginning ---- */

static bool is_drawn(struct proxy *p, uint32_t share)
{
    p->asides.draws += STRIDE;
    return (p->asides.draws >> 32) * 10000 >> 32 < share;
}

static bool write_head(struct aside *a, const struct head *from)
{
    struct head *h = &a->stream.request;
    struct arena *arena = &a->stream.arena;

    *h = *from;
    h->fields = (struct fields){ .arena = arena };
    h->method_text = arena_dup(arena, from->method_text);
    h->scheme = arena_dup(arena, from->scheme);
    h->authority = arena_dup(arena, from->authority);
    h->path = arena_dup(arena, from->path);
    h->expects_continue = false;
    if (!h->method_text.p || !h->scheme.p || !h->authority.p || !h->path.p ||
        !aside_copy_fields(&h->fields, &from->fields))
        return false;
    fields_remove(&h->fields, FIELD_EXPECT);
    return fields_set(&h->fields, FIELD_OTHER, SLICE("X-Rpd-Mirror"), SLICE("1"));
}

static struct aside *begin(struct exchange *x, const struct head *h)
{
    const struct conf_route *r = x->route;
    const struct aside_way way = {
        .ops = &mirror_ops,
        .backend = r->mirror.backend,
        .timeout_ms = r->timeout_response_ms,
        .has_body = true,
        .is_host_server = r->host_header.how == CONF_HOST_SERVER,
    };
    struct aside *a = x->proxy->asides.nmirrors < MIRRORS_MAX ? aside_new(x, &way) : NULL;

    if (a && !write_head(a, h))
        aside_cancel(&a);
    return a;
}

void mirror_begin(struct exchange *x, const struct head *h)
{
    struct asides *all = &x->proxy->asides;

    x->is_mirror_drawn = true;
    if (h->upgrade.n > 0 || h->method == METHOD_CONNECT ||
        !is_drawn(x->proxy, x->route->mirror.share))
        return;
    x->mirror = begin(x, h);
    if (!x->mirror) {
        count_failed(x->route_stats);
        return;
    }
    if (x->route_stats)
        stat_inc(&x->route_stats->mirrored);
    all->nmirrors++;
    list_push(&all->mirrors, &x->mirror->link);
    x->stream.down->wants_pipe = false; /* bytes in a pipe cannot be said twice */
    aside_begin(x->mirror);
}

/* ---- the body ---- */

void mirror_body(struct exchange *x, const struct buf *b, uint64_t at)
{
    struct aside *a = x->mirror;
    uint64_t known = at == MIRROR_NEXT ? 0 : a->body_at - at;

    assert(!b->is_pipe && (at == MIRROR_NEXT || at <= a->body_at));
    if (known >= b->len || aside_body(a, slice_of(buf_bytes(b) + known, b->len - known)))
        return;
    count_failed(a->stats);
    mirror_drop(x);
}

void mirror_body_end(struct exchange *x)
{
    struct aside *a = x->mirror;

    x->mirror = NULL;
    a->exchange = NULL;
    aside_body_end(a, x->trailers);
}

void mirror_drop(struct exchange *x)
{
    struct aside *a = x->mirror;

    forget(a);
    aside_cancel(&a);
}
