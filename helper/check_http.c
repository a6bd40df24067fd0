/* The http check: one request on a connection of its own. The answer is llhttp's to parse; what is
 * decided before its end (a status, a text that was found) is not waited for. Called by probe.c. */
#include "helper/check_http.h"

#include <string.h>
#include "common/base/list.h"

#define AGENT "rpd/" RPD_VERSION " (health check)"

/* ---- the request ---- */

/* A Unix socket has no name of its own. */
static struct slice host_of(const struct conf_check_value *check, const char *address)
{
    if (check->host.n > 0)
        return check->host;
    return slice_starts(slice_str(address), SLICE("unix:")) ? SLICE("localhost")
                                                            : slice_str(address);
}

void check_http_request(struct strbuf *out, const struct conf_check_value *check,
                        const char *address)
{
    struct slice host = host_of(check, address);

    strbuf_printf(out, "%.*s %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: " AGENT "\r\n"
                  "Accept: */*\r\nConnection: close\r\n",
                  SLICE_ARG(check->method), SLICE_ARG(check->path), SLICE_ARG(host));
    if (slice_eq(check->method, SLICE("POST")) || slice_eq(check->method, SLICE("PUT")))
        strbuf_adds(out, "Content-Length: 0\r\n");
    strbuf_adds(out, "\r\n");
}

/* ---- the answer: llhttp's callbacks ---- */

static struct check_http *check_of(llhttp_t *parser)
{
    return CONTAINER(parser, struct check_http, parser);
}

static int decide(struct check_http *h, enum check_result result)
{
    h->result = result;
    return HPE_PAUSED;
}

static bool has_body(const struct check_http *h)
{
    return !slice_eq(h->check->method, SLICE("HEAD"));
}

/* 0: go on; 1: there is no body. 1xx but 101 come before the answer. */
static int on_head(llhttp_t *parser)
{
    struct check_http *h = check_of(parser);
    unsigned status = (unsigned)parser->status_code;

    if (status >= 100 && status < 200 && status != 101)
        return 0;
    h->status = status;
    if (status < h->check->status_min || status > h->check->status_max)
        h->result = CHECK_STATUS;
    else if (h->check->body.n == 0)
        h->result = CHECK_PASSED;
    return has_body(h) ? 0 : 1;
}

/* Keeps what a text that goes on in the next bytes may begin with. */
static void forget(struct check_http *h)
{
    size_t keep = h->check->body.n - 1;

    if (h->seen.n <= keep)
        return;
    memmove(h->seen.s, h->seen.s + h->seen.n - keep, keep);
    strbuf_cut(&h->seen, keep);
}

static int on_body(llhttp_t *parser, const char *p, size_t n)
{
    struct check_http *h = check_of(parser);
    struct slice text = h->check->body;

    if (h->result != CHECK_NONE)
        return HPE_PAUSED;
    if (n > CHECK_BODY_MAX - h->body)
        n = CHECK_BODY_MAX - h->body;
    h->body += n;
    strbuf_add(&h->seen, slice_of(p, n));
    if (memmem(h->seen.s, h->seen.n, text.p, text.n))
        return decide(h, CHECK_PASSED);
    forget(h);
    return h->body == CHECK_BODY_MAX ? decide(h, CHECK_BODY) : 0;
}

static int on_end(llhttp_t *parser)
{
    struct check_http *h = check_of(parser);

    if (h->status == 0)
        return 0; /* of an interim answer */
    return decide(h, h->result == CHECK_NONE ? CHECK_BODY : h->result);
}

static const llhttp_settings_t settings = {
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_end,
};

/* ---- the answer ---- */

void check_http_init(struct check_http *h, const struct conf_check_value *check)
{
    memset(h, 0, sizeof *h);
    h->check = check;
    llhttp_init(&h->parser, HTTP_RESPONSE, &settings);
    strbuf_init(&h->seen);
}

void check_http_fini(struct check_http *h)
{
    strbuf_fini(&h->seen);
}

enum check_result check_http_take(struct check_http *h, struct slice bytes)
{
    llhttp_errno_t err;

    if (h->result != CHECK_NONE)
        return h->result;
    err = llhttp_execute(&h->parser, bytes.p, bytes.n);
    if (h->result != CHECK_NONE)
        return h->result;
    if (err != HPE_OK)
        return h->result = CHECK_BAD_ANSWER;
    if (h->status == 0 && (h->head += bytes.n) > CHECK_HEAD_MAX)
        return h->result = CHECK_BAD_ANSWER;
    if (h->status != 0 && (h->rest += bytes.n) > CHECK_REST_MAX)
        h->result = CHECK_BODY;
    return h->result;
}

enum check_result check_http_end(struct check_http *h)
{
    if (h->result != CHECK_NONE)
        return h->result;
    if (llhttp_finish(&h->parser) != HPE_OK && h->result == CHECK_NONE)
        h->result = CHECK_CLOSED;
    if (h->result == CHECK_NONE)
        h->result = h->status ? CHECK_BODY : CHECK_CLOSED;
    return h->result;
}
