/* HTTP/1 towards clients, the way out: what a stream asks of its down side, and what is done when
 * its last byte has left. See h1_down_impl.h. */
#include "worker/http/h1_down_impl.h"

#include <assert.h>
#include "common/core/stats.h"

static struct h1_down *down_of(struct side *s)
{
    return CONTAINER(s, struct h1_down, side);
}

void h1_down_later(struct h1_down *d, unsigned what)
{
    d->later |= (uint8_t)what;
    loop_soon(d->conn->pool->loop, &d->task);
}

void h1_down_after_flush(struct h1_down *d, unsigned what)
{
    d->later |= (uint8_t)what;
    loop_flush_soon(d->conn->pool->loop, &d->task);
}

/* ---- writing ---- */

/* The last byte of the answer has left. */
static void answered(struct h1_down *d)
{
    struct stream *st = d->side.stream;
    bool is_last = d->is_close_asked || d->conn->is_hup;
    bool is_all_read = d->is_request_done || d->state == DOWN_TUNNEL;
    bool stays = d->is_request_done && !d->must_close && d->state != DOWN_TUNNEL &&
                 !d->conn->is_hup;

    d->side.stream = NULL;
    d->state = DOWN_IDLE;
    d->ex = NULL;
    st->ops->on_done(st, &d->side);
    d->side.wire_in = d->side.wire_out = 0;
    /* One that was not told is served once more, retiring or not: its request may be on its way. */
    if (!stays) {
        /* It does not know yet: a request that crosses the answer must not make it a RST. */
        if (is_last && is_all_read && !d->in && !d->conn->is_readable)
            h1_down_close(d);
        else
            h1_down_close_gently(d);
        return;
    }
    if (d->in || d->conn->is_readable)
        h1_down_later(d, LATER_READ);
    h1_down_arm(d);
}

void h1_down_on_sent(struct conn *c, size_t n)
{
    struct h1_down *d = c->owner;
    struct stream *st = d->side.stream;
    uint64_t left = c->out.bytes < d->queued ? c->out.bytes : d->queued;
    uint64_t sent = d->queued - left;

    stat_add(d->svc->bytes_out, n);
    d->side.wire_out += n;
    d->queued = left;
    if (st && sent > 0)
        st->ops->on_credit(st, &d->side, sent);
    if (d->conn != c)
        return;
    if (d->side.stream && d->is_response_done && c->out.bytes == 0 &&
        (d->state != DOWN_TUNNEL || d->is_eof_told))
        answered(d);
    else
        h1_down_arm(d);
}

/* ---- what the stream asks ---- */

/* Buffers are at their end within the stream's call: it is told later. */
static void give_up(struct h1_down *d)
{
    bufq_clear(&d->conn->out);
    h1_down_later(d, LATER_SHED);
}

static bool is_shed(const struct h1_down *d)
{
    return d->later & LATER_SHED;
}

static void send_head(struct side *s, const struct head *h)
{
    struct h1_down *d = down_of(s);
    const struct head *req = &s->stream->request;
    enum h1_framing framing = h1_framing_response(h, req->method, req->minor);
    bool is_final = h->status >= 200 || h->status == 101;
    bool stays;

    if (is_final) {
        d->framing = (uint8_t)framing;
        d->is_head_sent = true;
        if (framing == H1_FRAME_CLOSE || !d->is_request_done ||
            !d->svc->ops->keep_alive(d->svc))
            d->must_close = true;
    }
    stays = !is_final || !d->must_close;
    if (is_shed(d))
        return;
    if (!h1_write_response(&d->conn->out, d->conn->pool->bufs, h, framing, req->minor, stays))
        give_up(d);
    else
        h1_down_flush(d);
}

static void send_data(struct side *s, struct buf *b)
{
    struct h1_down *d = down_of(s);

    if (is_shed(d)) {
        buf_put(&b);
        return;
    }
    d->queued += b->len;
    if (!h1_write_data(&d->conn->out, d->conn->pool->bufs, (enum h1_framing)d->framing, b))
        give_up(d);
    else
        h1_down_flush(d);
}

static void send_end(struct side *s, const struct fields *trailers)
{
    struct h1_down *d = down_of(s);

    d->is_response_done = true;
    if (is_shed(d))
        return;
    if (d->state == DOWN_TUNNEL) {
        if (d->is_eof_told && d->conn->out.bytes == 0)
            h1_down_later(d, LATER_ANSWERED);
        else
            conn_shutdown(d->conn);
        return;
    }
    if (!h1_write_end(&d->conn->out, d->conn->pool->bufs, (enum h1_framing)d->framing, trailers))
        give_up(d);
    else if (d->conn->out.bytes > 0)
        h1_down_flush(d);
    else
        h1_down_later(d, LATER_ANSWERED);
}

static void grant(struct side *s, uint64_t bytes)
{
    struct h1_down *d = down_of(s);

    d->credit += (int64_t)bytes;
    if (!d->is_busy && (d->state == DOWN_BODY || d->state == DOWN_TUNNEL))
        h1_down_later(d, LATER_READ);
}

static void reset(struct side *s, enum end_reason why)
{
    struct h1_down *d = down_of(s);

    (void)why;
    d->side.stream = NULL;
    d->state = DOWN_ANSWER;
    d->must_close = true;
    h1_down_later(d, LATER_RESET);
}

/* A response that broke off in the middle must not look whole to the client. */
static void break_off(struct h1_down *d)
{
    if (h1_down_is_cut(d))
        h1_down_close_reset(d);
    else
        h1_down_close_gently(d);
}

void h1_down_on_later(struct task *t)
{
    struct h1_down *d = CONTAINER(t, struct h1_down, task);
    unsigned what = d->later;

    d->later = 0;
    if (what & LATER_SHED)
        h1_down_gone(d, END_EXHAUSTED);
    else if (what & LATER_RESET)
        break_off(d);
    else if ((what & LATER_ANSWERED) && d->side.stream && d->is_response_done &&
             d->conn->out.bytes == 0)
        answered(d);
    else if (what & LATER_READ)
        h1_down_on_readable(d->conn);
}

static void detach(struct side *s)
{
    (void)s;
    assert(!"a down side is done when its answer has left");
}

static void tunnel(struct side *s)
{
    struct h1_down *d = down_of(s);

    d->state = DOWN_TUNNEL;
    d->framing = H1_FRAME_CLOSE;
    d->must_close = true;
    if (!d->is_busy)
        h1_down_later(d, LATER_READ);
}

const struct side_ops h1_down_side_ops = {
    .send_head = send_head,
    .send_data = send_data,
    .send_end = send_end,
    .grant = grant,
    .reset = reset,
    .detach = detach,
    .tunnel = tunnel,
};

