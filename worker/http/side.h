/* A stream joins two sides: `down` (the client's) and `up` (a server's, a canned reply, a cache).
 * Whatever the protocol, a side is asked by side_ops and tells by stream_ops.
 *
 *            on_head on_data on_end on_credit on_done on_reset
 *   side ----------------------------------------------------> stream (proxy)
 *        <----------------------------------------------------
 *            send_head send_data send_end grant reset detach
 *
 * Back-pressure is credit alone: a side reads and delivers body bytes only as far as granted (0 at
 * first), and reports with on_credit the body bytes that have left it (been taken by the kernel,
 * or been dropped); the stream grants them to the other side.
 *
 * Any op may call back into the stream before it returns, except reset and detach, which never
 * do. After reset or detach the side is gone for the stream. After on_reset the side is already
 * gone: the stream must not call it again. */
#ifndef RPD_HTTP_SIDE_H
#define RPD_HTTP_SIDE_H

#include <stdbool.h>
#include <stdint.h>
#include "worker/http/head.h"
#include "worker/io/buf.h"
#include "worker/io/end_reason.h"

struct side;
struct stream;

/* Body bytes that may be on their way in one direction: four buffers. With any credit left, a side
 * may overdraw it by one pipe, whose bytes are not in our memory, and waits until it is repaid. */
#define STREAM_CREDIT 65536

struct side_ops {
    /* down: a response head; 1xx (but 101) may come before the final one. up: the request's. A
     * head's `body` says what follows; the memory is the caller's and may go after the call. */
    void (*send_head)(struct side *s, const struct head *h);
    /* Takes the buf over. With a pipe buf only if can_pipe. */
    void (*send_data)(struct side *s, struct buf *b);
    /* The body is complete; trailers may be NULL. Also after a head with BODY_NONE. */
    void (*send_end)(struct side *s, const struct fields *trailers);
    void (*grant)(struct side *s, uint64_t bytes);
    /* Break off: the stream is over for `why`. down: the connection is closed, or if nothing of
     * the response was sent and the protocol allows it, only the stream. up: closed. */
    void (*reset)(struct side *s, enum end_reason why);
    /* Both directions are complete (or, up: the response is): the side may be used for another
     * stream, or be closed, as it sees fit. */
    void (*detach)(struct side *s);
    /* After send_head of a 101 (down), or on_head of one (up): the body both ways is from now on
     * a tunnel's bytes until send_end/on_end, each way for itself. */
    void (*tunnel)(struct side *s);
};

struct side {
    const struct side_ops *ops;
    struct stream *stream;
    bool can_pipe;       /* send_data takes pipes now */
    bool wants_pipe;     /* set by the stream: its other side can_pipe, so on_data may bring one */
    uint64_t wire_in, wire_out; /* bytes of this stream on the wire, heads and framing included */
};

/* What sides tell; the proxy's stream implements it. `s` is one of the stream's two. */
struct stream_ops {
    /* down: the request's head (in stream->arena). up: a response's head, 1xx or final; its
     * memory may go after the call. */
    void (*on_head)(struct stream *st, struct side *s, struct head *h);
    /* The buf is the stream's now. Never more than was granted, but for a pipe (STREAM_CREDIT). */
    void (*on_data)(struct stream *st, struct side *s, struct buf *b);
    void (*on_end)(struct stream *st, struct side *s, const struct fields *trailers);
    void (*on_credit)(struct stream *st, struct side *s, uint64_t bytes);
    /* down only: the whole response, end included, has left. */
    void (*on_done)(struct stream *st, struct side *s);
    /* down: the message is nonsense or over a limit (why has a status), before on_head or within
     * the body: the stream answers through the side, which closes the connection afterwards. */
    void (*on_bad)(struct stream *st, struct side *s, enum end_reason why);
    /* The side is gone: the peer left, broke off, timed out, or (up) sent nonsense. */
    void (*on_reset)(struct stream *st, struct side *s, enum end_reason why);
};

struct stream {
    const struct stream_ops *ops;
    struct arena arena;   /* memory of request lifetime */
    struct side *down, *up; /* NULL when gone */
    struct head request;
};

/* Who makes streams: the proxy, one per listener generation's connections. */
struct http_service;
struct conn;
struct http_service_ops {
    /* A request begins on `down`. NULL: exhausted; the codec answers 503 itself and closes. */
    struct stream *(*open)(struct http_service *svc, struct side *down, struct conn *c);
    /* A client connection is closed for good (statistics, accept gate, listener's count). */
    void (*closed)(struct http_service *svc);
    /* May another request be awaited on this connection (not while retiring or removed). */
    bool (*keep_alive)(struct http_service *svc);
};

struct http_limits {
    uint32_t header_timeout_ms, idle_timeout_ms, body_timeout_ms;
    uint32_t max_header_size;
    uint64_t max_body_size; /* 0: any */
};

/* Lives as long as its listener; limits change with a reload (read at each request). */
struct http_service {
    const struct http_service_ops *ops;
    struct http_limits limits;
    uint64_t *bytes_in, *bytes_out; /* listener statistics */
    uint64_t *shed;                 /* connections given up for want of memory, without a stream */
};

#endif
