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
#include "common/core/stats.h"
#include "worker/io/conn.h"
#include "worker/io/tls.h"
#include "worker/up/balance.h"
#include "worker/up/budget.h"

struct backend;
struct latency;

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
    uint32_t refs;               /* the backend's, one a request, and those of who names it */
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
    struct budget budget;        /* of further tries */
    struct latency *latency;     /* latency.c's; NULL: nobody has asked yet */
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
/* Gives a reference back; the last one closes what is idle and frees. */
void backend_unref(struct backend **b);
/* Closes every idle connection (retiring). */
void up_close_idle(struct up *u);

/* Now and then: does what an operator's changes ask of backends that no request comes for. */
void up_tick(struct up *u);

struct up_request;

struct up_request_ops {
    /* A server was chosen, for the log: told before it is known whether it can be reached. */
    void (*on_chosen)(struct up_request *r, struct server *s);
    /* A connection; the request's server is set. May come from within the call that
     * asks for one. */
    void (*on_ready)(struct up_request *r, struct conn *c, bool is_reused);
    /* No connection is to be had: NO_SERVER, QUEUE_*, CONNECT_*, SERVER_TLS, SERVER_ALERT,
     * SERVER_CERT_*, EXHAUSTED. Ended already. */
    void (*on_failed)(struct up_request *r, enum end_reason why);
};

/* Servers that are remembered, and so the most further tries that are made. */
#define UP_TRIED_MAX 8

/* Embedded in whoever asks. Fill ops to server_local, zero the rest. */
struct up_request {
    const struct up_request_ops *ops;
    struct backend *backend;
    uint32_t connect_timeout_ms;
    uint32_t retries;            /* tries left after the first */
    uint32_t retry_on;           /* CONF_FAIL_ bits: after which failures they are made */
    bool can_reuse;              /* HTTP: an idle connection will do */
    bool is_said_once;           /* it could not be said again: only one that lives */
    struct slice alpn;           /* the protocol to be spoken within TLS; empty: any */
    struct ip client, local;     /* for send_proxy */
    /* set by this module */
    struct server *server;       /* chosen; NULL before and after */
    struct server *next;         /* between up_seek and up_again; charged */
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
    struct up_request *beside;   /* the other of two; a request counts once */
    bool is_begun, is_waiting;
};

/* How a request that had a server went, for its counters; status 0: none. */
struct up_result {
    unsigned status;
    enum end_reason why;
    const char *detail;          /* of why, static; NULL: there is no more */
    uint64_t latency_us;
    bool is_cut;                 /* nobody waited for the answer: it would have taken longer */
};

void up_begin(struct up_request *r);
/* As up_begin, for the request that `first` is at work on already: at a server that `first` has
 * not been at, if one has a place at once and the backend's budget permits. `r` is a copy of
 * `first`, of which it keeps what the caller has filled in. false: nothing has happened. */
bool up_hedge(struct up_request *r, struct up_request *first)
    __attribute__((warn_unused_result));
/* After on_ready, when the server failed, or its answer is not wanted (CONF_FAIL_ bits): finds
 * another server for another try, which up_again has to begin next. false: none is to be made, and
 * r is as it was. Servers that r was at already are not found again. */
bool up_seek(struct up_request *r, uint32_t failure) __attribute__((warn_unused_result));
/* The conn that on_ready gave must be gone. `result` is how the try before went, counted. */
void up_again(struct up_request *r, const struct up_result *result);
/* After on_ready, when a kept connection turns out to have died: a new one to the same server; or,
 * when that was taken out meanwhile, all anew, queue and all. Costs no try. */
void up_anew(struct up_request *r);
/* No further try of `r` goes to `s`. */
void up_avoid(struct up_request *r, struct server *s);
/* Ends it, whatever it is doing: place in the queue, connecting, or at a server. `result` may be
 * NULL (never got anywhere). The conn that on_ready gave is the user's. No callback comes. */
void up_end(struct up_request *r, const struct up_result *result);

/* Whoever names a server after its request has ended holds it: a reload may take it out. */
static inline struct server *server_ref(struct server *s)
{
    s->refs++;
    return s;
}
void server_unref(struct server **s);

/* A connection to `s` that may serve another request; taken over (closed if there is no use for
 * it). `s` is a request's server, before up_end. */
void server_keep(struct server *s, struct conn *c);

#endif
