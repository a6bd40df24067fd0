/* What backend.c (who is there), request.c and again.c (who gets whom) and idle.c (what is kept) of
 * this folder share. */
#ifndef RPD_UP_INTERNAL_H
#define RPD_UP_INTERNAL_H

#include "worker/up/backend.h"

/* One request more or less at s: heaps, gauges. */
void server_take(struct server *s);
void server_release(struct server *s);
/* The best usable server that is not in tried[]; NULL if none is. *is_full: some server was
 * passed over only because it is at max_conns. The server comes with one request charged
 * (server_take). */
struct server *backend_pick(struct backend *b, struct server *const *tried, uint32_t ntried,
                            bool *is_full);
bool server_is_usable(const struct server *s);
/* Tries to charge this one server. */
bool server_try_take(struct server *s);
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

/* What its certificate has to name: tls_name or, where that is "", its host. false: that is not
 * what it was. */
bool server_name_it(struct server *s, const char *tls_name);
/* TLS over a connection to it, as the backend's settings say. -1 with errno: nothing happened. */
int server_secure(struct server *s, struct conn *c, struct slice alpn);
/* How that went: counted. With the errno that on_connected was told. */
void server_secured(struct server *s, const struct conn *c);
enum end_reason server_insecure(struct server *s, const struct conn *c, int error);

/* The connection used last, out of the pool, or NULL. */
struct conn *server_idle_get(struct server *s, bool must_live);
void server_idle_close(struct server *s);
/* Closes the oldest until at most `max` are left. */
void backend_idle_trim(struct backend *b, uint32_t max);

#endif
