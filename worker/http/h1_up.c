/* HTTP/1 towards a server: sends the stream's request, delivers the response as far as credit
 * goes. Called by the proxy's streams; never chooses servers and never retries.
 *
 *   HEAD -> (1xx: HEAD) -> BODY -> DONE
 *                       -> TUNNEL -> DONE      any -> GONE
 */
#include "worker/http/h1_up.h"

#include <assert.h>
#include <errno.h>
#include "common/core/stats.h"
#include "worker/io/tls.h"

/* A body at least this long that is still to come travels in bulk. */
#define BULK_MIN 65536
/* Bytes of 1xx heads, which no credit holds back. */
#define INTERIM_MAX 131072

enum up_state { UP_HEAD, UP_BODY, UP_TUNNEL, UP_DONE, UP_GONE };

static struct h1_up *up_of(struct side *s)
{
    return CONTAINER(s, struct h1_up, side);
}

/* ---- letting go ---- */

static void let_go(struct h1_up *u, bool is_reusable)
{
    struct conn *c = u->conn;

    u->state = UP_GONE;
    u->conn = NULL;
    task_cancel(&u->gone);
    task_cancel(&u->resume);
    buf_put(&u->in);
    h1_gather_fini(&u->gather);
    if (!is_reusable && u->is_tunnel && u->is_eof_told && u->is_request_done)
        conn_linger(&c, NULL, NULL); /* last bytes may still be on their way out */
    else if (!is_reusable)
        conn_close(&c);
    u->release(u->release_arg, c);
}

/* The side is gone; the stream is told. Not from within a call of the stream's. */
static void fail(struct h1_up *u, enum end_reason why)
{
    struct stream *st = u->side.stream;

    u->why = why;
    let_go(u, false);
    st->ops->on_reset(st, &u->side, why);
}

static void on_gone(struct task *t)
{
    struct h1_up *u = CONTAINER(t, struct h1_up, gone);

    fail(u, u->why);
}

/* For failures noticed within a call of the stream's. What was queued is not whole any more. */
static void fail_soon(struct h1_up *u, enum end_reason why)
{
    u->why = why;
    bufq_clear(&u->conn->out);
    loop_soon(u->conn->pool->loop, &u->gone);
}

static bool is_failing(const struct h1_up *u)
{
    return !list_empty(&u->gone.node);
}

/* The timer runs while it is the server's turn: to take what is queued, or to answer. */
static void arm(struct h1_up *u)
{
    struct conn *c = u->conn;
    bool is_waiting;

    if (u->state == UP_TUNNEL) {
        conn_timer(c, (uint64_t)u->config.stream_timeout_ms * 1000);
        return;
    }
    is_waiting = c->out.bytes > 0 || (u->state == UP_HEAD && u->is_request_done) ||
                 (u->state == UP_BODY && u->credit > 0);
    if (is_waiting)
        conn_timer(c, (uint64_t)u->config.response_timeout_ms * 1000);
    else
        conn_timer_clear(c);
}

/* Output was queued. A socket that takes nothing of it tells nobody: the timer must run. */
static void flush(struct h1_up *u)
{
    conn_flush(u->conn);
    if (!timer_is_set(&u->conn->timer))
        arm(u);
}

/* ---- the response ---- */

static void deliver_end(struct h1_up *u)
{
    struct stream *st = u->side.stream;

    u->state = UP_DONE;
    conn_timer_clear(u->conn);
    st->ops->on_end(st, &u->side, u->body.trailers);
}

static void begin_body(struct h1_up *u)
{
    struct head *h = &u->response;

    h1_body_init(&u->body, h, &u->parser, &u->side.stream->arena, u->config.max_header_size);
    u->state = UP_BODY;
    if (u->body.is_done)
        deliver_end(u);
}

/* The head is read. */
static void on_response(struct h1_up *u)
{
    struct stream *st = u->side.stream;
    struct head *h = &u->response;
    bool is_interim = h->status < 200 && h->status != 101;

    if (h->wire_bytes > u->config.max_header_size) {
        fail(u, END_RESPONSE_HEADER_TOO_LARGE);
        return;
    }
    if (h->status == 101 && !u->wants_upgrade) { /* RFC 9110 15.2.2: nobody asked */
        fail(u, END_BAD_RESPONSE);
        return;
    }
    if (is_interim && (u->interim += h->wire_bytes) > INTERIM_MAX) {
        fail(u, END_RESPONSE_HEADER_TOO_LARGE);
        return;
    }
    if (h->status == 101)
        u->state = UP_TUNNEL;
    else if (!is_interim)
        u->state = UP_BODY;
    st->ops->on_head(st, &u->side, h);
    if (u->state == UP_BODY && !is_interim)
        begin_body(u);
}

static enum end_reason parse_head(struct h1_up *u, struct slice bytes)
{
    head_init(&u->response, &u->side.stream->arena);
    return h1_parse_response(bytes, &u->response, u->method);
}

/* Most heads come whole, with the body or some of it behind them: they are read without being
 * looked for first. false: this is not one. */
static bool step_head_at_once(struct h1_up *u)
{
    if (!h1_gather_is_empty(&u->gather) || parse_head(u, buf_slice(u->in)) != END_OK)
        return false;
    buf_skip(u->in, u->response.wire_bytes);
    on_response(u);
    return true;
}

/* In pieces, or not right, which the scan may tell before the end. */
static bool step_head_scanned(struct h1_up *u)
{
    enum end_reason why;
    struct slice head;

    switch (h1_gather(&u->gather, &u->in)) {
    case H1_SCAN_MORE:
        if (h1_gather_bytes(&u->gather) < u->config.max_header_size)
            return false;
        fail(u, END_RESPONSE_HEADER_TOO_LARGE);
        return false;
    case H1_SCAN_BAD:
        fail(u, END_BAD_RESPONSE);
        return false;
    case H1_SCAN_DONE:
        break;
    }
    head = h1_gather_head(&u->gather, u->in, &u->side.stream->arena, false);
    why = head.p ? parse_head(u, head) : END_EXHAUSTED;
    if (why == END_OK)
        on_response(u);
    else
        fail(u, why);
    return true;
}

/* One step with what `in` holds; false when nothing more can be done with it now. */
static bool step_head(struct h1_up *u)
{
    return step_head_at_once(u) || step_head_scanned(u);
}

static bool step_body(struct h1_up *u)
{
    struct stream *st = u->side.stream;
    struct conn *c = u->conn;
    struct buf *out = NULL;
    enum end_reason why;

    if (u->credit <= 0)
        return false;
    why = h1_body_decode(&u->body, c->pool->bufs, &u->in, (uint64_t)u->credit, &out);
    if (out) {
        u->credit -= out->len;
        st->ops->on_data(st, &u->side, out);
        if (u->conn != c)
            return false;
    }
    if (why != END_OK)
        fail(u, why == END_EXHAUSTED ? why : END_BAD_RESPONSE);
    else if (u->body.is_done)
        deliver_end(u);
    return true;
}

static bool step_tunnel(struct h1_up *u)
{
    struct stream *st = u->side.stream;
    struct buf *out = u->in;

    if (u->credit <= 0)
        return false;
    /* No more was read than credit, or it came with the head and the first credit is more. */
    assert(out->len <= (uint64_t)u->credit);
    u->in = NULL;
    u->credit -= out->len;
    st->ops->on_data(st, &u->side, out);
    return true;
}

/* Everything that `in` allows. */
static void process(struct h1_up *u)
{
    struct conn *c = u->conn;
    bool is_going = true;

    while (is_going && u->conn == c && u->in && u->in->len > 0) {
        switch ((enum up_state)u->state) {
        case UP_HEAD: is_going = step_head(u); break;
        case UP_BODY: is_going = step_body(u); break;
        case UP_TUNNEL: is_going = step_tunnel(u); break;
        case UP_DONE: /* bytes behind the response: let_go sees them and closes */
        case UP_GONE: is_going = false; break;
        }
    }
    if (u->conn == c && u->in && u->in->len == 0)
        buf_put(&u->in);
}

/* ---- reading ---- */

static void on_eof(struct h1_up *u)
{
    switch ((enum up_state)u->state) {
    case UP_HEAD:
        fail(u, END_SERVER_CLOSED);
        break;
    case UP_BODY:
        if (h1_body_eof(&u->body) == END_OK)
            deliver_end(u);
        else
            fail(u, END_SERVER_TRUNCATED);
        break;
    case UP_TUNNEL:
        if (!u->is_eof_told) {
            u->is_eof_told = true;
            u->side.stream->ops->on_end(u->side.stream, &u->side, NULL);
        }
        break;
    case UP_DONE:
    case UP_GONE:
        break;
    }
}

static enum end_reason read_failure(struct h1_up *u)
{
    if (u->state != UP_HEAD || u->is_byte_seen)
        return END_SERVER_RESET;
    if (conn_tls_failure(u->conn) != TLS_FAIL_ALERT)
        return END_SERVER_CLOSED;
    u->detail = conn_tls_reason(u->conn);
    return END_SERVER_ALERT;
}

/* Bytes of the body, or the tunnel, that need not be looked at come in bulk. */
static bool may_read_bulk(const struct h1_up *u)
{
    bool takes_pipe = u->side.wants_pipe && u->conn->ops->can_splice;

    if (u->in || (!takes_pipe && u->credit < BUF_READ_MAX))
        return false;
    if (u->state == UP_TUNNEL)
        return u->is_bulk;
    return u->state == UP_BODY && h1_body_unseen(&u->body) >= BULK_MIN;
}

/* 1 went on, 0 the end, -1 with errno. */
static ssize_t read_bulk(struct h1_up *u)
{
    struct stream *st = u->side.stream;
    uint64_t max = BUF_PIPE_SIZE, credit = (uint64_t)u->credit;
    struct bufq q;
    ssize_t n;

    bufq_init(&q);
    if (u->state == UP_BODY && max > h1_body_unseen(&u->body))
        max = h1_body_unseen(&u->body);
    n = conn_read_bulk(u->conn, &q, u->side.wants_pipe ? max : 0, max < credit ? max : credit);
    if (n <= 0)
        return n;
    if (u->config.bytes_in)
        stat_add(u->config.bytes_in, (uint64_t)n);
    u->side.wire_in += (uint64_t)n;
    u->credit -= n;
    u->is_bulk = n >= BUF_READ_MAX;
    if (u->state == UP_BODY)
        h1_body_skip(&u->body, (uint64_t)n);
    while (q.head && u->state != UP_GONE)
        st->ops->on_data(st, &u->side, bufq_shift(&q));
    bufq_clear(&q);
    if (u->state == UP_BODY && u->body.is_done)
        deliver_end(u);
    return 1;
}

/* As read_bulk, by way of `in`. */
static ssize_t read_memory(struct h1_up *u)
{
    ssize_t n;

    if (!u->in && !(u->in = buf_get(u->conn->pool->bufs))) {
        fail(u, END_EXHAUSTED);
        return 1;
    }
    n = conn_read(u->conn, u->in,
                  u->state == UP_TUNNEL && u->credit < BUF_SIZE ? (size_t)u->credit : BUF_SIZE);
    if (n <= 0) {
        if (u->in->len == 0)
            buf_put(&u->in);
        return n;
    }
    if (u->config.bytes_in)
        stat_add(u->config.bytes_in, (uint64_t)n);
    u->side.wire_in += (uint64_t)n;
    if (u->is_reused && u->side.wire_out == 0) { /* what answers nothing is not our answer */
        fail(u, END_SERVER_CLOSED);
        return 1;
    }
    u->is_byte_seen = true;
    u->is_bulk = buf_room(u->in) == 0;
    process(u);
    return 1;
}

static bool wants_bytes(const struct h1_up *u)
{
    switch ((enum up_state)u->state) {
    case UP_HEAD:
        return true;
    case UP_BODY:
    case UP_TUNNEL:
        return u->credit > 0 && !u->is_eof_told;
    case UP_DONE:
    case UP_GONE:
        return false;
    }
    return false;
}

static void on_readable(struct conn *c)
{
    struct h1_up *u = c->owner;

    u->is_busy = true;
    process(u); /* what a grant has freed */
    while (u->conn == c && c->is_readable && wants_bytes(u)) {
        bool is_bulk = may_read_bulk(u);
        ssize_t n = is_bulk ? read_bulk(u) : read_memory(u);

        if (n > 0 && !is_bulk)
            continue;
        if (n > 0 && u->conn == c)
            loop_flush_soon(c->pool->loop, &u->resume); /* more when this has left */
        else if (n == 0)
            on_eof(u);
        else if (n < 0 && errno == ENOBUFS)
            fail(u, END_EXHAUSTED);
        else if (n < 0 && errno != EAGAIN)
            fail(u, read_failure(u));
        break;
    }
    if (u->conn != c)
        return;
    u->is_busy = false;
    arm(u);
}

/* Tells of the body bytes that are not queued any more: sent, or dropped with a broken conn. */
static void report_gone(struct h1_up *u)
{
    uint64_t bytes = u->conn->out.bytes;
    uint64_t left = bytes < u->queued ? bytes : u->queued;
    uint64_t gone = u->queued - left;

    u->queued = left;
    if (gone > 0)
        u->side.stream->ops->on_credit(u->side.stream, &u->side, gone);
}

static void on_resume(struct task *t)
{
    struct h1_up *u = CONTAINER(t, struct h1_up, resume);
    struct conn *c = u->conn;

    if (c->is_broken)
        report_gone(u);
    if (u->conn == c)
        on_readable(c);
}

/* ---- the conn's other calls ---- */

static void on_sent(struct conn *c, size_t n)
{
    struct h1_up *u = c->owner;

    u->side.wire_out += n;
    if (u->config.bytes_out)
        stat_add(u->config.bytes_out, n);
    report_gone(u);
    if (u->conn == c)
        arm(u);
}

static void on_timer(struct conn *c)
{
    struct h1_up *u = c->owner;

    if (u->state == UP_TUNNEL)
        fail(u, END_STREAM_IDLE);
    else if (c->out.bytes > 0)
        fail(u, END_SERVER_WRITE_TIMEOUT);
    else
        fail(u, END_SERVER_TIMEOUT);
}

/* Our write failed; but the server may have answered before it closed: that is heard. */
static void on_broken(struct conn *c, int error)
{
    struct h1_up *u = c->owner;

    (void)error;
    conn_look(c);
    c->is_hup = true;
    on_readable(c);
    if (u->conn == c && (u->state == UP_HEAD || u->state == UP_TUNNEL))
        fail(u, u->is_byte_seen ? END_SERVER_RESET : END_SERVER_CLOSED);
    else if (u->conn == c)
        loop_soon(c->pool->loop, &u->resume); /* the request's rest is dropped */
}

static void on_connected(struct conn *c, int error)
{
    (void)c;
    (void)error;
    assert(!"it is connected already");
}

static const struct conn_user up_user = {
    .on_connected = on_connected,
    .on_readable = on_readable,
    .on_sent = on_sent,
    .on_timer = on_timer,
    .on_broken = on_broken,
};

/* ---- what the stream asks ---- */

static void send_head(struct side *s, const struct head *h)
{
    struct h1_up *u = up_of(s);

    u->method = h->method;
    u->wants_upgrade = h->upgrade.n > 0;
    u->framing = h1_framing_request(h);
    if (!h1_write_request(&u->conn->out, u->conn->pool->bufs, h, u->framing,
                          u->config.keep_alive)) {
        fail_soon(u, END_EXHAUSTED);
        return;
    }
    flush(u);
}

static void send_data(struct side *s, struct buf *b)
{
    struct h1_up *u = up_of(s);

    if (is_failing(u)) {
        buf_put(&b);
        return;
    }
    u->queued += b->len;
    if (u->conn->is_broken) { /* the response is still being read */
        buf_put(&b);
        loop_soon(u->conn->pool->loop, &u->resume);
        return;
    }
    if (!h1_write_data(&u->conn->out, u->conn->pool->bufs,
                       u->is_tunnel ? H1_FRAME_CLOSE : u->framing, b)) {
        fail_soon(u, END_EXHAUSTED);
        return;
    }
    flush(u);
}

static void send_end(struct side *s, const struct fields *trailers)
{
    struct h1_up *u = up_of(s);

    u->is_request_done = true;
    if (is_failing(u))
        return;
    if (u->is_tunnel) {
        conn_shutdown(u->conn);
        return;
    }
    if (!h1_write_end(&u->conn->out, u->conn->pool->bufs, u->framing, trailers)) {
        fail_soon(u, END_EXHAUSTED);
        return;
    }
    conn_flush(u->conn);
    arm(u);
}

static void grant(struct side *s, uint64_t bytes)
{
    struct h1_up *u = up_of(s);

    u->credit += (int64_t)bytes;
    if (!u->is_busy && (u->state == UP_BODY || u->state == UP_TUNNEL))
        loop_soon(u->conn->pool->loop, &u->resume);
}

static void reset(struct side *s, enum end_reason why)
{
    (void)why;
    let_go(up_of(s), false);
}

static void detach(struct side *s)
{
    struct h1_up *u = up_of(s);

    let_go(u, u->state == UP_DONE && u->is_request_done && !u->is_tunnel && !is_failing(u) &&
              u->response.keep_alive && u->config.keep_alive && u->conn->out.bytes == 0 &&
              (!u->in || u->in->len == 0) && !u->conn->is_broken);
}

static void tunnel(struct side *s)
{
    struct h1_up *u = up_of(s);

    u->is_tunnel = true;
    u->is_request_done = false; /* the tunnel's end is another */
    arm(u);
}

static const struct side_ops up_ops = {
    .send_head = send_head,
    .send_data = send_data,
    .send_end = send_end,
    .grant = grant,
    .reset = reset,
    .detach = detach,
    .tunnel = tunnel,
};

void h1_up_init(struct h1_up *u, struct stream *st, struct conn *c, bool is_reused,
                const struct h1_up_config *config, h1_up_release_fn *release, void *arg)
{
    memset(u, 0, offsetof(struct h1_up, response));
    u->side.ops = &up_ops;
    u->side.stream = st;
    u->side.can_pipe = c->ops->can_splice;
    u->conn = c;
    u->config = *config;
    u->release = release;
    u->release_arg = arg;
    u->state = UP_HEAD;
    u->is_reused = is_reused;
    h1_gather_init(&u->gather);
    task_init(&u->gone, on_gone);
    task_init(&u->resume, on_resume);
    conn_use(c, &up_user, u);
}

bool h1_up_died_idle(const struct h1_up *u)
{
    return u->is_reused && !u->is_byte_seen &&
           (u->why == END_SERVER_CLOSED || u->why == END_SERVER_RESET ||
            u->why == END_SERVER_ALERT);
}
