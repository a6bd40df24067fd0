/* What backend.c (who is there), request.c (who gets whom) and idle.c (what is kept) of this
 * folder share. */
#ifndef RPD_UP_INTERNAL_H
#define RPD_UP_INTERNAL_H

#include "worker/up/backend.h"

void server_unref(struct server **s);
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
