/* Heads of HTTP/1 messages: start lines, and what a head's fields mean, held to RFC 9110 and 9112.
 * Makes a neutral head without framing and hop-by-hop fields. Called by the codecs with heads or
 * what may be one; reads no body. */
#include "worker/http/h1.h"
#include "worker/http/h1_field.h"

#define FIELDS_MAX 256
#define OPTIONS_MAX 64 /* of Connection: each costs a walk over the fields */
#define VERSION_LEN 8  /* HTTP/1.1 */
#define METHOD_MAX 64

/* What a head's fields said, until the last of them is known. */
struct parse {
    struct head *head;
    struct slice bytes;
    struct slice target;
    struct slice host, upgrade;
    uint64_t length;
    enum end_reason why; /* set: refused */
    enum http_method request_method;
    uint32_t hosts, lengths, upgrades;
    uint32_t coding_fields, codings; /* Transfer-Encoding: fields, and items in them */
    uint32_t chunked;                /* of these "chunked" */
    bool is_request;
    bool is_chunked_last;
    bool is_plain_chunked;           /* without so much as an empty item beside it */
    bool has_connection;
    bool has_close, has_keep_alive, has_upgrade;
};

/* ---- fields ---- */

static void see_codings(struct parse *p, struct slice rest)
{
    struct slice item;

    p->coding_fields++;
    p->is_plain_chunked = slice_ieq(rest, SLICE("chunked"));
    while (slice_next_item(&rest, &item)) {
        p->is_chunked_last = slice_ieq(item, SLICE("chunked"));
        p->codings++;
        p->chunked += p->is_chunked_last;
    }
}

static void see_te(struct parse *p, struct slice rest)
{
    struct slice item;

    while (slice_next_item(&rest, &item))
        if (slice_ieq(item, SLICE("trailers")))
            p->head->te_trailers = p->is_request;
}

static bool see_length(struct parse *p, struct slice value)
{
    p->lengths++;
    return slice_u64(value, &p->length) && p->length <= INT64_MAX;
}

/* The two values that nearly all have. Any other is kept until the end, for it may name fields that
 * come later. */
static bool see_plain_connection(struct parse *p, struct slice value)
{
    if (slice_ieq(value, SLICE("keep-alive")))
        p->has_keep_alive = true;
    else if (slice_ieq(value, SLICE("close")))
        p->has_close = true;
    else
        p->has_connection = true;
    return !p->has_connection;
}

/* Those that see_field has something to do with. */
#define BIT(id) (UINT64_C(1) << FIELD_##id)
static const uint64_t looked_at =
    BIT(HOST) | BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING) | BIT(UPGRADE) | BIT(TE) |
    BIT(CONNECTION) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) | BIT(PROXY_AUTHENTICATE) |
    BIT(PROXY_AUTHORIZATION) | BIT(HTTP2_SETTINGS);
#undef BIT

/* Takes note of a field; whether it stays in the head. */
static bool see_field(struct parse *p, const struct field *f)
{
    switch ((int)f->id) {
    case FIELD_HOST:
        p->hosts++;
        p->host = f->value;
        return !p->is_request;
    case FIELD_CONTENT_LENGTH:
        if (!see_length(p, f->value))
            p->why = END_BAD_FRAMING;
        return false;
    case FIELD_TRANSFER_ENCODING:
        see_codings(p, f->value);
        return false;
    case FIELD_UPGRADE:
        p->upgrades++;
        p->upgrade = f->value;
        return false;
    case FIELD_TE:
        see_te(p, f->value);
        return false;
    case FIELD_CONNECTION:
        return !see_plain_connection(p, f->value);
    default: /* the rest of looked_at */
        return false;
    }
}

static enum end_reason nonsense(const struct parse *p)
{
    return p->is_request ? END_BAD_REQUEST : END_BAD_RESPONSE;
}

/* From `at` to the empty line: the loop that costs most of a head's time. */
__attribute__((flatten))
static enum end_reason read_fields(struct parse *p, const char *at)
{
    const char *end = p->bytes.p + p->bytes.n;
    struct fields *fields = &p->head->fields;

    for (unsigned count = 0; at != end && *at != '\r'; count++) {
        struct field *f = fields_reserve(fields);

        if (!f)
            return END_EXHAUSTED;
        at = h1_field_read(at, end, f);
        if (!at)
            return nonsense(p);
        if (count == FIELDS_MAX)
            return p->is_request ? END_HEADER_TOO_LARGE : END_RESPONSE_HEADER_TOO_LARGE;
        if (!(looked_at >> f->id & 1) || see_field(p, f))
            fields_commit(fields);
        if (p->why != END_OK)
            return p->why;
    }
    if (end - at < 2 || at[1] != '\n')
        return nonsense(p);
    p->head->wire_bytes = (uint32_t)(at + 2 - p->bytes.p);
    return END_OK;
}

/* The field that a connection option names goes, unless it is one that is known to be meant for
 * everybody: no sender may name these (RFC 9110 7.6.1). false: what is named frames or routes. */
static bool remove_named(struct fields *fields, struct slice name)
{
    enum field_id id = field_lookup(name);

    if (id == FIELD_CONTENT_LENGTH || id == FIELD_TRANSFER_ENCODING || id == FIELD_HOST)
        return false;
    if (id == FIELD_OTHER)
        fields_remove_name(fields, name);
    return true;
}

static enum end_reason read_options(struct parse *p, struct slice value, unsigned *count)
{
    struct slice item;

    while (slice_next_item(&value, &item)) {
        if (++*count > OPTIONS_MAX || !slice_is_token(item))
            return END_BAD_REQUEST;
        if (slice_ieq(item, SLICE("close")))
            p->has_close = true;
        else if (slice_ieq(item, SLICE("keep-alive")))
            p->has_keep_alive = true;
        else if (slice_ieq(item, SLICE("upgrade")))
            p->has_upgrade = true;
        else if (!remove_named(&p->head->fields, item))
            return END_BAD_REQUEST;
    }
    return END_OK;
}

static enum end_reason read_connection(struct parse *p)
{
    unsigned count = 0;

    if (!p->has_connection)
        return END_OK;
    FIELDS_EACH(f, &p->head->fields) {
        if (f->id != FIELD_CONNECTION)
            continue;
        enum end_reason why = read_options(p, f->value, &count);
        if (why != END_OK)
            return why;
    }
    fields_remove(&p->head->fields, FIELD_CONNECTION);
    return END_OK;
}

static bool keeps_alive(const struct parse *p)
{
    return !p->has_close && (p->head->minor > 0 || p->has_keep_alive);
}

/* ---- framing (RFC 9112 6.3) ---- */

/* END_OK: chunked and nothing else. */
static enum end_reason check_codings(const struct parse *p)
{
    if (p->lengths > 0 || p->head->minor == 0)
        return END_BAD_FRAMING;
    if (p->coding_fields == 1 && p->is_plain_chunked)
        return END_OK;
    if (p->chunked > 1 || (p->chunked == 1 && !p->is_chunked_last) || p->codings == p->chunked)
        return END_BAD_FRAMING;
    return END_BAD_CODING;
}

static enum end_reason read_framing(struct parse *p, enum body_kind without)
{
    struct head *h = p->head;

    h->body = without;
    if (p->coding_fields > 0) {
        h->body = BODY_CHUNKED;
        return check_codings(p);
    }
    if (p->lengths > 1)
        return END_BAD_FRAMING;
    if (p->lengths == 1) {
        h->body = BODY_LENGTH;
        h->has_length = true;
        h->content_length = p->length;
    }
    return END_OK;
}

/* Trailer speaks of what only a chunked body has. */
static void drop_trailer(struct head *h)
{
    if (h->body != BODY_CHUNKED)
        fields_remove(&h->fields, FIELD_TRAILER);
}

/* ---- requests ---- */

static enum http_method method_of(struct slice s)
{
    static const struct slice known[] = {
        [METHOD_GET] = SLICE_INIT("GET"),         [METHOD_HEAD] = SLICE_INIT("HEAD"),
        [METHOD_POST] = SLICE_INIT("POST"),       [METHOD_PUT] = SLICE_INIT("PUT"),
        [METHOD_DELETE] = SLICE_INIT("DELETE"),   [METHOD_CONNECT] = SLICE_INIT("CONNECT"),
        [METHOD_OPTIONS] = SLICE_INIT("OPTIONS"), [METHOD_TRACE] = SLICE_INIT("TRACE"),
        [METHOD_PATCH] = SLICE_INIT("PATCH"),
    };

    for (unsigned i = METHOD_GET; i < sizeof known / sizeof known[0]; i++)
        if (slice_eq(s, known[i]))
            return (enum http_method)i;
    return METHOD_OTHER;
}

/* HTTP/DIGITS.DIGITS */
static bool is_version(struct slice s)
{
    struct slice rest = s;
    struct slice name = slice_cut(&rest, '/'), major = slice_cut(&rest, '.');
    uint64_t number;

    return slice_eq(name, SLICE("HTTP")) && slice_u64(major, &number) &&
           slice_u64(rest, &number);
}

/* RFC 9112 3.2: visible ASCII, and no fragment. */
static inline bool is_target_byte(char c)
{
    return c > ' ' && c < 0x7f && c != '#';
}

/* HTTP/1.1 and 1.0, then CRLF: what nearly all lines end in. */
static bool read_version(struct head *h, const char *p, const char *end)
{
    if (end - p < VERSION_LEN + 2 || memcmp(p, "HTTP/1.", VERSION_LEN - 1) != 0 ||
        (p[VERSION_LEN - 1] != '1' && p[VERSION_LEN - 1] != '0'))
        return false;
    h->minor = p[VERSION_LEN - 1] == '1';
    return p[VERSION_LEN] == '\r' && p[VERSION_LEN + 1] == '\n';
}

/* The version is none of ours: what is it? `at` is where it should begin. */
static enum end_reason why_not_version(const char *at, const char *end)
{
    struct slice rest = slice_of(at, (size_t)(end - at));
    struct slice version = slice_of(at, slice_find(rest, '\r'));

    if (version.n == rest.n || version.p[version.n + 1] != '\n')
        return END_BAD_REQUEST;
    return is_version(version) ? END_BAD_VERSION : END_BAD_REQUEST;
}

/* method SP request-target SP HTTP-version CRLF (RFC 9112 3), one blank each. */
static enum end_reason read_request_line(struct parse *p, const char **next)
{
    const char *at = p->bytes.p, *end = at + p->bytes.n;
    const char *method_end = at + (p->bytes.n < METHOD_MAX + 1 ? p->bytes.n : METHOD_MAX + 1);
    struct head *h = p->head;
    const char *target;

    while (at != method_end && *at != ' ')
        at++;
    h->method_text = slice_of(p->bytes.p, (size_t)(at - p->bytes.p));
    if (at == method_end || !slice_is_token(h->method_text))
        return END_BAD_REQUEST;
    h->method = method_of(h->method_text);
    for (target = ++at; at != end && is_target_byte(*at); at++)
        continue;
    p->target = slice_of(target, (size_t)(at - target));
    if (at == end || p->target.n == 0)
        return END_BAD_REQUEST;
    if (*at == '\r') /* HTTP/0.9 knows no version */
        return *target == '/' && at + 1 != end && at[1] == '\n' ? END_BAD_VERSION
                                                                : END_BAD_REQUEST;
    if (*at++ != ' ')
        return END_BAD_REQUEST;
    if (!read_version(h, at, end))
        return why_not_version(at, end);
    *next = at + VERSION_LEN + 2;
    return END_OK;
}

/* The path of an absolute-form target that has none (RFC 9112 3.2.1, 3.2.4). */
static enum end_reason complete_path(struct head *h, struct slice query)
{
    char *path;

    if (query.n == 0) {
        h->path = h->method == METHOD_OPTIONS ? SLICE("*") : SLICE("/");
        return END_OK;
    }
    path = arena_alloc(h->fields.arena, query.n + 1);
    if (!path)
        return END_EXHAUSTED;
    path[0] = '/';
    memcpy(path + 1, query.p, query.n);
    h->path = slice_of(path, query.n + 1);
    return END_OK;
}

static enum end_reason read_absolute(struct head *h, struct slice target)
{
    size_t n = 0;

    if (slice_istarts(target, SLICE("http://")))
        h->scheme = SLICE("http");
    else if (slice_istarts(target, SLICE("https://")))
        h->scheme = SLICE("https");
    else
        return END_BAD_REQUEST;
    target.p += h->scheme.n + 3;
    target.n -= h->scheme.n + 3;
    while (n < target.n && target.p[n] != '/' && target.p[n] != '?')
        n++;
    h->authority = slice_of(target.p, n);
    if (!authority_is_valid(h->authority))
        return END_BAD_REQUEST;
    h->path = slice_of(target.p + n, target.n - n);
    if (h->path.n == 0 || h->path.p[0] == '?')
        return complete_path(h, h->path);
    return END_OK;
}

static enum end_reason read_target(struct parse *p)
{
    struct head *h = p->head;

    h->scheme = SLICE("http");
    h->path = p->target;
    if (p->target.p[0] == '/')
        return END_OK;
    if (slice_eq(p->target, SLICE("*")))
        return h->method == METHOD_OPTIONS ? END_OK : END_BAD_REQUEST;
    return read_absolute(h, p->target);
}

/* RFC 9112 3.2: one valid Host; HTTP/1.0 may do without. The target's authority goes first. */
static enum end_reason read_host(struct parse *p)
{
    struct head *h = p->head;

    if (p->hosts > 1 || (p->hosts == 0 && h->minor > 0))
        return END_BAD_HOST;
    if (p->hosts == 1 && !authority_is_valid(p->host) && (p->host.n > 0 || h->authority.n == 0))
        return END_BAD_HOST;
    if (h->authority.n == 0)
        h->authority = p->host;
    return END_OK;
}

/* Upgrade to HTTP/2 within the connection would get requests past our rules; not to understand
 * it is always allowed (RFC 9110 7.8). */
static bool is_upgrade_to_http(struct slice value)
{
    struct slice item;

    while (slice_next_item(&value, &item))
        if (slice_ieq(item, SLICE("h2c")) || slice_ieq(item, SLICE("h2")) ||
            slice_istarts(item, SLICE("http/")) || slice_istarts(item, SLICE("tls/")))
            return true;
    return false;
}

/* Expect of an HTTP/1.0 client is ignored, and would make the server ask it to go on. */
static void read_expect(struct head *h)
{
    struct field *f = fields_find(&h->fields, FIELD_EXPECT);

    if (!f || !slice_ieq(f->value, SLICE("100-continue")))
        return;
    if (h->minor == 0)
        fields_remove(&h->fields, FIELD_EXPECT);
    else
        h->expects_continue = h->body == BODY_CHUNKED ||
                              (h->body == BODY_LENGTH && h->content_length > 0);
}

static enum end_reason finish_request(struct parse *p)
{
    struct head *h = p->head;
    enum end_reason why;

    if (h->method == METHOD_CONNECT)
        return END_BAD_METHOD;
    if ((why = read_target(p)) != END_OK || (why = read_host(p)) != END_OK ||
        (why = read_framing(p, BODY_NONE)) != END_OK || (why = read_connection(p)) != END_OK)
        return why;
    drop_trailer(h);
    read_expect(h);
    h->te_trailers = h->te_trailers && h->minor > 0;
    h->keep_alive = keeps_alive(p);
    if (p->has_upgrade && p->upgrades == 1 && h->minor > 0 && !is_upgrade_to_http(p->upgrade))
        h->upgrade = p->upgrade;
    return END_OK;
}

/* ---- responses ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* HTTP-version SP 3DIGIT [SP reason] CRLF (RFC 9112 4): the blank behind the digits may be missing.
 * Where the fields begin, or NULL. */
static const char *read_status_line(struct parse *p)
{
    struct head *h = p->head;
    const char *at = p->bytes.p, *end = at + p->bytes.n;

    if (p->bytes.n < VERSION_LEN + 6 || memcmp(at, "HTTP/1.", VERSION_LEN - 1) != 0 ||
        (at[7] != '1' && at[7] != '0') || at[8] != ' ' || !is_digit(at[9]) || !is_digit(at[10]) ||
        !is_digit(at[11]))
        return NULL;
    h->minor = at[7] == '1';
    h->status = (uint16_t)((at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0'));
    at += VERSION_LEN + 4;
    if (*at == ' ') {
        const char *reason = ++at;

        at = h1_text_end(at, end);
        h->reason = slice_of(reason, (size_t)(at - reason));
    }
    if (h->status < 100 || h->status > 599 || end - at < 2 || at[0] != '\r' || at[1] != '\n')
        return NULL;
    return at + 2;
}

/* RFC 9112 6.3 rules 1 and 2: what has no body whatever its fields say. */
static bool finish_bodiless(struct parse *p)
{
    struct head *h = p->head;
    bool is_never = h->status < 200 || h->status == 204;

    if (!is_never && h->status != 304 && p->request_method != METHOD_HEAD)
        return true;
    if (is_never) {
        if (p->coding_fields > 0)
            return false;
        h->has_length = false;
        h->content_length = 0;
    }
    h->body = BODY_NONE;
    return true;
}

/* 101 is for one who asked in HTTP/1.1 and says to what (RFC 9110 7.8). */
static bool finish_upgrade(struct parse *p)
{
    if (p->head->status != 101)
        return true;
    if (!p->has_upgrade || p->upgrades != 1 || p->upgrade.n == 0 || p->head->minor == 0)
        return false;
    p->head->upgrade = p->upgrade;
    return true;
}

static bool finish_response(struct parse *p)
{
    struct head *h = p->head;

    if (read_framing(p, BODY_CLOSE) != END_OK || !finish_bodiless(p) ||
        read_connection(p) != END_OK || !finish_upgrade(p))
        return false;
    drop_trailer(h);
    h->keep_alive = keeps_alive(p) && h->body != BODY_CLOSE;
    return true;
}

/* ---- whole heads ---- */

enum end_reason h1_parse_request(struct slice bytes, struct head *h)
{
    struct parse p = { .head = h, .bytes = bytes, .is_request = true };
    const char *fields;
    enum end_reason why = read_request_line(&p, &fields);

    h->wire_bytes = (uint32_t)bytes.n;
    if (why == END_OK)
        why = read_fields(&p, fields);
    return why == END_OK ? finish_request(&p) : why;
}

enum end_reason h1_parse_response(struct slice bytes, struct head *h,
                                  enum http_method request_method)
{
    struct parse p = { .head = h, .bytes = bytes, .request_method = request_method };
    const char *fields = read_status_line(&p);
    enum end_reason why;

    h->wire_bytes = (uint32_t)bytes.n;
    why = fields ? read_fields(&p, fields) : END_BAD_RESPONSE;
    if (why == END_EXHAUSTED || why == END_RESPONSE_HEADER_TOO_LARGE)
        return why;
    return why == END_OK && finish_response(&p) ? END_OK : END_BAD_RESPONSE;
}
