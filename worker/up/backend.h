/* Backends and their servers as a worker knows them: choosing, connecting, queueing, keeping idle
 * connections. They outlive generations: a reload changes them in place (backends_apply), so that
 * idle connections, counts and turns of what did not change stay.
 *
 *   up_request: WAITING (queue) -> CONNECTING, with TLS -> READY (the user has the conn) -> ended
 *
 * Knows nothing of HTTP. Health and admin state are read from shared memory at each pick; weights,
 * when the backend's `changes` there is not what it was at the last. */
#ifndef RPD_UP_BACKEND_H
#define RPD_UP_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/hash.h"
#include "common/core/conf.h"
#include "common/core/flight.h"
#include "common/core/names.h"
#include "common/core/stats.h"
#include "worker/io/conn.h"
#include "worker/io/tls.h"
#include "worker/up/balance.h"

struct backend;

struct server {
    struct balance_node node;
    struct list link;            /* in backend->servers */
    struct list parked;          /* in backend->parked: full, not usable just now, or weight 0 */
    struct backend *backend;
    char *name;
    char *text;                  /* its address as configured: `host_header = server` */
    char *tls_name;              /* who it has to be; "": nobody (not verified) */
    struct tls_resumption *resumption; /* NULL: none yet */
    struct addr addr;
    uint32_t moves;              /* changes of where it is, or of how it is spoken to: conn.epoch
                                  * of what was connected since */
    uint32_t max_conns;          /* 0: any */
    uint32_t refs;               /* the backend's, and one a request */
    uint16_t flight_name;
    bool is_backup;
    bool is_removed;
    uint64_t logged_us;          /* last failure in the error log: one a second is enough */
    struct list idle;            /* struct idle_conn, the last used first */
    struct stats_server *stats;
    struct stats_server_shared *shared;
};

struct up {
    struct conn_pool *conns;
    struct loop *loop;
    struct segment *segment;
    struct stats_worker *stats;
    unsigned slot;
    struct flight *flight;       /* numbers names; NULL: nobody records. Set after up_init */
    const struct names *names;   /* answers of name servers; NULL: those of the configuration. The
                                  * same */
    struct smap backends;        /* by name */
    struct list all;             /* struct backend */
    void *free_idle;             /* struct idle_conn, recycled */
};

struct backend {
    struct list link;            /* in up->all */
    struct up *up;
    char *name;
    struct list servers;
    struct balance primary, backup;
    struct list parked;
    uint64_t parked_checked_us;
    struct list queue;           /* up_requests waiting, the oldest first */
    uint32_t queued, queue_max, queue_timeout_ms;
    struct timer queue_timer;    /* looks for places that other workers freed */
    struct list idle;            /* idle_conns of all servers, the oldest first */
    uint32_t idle_count, keepalive, keepalive_timeout_ms;
    enum conf_send_proxy send_proxy;
    struct tls_back *tls;        /* NULL: in the clear */
    uint32_t refs;               /* generations */
    uint64_t changes_seen;       /* of shared->changes */
    uint16_t flight_name;
    struct stats_backend *stats;
    struct stats_backend_shared *shared;
};

void up_init(struct up *u, struct conn_pool *conns, struct segment *segment, unsigned slot,
             struct stats_worker *stats);
/* Closes idle connections; no request may be in progress. */
void up_fini(struct up *u);
/* Makes or changes the backend of that name; the caller gets a reference. Its objects must be in
 * the segment. tls is NULL where the backend has none; a reference is taken. Aborts without memory
 * (generation build). */
struct backend *backend_apply(struct up *u, const struct conf_backend *conf, struct tls_back *tls);
/* The servers of `conf` in place of those that there are, nothing else: a name has another answer.
 * Those that stay keep all that they have; requests at those that went end there. */
void backend_servers(struct backend *b, const struct conf_backend *conf);
/* Gives a reference back; the last one closes what is idle and frees. */
void backend_unref(struct backend **b);
/* Closes every idle connection (retiring). */
void up_close_idle(struct up *u);

/* Now and then: does what an operator's changes ask of backends that no request comes for. */
void up_tick(struct up *u);

struct up_request;

struct up_request_ops {
    /* A server was chosen, for the log: told before it is known whether it can be reached. */
    void (*on_chosen)(struct up_request *r, const struct server *s);
    /* A connection; the request's server is set. May come from within up_begin and up_again. */
    void (*on_ready)(struct up_request *r, struct conn *c, bool is_reused);
    /* No connection is to be had: NO_SERVER, QUEUE_*, CONNECT_*, SERVER_TLS, SERVER_ALERT,
     * SERVER_CERT_*, EXHAUSTED. Ended already. */
    void (*on_failed)(struct up_request *r, enum end_reason why);
};

#define UP_TRIED_MAX 8

/* Embedded in whoever asks. Fill ops to server_local, zero the rest. */
struct up_request {
    const struct up_request_ops *ops;
    struct backend *backend;
    uint32_t connect_timeout_ms;
    uint32_t retries;            /* tries left after the first */
    bool can_reuse;              /* HTTP: an idle connection will do */
    bool is_said_once;           /* it could not be said again: only one that lives */
    struct slice alpn;           /* the protocol to be spoken within TLS; empty: any */
    struct ip client, local;     /* for send_proxy */
    /* set by this module */
    struct server *server;       /* chosen; NULL before and after */
    uint32_t retried;            /* further tries made */
    uint64_t connect_us;         /* time it took to connect, 0 for a reused connection */
    uint64_t began_us;
    struct conn *conn;           /* while connecting */
    struct list wait;
    struct task fail;            /* goes on after a failure noticed within a call */
    enum end_reason why;
    const char *detail;          /* of why, in TLS's own words; static; NULL: there is no more */
    uint32_t ntried;
    struct server *tried[UP_TRIED_MAX];
    bool is_begun, is_waiting;
};

/* How a request that had a server went, for its counters; status 0: none. */
struct up_result {
    unsigned status;
    enum end_reason why;
    const char *detail;          /* of why, static; NULL: there is no more */
    uint64_t latency_us;
};

void up_begin(struct up_request *r);
/* After on_ready, when the server failed for `why` before an answer: tries another server. With
 * is_free (a kept connection that had died) it costs no retry, and makes a new connection to the
 * same server; or, when that was taken out meanwhile, begins anew, queue and all. false: no try
 * is left; r is as it was. */
bool up_again(struct up_request *r, enum end_reason why, bool is_free);
/* Ends it, whatever it is doing: place in the queue, connecting, or at a server. `result` may be
 * NULL (never got anywhere). The conn that on_ready gave is the user's. No callback comes. */
void up_end(struct up_request *r, const struct up_result *result);

/* A connection to `s` that may serve another request; taken over (closed if there is no use for
 * it). `s` is a request's server, before up_end. */
void server_keep(struct server *s, struct conn *c);

#endif
