/* Called by steps.c, l7.c, reply.c and attempt.c. */
#include "worker/proxy/auth_request.h"

#include "worker/proxy/aside.h"

/* Of an answer that the client gets. */
#define ANSWER_MAX 65536

struct auth_request {
    struct aside *aside;   /* NULL: it is over */
    struct fields answer;  /* of the answer, copied */
    bool is_admitted;
};

/* ---- names ---- */

/* Servers that make variables of fields take `_` and `-` for the same. */
static char fold(char c)
{
    return c == '_' ? '-' : ascii_lower(c);
}

static bool is_alike(struct slice a, struct slice b)
{
    for (size_t i = 0; i < a.n && i < b.n; i++)
        if (fold(a.p[i]) != fold(b.p[i]))
            return false;
    return a.n == b.n;
}

/* One that auth_request_header names. */
static bool is_told(const struct conf_route *r, struct slice name)
{
    for (size_t i = 0; i < r->auth_request_header.n; i++)
        if (is_alike(r->auth_request_header.v[i], name))
            return true;
    return false;
}

/* ---- the question ---- */

/* Of the body, which does not go along; of ranges and conditions, which are about another answer;
 * and what says which request it is about, which is for us to say. */
static bool is_left_out(const struct field *f)
{
    static const struct slice ours[] = {
        SLICE_INIT("X-Forwarded-Method"), SLICE_INIT("X-Forwarded-Uri"),
        SLICE_INIT("X-Original-Method"), SLICE_INIT("X-Original-Uri"),
        SLICE_INIT("X-Original-Url"),
    };
    static const uint64_t known = UINT64_C(1) << FIELD_CONTENT_LENGTH |
        UINT64_C(1) << FIELD_TRANSFER_ENCODING | UINT64_C(1) << FIELD_CONTENT_ENCODING |
        UINT64_C(1) << FIELD_CONTENT_RANGE | UINT64_C(1) << FIELD_EXPECT |
        UINT64_C(1) << FIELD_TRAILER | UINT64_C(1) << FIELD_RANGE |
        UINT64_C(1) << FIELD_IF_MATCH | UINT64_C(1) << FIELD_IF_NONE_MATCH |
        UINT64_C(1) << FIELD_IF_MODIFIED_SINCE | UINT64_C(1) << FIELD_IF_UNMODIFIED_SINCE |
        UINT64_C(1) << FIELD_IF_RANGE;

    if (known >> f->id & 1)
        return true;
    for (size_t i = 0; f->id == FIELD_OTHER && i < sizeof ours / sizeof ours[0]; i++)
        if (is_alike(f->name, ours[i]))
            return true;
    return false;
}

/* As the backend's server gets it, but for the route's rewrite. */
static struct slice path_of(const struct exchange *x)
{
    return x->raw_path.p && x->route->raw_path ? x->raw_path : x->stream.request.path;
}

static bool write_head(const struct exchange *x, struct head *h)
{
    const struct head *asked = &x->stream.request;
    const struct slice *path = &x->route->auth_request.path;
    struct fields kept = { .arena = h->fields.arena };

    FIELDS_EACH(f, &asked->fields)
        if (!is_left_out(f) && !fields_add(&kept, f->id, f->name, f->value))
            return false;
    h->method = METHOD_GET;
    h->method_text = SLICE("GET");
    h->scheme = asked->scheme;
    h->authority = asked->authority;
    h->path = path->n > 0 ? *path : path_of(x);
    h->minor = 1;
    return aside_copy_fields(&h->fields, &kept) &&
           forwarded_write(&x->forwarded, h, &x->peer, h->fields.arena) &&
           fields_add(&h->fields, FIELD_OTHER, SLICE("X-Forwarded-Method"), asked->method_text) &&
           fields_add(&h->fields, FIELD_OTHER, SLICE("X-Forwarded-Uri"), path_of(x));
}

/* ---- the answer ---- */

static void on_head(struct aside *a, const struct head *h)
{
    struct exchange *x = a->exchange;
    struct fields *f = &x->auth->answer;

    *f = (struct fields){ .arena = &x->stream.arena };
    if (!aside_copy_fields(f, &h->fields))
        a->status = 0; /* an answer that is not understood */
}

/* What the server is told comes from nobody else. */
static bool tell(struct exchange *x)
{
    struct fields *request = &x->stream.request.fields;

    FIELDS_EACH(f, request)
        if (is_told(x->route, f->name))
            f->name.n = 0;
    FIELDS_EACH(f, &x->auth->answer)
        if (is_told(x->route, f->name) &&
            !fields_add(request, f->id, f->name, f->value))
            return false;
    return true;
}

static void admit(struct exchange *x)
{
    x->auth->is_admitted = true;
    if (tell(x))
        steps_go_on(x);
    else
        exchange_fail(x, END_EXHAUSTED);
}

static void refuse(struct exchange *x, const struct aside *a)
{
    struct slice body = aside_answer(a, &x->stream.arena);
    struct head h;

    if (!body.p) {
        exchange_fail(x, END_EXHAUSTED);
        return;
    }
    if (x->route_stats)
        stat_inc(&x->route_stats->auth_request_denied);
    head_init(&h, &x->stream.arena);
    h.status = a->status;
    h.fields = x->auth->answer;
    reply_of_server(x, END_AUTH_REQUEST_DENIED, &h, body);
}

/* It said neither. */
static void fail(struct exchange *x, enum end_reason why, const char *detail)
{
    unsigned status = end_reason_status(why);

    if (why == END_EXHAUSTED || why == END_NO_DESCRIPTORS) {
        exchange_fail(x, why);
        return;
    }
    if (x->route_stats)
        stat_inc(&x->route_stats->auth_request_failed);
    x->detail = detail;
    reply_error_with(x, END_AUTH_REQUEST_FAILED, status, NULL, 0);
}

static void on_end(struct aside *a, enum end_reason why)
{
    struct exchange *x = a->exchange;

    x->auth->aside = NULL;
    if (why != END_OK)
        fail(x, why, end_reason_text(why));
    else if (a->status == 0)
        fail(x, END_EXHAUSTED, NULL);
    else if (a->status >= 500)
        fail(x, END_OK, "its server answered 5xx");
    else if (a->status < 300)
        admit(x);
    else if (a->is_too_long)
        fail(x, END_OK, "its answer is longer than 64 KiB");
    else
        refuse(x, a);
}

static const struct aside_ops auth_ops = { .on_head = on_head, .on_end = on_end };

/* ---- the step ---- */

enum step_result auth_request_step(struct exchange *x)
{
    const struct conf_route *r = x->route;
    const struct aside_way way = {
        .ops = &auth_ops,
        .backend = r->auth_request.backend,
        .timeout_ms = r->auth_request_timeout_ms,
        .retries = r->retries,
        .answer_max = ANSWER_MAX,
    };
    struct aside *a = aside_new(x, &way);

    x->auth = arena_zalloc(&x->stream.arena, sizeof *x->auth);
    if (!a || !x->auth || !write_head(x, &a->stream.request)) {
        aside_cancel(&a);
        exchange_fail(x, END_EXHAUSTED);
        return STEP_DONE;
    }
    x->auth->aside = a;
    aside_begin(a);
    return STEP_WAIT;
}

void auth_request_drop(struct exchange *x)
{
    aside_cancel(&x->auth->aside);
}

/* ---- what else it says, and the client does not ---- */

const struct fields *auth_request_trailers(struct exchange *x, const struct fields *trailers)
{
    struct fields *kept = arena_zalloc(&x->stream.arena, sizeof *kept);

    if (!kept)
        return NULL;
    kept->arena = &x->stream.arena;
    FIELDS_EACH(f, trailers)
        if (!is_told(x->route, f->name) && !fields_add(kept, f->id, f->name, f->value))
            return NULL;
    return kept;
}

bool auth_request_set_cookies(const struct exchange *x, struct head *h)
{
    FIELDS_EACH(f, &x->auth->answer)
        if (x->auth->is_admitted && f->id == FIELD_SET_COOKIE &&
            !fields_add(&h->fields, f->id, f->name, f->value))
            return false;
    return true;
}
