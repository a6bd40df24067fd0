/* Changes of servers' health. Called by the helper, workers and the master; keeps nothing of its
 * own. */
#include "common/core/health.h"

#include "common/base/clock.h"
#include "common/base/log.h"

#define DOUBLINGS_MAX 6

static void log_change(const struct health *h, uint64_t from, enum server_state to,
                       enum server_why why, const char *detail)
{
    void (*say)(const char *, ...) __attribute__((format(printf, 1, 2))) =
        HEALTH_BIT(to) & HEALTH_GOOD ? log_notice : log_warnx;

    say("backend %s: server %s: %s -> %s: %s%s%s", h->backend_name, h->server_name,
        stats_value_name("server_state", from), stats_value_name("server_state", to),
        stats_value_name("server_why", why), detail ? ": " : "", detail ? detail : "");
}

bool health_change(const struct health *h, unsigned from, enum server_state to,
                   enum server_why why, const char *detail)
{
    uint64_t state = stat_get(&h->server->state);

    do {
        if (!(HEALTH_BIT(state) & from))
            return false;
        /* Before the state, for who reckons by it: of two who change it now, either's will do. */
        stat_set(&h->server->since, clock_wall_us());
    } while (!__atomic_compare_exchange_n(&h->server->state, &state, to, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED));
    stat_set(&h->server->why, why); /* of who has changed it, only */
    if (!(HEALTH_BIT(state) & HEALTH_GOOD) && (HEALTH_BIT(to) & HEALTH_GOOD))
        stat_set(&h->server->failures_row, 0); /* of requests that were under way, or of panic */
    stat_publish(&h->backend->changes);
    log_change(h, state, to, why, detail);
    return true;
}

/* The number of this ejection in its row, from 0. */
static uint64_t place_in_row(const struct stats_server_shared *s, uint64_t now_us,
                             uint64_t eject_time_us)
{
    uint64_t row = stat_get(&s->ejections_row), until = stat_get(&s->ejected_until);
    uint64_t was_out = row > 0 ? eject_time_us << (row - 1 < DOUBLINGS_MAX ? row - 1
                                                                           : DOUBLINGS_MAX) : 0;

    return now_us > until + was_out ? 0 : row;
}

bool health_eject(const struct health *h, uint64_t now_us, uint32_t eject_time_ms,
                  enum server_why why, const char *detail)
{
    struct stats_server_shared *s = h->server;
    uint64_t time_us = (uint64_t)eject_time_ms * 1000;
    uint64_t until = stat_get(&s->ejected_until);
    uint64_t row = place_in_row(s, now_us, time_us);
    uint64_t ends = now_us + (time_us << (row < DOUBLINGS_MAX ? row : DOUBLINGS_MAX));

    /* Who sets the time has the ejection: it stands before the state does, or whoever looks
     * meanwhile would find it over. */
    if (!(HEALTH_BIT(stat_get(&s->state)) & HEALTH_GOOD) ||
        !__atomic_compare_exchange_n(&s->ejected_until, &until, ends, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return false;
    if (!health_change(h, HEALTH_GOOD, SERVER_EJECTED, why, detail))
        return false;
    stat_set(&s->ejections_row, row + 1);
    stat_inc(&s->ejections);
    stat_set(&s->failures_row, 0);
    return true;
}

void health_settle(const struct health *h, uint64_t now_us, uint32_t slow_start_ms,
                   bool is_checked)
{
    enum server_state good = is_checked ? SERVER_UP : SERVER_UNCHECKED;
    uint64_t state = stat_get(&h->server->state);
    uint64_t passed = clock_wall_passed(stat_get(&h->server->since), now_us);

    if (state == SERVER_EJECTED &&
        (now_us >= stat_get(&h->server->ejected_until) || passed == UINT64_MAX))
        (void)health_change(h, HEALTH_BIT(SERVER_EJECTED),
                            slow_start_ms > 0 ? SERVER_STARTING : good, SERVER_WHY_EJECTION_OVER,
                            NULL);
    else if (state == SERVER_STARTING && passed >= (uint64_t)slow_start_ms * 1000)
        (void)health_change(h, HEALTH_BIT(SERVER_STARTING), good, SERVER_WHY_SLOW_START_OVER,
                            NULL);
}
