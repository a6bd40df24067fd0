/* Backends and servers: made and changed by generations. */
#include "worker/up/internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "worker/up/latency.h"

void up_init(struct up *u, struct conn_pool *conns, struct segment *segment, unsigned slot,
             struct stats_worker *stats)
{
    *u = (struct up){ .conns = conns, .loop = conns->loop, .segment = segment, .slot = slot,
                      .stats = stats, .wall_offset = clock_wall_us() - clock_mono_us() };
    smap_init(&u->backends, false);
    list_init(&u->all);
}

/* ---- servers ---- */

static void server_free(struct server *s)
{
    assert(s->refs == 0 && list_empty(&s->idle));
    free(s->name);
    free(s->text);
    free(s->tls_name);
    tls_resumption_unref(&s->resumption);
    free(s);
}

void server_unref(struct server **s)
{
    struct server *srv = *s;

    *s = NULL;
    assert(srv->refs > 0);
    if (--srv->refs == 0)
        server_free(srv);
}

static struct slice stick_key(const struct server *s)
{
    return slice_of((const char *)&s->stick, sizeof s->stick);
}

/* Out of everything but the hands of those who use it. */
static void server_retire(struct server *s)
{
    struct backend *b = s->backend;

    server_leave(s);
    list_remove(&s->parked);
    list_remove(&s->link);
    if (smap_get(&b->sticks, stick_key(s)) == s)
        smap_remove(&b->sticks, stick_key(s));
    s->is_removed = true;
    server_idle_close(s);
    server_unref(&s);
}

/* ---- made and changed by a generation ---- */

static struct server *server_new(struct backend *b, const struct conf_server *conf)
{
    struct server *s = xcalloc(1, sizeof *s);
    char object[STATS_NAME_MAX];

    snprintf(object, sizeof object, "%s/%s", b->name, conf->name);
    s->backend = b;
    s->name = xstrdup(conf->name);
    s->flight_name = flight_name(b->up->flight, s->name);
    s->refs = 1;
    s->node.weight = BALANCE_ONE;
    s->stick = ring_hash(object, strlen(object));
    list_init(&s->link);
    list_init(&s->parked);
    list_init(&s->idle);
    s->stats = STATS_SLOT(b->up->segment, server, object, b->up->slot);
    s->shared = STATS_SHARED(b->up->segment, server, object);
    assert(s->stats && s->shared);
    return s;
}

/* Connections that are idle are closed, those in use not kept. */
static void server_moved(struct server *s)
{
    server_idle_close(s);
    s->moves++;
}

static void server_apply(struct server *s, const struct conf_server *conf,
                         const struct conf_backend *backend)
{
    bool is_same = s->addr.len == 0 || addr_eq(&s->addr, &conf->addr);

    free(s->text);
    s->text = xstrdup(conf->text);
    s->addr = conf->addr;
    if (!server_name_it(s, backend->tls_name) && backend->tls)
        is_same = false;
    if (!is_same)
        server_moved(s);
    s->max_conns = conf->max_conns ? conf->max_conns : backend->max_conns;
    s->is_backup = conf->is_backup;
    s->conf_weight = conf->weight ? conf->weight : 1;
    s->node.key = 0;
    if (s->max_conns)
        s->backend->has_limit = true;
    if (backend->sticky.how == CONF_STICKY_COOKIE)
        smap_put(&s->backend->sticks, stick_key(s), s);
}

/* Other TLS than before, or none, or some: connections made by the old rules are not used again. */
static void apply_tls(struct backend *b, struct tls_back *tls)
{
    struct tls_back *old = b->tls;

    if (!tls_back_is_same(old, tls))
        LIST_EACH(it, &b->servers)
            server_moved(CONTAINER(it, struct server, link));
    b->tls = tls ? tls_back_ref(tls) : NULL;
    tls_back_unref(&old);
}

static void tier_fini(struct tier *t)
{
    assert(list_empty(&t->full) && list_empty(&t->out));
    balance_fini(&t->heap);
    draw_fini(&t->draw);
    ring_fini(&t->ring);
    free(t->members);
    t->members = NULL;
    t->nmembers = t->in = 0;
}

/* Who its members are; none of them is in yet. */
static void tier_fill(struct tier *t, struct backend *b, bool is_backup)
{
    size_t n = 0;

    LIST_EACH(it, &b->servers)
        n += CONTAINER(it, struct server, link)->is_backup == is_backup;
    t->members = xcalloc(n + 1, sizeof *t->members);
    LIST_EACH(it, &b->servers) {
        struct server *s = CONTAINER(it, struct server, link);

        if (s->is_backup != is_backup)
            continue;
        s->ring_weight = 0; /* it has no points yet */
        s->tier = t;
        s->place = (uint32_t)t->nmembers;
        t->members[t->nmembers++] = s;
    }
    balance_init(&t->heap, b->balance == CONF_BALANCE_LEAST_CONN);
    balance_reserve(&t->heap, n);
    draw_reset(&t->draw, n);
}

/* Nobody is in any tier, nor out; the servers themselves stay. */
static void empty_tiers(struct backend *b)
{
    LIST_EACH(it, &b->servers) {
        struct server *s = CONTAINER(it, struct server, link);

        server_leave(s);
        list_remove(&s->parked);
    }
    tier_fini(&b->primary);
    tier_fini(&b->backup);
    smap_fini(&b->sticks);
    smap_init(&b->sticks, false);
    b->has_limit = false;
}

void backend_servers(struct backend *b, const struct conf_backend *conf,
                     const struct conf_servers *servers)
{
    struct list old;
    struct smap known;

    empty_tiers(b);
    b->balance = conf->balance.how;
    b->ops = balance_ops_of(b->balance);
    b->sticky = conf->sticky.how;
    list_init(&old);
    list_splice(&old, &b->servers);
    smap_init(&known, false);
    LIST_EACH(it, &old) {
        struct server *s = CONTAINER(it, struct server, link);

        smap_put(&known, slice_str(s->name), s);
    }
    for (size_t i = 0; i < servers->n; i++) {
        struct server *s = smap_get(&known, slice_str(servers->v[i].name));

        if (!s)
            s = server_new(b, &servers->v[i]);
        list_remove(&s->link);
        list_push(&b->servers, &s->link);
        server_apply(s, &servers->v[i], conf);
    }
    LIST_EACH(it, &old)
        server_retire(CONTAINER(it, struct server, link));
    smap_fini(&known);
    tier_fill(&b->primary, b, false);
    tier_fill(&b->backup, b, true);
    (void)stat_is_changed(&b->shared->changes, &b->changes_seen);
    backend_follow(b);
}

static void tier_init(struct tier *t, uint64_t seed)
{
    *t = (struct tier){ .nmembers = 0 };
    draw_init(&t->draw, seed);
    list_init(&t->full);
    list_init(&t->out);
}

static struct backend *backend_new(struct up *u, const char *name)
{
    struct backend *b = xcalloc(1, sizeof *b);

    b->up = u;
    b->name = xstrdup(name);
    b->flight_name = flight_name(u->flight, name);
    list_init(&b->servers);
    tier_init(&b->primary, clock_mono_us() ^ (uint64_t)u->slot << 48);
    tier_init(&b->backup, b->primary.draw.random + 1);
    smap_init(&b->sticks, false);
    list_init(&b->queue);
    list_init(&b->idle);
    timer_init(&b->queue_timer, backend_queue_timer);
    budget_init(&b->budget, u->loop->now_us);
    b->stats = STATS_SLOT(u->segment, backend, name, u->slot);
    b->shared = STATS_SHARED(u->segment, backend, name);
    assert(b->stats && b->shared);
    stat_set(&b->stats->waiting_since, 0); /* who had this slot before may have died waiting */
    list_push(&u->all, &b->link);
    smap_put(&u->backends, slice_str(b->name), b);
    return b;
}

static void apply_health(struct backend *b, const struct conf_backend *conf)
{
    b->is_checked = conf->check.how != CONF_CHECK_OFF;
    b->slow_start_ms = conf->slow_start_ms;
    b->eject_after = conf->eject_after;
    b->eject_on = conf->eject_on;
    b->eject_time_ms = conf->eject_time_ms;
    b->eject_max = conf->eject_max;
    b->panic = conf->panic;
}

struct backend *backend_apply(struct up *u, const struct conf_backend *conf, struct tls_back *tls)
{
    struct backend *b = smap_get(&u->backends, slice_str(conf->name));

    if (!b)
        b = backend_new(u, conf->name);
    b->refs++;
    b->queue_max = conf->queue;
    b->queue_timeout_ms = conf->queue_timeout_ms;
    b->budget.share = conf->retry_budget;
    b->keepalive = conf->keepalive;
    b->keepalive_timeout_ms = conf->keepalive_timeout_ms;
    if (b->send_proxy != conf->send_proxy)
        LIST_EACH(it, &b->servers)
            server_idle_close(CONTAINER(it, struct server, link));
    b->send_proxy = conf->send_proxy;
    apply_tls(b, tls);
    apply_health(b, conf);
    backend_idle_trim(b, b->keepalive);
    backend_servers(b, conf, &conf->server);
    return b;
}

void backend_unref(struct backend **b)
{
    struct backend *be = *b;

    *b = NULL;
    assert(be->refs > 0);
    if (--be->refs > 0)
        return;
    assert(list_empty(&be->queue));
    timer_clear(&be->up->loop->timers, &be->queue_timer);
    empty_tiers(be);
    LIST_EACH(it, &be->servers)
        server_retire(CONTAINER(it, struct server, link));
    smap_fini(&be->sticks);
    smap_remove(&be->up->backends, slice_str(be->name));
    list_remove(&be->link);
    tls_back_unref(&be->tls);
    latency_free(&be->latency);
    free(be->name);
    free(be);
}
