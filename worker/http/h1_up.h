/* HTTP/1 towards a server: a side that lives for one request on a connected conn. */
#ifndef RPD_HTTP_H1_UP_H
#define RPD_HTTP_H1_UP_H

#include "worker/http/h1_gather.h"
#include "worker/http/side.h"
#include "worker/io/conn.h"

struct h1_up_config {
    uint32_t response_timeout_ms; /* from the request's end to the head; between body reads */
    uint32_t stream_timeout_ms;   /* tunnel silence */
    uint32_t max_header_size;
    bool keep_alive;              /* the conn may be kept: no "Connection: close" */
    uint64_t *bytes_in, *bytes_out; /* server statistics */
};

/* What became of the connection: called once, when the side lets go of it (detach or reset), with
 * the conn if it may serve another request, NULL if it was closed. Does not call the stream. */
typedef void h1_up_release_fn(void *arg, struct conn *c);

/* Embedded in the stream's owner: no allocation. Members are h1_up.c's business. */
struct h1_up {
    struct side side;
    struct conn *conn;
    struct buf *in;          /* bytes read, not yet delivered */
    struct h1_up_config config;
    h1_up_release_fn *release;
    void *release_arg;
    int64_t credit;          /* body bytes we may still deliver; negative: overdrawn by a pipe */
    uint64_t interim;        /* bytes of 1xx heads so far */
    uint64_t queued;         /* request body bytes in conn->out, not yet reported by on_credit */
    struct h1_gather gather;
    struct task gone;        /* tells the stream of a failure noticed within one of its calls */
    struct task resume;      /* goes on after a grant, tells of what was dropped */
    enum end_reason why;     /* of that failure */
    const char *detail;      /* of it, in TLS's own words; static; NULL: there is no more */
    enum http_method method;
    enum h1_framing framing; /* of the request */
    uint8_t state;           /* enum up_state in h1_up.c */
    bool is_request_done : 1; /* request: send_end was called */
    bool is_reused : 1;
    bool is_byte_seen : 1;   /* of the response */
    bool is_tunnel : 1;
    bool wants_upgrade : 1;
    bool is_eof_told : 1;     /* tunnel: on_end was called */
    bool is_busy : 1;         /* within on_readable: a grant need not resume */
    bool is_bulk : 1;         /* the last read filled a buffer: more will come */
    /* The rest is set when a head comes, and a body. */
    struct head response;
    struct h1_body body;
    llhttp_t parser;
};

/* `first_head` and the rest follow by side.ops. is_reused: a conn from the idle pool. */
void h1_up_init(struct h1_up *u, struct stream *st, struct conn *c, bool is_reused,
                const struct h1_up_config *config, h1_up_release_fn *release, void *arg);
/* The conn was reused and died before it answered, so that the request may be sent again (RFC 9112
 * 9.3.1). Valid within on_reset. */
bool h1_up_died_idle(const struct h1_up *u);

#endif
