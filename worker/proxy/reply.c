/* Answers made here: redirects, canned texts, errors. */
#include <assert.h>
#include <string.h>
#include "common/base/json.h"
#include "worker/proxy/auth_request.h"
#include "worker/proxy/cors.h"
#include "worker/proxy/encode.h"
#include "worker/proxy/fault.h"
#include "worker/proxy/limit.h"

/* Seconds after which a client may ask again that got a 503 from here (RFC 9110 10.2.3): a place in
 * a queue, a server that returns, may be there at any time. */
#define RETRY_AFTER "1"
#define TEXT_TYPE "text/plain; charset=utf-8"
/* Longer values are cut where a page of an error shows them. */
#define PAGE_VALUE_MAX 1024

/* ---- the answer ---- */

/* As far as the credit of one direction goes. */
static void send_rest(struct exchange *x)
{
    while (x->stream.down && x->rest.n > 0 && x->rest_on_way < STREAM_CREDIT) {
        struct buf *b = buf_get(&x->proxy->bufs);
        size_t n;

        if (!b) {
            exchange_abort(x, END_EXHAUSTED);
            return;
        }
        n = x->rest.n < buf_room(b) ? x->rest.n : buf_room(b);
        memcpy(buf_tail(b), x->rest.p, n);
        b->len += (uint32_t)n;
        x->rest = slice_of(x->rest.p + n, x->rest.n - n);
        x->rest_on_way += n;
        answer_data(x, b);
    }
    if (x->stream.down && x->rest.n == 0)
        answer_end(x, NULL);
}

void reply_go_on(struct exchange *x, uint64_t bytes)
{
    x->rest_on_way -= bytes;
    send_rest(x);
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
    if (!auth_request_answer(x, h) ||
        (!fields_may_have(&h->fields, FIELD_DATE) &&
         !fields_add(&h->fields, FIELD_DATE, SLICE("Date"),
                     slice_of(loop_http_date(&x->proxy->loop), 29))) ||
        (x->route && !cors_answer(x, &h->fields)) || !limit_answer(x, h) ||
        !fault_answer(x, &h->fields) ||
        (x->route && !exchange_rules(x, &x->route->response_header, &h->fields)) ||
        (x->route && x->route->compress.n > 0 && !encode_head(x, h))) {
        exchange_abort(x, END_EXHAUSTED);
        return;
    }
    x->rest = is_bodyless ? SLICE_NONE : body;
    down->ops->send_head(down, h);
    send_rest(x);
}

void reply_text(struct exchange *x, unsigned status, struct slice location, struct slice body)
{
    struct head h;

    head_init(&h, &x->stream.arena);
    h.status = (uint16_t)status;
    if ((location.p && !fields_add(&h.fields, FIELD_LOCATION, SLICE("Location"), location)) ||
        (body.n > 0 &&
         !fields_add(&h.fields, FIELD_CONTENT_TYPE, SLICE("Content-Type"), SLICE(TEXT_TYPE))))
        exchange_abort(x, END_EXHAUSTED);
    else
        reply(x, &h, body);
}

void reply_of_server(struct exchange *x, enum end_reason why, struct head *h, struct slice body)
{
    x->end = why;
    x->is_error_told = true;
    h->minor = 1;
    if (via_add(h))
        reply(x, h, body);
    else
        exchange_abort(x, END_EXHAUSTED);
}

/* ---- the route's own ---- */

/* RFC 9110 13.1.2, by weak comparison; a tag of ours is `"hex"`. */
static bool has_it(const struct exchange *x, struct slice etag)
{
    const struct head *request = &x->stream.request;
    bool is_read = request->method == METHOD_GET || request->method == METHOD_HEAD;

    if (etag.n == 0 || !is_read)
        return false;
    FIELDS_EACH(f, &request->fields) {
        if (f->id != FIELD_IF_NONE_MATCH)
            continue;
        if (slice_eq(f->value, SLICE("*")) ||
            (f->value.n >= etag.n && memmem(f->value.p, f->value.n, etag.p, etag.n)))
            return true;
    }
    return false;
}

void reply_route(struct exchange *x)
{
    const struct conf_route *r = x->route;
    struct slice body = r->respond_file.content, etag = r->respond_etag;
    struct vars v;
    struct head h;

    if (!body.p) {
        exchange_vars(x, &v);
        body = vars_text(&r->respond.body, &v, &x->stream.arena);
    }
    head_init(&h, &x->stream.arena);
    h.status = (uint16_t)(has_it(x, etag) ? 304 : r->respond.status);
    if (!body.p ||
        (etag.n > 0 && !fields_add(&h.fields, FIELD_ETAG, SLICE("ETag"), etag)) ||
        (body.n > 0 && h.status != 304 &&
         !fields_add(&h.fields, FIELD_CONTENT_TYPE, SLICE("Content-Type"), r->respond_as)))
        exchange_abort(x, END_EXHAUSTED);
    else
        reply(x, &h, body);
}

/* ---- errors ---- */

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

/* The page for that status: of itself, else of its class, else of any; the last one written. */
static const struct conf_error_page *page_of(const struct exchange *x, unsigned status)
{
    const struct conf_route *r = x->route ? x->route : &x->generation->conf->route_defaults;
    const struct conf_error_page *best = NULL;

    for (size_t i = 0; i < r->error_page.n; i++) {
        const struct conf_error_page *p = &r->error_page.v[i];

        if ((p->status == status || p->status == status / 100 || p->status == 0) &&
            (!best || p->status >= best->status))
            best = p;
    }
    return best;
}

static size_t html_escape(char *dst, size_t cap, struct slice s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        struct slice c = slice_of(s.p + i, 1);

        switch (s.p[i]) {
        case '&': c = SLICE("&amp;"); break;
        case '<': c = SLICE("&lt;"); break;
        case '>': c = SLICE("&gt;"); break;
        case '"': c = SLICE("&quot;"); break;
        case '\'': c = SLICE("&#39;"); break;
        default: break;
        }
        if (c.n > cap - n)
            return 0;
        memcpy(dst + n, c.p, c.n);
        n += c.n;
    }
    return n;
}

/* What peers say in a page must stay text there. p NULL: memory exhausted. */
static struct slice page_text(struct exchange *x, const struct conf_error_page *p)
{
    vars_escape_fn *escape = slice_eq(p->type, SLICE("application/json")) ? json_escape
                                                                          : html_escape;
    struct vars v;

    if (!p->is_template)
        return p->file.content;
    exchange_vars(x, &v);
    v.value_max = PAGE_VALUE_MAX;
    return vars_escaped(&p->body, &v, &x->stream.arena, escape);
}

void reply_error_with(struct exchange *x, enum end_reason why, unsigned status,
                      const struct field *extra, size_t n)
{
    const struct conf_error_page *page;
    struct slice body;
    struct head h;
    bool has_room = true;

    x->end = why;
    x->is_error_told = true;
    head_init(&h, &x->stream.arena);
    x->status = h.status = (uint16_t)(status ? status : end_reason_status(why));
    assert(h.status != 0);
    page = page_of(x, h.status);
    if (page)
        body = page_text(x, page);
    else
        body = arena_printf(&x->stream.arena, "%u %.*s: %s\n", h.status,
                            SLICE_ARG(status_reason(h.status)), end_reason_text(why));
    for (size_t i = 0; i < n && has_room; i++)
        has_room = fields_add(&h.fields, extra[i].id, extra[i].name, extra[i].value);
    if (!has_room || !body.p ||
        !fields_add(&h.fields, FIELD_CONTENT_TYPE, SLICE("Content-Type"),
                    page ? page->type : SLICE(TEXT_TYPE)) ||
        !add_error_fields(x, &h))
        exchange_abort(x, END_EXHAUSTED);
    else
        reply(x, &h, body);
}

void reply_error(struct exchange *x, enum end_reason why)
{
    reply_error_with(x, why, 0, NULL, 0);
}
