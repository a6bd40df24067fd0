/* A server's health as all processes see it: one word of shared memory. The helper's checks, the
 * workers' ejections and the master's configuration change it by compare-and-swap, so each change
 * is made, counted and logged once, by whoever came first.
 *
 *     UNCHECKED --check--> UP <--> DOWN          UNCHECKED, UP, STARTING --failures--> EJECTED
 *     DOWN, EJECTED --slow_start--> STARTING --time--> UP or UNCHECKED
 *     EJECTED --time, or a check--> UP or UNCHECKED
 */
#ifndef RPD_CORE_HEALTH_H
#define RPD_CORE_HEALTH_H

#include <stdbool.h>
#include "common/core/stats.h"

struct health {
    const char *backend_name, *server_name; /* for the log */
    struct stats_server_shared *server;
    struct stats_backend_shared *backend;
};

#define HEALTH_BIT(state) (1u << (state))
/* Takes requests, as far as health goes. */
#define HEALTH_GOOD (HEALTH_BIT(SERVER_UNCHECKED) | HEALTH_BIT(SERVER_UP) | \
                     HEALTH_BIT(SERVER_STARTING))

static inline bool health_is_good(const struct stats_server_shared *s)
{
    return (HEALTH_BIT(stat_get(&s->state)) & HEALTH_GOOD) != 0;
}

/* Makes its state `to` if it is one of `from` (HEALTH_BITs, without `to`'s), with since and why;
 * tells the workers and the log, where `detail` (NULL: none) says more. Whether it was this call
 * that did. */
bool health_change(const struct health *h, unsigned from, enum server_state to,
                   enum server_why why, const char *detail);

/* Out for failures: for eject_time_ms, twice as long for each ejection in a row (64 times at most;
 * a row ends when the server stayed in for as long as it had been out). `now_us` of the wall's
 * clock. false: it is out already. */
bool health_eject(const struct health *h, uint64_t now_us, uint32_t eject_time_ms,
                  enum server_why why, const char *detail);
/* Back from ejection when its time is over, and from slow start when that is: called by whoever
 * looks. Both are over when the clock was set back. `is_checked`: the backend has checks. */
void health_settle(const struct health *h, uint64_t now_us, uint32_t slow_start_ms,
                   bool is_checked);

#endif
