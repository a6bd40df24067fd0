/* Backends and servers: made and changed by generations, and chosen from. */
#include "worker/up/internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include "common/base/mem.h"

/* How often servers that were full or out are looked at again. */
#define PARKED_CHECK_US 10000

void up_init(struct up *u, struct conn_pool *conns, struct segment *segment, unsigned slot,
             struct stats_worker *stats)
{
    *u = (struct up){ .conns = conns, .loop = conns->loop, .segment = segment, .slot = slot,
                      .stats = stats };
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

static struct balance *heap_of(struct server *s)
{
    return s->is_backup ? &s->backend->backup : &s->backend->primary;
}

static void server_park(struct server *s)
{
    if (balance_has(&s->node))
        balance_remove(heap_of(s), &s->node);
    if (list_empty(&s->parked))
        list_push(&s->backend->parked, &s->parked);
}

/* Takes the weight in force over; false for 0, which no node has. */
static bool server_weigh(struct server *s)
{
    uint32_t weight = (uint32_t)stat_get(&s->shared->weight);

    if (weight != 0 && weight != s->node.weight)
        balance_weigh(heap_of(s), &s->node, weight);
    return weight != 0;
}

/* Into the heap; one of weight 0 waits among the parked until it has another. */
static void server_unpark(struct server *s)
{
    list_remove(&s->parked);
    if (balance_has(&s->node) || s->is_removed)
        return;
    if (server_weigh(s))
        balance_add(heap_of(s), &s->node);
    else
        list_push(&s->backend->parked, &s->parked);
}

/* Out of everything but the hands of those who use it. */
static void server_retire(struct server *s)
{
    if (balance_has(&s->node))
        balance_remove(heap_of(s), &s->node);
    list_remove(&s->parked);
    list_remove(&s->link);
    s->is_removed = true;
    server_idle_close(s);
    server_unref(&s);
}

bool server_is_usable(const struct server *s)
{
    uint64_t state = stat_get(&s->shared->state);

    return s->addr.len != 0 && stat_get(&s->shared->admin) == ADMIN_READY &&
           stat_get(&s->shared->weight) != 0 && state != SERVER_DOWN && state != SERVER_EJECTED;
}

/* Requests at the server over all workers. */
static uint64_t server_active(const struct server *s)
{
    const char *mine = (const char *)s->stats;
    size_t stride = segment_stride(STATS_server);
    unsigned slots = segment_slots(s->backend->up->segment);
    const char *first = mine - (size_t)s->backend->up->slot * stride;
    uint64_t sum = 0;

    for (unsigned i = 0; i < slots; i++) {
        const struct stats_server *st = (const void *)(first + i * stride);

        sum += stat_get(&st->active);
    }
    return sum;
}

void server_take(struct server *s)
{
    s->refs++;
    balance_take(heap_of(s), &s->node);
    stat_inc(&s->stats->active);
}

void server_release(struct server *s)
{
    balance_release(heap_of(s), &s->node);
    stat_dec(&s->stats->active);
}

/* With max_conns, each worker first adds itself and then counts all: two that take the last place
 * at once both see one too many and step back, so the limit is never passed. */
bool server_try_take(struct server *s)
{
    server_take(s);
    if (s->max_conns == 0)
        return true;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (server_active(s) <= s->max_conns)
        return true;
    server_release(s);
    s->refs--;
    return false;
}

/* ---- choosing ---- */

static bool was_tried(const struct server *s, struct server *const *tried, uint32_t ntried)
{
    for (uint32_t i = 0; i < ntried; i++)
        if (tried[i] == s)
            return true;
    return false;
}

static struct server *heap_pick(struct balance *heap, struct server *const *tried,
                                uint32_t ntried)
{
    struct list aside; /* of struct server by `parked`: only passed over this once */
    struct balance_node *node;
    struct server *picked = NULL;

    list_init(&aside);
    while (!picked && (node = balance_peek(heap)) != NULL) {
        struct server *s = CONTAINER(node, struct server, node);

        if (was_tried(s, tried, ntried)) {
            balance_remove(heap, node);
            list_push(&aside, &s->parked);
        } else if (!server_is_usable(s)) {
            server_park(s);
        } else if (server_try_take(s)) {
            picked = s;
        } else {
            server_park(s);
        }
    }
    LIST_EACH(it, &aside)
        server_unpark(CONTAINER(it, struct server, parked));
    return picked;
}

/* Puts those back that can be used again: now and then, or before nothing is found. */
static void check_parked(struct backend *b, bool is_urgent)
{
    uint64_t now = b->up->loop->now_us;

    if (!is_urgent && now - b->parked_checked_us < PARKED_CHECK_US)
        return;
    b->parked_checked_us = now;
    LIST_EACH(it, &b->parked) {
        struct server *s = CONTAINER(it, struct server, parked);

        if (server_is_usable(s) && (s->max_conns == 0 || server_active(s) < s->max_conns))
            server_unpark(s);
    }
}

/* Parked and yet in order: at max_conns. */
static bool any_full(const struct backend *b, bool is_backup)
{
    LIST_EACH(it, &b->parked) {
        const struct server *s = CONTAINER(it, struct server, parked);

        if (s->is_backup == is_backup && server_is_usable(s))
            return true;
    }
    return false;
}

static struct server *pick(struct backend *b, struct server *const *tried, uint32_t ntried,
                           bool *is_full)
{
    struct server *s = heap_pick(&b->primary, tried, ntried);

    if (s)
        return s;
    /* Backups are for when every other is out, not for when they are busy. */
    *is_full = any_full(b, false);
    if (*is_full)
        return NULL;
    s = heap_pick(&b->backup, tried, ntried);
    *is_full = !s && any_full(b, true);
    return s;
}

/* An operator's changes, once each: weights, and what `down` ends. Who may be picked at all is
 * asked at each pick; who may be again, right after this. */
static void follow_changes(struct backend *b)
{
    LIST_EACH(it, &b->servers) {
        struct server *s = CONTAINER(it, struct server, link);

        (void)server_weigh(s);
        if (stat_get(&s->shared->admin) == ADMIN_DOWN)
            server_idle_close(s);
    }
    b->parked_checked_us = 0;
}

void up_tick(struct up *u)
{
    LIST_EACH(it, &u->all) {
        struct backend *b = CONTAINER(it, struct backend, link);

        if (stat_is_changed(&b->shared->changes, &b->changes_seen))
            follow_changes(b);
    }
}

struct server *backend_pick(struct backend *b, struct server *const *tried, uint32_t ntried,
                            bool *is_full)
{
    struct server *s;

    *is_full = false;
    if (stat_is_changed(&b->shared->changes, &b->changes_seen))
        follow_changes(b);
    check_parked(b, false);
    s = pick(b, tried, ntried, is_full);
    if (!s && !list_empty(&b->parked)) {
        check_parked(b, true);
        s = pick(b, tried, ntried, is_full);
    }
    return s;
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
    s->node.weight = 1;
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

    if (balance_has(&s->node))
        balance_remove(heap_of(s), &s->node);
    list_remove(&s->parked);
    free(s->text);
    s->text = xstrdup(conf->text);
    s->addr = conf->addr;
    if (!server_name_it(s, backend->tls_name) && backend->tls)
        is_same = false;
    if (!is_same)
        server_moved(s);
    s->max_conns = conf->max_conns ? conf->max_conns : backend->max_conns;
    s->is_backup = conf->is_backup;
    s->node.key = 0;
    server_unpark(s);
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

/* Every server of conf in its order, known ones kept; those not in conf retired. */
static void apply_servers(struct backend *b, const struct conf_backend *conf)
{
    struct list old;
    struct smap known;

    list_init(&old);
    list_splice(&old, &b->servers);
    smap_init(&known, false);
    LIST_EACH(it, &old) {
        struct server *s = CONTAINER(it, struct server, link);

        smap_put(&known, slice_str(s->name), s);
    }
    for (size_t i = 0; i < conf->server.n; i++) {
        struct server *s = smap_get(&known, slice_str(conf->server.v[i].name));

        if (!s)
            s = server_new(b, &conf->server.v[i]);
        list_remove(&s->link);
        list_push(&b->servers, &s->link);
        server_apply(s, &conf->server.v[i], conf);
    }
    LIST_EACH(it, &old)
        server_retire(CONTAINER(it, struct server, link));
    smap_fini(&known);
}

static struct backend *backend_new(struct up *u, const char *name)
{
    struct backend *b = xcalloc(1, sizeof *b);

    b->up = u;
    b->name = xstrdup(name);
    b->flight_name = flight_name(u->flight, name);
    list_init(&b->servers);
    list_init(&b->parked);
    list_init(&b->queue);
    list_init(&b->idle);
    timer_init(&b->queue_timer, backend_queue_timer);
    b->stats = STATS_SLOT(u->segment, backend, name, u->slot);
    b->shared = STATS_SHARED(u->segment, backend, name);
    assert(b->stats && b->shared);
    list_push(&u->all, &b->link);
    smap_put(&u->backends, slice_str(b->name), b);
    return b;
}

struct backend *backend_apply(struct up *u, const struct conf_backend *conf, struct tls_back *tls)
{
    struct backend *b = smap_get(&u->backends, slice_str(conf->name));
    bool is_least_conn = conf->balance.how == CONF_BALANCE_LEAST_CONN;

    if (!b)
        b = backend_new(u, conf->name);
    b->refs++;
    LIST_EACH(it, &b->servers) {
        struct server *s = CONTAINER(it, struct server, link);

        if (balance_has(&s->node))
            balance_remove(heap_of(s), &s->node);
        list_remove(&s->parked);
    }
    balance_fini(&b->primary);
    balance_fini(&b->backup);
    balance_init(&b->primary, is_least_conn);
    balance_init(&b->backup, is_least_conn);
    balance_reserve(&b->primary, conf->server.n);
    balance_reserve(&b->backup, conf->server.n);
    b->queue_max = conf->queue;
    b->queue_timeout_ms = conf->queue_timeout_ms;
    b->keepalive = conf->keepalive;
    b->keepalive_timeout_ms = conf->keepalive_timeout_ms;
    if (b->send_proxy != conf->send_proxy)
        LIST_EACH(it, &b->servers)
            server_idle_close(CONTAINER(it, struct server, link));
    b->send_proxy = conf->send_proxy;
    apply_tls(b, tls);
    backend_idle_trim(b, b->keepalive);
    (void)stat_is_changed(&b->shared->changes, &b->changes_seen);
    apply_servers(b, conf);
    follow_changes(b);
    return b;
}

void backend_servers(struct backend *b, const struct conf_backend *conf)
{
    size_t most = conf->server.n; /* those that come, while those that go are there */

    LIST_EACH(it, &b->servers)
        most++;
    balance_reserve(&b->primary, most);
    balance_reserve(&b->backup, most);
    apply_servers(b, conf);
    follow_changes(b);
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
    LIST_EACH(it, &be->servers)
        server_retire(CONTAINER(it, struct server, link));
    balance_fini(&be->primary);
    balance_fini(&be->backup);
    smap_remove(&be->up->backends, slice_str(be->name));
    list_remove(&be->link);
    tls_back_unref(&be->tls);
    free(be->name);
    free(be);
}
