/* A stream as the proxy runs it: one request, from its head to its log line. Split over l7.c (the
 * steps), reply.c (answers made here) and finish.c (counting and logging). */
#ifndef RPD_PROXY_EXCHANGE_H
#define RPD_PROXY_EXCHANGE_H

#include "worker/http/h1_up.h"
#include "worker/proxy/proxy.h"
#include "worker/proxy/spool.h"

/*   OPENED -> DRAINING ---------------------------> ANSWERING -> finished
 *          -> SPOOLING -> FORWARDING -> (response) -^
 *                                    -> TUNNELLING -^                                  */
enum exchange_state {
    X_OPENED,     /* no head yet */
    X_DRAINING,   /* a canned answer waits for the end of a small request body */
    X_SPOOLING,   /* buffer_request: the body is being taken in */
    X_FORWARDING, /* at a server, or waiting for one; no final head yet */
    X_ANSWERING,  /* the final head was sent to the client */
    X_TUNNELLING, /* 101 */
};

struct exchange {
    struct stream stream;
    struct dead dead;
    struct proxy *proxy;
    struct listener *listener;
    struct generation *generation;
    const struct conf_route *route; /* after routing; conf->route_defaults for default_backend */
    const struct conf_backend *backend;
    struct stats_route *route_stats; /* NULL: no route of the configuration took it */
    struct conn *client;            /* the down side's, while it is there */
    struct tls_info *tls;           /* its; a reference. NULL: in the clear */
    struct ip peer;
    struct forwarded forwarded;
    struct up_request up;
    struct spool *spool;            /* in the arena */
    const char *backend_name, *server_name; /* NULL or in the arena */
    const char *detail;             /* of `end`, static; NULL: it says all */
    struct flight_record *flight;   /* from the request's head; NULL: none was left */
    uint64_t began_us;              /* of the loop's clock */
    uint64_t sent_us;               /* request handed to the server */
    uint64_t response_us;           /* UINT64_MAX: no response head */
    uint64_t connect_us;
    uint64_t drained;
    uint64_t unsent;                /* spooled bytes given to the up side and not yet gone */
    uint16_t status;
    uint16_t server_flight_name;
    enum end_reason end;
    enum exchange_state state;
    bool is_request_done : 1;
    bool is_body_sent : 1;          /* body bytes went to a server: no retry without a spool */
    bool is_granted : 1;            /* the down side got its first credit */
    bool is_ruled : 1;              /* the route's request_header rules were applied */
    bool is_up_open : 1;            /* up_begin without up_end */
    struct h1_up h1_up;             /* last: h1_up_init sets it, nobody before */
};

/* reply.c: an answer made here; the final one. Memory exhausted: the side is reset. */
void reply_text(struct exchange *x, unsigned status, struct slice location, struct slice body);
/* With Proxy-Status (RFC 9209), by the reason's status. */
void reply_error(struct exchange *x, enum end_reason why);

/* finish.c: variables of this exchange as they are now. */
void exchange_vars(const struct exchange *x, struct vars *v);
/* The route's rules on a head of this exchange; false: memory exhausted. */
bool exchange_rules(const struct exchange *x, const struct conf_field_rules *rules,
                    struct fields *f) __attribute__((warn_unused_result));
/* Counts, logs and frees; both sides are gone or done. `down` is where the bytes were counted. */
void exchange_finish(struct exchange *x, const struct side *down, enum end_reason why);

/* recorder.c: its record in the flight recorder, from its head on; as it gets on; at its end. */
void exchange_record(struct exchange *x);
void exchange_record_backend(struct exchange *x);
void exchange_record_server(struct exchange *x, const struct server *s);
void exchange_record_sent(struct exchange *x, bool is_reused);
void exchange_record_response(struct exchange *x);
void exchange_record_end(struct exchange *x, const struct side *down);

/* l7.c: the down side broke off for us. */
void exchange_abort(struct exchange *x, enum end_reason why);

#endif
