/* Who is next: the algorithms of `balance`, sticky clients, and what holds for all of them (tried
 * servers, max_conns over all workers, backups). Nothing here walks all servers for a pick, but
 * least_conn among few. */
#include "worker/up/internal.h"

#include <assert.h>
#include "common/base/clock.h"
#include "worker/up/ewma.h"

/* How often servers that were full are looked at again, and how many; when one is wanted now. */
#define FULL_CHECK_US 10000
#define FULL_CHECK_MOST 256
#define FULL_CHECK_NOW 8
/* least_conn: with more counts than these to add up, only some are at a pick. */
#define COUNTS_MAX 512
#define COUNTS_TOP 8
/* hash: points that are looked at, and how much of the mean load is too much, in hundredths. */
#define WALK_MAX 4096
#define BOUND_PERCENT 125

/* An algorithm. `best` gives the best of those that are in, but those that hash walks over: NULL
 * when there is none; it may be asked again after the caller took that one out. */
struct balance_ops {
    void (*add)(struct tier *t, struct server *s);
    void (*remove)(struct tier *t, struct server *s);
    void (*weigh)(struct tier *t, struct server *s, uint32_t weight);
    void (*take)(struct tier *t, struct server *s);
    void (*release)(struct tier *t, struct server *s);
    struct server *(*best)(struct backend *b, struct tier *t, const struct up_request *r);
};

static struct server *server_of(struct balance_node *node)
{
    return node ? CONTAINER(node, struct server, node) : NULL;
}

/* ---- requests over all workers ---- */

/* Of `s`, in worker i's slot. */
static uint64_t active_in(const struct server *s, unsigned i)
{
    const struct up *u = s->backend->up;
    const char *mine = (const char *)s->stats;
    const struct stats_server *st =
        (const void *)(mine - (size_t)u->slot * segment_stride(STATS_server) +
                       i * segment_stride(STATS_server));

    return stat_get(&st->active);
}

uint64_t server_active(const struct server *s)
{
    unsigned slots = segment_slots(s->backend->up->segment);
    uint64_t sum = 0;

    for (unsigned i = 0; i < slots; i++)
        sum += active_in(s, i);
    return sum;
}

/* In progress and waiting at the backend. */
static uint64_t backend_active(const struct backend *b)
{
    const char *first = (const char *)b->stats -
                        (size_t)b->up->slot * segment_stride(STATS_backend);
    unsigned slots = segment_slots(b->up->segment);
    uint64_t sum = 0;

    for (unsigned i = 0; i < slots; i++) {
        const struct stats_backend *st =
            (const void *)(first + i * segment_stride(STATS_backend));

        sum += stat_get(&st->active);
    }
    return sum;
}

/* ---- round_robin, least_conn ---- */

static void heap_add(struct tier *t, struct server *s)
{
    balance_add(&t->heap, &s->node);
}

static void heap_remove(struct tier *t, struct server *s)
{
    balance_remove(&t->heap, &s->node);
}

static void heap_weigh(struct tier *t, struct server *s, uint32_t weight)
{
    balance_weigh(&t->heap, &s->node, weight);
}

static void heap_take(struct tier *t, struct server *s)
{
    balance_take(&t->heap, &s->node);
}

static void heap_release(struct tier *t, struct server *s)
{
    balance_release(&t->heap, &s->node);
}

static struct server *heap_best(struct backend *b, struct tier *t, const struct up_request *r)
{
    (void)b;
    (void)r;
    return server_of(balance_peek(&t->heap));
}

static void recount(struct tier *t, struct server *s)
{
    balance_count(&t->heap, &s->node, (uint32_t)server_active(s));
}

/* The first of the heap and some others in turn: who was busier than the rest when it was last
 * looked at is found out about within a few picks. */
static void recount_some(struct tier *t)
{
    struct server *some[2 * COUNTS_TOP];
    size_t n = 0;

    for (size_t i = 0; i < COUNTS_TOP && i < t->heap.n; i++)
        some[n++] = server_of(t->heap.heap[i]);
    for (size_t i = 0; i < COUNTS_TOP; i++) {
        struct server *s = t->members[t->cursor++ % t->nmembers];

        if (s->is_in)
            some[n++] = s;
    }
    for (size_t i = 0; i < n; i++)
        recount(t, some[i]);
}

static struct server *least_conn_best(struct backend *b, struct tier *t,
                                      const struct up_request *r)
{
    (void)r;
    if (t->nmembers * segment_slots(b->up->segment) > COUNTS_MAX)
        recount_some(t);
    else
        for (size_t i = 0; i < t->nmembers; i++)
            recount(t, t->members[i]);
    return server_of(balance_peek(&t->heap));
}

/* ---- random, ewma ---- */

static void draw_enter(struct tier *t, struct server *s)
{
    draw_weigh(&t->draw, s->place, s->node.weight);
}

static void draw_leave(struct tier *t, struct server *s)
{
    draw_weigh(&t->draw, s->place, 0);
}

static void draw_reweigh(struct tier *t, struct server *s, uint32_t weight)
{
    s->node.weight = weight;
    if (s->is_in)
        draw_weigh(&t->draw, s->place, weight);
}

/* The tier's structures do not depend on it: only kept right for when `balance` changes. */
static void count_take(struct tier *t, struct server *s)
{
    (void)t;
    s->node.active++;
}

static void count_release(struct tier *t, struct server *s)
{
    (void)t;
    assert(s->node.active > 0);
    s->node.active--;
}

/* Two of them, another one each; the second NULL if there is but one. */
static bool draw_two(struct tier *t, struct server *two[2])
{
    size_t first = draw_one(&t->draw), second;

    if (first == DRAW_NONE)
        return false;
    second = draw_other(&t->draw, first);
    two[0] = t->members[first];
    two[1] = second == DRAW_NONE ? NULL : t->members[second];
    return true;
}

/* By what each has to do for its weight; of equals the one drawn first, so that weights are
 * shares. */
static struct server *random_best(struct backend *b, struct tier *t, const struct up_request *r)
{
    struct server *two[2];

    (void)b;
    (void)r;
    if (!draw_two(t, two))
        return NULL;
    if (two[1] && server_active(two[1]) * two[0]->node.weight <
                      server_active(two[0]) * two[1]->node.weight)
        return two[1];
    return two[0];
}

static uint64_t ewma_age(const struct server *s)
{
    return clock_wall_passed(stat_get(&s->shared->ewma_at), up_wall_us(s->backend->up));
}

static uint64_t ewma_of(const struct server *s)
{
    return ewma_now(stat_get(&s->shared->ewma_us), ewma_age(s));
}

/* What it costs to ask: its latency, for each that is there already and this one. */
static double cost_of(const struct server *s, uint64_t latency_us, uint32_t mean_weight)
{
    double load = (double)server_active(s) * mean_weight / s->node.weight;

    return (double)latency_us * (load + 1);
}

static struct server *ewma_best(struct backend *b, struct tier *t, const struct up_request *r)
{
    struct server *two[2];
    uint64_t latency[2];
    uint32_t mean;

    (void)b;
    (void)r;
    if (!draw_two(t, two))
        return NULL;
    if (!two[1])
        return two[0];
    latency[0] = ewma_of(two[0]);
    latency[1] = ewma_of(two[1]);
    /* Of whom nothing is known is twice as fast as the other: soon it is known, and until then
     * what it has to do counts. */
    for (unsigned i = 0; i < 2; i++)
        if (latency[i] == 0)
            latency[i] = latency[!i] / 2 + 1;
    mean = two[0]->node.weight / 2 + two[1]->node.weight / 2 + 1;
    return cost_of(two[1], latency[1], mean) < cost_of(two[0], latency[0], mean) ? two[1] : two[0];
}

void server_timed(struct server *s, uint64_t latency_us)
{
    struct stats_server_shared *sh = s->shared;
    uint64_t ewma = stat_get(&sh->ewma_us);

    if (!ewma_add(&ewma, ewma_age(s), latency_us))
        return;
    stat_set(&sh->ewma_us, ewma);
    stat_set(&sh->ewma_at, up_wall_us(s->backend->up));
}

void server_failed(struct server *s)
{
    server_timed(s, ewma_penalty(ewma_of(s)));
}

/* ---- hash ---- */

/* Whether one request more would be no more than its share and a quarter, by weight, of all. */
static bool is_within_bound(const struct tier *t, const struct server *s, uint64_t all)
{
    unsigned __int128 share = (unsigned __int128)all * s->node.weight * BOUND_PERCENT;

    return (unsigned __int128)server_active(s) * 100 * t->draw.total < share;
}

/* From the hash's own server on; `all` requests of the backend, 0: loads do not count. */
static struct server *walk(struct tier *t, uint64_t hash, uint64_t all)
{
    size_t i, left = t->ring.n < WALK_MAX ? t->ring.n : WALK_MAX;
    const struct server *last = NULL;

    if (t->in == 0)
        return NULL;
    for (i = ring_find(&t->ring, hash); left > 0; left--, i = ring_next(&t->ring, i)) {
        struct server *s = t->members[t->ring.points[i].member];

        if (s != last && s->is_in && (all == 0 || is_within_bound(t, s, all)))
            return s;
        last = s;
    }
    return NULL;
}

static struct server *hash_best(struct backend *b, struct tier *t, const struct up_request *r)
{
    struct server *s = r->has_hash ? walk(t, r->hash, backend_active(b)) : NULL;
    size_t at;

    if (s)
        return s;
    at = draw_one(&t->draw);
    return at == DRAW_NONE ? NULL : t->members[at];
}

/* ---- all of them ---- */

const struct balance_ops *balance_ops_of(enum conf_balance how)
{
    static const struct balance_ops ops[] = {
        [CONF_BALANCE_ROUND_ROBIN] = { heap_add, heap_remove, heap_weigh, heap_take,
                                       heap_release, heap_best },
        [CONF_BALANCE_LEAST_CONN] = { heap_add, heap_remove, heap_weigh, heap_take,
                                      heap_release, least_conn_best },
        [CONF_BALANCE_RANDOM] = { draw_enter, draw_leave, draw_reweigh, count_take,
                                  count_release, random_best },
        [CONF_BALANCE_EWMA] = { draw_enter, draw_leave, draw_reweigh, count_take, count_release,
                                ewma_best },
        [CONF_BALANCE_HASH] = { draw_enter, draw_leave, draw_reweigh, count_take, count_release,
                                hash_best },
    };

    return &ops[how];
}

void server_enter(struct server *s)
{
    struct tier *t = s->tier;

    assert(!s->is_in);
    s->is_in = true;
    t->in++;
    s->backend->ops->add(t, s);
}

void server_leave(struct server *s)
{
    struct tier *t = s->tier;

    if (!s->is_in)
        return;
    s->is_in = false;
    t->in--;
    s->backend->ops->remove(t, s);
}

void server_reweigh(struct server *s, uint32_t weight)
{
    s->backend->ops->weigh(s->tier, s, weight);
}

void server_take(struct server *s)
{
    s->refs++;
    s->backend->ops->take(s->tier, s);
    stat_inc(&s->stats->active);
}

void server_release(struct server *s)
{
    s->backend->ops->release(s->tier, s);
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

/* ---- full servers ---- */

static void park_full(struct server *s)
{
    server_leave(s);
    list_push(&s->tier->full, &s->parked);
}

/* Puts those back in that have a place again, or away that are out. At most `most` are looked at,
 * in turn. */
static void check_full(struct tier *t, size_t most)
{
    struct list again;

    list_init(&again);
    for (; most > 0 && !list_empty(&t->full); most--) {
        struct server *s = CONTAINER(list_shift(&t->full), struct server, parked);

        if (server_is_usable(s) && s->max_conns != 0 && server_active(s) >= s->max_conns)
            list_push(&again, &s->parked);
        else
            server_settle(s);
    }
    list_splice(&t->full, &again);
}

/* Places that other workers freed. */
static void check_all_full(struct backend *b)
{
    b->full_checked_us = b->up->loop->now_us;
    check_full(&b->primary, FULL_CHECK_MOST);
    check_full(&b->backup, FULL_CHECK_MOST);
}

/* ---- picking ---- */

static bool was_tried(const struct server *s, const struct up_request *r)
{
    for (uint32_t i = 0; i < r->ntried; i++)
        if (r->tried[i] == s->stick)
            return true;
    return false;
}

/* Some server of it is usable; it may be full. */
static bool is_at_work(const struct tier *t)
{
    return t->in > 0 || !list_empty(&t->full);
}

bool server_has_turn(const struct server *s)
{
    return !s->is_backup || !is_at_work(&s->backend->primary);
}

static struct server *take_best(struct backend *b, struct tier *t, const struct up_request *r)
{
    struct server *aside[UP_TRIED_MAX], *s; /* tried: only passed over this once */
    uint32_t n = 0;

    while ((s = b->ops->best(b, t, r)) != NULL) {
        if (r->ntried > 0 && was_tried(s, r)) {
            server_leave(s);
            aside[n++] = s;
        } else if (!server_is_usable(s)) {
            server_settle(s);
        } else if (server_try_take(s)) {
            break;
        } else {
            park_full(s);
        }
    }
    while (n > 0)
        server_enter(aside[--n]);
    return s;
}

static struct server *tier_pick(struct backend *b, struct tier *t, const struct up_request *r)
{
    struct server *s = take_best(b, t, r);

    if (s || list_empty(&t->full))
        return s;
    check_full(t, FULL_CHECK_NOW);
    return take_best(b, t, r);
}

/* The server of a client's cookie; NULL: it is not there (any more). */
static struct server *stuck_to(const struct backend *b, uint64_t stick)
{
    return smap_get(&b->sticks, slice_of((const char *)&stick, sizeof stick));
}

/* A full one does not take its client: others do this once, and the client keeps its cookie. */
static struct server *pick_by_cookie(struct backend *b, const struct up_request *r)
{
    struct server *s = stuck_to(b, r->stick);

    return s && !was_tried(s, r) && server_is_kept(s) && server_try_take(s) ? s : NULL;
}

static struct server *pick_by_source(struct backend *b, const struct up_request *r)
{
    struct tier *t = is_at_work(&b->primary) ? &b->primary : &b->backup;
    struct server *s;

    while ((s = walk(t, r->stick, 0)) != NULL && !was_tried(s, r)) {
        if (!server_is_usable(s))
            server_settle(s);
        else if (server_try_take(s))
            return s;
        else
            park_full(s);
    }
    return NULL;
}

/* The server that r's client stays with, if there is one and it takes it. */
static struct server *pick_stuck(struct backend *b, const struct up_request *r)
{
    switch (b->sticky) {
    case CONF_STICKY_OFF: break;
    case CONF_STICKY_COOKIE: return pick_by_cookie(b, r);
    case CONF_STICKY_SOURCE: return pick_by_source(b, r);
    }
    return NULL;
}

struct server *backend_pick(struct backend *b, const struct up_request *r, bool *is_full)
{
    struct server *s;

    *is_full = false;
    backend_look(b);
    if (b->has_limit && b->up->loop->now_us - b->full_checked_us >= FULL_CHECK_US)
        check_all_full(b);
    if (r->stick && (s = pick_stuck(b, r)) != NULL)
        return s;
    s = tier_pick(b, &b->primary, r);
    if (s)
        return s;
    /* Backups are for when every other is out, not for when they are busy. */
    *is_full = !list_empty(&b->primary.full);
    if (*is_full)
        return NULL;
    s = tier_pick(b, &b->backup, r);
    *is_full = !s && !list_empty(&b->backup.full);
    return s;
}

uint64_t up_stick(const struct up_request *r)
{
    const struct server *s = r->server, *wanted;

    if (r->backend->sticky != CONF_STICKY_COOKIE || r->stick == s->stick)
        return 0;
    wanted = r->stick ? stuck_to(r->backend, r->stick) : NULL;
    return wanted && server_is_kept(wanted) && !was_tried(wanted, r) ? 0 : s->stick;
}
