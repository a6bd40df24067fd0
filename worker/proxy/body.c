/* Request bodies. How far a client may go on is reckoned from what has left the side of the try
 * that leads, so that a try that begins anew takes nothing from the client until it has got as far
 * as the one before.
 *
 *   client --grant--> body_data --(spool)--> side --> server
 *                         granted <= gone + STREAM_CREDIT
 */
#include "worker/proxy/body.h"

#include "worker/proxy/attempt.h"
#include "worker/proxy/mirror.h"

static bool spool_make(struct exchange *x)
{
    x->spool = arena_alloc(&x->stream.arena, sizeof *x->spool);
    if (x->spool)
        spool_init(x->spool);
    return x->spool != NULL;
}

bool body_spool(struct exchange *x)
{
    return spool_make(x);
}

void body_keep(struct exchange *x)
{
    const struct conf_route *r = x->route;
    const struct head *h = &x->stream.request;

    if (r->retries == 0 || !(r->retry_on & ~CONF_FAIL_CONNECT) ||
        !method_is_idempotent(h->method) || r->retry_buffer == 0 ||
        (h->body == BODY_LENGTH && h->content_length > r->retry_buffer))
        return;
    (void)spool_make(x); /* without memory there is no further try: no more than that */
}

bool body_is_kept(const struct exchange *x)
{
    return x->spool || (x->is_request_done && !x->is_body_sent);
}

void body_forget(struct exchange *x)
{
    struct side *up = x->stream.up;

    if (x->is_request_done || !up || x->lead->read_at < x->spool->size)
        return;
    x->is_body_sent = true;
    spool_fini(x->spool);
    x->spool = NULL;
    x->stream.down->wants_pipe = up->can_pipe && !x->mirror;
}

static void grant(struct attempt *a)
{
    struct exchange *x = a->exchange;
    struct side *down = x->stream.down;
    uint64_t allowed = a->gone + STREAM_CREDIT, more = allowed - x->granted;

    if (a != x->lead || allowed <= x->granted)
        return;
    x->granted = allowed;
    down->ops->grant(down, more);
}

static void end(struct exchange *x, struct side *up, const struct fields *trailers)
{
    if (x->mirror)
        mirror_body_end(x);
    up->ops->send_end(up, trailers);
}

/* What is kept, as far as the credit of one direction goes. */
static void pump(struct attempt *a)
{
    struct exchange *x = a->exchange;
    struct side *up = &a->h1_up.side;

    while (a->read_at - a->gone < STREAM_CREDIT && a->read_at < x->spool->size) {
        struct buf *b = spool_read(x->spool, &a->read_at, &x->proxy->bufs,
                                   STREAM_CREDIT - (a->read_at - a->gone));

        if (!b) {
            attempt_failed(a, END_EXHAUSTED);
            return;
        }
        if (x->mirror)
            mirror_body(x, b, a->read_at - b->len);
        up->ops->send_data(up, b);
    }
    if (x->is_request_done && a->read_at == x->spool->size && !a->h1_up.is_request_done)
        end(x, up, x->trailers);
}

void body_begin(struct attempt *a)
{
    struct exchange *x = a->exchange;
    struct side *up = &a->h1_up.side;

    a->read_at = a->gone = 0;
    if (x->spool)
        pump(a);
    else if (x->is_request_done)
        end(x, up, NULL);
    if (!x->is_request_done && a->is_connected)
        grant(a);
}

void body_gone(struct attempt *a, uint64_t bytes)
{
    a->gone += bytes;
    if (a->exchange->spool)
        pump(a);
    if (!a->exchange->is_request_done && a->is_connected)
        grant(a);
}

/* Puts it by. false: it cannot be, and the try that leads cannot do without. */
static bool keep(struct exchange *x, const struct buf *b, bool is_passed_on)
{
    bool is_over = is_passed_on && x->spool->size + b->len > x->route->retry_buffer;

    if (!is_over && spool_copy(x->spool, b) == 0)
        return true;
    if (is_passed_on)
        body_forget(x);
    return is_passed_on;
}

void body_data(struct exchange *x, struct buf *b)
{
    struct side *up = x->stream.up;
    bool is_passed_on = up && (!x->spool || x->lead->read_at == x->spool->size);
    bool is_kept = !x->spool || keep(x, b, is_passed_on);

    if (is_passed_on) {
        if (x->mirror)
            mirror_body(x, b, x->spool ? x->lead->read_at : MIRROR_NEXT);
        if (x->spool)
            x->lead->read_at = x->spool->size;
        else
            x->is_body_sent = true;
        up->ops->send_data(up, b);
        return;
    }
    buf_put(&b); /* kept for later; or the answer came first, and nobody wants it */
    if (!is_kept)
        exchange_fail(x, END_EXHAUSTED);
    else if (up && x->spool)
        pump(x->lead);
}

void body_end(struct exchange *x)
{
    struct side *up = x->stream.up;

    if (!up || (x->state != X_TUNNELLING && x->lead->h1_up.is_request_done))
        return;
    if (x->spool && x->state != X_TUNNELLING)
        pump(x->lead);
    else
        end(x, up, x->trailers);
}
