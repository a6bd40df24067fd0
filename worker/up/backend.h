/* Backends and their servers as a worker knows them: choosing, connecting, queueing, keeping idle
 * connections. They outlive generations: a reload changes them in place (backends_apply), so that
 * idle connections, counts and turns of what did not change stay.
 *
 *   up_request: WAITING (queue) -> CONNECTING, with TLS -> READY (the user has the conn) -> ended
 *
 * Knows nothing of HTTP. The state of who is picked is read from shared memory at each pick; that
 * of the others, and weights, when the backend's `changes` there is not what it was at the last. */
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
#include "worker/up/budget.h"
#include "worker/up/draw.h"
#include "worker/up/ring.h"

struct backend;
struct balance_ops;
struct latency;

struct server {
    struct balance_node node;    /* its weight: of this moment, while it starts slowly */
    struct list link;            /* in backend->servers */
    struct list parked;          /* in its tier's full or out, when it is not in */
    struct backend *backend;
    struct tier *tier;           /* whose member it is */
    char *name;
    char *text;                  /* its address as configured: `host_header = server` */
    char *tls_name;              /* who it has to be; "": nobody (not verified) */
    struct tls_resumption *resumption; /* NULL: none yet */
    struct addr addr;
    uint32_t moves;              /* changes of where it is, or of how it is spoken to: conn.epoch
                                  * of what was connected since */
    uint32_t max_conns;          /* 0: any */
    uint32_t place;              /* among its tier's members */
    uint32_t conf_weight;        /* as configured */
    uint32_t ring_weight;        /* that its points were made by */
    uint64_t stick;              /* its names' hash: what a client's cookie calls it */
    uint32_t refs;               /* the backend's, one a request, and those of who names it */
    uint16_t flight_name;
    bool is_backup;
    bool is_removed;
    bool is_in;                  /* may be picked, as far as is known */
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
    uint64_t wall_offset;        /* the wall's clock less the loop's */
    struct smap backends;        /* by name */
    struct list all;             /* struct backend */
    void *free_idle;             /* struct idle_conn, recycled */
};

/* Servers that are equals: all but the backups, or these. By the backend's `balance` those that
 * are in are in the heap or have a weight in the draw; members, and with them the ring, are all. */
struct tier {
    struct balance heap;         /* round_robin, least_conn */
    struct draw draw;            /* random, ewma, hash */
    struct ring ring;            /* hash, sticky = source */
    struct server **members;
    size_t nmembers, in;
    struct list full, out;       /* servers at max_conns; not usable, or of weight 0 */
    size_t cursor;               /* least_conn: who is counted anew next */
};

struct backend {
    struct list link;            /* in up->all */
    struct up *up;
    char *name;
    struct list servers;
    const struct balance_ops *ops;
    enum conf_balance balance;
    enum conf_sticky sticky;
    struct tier primary, backup;
    struct smap sticks;          /* sticky = cookie: servers by `stick` */
    uint64_t full_checked_us;
    uint64_t look_at_us;         /* when health changes by itself next: an ejection, slow start */
    uint32_t slow_start_ms, eject_after, eject_on, eject_time_ms, eject_max, panic;
    bool is_checked;             /* has active checks */
    bool is_panic;               /* so few are healthy that all primaries are used */
    bool has_limit;              /* some server has max_conns */
    uint64_t yield_to, yield_us; /* the waiter of another worker who goes first, since when */
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
/* Its servers, as conf's settings have them: `servers` in their order, known ones kept, others
 * retired. Part of backend_apply; for itself where names lead to other servers than before. Their
 * objects must be in the segment. Aborts without memory. */
void backend_servers(struct backend *b, const struct conf_backend *conf,
                     const struct conf_servers *servers);
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
    uint64_t hash;               /* ring_hash of balance = hash's key, if has_hash */
    uint64_t stick;              /* sticky: the cookie's value, or the hash of the client's address;
                                  * 0: none */
    bool has_hash;
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
    uint64_t tried[UP_TRIED_MAX]; /* their `stick`: a reload may free them */
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
/* `s` was avoided, but has not failed: sticky clients stay with it. */
void up_spare(struct up_request *r, const struct server *s);
/* For balance = ewma: how long the server took to a final head, or (tcp) to connect. */
void server_timed(struct server *s, uint64_t latency_us);
/* Its server has answered so. */
static inline void up_answered(struct up_request *r, uint64_t latency_us)
{
    if (r->backend->balance == CONF_BALANCE_EWMA)
        server_timed(r->server, latency_us);
}
/* sticky = cookie: the value by which the client of `r`, which has a server, is to come back; 0:
 * the one it came with still holds, or the backend has no cookies. */
uint64_t up_stick(const struct up_request *r);
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
