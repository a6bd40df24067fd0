/* One client connection of HTTP/1, as h1_down.c (what comes in, and the connection's life) and
 * h1_down_out.c (what the stream sends) share it.
 *
 *   IDLE -> HEAD -> BODY -> ANSWER -> IDLE ...    ANSWER: the request is in, its answer is not out
 *                        -> TUNNEL                any -> closed
 */
#ifndef RPD_HTTP_H1_DOWN_IMPL_H
#define RPD_HTTP_H1_DOWN_IMPL_H

#include "worker/http/h1_down.h"
#include "worker/http/h1_gather.h"

enum down_state { DOWN_IDLE, DOWN_HEAD, DOWN_BODY, DOWN_ANSWER, DOWN_TUNNEL };

/* What only a request in progress needs: in its stream's arena. */
struct h1_down_request {
    llhttp_t parser;
    struct h1_body body;
};

struct h1_down {
    struct side side;
    struct conn *conn;
    struct http_service *svc;
    struct h1_down_pool *pool;
    struct list link;          /* in pool->open; in the free list `next` alone */
    struct buf *in;            /* bytes read, not yet consumed */
    struct h1_gather gather;
    struct task task;          /* does what `later` says */
    struct h1_down_request *ex;
    int64_t credit;            /* request body bytes that may be delivered; negative: overdrawn */
    uint64_t queued;           /* response body bytes in conn->out not yet reported */
    uint8_t state;
    uint8_t framing;           /* of the response */
    uint8_t later;             /* LATER_ bits */
    bool is_head_sent : 1;     /* the final response's */
    bool is_response_done : 1; /* send_end was called */
    bool is_request_done : 1;
    bool must_close : 1;
    bool is_close_asked : 1;   /* the client sends nothing after this request */
    bool is_busy : 1;
    bool is_eof_told : 1;
    bool is_bulk : 1;
    bool is_first : 1;         /* no request has come yet */
};

/* What must not be done within the stream's or the conn's call; in this order. */
enum { LATER_SHED = 1, LATER_RESET = 2, LATER_ANSWERED = 4, LATER_READ = 8 };

extern const struct side_ops h1_down_side_ops;

/* Only the connection's end says where the response ends, and it has not got there. */
static inline bool h1_down_is_cut(const struct h1_down *d)
{
    return d->is_head_sent && !d->is_response_done && d->framing == H1_FRAME_CLOSE;
}

/* The `later` task: does what the bits say when the caller's stack has unwound. */
void h1_down_later(struct h1_down *d, unsigned what);
/* As h1_down_later, but when what is queued now was sent. */
void h1_down_after_flush(struct h1_down *d, unsigned what);
void h1_down_on_later(struct task *t);
/* conn_user's: bytes came, or credit did. */
void h1_down_on_readable(struct conn *c);
void h1_down_on_sent(struct conn *c, size_t n);
/* Whose turn it is decides on the timer. */
void h1_down_arm(struct h1_down *d);
/* Output was queued. */
void h1_down_flush(struct h1_down *d);

/* The end of the connection, and of d: at once; after what is queued has left; with a RST;
 * because the client is gone, which its stream is told first. */
void h1_down_close(struct h1_down *d);
void h1_down_close_gently(struct h1_down *d);
void h1_down_close_reset(struct h1_down *d);
void h1_down_gone(struct h1_down *d, enum end_reason why);

#endif
