/* Answers made here: redirects, canned texts, errors. */
#include <assert.h>
#include "worker/proxy/exchange.h"

/* Seconds after which a client may ask again that got a 503 from here (RFC 9110 10.2.3): a place in
 * a queue, a server that returns, may be there at any time. */
#define RETRY_AFTER "1"

static bool send_body(struct exchange *x, struct slice body)
{
    struct side *down = x->stream.down;

    while (body.n > 0) {
        struct buf *b = buf_get(&x->proxy->bufs);
        size_t n;

        if (!b)
            return false;
        n = body.n < buf_room(b) ? body.n : buf_room(b);
        memcpy(buf_tail(b), body.p, n);
        b->len += (uint32_t)n;
        body = slice_of(body.p + n, body.n - n);
        down->ops->send_data(down, b);
    }
    return true;
}

static void reply(struct exchange *x, struct head *h, struct slice body)
{
    struct side *down = x->stream.down;
    bool is_bodyless = x->stream.request.method == METHOD_HEAD || h->status == 204 ||
                       h->status == 304;

    x->state = X_ANSWERING;
    x->status = h->status;
    h->minor = 1;
    h->body = BODY_LENGTH;
    h->content_length = body.n;
    h->has_length = true;
    if (h->status == 204 || h->status == 304) {
        h->body = BODY_NONE;
        h->has_length = false;
    }
    h->reason = status_reason(h->status);
    if (!fields_add(&h->fields, FIELD_DATE, SLICE("Date"),
                    slice_of(loop_http_date(&x->proxy->loop), 29)) ||
        (x->route && !exchange_rules(x, &x->route->response_header, &h->fields))) {
        exchange_abort(x, END_EXHAUSTED);
        return;
    }
    down->ops->send_head(down, h);
    if (!is_bodyless && !send_body(x, body)) {
        exchange_abort(x, END_EXHAUSTED);
        return;
    }
    down->ops->send_end(down, NULL);
}

void reply_text(struct exchange *x, unsigned status, struct slice location, struct slice body)
{
    struct head h;

    head_init(&h, &x->stream.arena);
    h.status = (uint16_t)status;
    if ((location.p && !fields_add(&h.fields, FIELD_LOCATION, SLICE("Location"), location)) ||
        (body.n > 0 &&
         !fields_add(&h.fields, FIELD_CONTENT_TYPE, SLICE("Content-Type"),
                    SLICE("text/plain; charset=utf-8"))))
        exchange_abort(x, END_EXHAUSTED);
    else
        reply(x, &h, body);
}

static bool add_error_fields(struct exchange *x, struct head *h)
{
    enum end_reason why = x->end;
    struct slice proxy_status = arena_printf(&x->stream.arena,
                                             "rpd; error=%s; details=\"%s%s%s\"",
                                             end_reason_proxy_status(why), end_reason_text(why),
                                             x->detail ? ": " : "", x->detail ? x->detail : "");

    return proxy_status.p &&
           fields_add(&h->fields, FIELD_PROXY_STATUS, SLICE("Proxy-Status"), proxy_status) &&
           (h->status != 503 || fields_may_have(&h->fields, FIELD_RETRY_AFTER) ||
            fields_add(&h->fields, FIELD_RETRY_AFTER, SLICE("Retry-After"), SLICE(RETRY_AFTER)));
}

void reply_error_with(struct exchange *x, enum end_reason why, unsigned status,
                      const struct field *extra, size_t n)
{
    struct slice body;
    struct head h;
    bool has_room = true;

    x->end = why;
    x->is_error_told = true;
    head_init(&h, &x->stream.arena);
    h.status = (uint16_t)(status ? status : end_reason_status(why));
    assert(h.status != 0);
    body = arena_printf(&x->stream.arena, "%u %.*s: %s\n", h.status,
                        SLICE_ARG(status_reason(h.status)), end_reason_text(why));
    for (size_t i = 0; i < n && has_room; i++)
        has_room = fields_add(&h.fields, extra[i].id, extra[i].name, extra[i].value);
    if (!has_room || !body.p ||
        !fields_add(&h.fields, FIELD_CONTENT_TYPE, SLICE("Content-Type"),
                    SLICE("text/plain; charset=utf-8")) ||
        !add_error_fields(x, &h))
        exchange_abort(x, END_EXHAUSTED);
    else
        reply(x, &h, body);
}

void reply_error(struct exchange *x, enum end_reason why)
{
    reply_error_with(x, why, 0, NULL, 0);
}
