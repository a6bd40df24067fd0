/* A request of rpd's own, aside of an exchange: it goes to a server of another backend by the same
 * machinery of balance, health, kept connections and retries, and counts there like any other. Its
 * head is its own copy, its body is fed to it, its answer is collected or dropped. Called by
 * auth_request.c, which waits for the answer, and by mirror.c, which does not.
 *
 *   aside_new -> (its head is filled in) -> aside_begin -> on_head -> on_end
 *                                        aside_cancel: no callback comes any more */
#ifndef RPD_PROXY_ASIDE_H
#define RPD_PROXY_ASIDE_H

#include "worker/proxy/exchange.h"

struct aside;

struct aside_ops {
    /* The final head, whose memory goes after the call; not to be cancelled from within it. NULL:
     * nobody wants it. */
    void (*on_head)(struct aside *a, const struct head *h);
    /* END_OK: it was answered (status, aside_answer). It is gone after the call. */
    void (*on_end)(struct aside *a, enum end_reason why);
};

struct aside_way {
    const struct aside_ops *ops;
    const struct conf_backend *backend;
    uint32_t timeout_ms;  /* of all of it, from the end of the request on */
    uint32_t retries;     /* of one without a body */
    uint64_t answer_max;  /* bytes of the answer's body that are collected; 0: it is dropped */
    bool has_body;        /* it is fed to it, and ends with aside_body_end */
    bool is_host_server;  /* host_header = server */
};

struct aside {
    struct stream stream;          /* has an up side only; its request and arena are the aside's */
    struct dead dead;
    struct list link;              /* the user's */
    struct proxy *proxy;
    struct generation *generation;
    struct exchange *exchange;     /* the user clears it where the aside outlives it */
    struct stats_route *stats;     /* of the exchange's route; NULL: it has none */
    struct aside_way way;
    struct up_request up;
    struct timer timer;            /* of timeout_ms */
    uint64_t sent_us;              /* the request was handed to a server; 0: not yet */
    uint32_t response_timeout_ms, max_header_size;
    const char *detail;            /* of a failure, static; NULL: there is no more */
    struct bufq body;              /* of the request, not given to the side yet */
    uint64_t on_way;               /* bytes that were, and have not left */
    uint64_t held;                 /* both */
    uint64_t body_at;              /* bytes of the body that were fed */
    const struct fields *trailers;
    struct bufq answer;
    uint16_t status;               /* of the final head; 0: none yet */
    bool is_too_long : 1;          /* the answer had more than answer_max: that is not there */
    bool is_body_done : 1;
    bool is_open : 1;              /* up_begin without up_end */
    bool is_connected : 1;         /* the side is there */
    struct h1_up h1_up;            /* h1_up_init sets it, nobody before */
};

/* With an empty head (stream.request) in an arena of its own; NULL: memory exhausted. */
struct aside *aside_new(struct exchange *x, const struct aside_way *way)
    __attribute__((warn_unused_result));
/* Copies all fields behind those of `to`, into its arena; false: memory exhausted. */
bool aside_copy_fields(struct fields *to, const struct fields *from)
    __attribute__((warn_unused_result));
/* The head is complete. No callback comes from within this call. */
void aside_begin(struct aside *a);
/* The body goes on; copied. false: it would hold more than it may, or memory is exhausted, and
 * nothing has happened. */
bool aside_body(struct aside *a, struct slice bytes) __attribute__((warn_unused_result));
/* It is complete; trailers are copied, NULL: none. */
void aside_body_end(struct aside *a, const struct fields *trailers);
/* Within on_end: the answer's body, copied in one piece; p NULL: memory exhausted. */
struct slice aside_answer(const struct aside *a, struct arena *arena);
/* Breaks it off, whatever it is doing; no server is to blame. Clears *a; NULL is fine. */
void aside_cancel(struct aside **a);

void asides_init(struct proxy *p);
/* Ends those that are on their own: the exchanges have ended. Not from within a callback. */
void asides_fini(struct proxy *p);

#endif
