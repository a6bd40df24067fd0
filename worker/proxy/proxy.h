/* What the proxy's parts share: the worker's resources, and one listener as its connections see
 * it. worker/main.c makes both. */
#ifndef RPD_PROXY_PROXY_H
#define RPD_PROXY_PROXY_H

#include "worker/http/compress.h"
#include "worker/http/h1_down.h"
#include "worker/io/acceptor.h"
#include "worker/proxy/access_log.h"
#include "worker/proxy/generation.h"
#include "worker/proxy/recorder.h"
#include "worker/proxy/rules.h"

/* Requests of rpd's own (aside.c), and those of them that are copies of others (mirror.c). */
struct asides {
    struct list mirrors;   /* struct aside */
    size_t nmirrors;
    uint64_t draws;        /* where the even sequence of mirror.c is */
    uint64_t held;         /* bytes of bodies that have not left */
    void *free;            /* struct aside, recycled */
    size_t nfree;
};

struct proxy {
    struct loop loop;
    struct buf_pool bufs;
    struct conn_pool conns;
    struct arena_pool arenas;
    struct h1_down_pool h1_downs;
    struct accept_gate gate;
    struct access_log log;
    struct up up;
    struct compress_pool compressors;
    struct limits *limits;         /* memory that all workers share; NULL: none */
    struct recorder recorder;
    struct stats_worker *stats;
    struct generation *generation; /* in force; NULL before the first */
    void *free_exchanges;          /* struct exchange, recycled (l7.c) */
    size_t free_exchange_count;
    struct demand exchanges;
    struct list sessions;          /* struct session (l4.c) */
    struct list greetings;         /* struct greeting (front.c) */
    struct request_ids ids;
    struct passwords *passwords;   /* auth_basic.c's; NULL until one is asked for */
    struct regex_room *regexes;    /* where all patterns are matched */
    struct asides asides;
    uint64_t draws;                /* where the even sequence of split.c is */
    uint64_t fault_draws;          /* requests that fault.c has drawn for, from a seed on */
    bool is_retiring;
};

/* A listener over generations: named, counted by its connections. */
struct listener {
    struct list link;              /* worker/main.c's list */
    struct proxy *proxy;
    struct http_service http;      /* limits follow the generation */
    struct generation *generation; /* the last that had it; a reference */
    const struct conf_listener *conf; /* of that generation */
    bool is_removed;
    struct stats_listener *stats;
    char *name;
    uint16_t flight_name;
    uint32_t refs;                 /* connections, and one while it is configured */
};

/* Takes over an accepted socket and sees it through (front.c). */
void front_accept(struct listener *l, int fd, const struct ip *peer);
/* One client connection of the listener less: what closes it calls this. */
void front_closed(struct listener *l);
/* Closes those that have said nothing yet; those that have begun may go on. */
void front_retire(struct proxy *p);
/* Ends at once those whose PROXY header, ClientHello or handshake is not complete. */
void front_abort(struct proxy *p);
void listener_unref(struct listener **l);

/* http: the service that opens streams (l7.c). */
extern const struct http_service_ops l7_service_ops;
/* Once a second: pools give back what they did not need lately. */
void proxy_tick(struct proxy *p);
/* Gives the memory of finished ones back; none may be in progress. */
void exchanges_fini(struct proxy *p);

/* Counts a stream or session that was given up for want of memory or descriptors. */
void proxy_count_shed(struct proxy *p, enum end_reason why);

/* Where a session goes. */
struct session_way {
    struct generation *generation;       /* whose rules it keeps to; it takes a reference */
    const struct conf_route *route;      /* NULL: default_backend is its way */
    const struct conf_backend *backend;  /* NULL: nowhere, it is closed */
    struct slice sni;                    /* for the log; copied */
};

/* tcp: a session from an accepted conn (l4.c); `first` are bytes of it read already. Takes both
 * over. */
void session_start(struct listener *l, struct conn *c, struct bufq *first,
                   const struct session_way *way);
/* Ends all sessions at once. */
void sessions_abort(struct proxy *p);

#endif
