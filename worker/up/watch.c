/* Who may be picked: health, weights and admin state as shared memory has them, slow start, panic,
 * and the ejection of servers whose requests fail. Called at picks when something changed, where
 * results are counted, and by generations. */
#include "worker/up/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "worker/up/failure.h"

/* Slow start: the weight it begins with, as a share, and how smoothly it grows. */
#define START_SHARE 16
#define START_STEPS 64
#define START_STEP_MIN_US 10000
#define START_STEP_MAX_US 1000000

static struct health health_of(const struct server *s)
{
    return (struct health){ s->backend->name, s->name, s->shared, s->backend->shared };
}

/* ---- who is in ---- */

static bool is_healthy(const struct server *s)
{
    return health_is_good(s->shared) || (s->backend->is_panic && !s->is_backup);
}

/* An operator wants it to take requests, and it is known where it is. */
static bool is_in_service(const struct server *s)
{
    return s->addr.len != 0 && stat_get(&s->shared->admin) == ADMIN_READY &&
           stat_get(&s->shared->weight) != 0;
}

bool server_is_usable(const struct server *s)
{
    return is_in_service(s) && is_healthy(s);
}

bool server_is_kept(const struct server *s)
{
    return s->addr.len != 0 && stat_get(&s->shared->admin) != ADMIN_DOWN && is_healthy(s);
}

void server_settle(struct server *s)
{
    if (s->is_removed)
        return;
    if (!server_is_usable(s) || !server_weigh(s)) {
        server_leave(s);
        list_remove(&s->parked);
        list_push(&s->tier->out, &s->parked);
    } else if (!s->is_in) {
        list_remove(&s->parked);
        server_enter(s);
    }
}

/* ---- weights ---- */

/* In the heap's units; while it starts, the part of it that the time since is of slow_start. */
static uint32_t weight_now(const struct server *s, uint32_t weight)
{
    uint64_t full = (uint64_t)weight * BALANCE_ONE;
    uint64_t start_us = (uint64_t)s->backend->slow_start_ms * 1000;
    uint64_t passed;

    if (stat_get(&s->shared->state) != SERVER_STARTING || start_us == 0)
        return (uint32_t)full;
    passed = clock_wall_passed(stat_get(&s->shared->since), up_wall_us(s->backend->up));
    if (passed < start_us / START_SHARE)
        passed = start_us / START_SHARE;
    if (passed < start_us)
        full = full * passed / start_us;
    return full ? (uint32_t)full : 1;
}

bool server_weigh(struct server *s)
{
    uint32_t weight = (uint32_t)stat_get(&s->shared->weight), now;

    if (weight == 0)
        return false;
    now = weight_now(s, weight);
    if (now != s->node.weight)
        server_reweigh(s, now);
    return true;
}

/* ---- the ring ---- */

/* Weight 0 is an operator's way to drain: the points stay, for when it comes back. */
static uint32_t weight_on_ring(const struct server *s)
{
    uint32_t weight = (uint32_t)stat_get(&s->shared->weight);

    return weight ? weight : s->conf_weight;
}

static void follow_ring(struct tier *t)
{
    struct ring_member *members;
    bool is_same = true;

    for (size_t i = 0; i < t->nmembers; i++) {
        struct server *s = t->members[i];

        is_same &= s->ring_weight == weight_on_ring(s);
        s->ring_weight = weight_on_ring(s);
    }
    if (is_same)
        return;
    members = xcalloc(t->nmembers, sizeof *members);
    for (size_t i = 0; i < t->nmembers; i++)
        members[i] = (struct ring_member){ slice_str(t->members[i]->name),
                                           t->members[i]->ring_weight };
    ring_build(&t->ring, members, t->nmembers);
    free(members);
}

/* ---- changes ---- */

struct census {
    uint32_t in_service, healthy; /* of the primaries; healthy: of those in service */
    uint32_t backups;             /* that could be used */
};

static void count(struct census *n, const struct server *s)
{
    bool is_usable = is_in_service(s) && health_is_good(s->shared);

    if (s->is_backup) {
        n->backups += is_usable;
        return;
    }
    n->in_service += is_in_service(s);
    n->healthy += is_usable;
}

/* With none healthy it is the backups' turn, if there are any. */
static void follow_panic(struct backend *b, const struct census *n)
{
    bool is_panic = (uint64_t)n->healthy * 10000 < (uint64_t)b->panic * n->in_service &&
                    (n->healthy > 0 || n->backups == 0);

    if (is_panic == b->is_panic)
        return;
    b->is_panic = is_panic;
    if (is_panic)
        log_warnx("backend %s: panic: %" PRIu32 " of %" PRIu32 " servers healthy, all are used",
                  b->name, n->healthy, n->in_service);
    else
        log_notice("backend %s: panic over: %" PRIu32 " of %" PRIu32 " servers healthy", b->name,
                   n->healthy, n->in_service);
}

/* When its state or weight changes without anybody's doing, in time of the loop. */
static uint64_t next_look(const struct server *s, uint64_t now, uint64_t wall)
{
    uint64_t state = stat_get(&s->shared->state), until, step;

    if (state == SERVER_EJECTED) {
        until = stat_get(&s->shared->ejected_until);
        return now + (until > wall ? until - wall : 0);
    }
    if (state != SERVER_STARTING)
        return UINT64_MAX;
    step = (uint64_t)s->backend->slow_start_ms * 1000 / START_STEPS;
    if (step < START_STEP_MIN_US)
        step = START_STEP_MIN_US;
    return now + (step < START_STEP_MAX_US ? step : START_STEP_MAX_US);
}

void backend_follow(struct backend *b)
{
    uint64_t now = b->up->loop->now_us, wall = up_wall_us(b->up), at;
    struct census n = { .healthy = 0 };

    b->look_at_us = UINT64_MAX;
    LIST_EACH(it, &b->servers) {
        struct server *s = CONTAINER(it, struct server, link);
        struct health h = health_of(s);

        health_settle(&h, wall, b->slow_start_ms, b->is_checked);
        count(&n, s);
        at = next_look(s, now, wall);
        if (at < b->look_at_us)
            b->look_at_us = at;
    }
    follow_panic(b, &n);
    if (b->balance == CONF_BALANCE_HASH || b->sticky == CONF_STICKY_SOURCE) {
        follow_ring(&b->primary);
        follow_ring(&b->backup);
    }
    LIST_EACH(it, &b->servers) {
        struct server *s = CONTAINER(it, struct server, link);

        (void)server_weigh(s);
        server_settle(s);
        if (stat_get(&s->shared->admin) == ADMIN_DOWN || !is_healthy(s))
            server_idle_close(s);
    }
    b->full_checked_us = 0;
}

void up_tick(struct up *u)
{
    u->wall_offset = clock_wall_us() - clock_mono_us();
    LIST_EACH(it, &u->all)
        backend_look(CONTAINER(it, struct backend, link));
}

/* ---- passive health ---- */

/* Whether one more may be out: eject_max of those in service at most, whoever put them out; but
 * one always, if there is another. Two workers that ask at once may both be told yes. */
static bool may_eject(const struct server *s)
{
    const struct backend *b = s->backend;
    uint64_t in_service = 0, out = 0, most;

    LIST_EACH(it, &b->servers) {
        const struct server *other = CONTAINER(it, struct server, link);

        if (other->is_backup != s->is_backup || !is_in_service(other))
            continue;
        in_service++;
        out += !health_is_good(other->shared);
    }
    most = in_service * b->eject_max / 10000;
    if (most == 0)
        most = 1;
    return in_service > 1 && out < most;
}

static void eject(struct server *s, enum end_reason why, unsigned status)
{
    struct health h = health_of(s);
    char detail[64];

    if (!health_is_good(s->shared) || !may_eject(s))
        return;
    if (why != END_OK && failure_of(why, 0) != 0)
        snprintf(detail, sizeof detail, "the last: %s", end_reason_text(why));
    else
        snprintf(detail, sizeof detail, "the last: status %u", status);
    (void)health_eject(&h, up_wall_us(s->backend->up), s->backend->eject_time_ms,
                       SERVER_WHY_FAILURES, detail);
}

void server_judge_closely(struct server *s, enum end_reason why, unsigned status)
{
    const struct backend *b = s->backend;
    uint32_t bits = failure_of(why, status);
    uint64_t *row = &s->shared->failures_row, n;

    if (bits != 0 && b->balance == CONF_BALANCE_EWMA)
        server_failed(s);
    if (!(bits & b->eject_on)) {
        if ((status != 0 || why == END_OK) && stat_get(row) != 0)
            stat_set(row, 0);
        return;
    }
    n = __atomic_add_fetch(row, 1, __ATOMIC_RELAXED);
    /* Where it may not be ejected now, not every further failure asks again. */
    if (b->eject_after != 0 && n % b->eject_after == 0 && !s->is_removed)
        eject(s, why, status);
}
