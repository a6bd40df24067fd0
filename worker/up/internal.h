/* What the files of this folder share: backend.c (who is there), watch.c (who is in: health,
 * weights, panic), choose.c (who is next), request.c and again.c (who gets whom), turn.c (whose
 * turn it is among workers), idle.c (what is kept). */
#ifndef RPD_UP_INTERNAL_H
#define RPD_UP_INTERNAL_H

#include "common/core/health.h"
#include "worker/up/backend.h"

/* ---- backend.c ---- */

void server_unref(struct server **s);

/* ---- choose.c ---- */

const struct balance_ops *balance_ops_of(enum conf_balance how);
/* A server that is in is one that algorithms find. Weight is set before (server_weigh). */
void server_enter(struct server *s);
void server_leave(struct server *s);
/* Of a server that is in or not; the node's units, not 0. */
void server_reweigh(struct server *s, uint32_t weight);
/* One request more or less at s: heaps, gauges. */
void server_take(struct server *s);
void server_release(struct server *s);
/* Requests at it over all workers. */
uint64_t server_active(const struct server *s);
/* Tries to charge this one server; not more than max_conns over all workers. */
bool server_try_take(struct server *s);
/* The server for r: that which it sticks to, or the best usable one that is not in r->tried; NULL
 * if none is. *is_full: some server was passed over only because it is at max_conns. The server
 * comes with one request charged (server_take). */
struct server *backend_pick(struct backend *b, const struct up_request *r, bool *is_full);
/* It is no backup, or all others are out. */
bool server_has_turn(const struct server *s);
/* balance = ewma: it failed. */
void server_failed(struct server *s);

/* ---- watch.c ---- */

/* The wall's clock, as of the loop's. */
static inline uint64_t up_wall_us(const struct up *up)
{
    return up->loop->now_us + up->wall_offset;
}
bool server_is_usable(const struct server *s);
/* Usable but for being drained: for clients who have begun with it. */
bool server_is_kept(const struct server *s);
/* Takes the weight in force over; false for 0, which no node has. */
bool server_weigh(struct server *s);
/* Where it belongs: in, or out. */
void server_settle(struct server *s);
/* What changed in shared memory, or by time alone: weights, health, and who is in. */
void backend_follow(struct backend *b);
static inline void backend_look(struct backend *b)
{
    if (stat_is_changed(&b->shared->changes, &b->changes_seen) ||
        b->up->loop->now_us >= b->look_at_us)
        backend_follow(b);
}
/* A try at it is over: passive health. */
void server_judge_closely(struct server *s, enum end_reason why, unsigned status);
static inline void server_judge(struct server *s, enum end_reason why, unsigned status)
{
    if (why != END_OK || status >= 500 || stat_get(&s->shared->failures_row) != 0)
        server_judge_closely(s, why, status);
}

/* ---- request.c ---- */

/* A place at s became free: the request that waited longest gets it. */
void backend_wake(struct backend *b, struct server *s);
void backend_queue_timer(struct timer *t);
/* The request's server, or one that was charged for it, is left; who waits for a place there gets
 * it. */
void server_give_back(struct server *s);

/* Steps of a request. All that this module sets but tried, anew. */
void request_begin(struct up_request *r);
/* To a server, if one has a place, or into the queue. */
void request_attempt(struct up_request *r);
/* To `s`, where it has a place already: a kept connection, or a new one. */
void request_go(struct up_request *r, struct server *s, bool can_reuse);
void request_connect(struct up_request *r);
void request_leave(struct up_request *r);
/* From its server, where it failed, to r->next. */
void request_move_on(struct up_request *r);
/* How it went at its server. */
void request_count(struct server *s, const struct up_result *result);

/* ---- turn.c ---- */

/* For the other workers: since when this one's oldest request has waited. */
void turn_tell(struct backend *b);
/* Whether the place that there is is to be left to another worker, whose oldest request has waited
 * longer than `since`: it finds it at its next look. But one that does not come for it is not
 * waited for. */
bool turn_yields(struct backend *b, uint64_t since);

/* ---- tls.c ---- */

/* What its certificate has to name: tls_name or, where that is "", its host. false: that is not
 * what it was. */
bool server_name_it(struct server *s, const char *tls_name);
/* TLS over a connection to it, as the backend's settings say. -1 with errno: nothing happened. */
int server_secure(struct server *s, struct conn *c, struct slice alpn);
/* How that went: counted. With the errno that on_connected was told. */
void server_secured(struct server *s, const struct conn *c);
enum end_reason server_insecure(struct server *s, const struct conn *c, int error);

/* ---- idle.c ---- */

/* The connection used last, out of the pool, or NULL. */
struct conn *server_idle_get(struct server *s, bool must_live);
void server_idle_close(struct server *s);
/* Closes the oldest until at most `max` are left. */
void backend_idle_trim(struct backend *b, uint32_t max);

#endif
