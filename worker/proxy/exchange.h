/* A stream as the proxy runs it: one request, from its head to its log line. Split over l7.c (the
 * client's side, and where it goes), steps.c (what stands before that), body.c (its body),
 * attempt.c (its tries at servers), hedge.c (a second one beside the first), reply.c (answers made
 * here) and finish.c (counting, logging). */
#ifndef RPD_PROXY_EXCHANGE_H
#define RPD_PROXY_EXCHANGE_H

#include "worker/http/h1_up.h"
#include "worker/io/timer.h"
#include "worker/proxy/proxy.h"
#include "worker/proxy/spool.h"

/*   OPENED -> STEPPING -> any of those below
 *          -> DRAINING ---------------------------> ANSWERING -> finished
 *          -> SPOOLING -> FORWARDING -> (response) -^
 *                                    -> TUNNELLING -^                                  */
enum exchange_state {
    X_OPENED,     /* no head yet */
    X_STEPPING,   /* the route's steps (steps.h): who may, how often, as whom */
    X_DRAINING,   /* a canned answer waits for the end of a small request body */
    X_SPOOLING,   /* buffer_request: the body is being taken in */
    X_FORWARDING, /* at a server, or waiting for one; no final head yet */
    X_ANSWERING,  /* the final head was sent to the client */
    X_TUNNELLING, /* 101 */
};

/* One try of a request, and those that follow it when it fails: at one server at a time. */
struct attempt {
    struct exchange *exchange;
    struct up_request up;
    uint64_t sent_us;      /* the request was handed to the server; 0: not yet */
    uint64_t read_at;      /* bytes of the kept body that its side was given */
    uint64_t gone;         /* body bytes that have left that */
    bool is_open : 1;      /* up_begin without up_end */
    bool is_connected : 1; /* the side is there */
    bool has_timer : 1;
    struct h1_up h1_up;    /* h1_up_init sets it, nobody before */
    struct timer timer;    /* of retry_timeout, if has_timer */
};

struct limit_uses;

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
    struct slice raw_path;          /* the path as it came, where it was not normal; else p NULL */
    struct slice new_path;          /* what the server gets instead of the path; p NULL: the path */
    const struct regex_captures *captures; /* of the route's path_regex; NULL: it has none */
    const struct conf_fault *fault; /* the last that befell it; NULL: none */
    struct fault_wait *fault_wait;  /* in the arena, while one delays it */
    struct slice cors_origin;       /* who may read the answer, if is_cors_known; p NULL: nobody */
    struct spool *spool;            /* the body as far as it came; in the arena. NULL: not kept */
    const struct fields *trailers;  /* of the request, once it is done */
    struct slice auth_user;         /* who showed a good password; in the arena */
    struct password_wait *password; /* in the arena; while CONF_STEP_BASIC waits */
    const char *backend_name;       /* NULL: it was for none */
    struct server *server;          /* whom the log names; a reference. NULL: there was none */
    struct limit_uses *limits;      /* what it took of them; in the arena. NULL: nothing */
    const char *detail;             /* of `end`, static; NULL: it says all */
    struct flight_record *flight;   /* from the request's head; NULL: none was left */
    const struct jwt_claims *claims; /* of the token that let it in; NULL: none was asked for */
    uint64_t mark;                  /* of a client new to a split or canary: its cookie's; 0: none
                                       is due */
    uint64_t began_us;              /* of the loop's clock */
    uint64_t response_us;           /* UINT64_MAX: no response head */
    uint64_t connect_us;
    uint64_t drained;
    struct encode *encode;          /* compresses the response; NULL: it is sent as it is */
    struct slice rest;              /* of an answer made here: what was not sent yet */
    uint64_t rest_on_way;           /* bytes of it that were sent and have not left */
    uint64_t granted;               /* body bytes, while they are for a server */
    struct auth_request *auth;      /* in the arena; NULL: nobody was asked */
    struct aside *mirror;           /* the request's copy, while it is told more; else NULL */
    struct attempt *lead;           /* whose side is stream.up once it is there */
    struct attempt *rival;          /* the other, while two are under way */
    struct attempt *hedge;          /* the second, in the arena; NULL: there was none */
    uint32_t retries_left;          /* while two are under way: theirs, that have none then */
    uint16_t status;
    uint16_t server_flight_name;
    enum end_reason end;
    enum exchange_state state;
    uint8_t coding;                 /* enum conf_coding: what the client takes; if is_ruled */
    uint8_t step;                   /* the next in steps.c's table */
    bool is_step_waiting : 1;       /* the one before it */
    bool is_cors_known : 1;         /* cors.c has looked at the request */
    bool is_preflight : 1;
    bool is_request_done : 1;
    bool is_body_sent : 1;          /* body bytes went to a server and were not kept */
    bool is_continued : 1;          /* the client was told 100 */
    bool is_error_told : 1;         /* of `end`, by an answer made here */
    bool is_ruled : 1;              /* the route's request_header rules were applied */
    bool is_tester : 1;             /* of a canary */
    bool is_mirror_drawn : 1;       /* whether it has a copy was decided */
    bool has_hedge_timer : 1;
    struct attempt first;           /* last, for what of it is not set at first */
    struct timer hedge_timer;       /* if has_hedge_timer */
};

/* reply.c: an answer made here; the final one. Memory exhausted: the side is reset. */
void reply_text(struct exchange *x, unsigned status, struct slice location, struct slice body);
/* The route's respond or respond_file. */
void reply_route(struct exchange *x);
/* So many bytes of an answer made here have left. */
void reply_go_on(struct exchange *x, uint64_t bytes);
/* With Proxy-Status (RFC 9209), by the reason's status. */
void reply_error(struct exchange *x, enum end_reason why);
/* The same with another status (0: the reason's) and with n fields more, whose names and values
 * outlive the stream or are in its arena. The route's response_header rules apply as well. */
void reply_error_with(struct exchange *x, enum end_reason why, unsigned status,
                      const struct field *extra, size_t n);
/* What a server that was asked about the request has said against it, `why`: h's status and fields,
 * which are changed, and the body. */
void reply_of_server(struct exchange *x, enum end_reason why, struct head *h, struct slice body);

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

/* l7.c: nothing stands against the request: the route's answer, or a server's. */
void exchange_answer(struct exchange *x);
/* The down side broke off for us. */
void exchange_abort(struct exchange *x, enum end_reason why);
/* It cannot be gone on with: an error answer while that can still be given. */
void exchange_fail(struct exchange *x, enum end_reason why);
/* Further tries that were made, the second one of a hedge not counted. */
uint32_t exchange_retries(const struct exchange *x);

#endif
