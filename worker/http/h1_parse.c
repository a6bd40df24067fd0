/* Heads of HTTP/1 messages: llhttp finds the parts, this file holds them to RFC 9110 and 9112 and
 * makes a neutral head of them, without framing and hop-by-hop fields. Called by the codecs with
 * heads that h1_scan let pass; reads no body. */
#include "worker/http/h1.h"

#define FIELDS_MAX 256
#define OPTIONS_MAX 64 /* of Connection: each costs a walk over the fields */
#define VERSION_LEN 8  /* HTTP/1.1 */

/* What a head's fields said, until the last of them is known. */
struct parse {
    struct head *head;
    struct slice bytes;
    struct slice target;
    struct slice name, value; /* of the field being read */
    struct slice host, upgrade;
    uint64_t length;
    enum end_reason why; /* set: refused */
    enum http_method request_method;
    uint32_t count; /* of fields, as they came */
    uint32_t hosts, lengths, upgrades;
    uint32_t coding_fields, codings; /* Transfer-Encoding: fields, and items in them */
    uint32_t chunked;                /* of these "chunked" */
    bool is_request;
    bool is_complete;
    bool is_chunked_last;
    bool has_connection;
    bool has_close, has_keep_alive, has_upgrade;
};

/* llhttp's code for "do not go on". */
static int refuse(struct parse *p, enum end_reason why)
{
    p->why = why;
    return HPE_USER;
}

/* ---- fields ---- */

static void see_codings(struct parse *p)
{
    struct slice rest = p->value, item;

    p->coding_fields++;
    while (slice_next_item(&rest, &item)) {
        p->is_chunked_last = slice_ieq(item, SLICE("chunked"));
        p->codings++;
        p->chunked += p->is_chunked_last;
    }
}

static void see_te(struct parse *p)
{
    struct slice rest = p->value, item;

    while (slice_next_item(&rest, &item))
        if (slice_ieq(item, SLICE("trailers")))
            p->head->te_trailers = p->is_request;
}

static bool see_length(struct parse *p)
{
    p->lengths++;
    return slice_u64(p->value, &p->length) && p->length <= INT64_MAX;
}

/* Takes note of a field; whether it stays in the head. */
static bool see_field(struct parse *p, enum field_id id)
{
    switch ((int)id) {
    case FIELD_HOST:
        p->hosts++;
        p->host = p->value;
        return !p->is_request;
    case FIELD_CONTENT_LENGTH:
        if (!see_length(p))
            p->why = END_BAD_FRAMING;
        return false;
    case FIELD_TRANSFER_ENCODING:
        see_codings(p);
        return false;
    case FIELD_UPGRADE:
        p->upgrades++;
        p->upgrade = p->value;
        return false;
    case FIELD_TE:
        see_te(p);
        return false;
    case FIELD_CONNECTION:
        p->has_connection = true;
        return true; /* until it was read: it may name fields that come later */
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_PROXY_AUTHENTICATE:
    case FIELD_PROXY_AUTHORIZATION:
    case FIELD_HTTP2_SETTINGS:
        return false;
    default:
        return true;
    }
}

static int field_complete(struct parse *p)
{
    enum field_id id = field_lookup(p->name);

    if (++p->count > FIELDS_MAX)
        return refuse(p, p->is_request ? END_HEADER_TOO_LARGE : END_RESPONSE_HEADER_TOO_LARGE);
    if (p->name.n == 0) /* llhttp lets it pass */
        return refuse(p, END_BAD_REQUEST);
    p->value = slice_trim(p->value);
    if (see_field(p, id) && !fields_add(&p->head->fields, id, p->name, p->value))
        return refuse(p, END_EXHAUSTED);
    return p->why == END_OK ? HPE_OK : HPE_USER;
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
    if (p->coding_fields == 1 && p->codings == 1 && p->chunked == 1)
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

static enum http_method method_of(uint8_t llhttp_method)
{
    switch (llhttp_method) {
    case HTTP_GET: return METHOD_GET;
    case HTTP_HEAD: return METHOD_HEAD;
    case HTTP_POST: return METHOD_POST;
    case HTTP_PUT: return METHOD_PUT;
    case HTTP_DELETE: return METHOD_DELETE;
    case HTTP_CONNECT: return METHOD_CONNECT;
    case HTTP_OPTIONS: return METHOD_OPTIONS;
    case HTTP_TRACE: return METHOD_TRACE;
    case HTTP_PATCH: return METHOD_PATCH;
    default: return METHOD_OTHER;
    }
}

/* llhttp skips what it should not in a request line: the parts must lie exactly one blank apart
 * and the version be HTTP's. */
static bool line_is_exact(const struct parse *p)
{
    struct slice method = p->head->method_text, target = p->target;
    const char *version = target.p + target.n + 1, *end = p->bytes.p + p->bytes.n;

    return method.p == p->bytes.p && target.n > 0 && target.p == method.p + method.n + 1 &&
           target.p[-1] == ' ' && version[-1] == ' ' && end - version > VERSION_LEN &&
           memcmp(version, "HTTP/", 5) == 0 && version[VERSION_LEN] == '\r';
}

/* RFC 9112 3.2: visible ASCII, and no fragment. */
static bool target_is_clean(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '#')
            return false;
    return true;
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

    if (!target_is_clean(p->target))
        return END_BAD_REQUEST;
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

static enum end_reason finish_request(struct parse *p, const llhttp_t *parser)
{
    struct head *h = p->head;
    enum end_reason why;

    h->method = method_of(parser->method);
    h->minor = parser->http_minor;
    if (parser->http_major != 1)
        return END_BAD_VERSION;
    if (!line_is_exact(p))
        return END_BAD_REQUEST;
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

/* "HTTP/1.1 200" and then a blank or the end; the reason without control bytes. */
static bool status_line_is_exact(const struct parse *p)
{
    const char *line = p->bytes.p;
    struct slice reason = p->head->reason;

    if (p->bytes.n < VERSION_LEN + 6 || memcmp(line, "HTTP/1.", 7) != 0 ||
        line[VERSION_LEN] != ' ')
        return false;
    for (int i = VERSION_LEN + 1; i < VERSION_LEN + 4; i++)
        if (line[i] < '0' || line[i] > '9')
            return false;
    if (line[VERSION_LEN + 4] != ' ' && line[VERSION_LEN + 4] != '\r')
        return false;
    for (size_t i = 0; i < reason.n; i++)
        if (((unsigned char)reason.p[i] < ' ' && reason.p[i] != '\t') || reason.p[i] == 0x7f)
            return false;
    return true;
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

static bool finish_response(struct parse *p, const llhttp_t *parser)
{
    struct head *h = p->head;

    h->minor = parser->http_minor;
    h->status = parser->status_code;
    if (parser->http_major != 1 || h->status < 100 || h->status > 599 ||
        !status_line_is_exact(p))
        return false;
    if (read_framing(p, BODY_CLOSE) != END_OK || !finish_bodiless(p) ||
        read_connection(p) != END_OK || !finish_upgrade(p))
        return false;
    drop_trailer(h);
    h->keep_alive = keeps_alive(p) && h->body != BODY_CLOSE;
    return true;
}

/* ---- llhttp's callbacks: spans come whole, for the head is in one piece ---- */

static struct parse *parse_of(llhttp_t *parser)
{
    return parser->data;
}

/* llhttp ends and begins a span anew at some places within a field. */
static void extend(struct slice *s, const char *at, size_t n)
{
    if (!s->p)
        s->p = at;
    s->n = (size_t)(at - s->p) + n;
}

static int on_method(llhttp_t *parser, const char *at, size_t n)
{
    extend(&parse_of(parser)->head->method_text, at, n);
    return HPE_OK;
}

static int on_url(llhttp_t *parser, const char *at, size_t n)
{
    extend(&parse_of(parser)->target, at, n);
    return HPE_OK;
}

static int on_status(llhttp_t *parser, const char *at, size_t n)
{
    extend(&parse_of(parser)->head->reason, at, n);
    return HPE_OK;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t n)
{
    extend(&parse_of(parser)->name, at, n);
    return HPE_OK;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t n)
{
    extend(&parse_of(parser)->value, at, n);
    return HPE_OK;
}

static int on_header_value_complete(llhttp_t *parser)
{
    struct parse *p = parse_of(parser);
    int err = field_complete(p);

    p->name = p->value = SLICE_NONE;
    return err;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct parse *p = parse_of(parser);

    p->is_complete = true;
    if (p->is_request)
        p->why = finish_request(p, parser);
    else if (!finish_response(p, parser))
        p->why = END_BAD_RESPONSE;
    if (p->why != END_OK || p->head->body != BODY_CHUNKED)
        return HPE_PAUSED; /* llhttp is not asked again */
    /* It goes on with the chunks, so it must have understood the same. */
    return parser->flags & F_CHUNKED ? HPE_OK : refuse(p, END_BAD_CODING);
}

static const llhttp_settings_t head_settings = {
    .on_method = on_method,
    .on_url = on_url,
    .on_status = on_status,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
};

/* ---- why llhttp refused ---- */

/* HTTP/DIGITS.DIGITS */
static bool is_version(struct slice s)
{
    struct slice rest = s;
    struct slice name = slice_cut(&rest, '/'), major = slice_cut(&rest, '.');
    uint64_t number;

    return slice_eq(name, SLICE("HTTP")) && slice_u64(major, &number) &&
           slice_u64(rest, &number);
}

/* The request line is all right but for a method or version that we do not have. */
static enum end_reason why_not_request(llhttp_errno_t err, struct slice bytes)
{
    struct slice line = slice_of(bytes.p, slice_find(bytes, '\r'));
    struct slice method = slice_cut(&line, ' '), target = slice_cut(&line, ' ');
    bool is_http;

    if (!slice_is_token(method) || target.n == 0 || !target_is_clean(target))
        return END_BAD_REQUEST;
    is_http = slice_eq(line, SLICE("HTTP/1.1")) || slice_eq(line, SLICE("HTTP/1.0"));
    if (!is_http)
        return is_version(line) ? END_BAD_VERSION : END_BAD_REQUEST;
    /* An invalid constant here is a method of RTSP's or ICE's, seen after the version. */
    if (err == HPE_INVALID_METHOD || err == HPE_INVALID_CONSTANT)
        return END_BAD_METHOD;
    return END_BAD_REQUEST;
}

static enum end_reason why_refused(const struct parse *p, llhttp_errno_t err)
{
    if (p->why != END_OK)
        return p->why;
    if (!p->is_request)
        return END_BAD_RESPONSE;
    if (err == HPE_UNEXPECTED_CONTENT_LENGTH || err == HPE_INVALID_CONTENT_LENGTH ||
        err == HPE_INVALID_TRANSFER_ENCODING)
        return END_BAD_FRAMING;
    return why_not_request(err, p->bytes);
}

static enum end_reason parse(struct parse *p, llhttp_t *parser, llhttp_type_t type)
{
    llhttp_errno_t err;

    llhttp_init(parser, type, &head_settings);
    parser->data = p;
    err = llhttp_execute(parser, p->bytes.p, p->bytes.n);
    parser->data = NULL;
    p->head->wire_bytes = (uint32_t)p->bytes.n;
    if (p->head->method_text.n > 0)
        p->head->method = method_of(parser->method); /* of refused requests too */
    if (!p->is_complete || p->why != END_OK || (err != HPE_OK && err != HPE_PAUSED))
        return why_refused(p, err);
    /* llhttp's head ends where the scan's does. */
    if (err == HPE_PAUSED && llhttp_get_error_pos(parser) + 1 < p->bytes.p + p->bytes.n)
        return p->is_request ? END_BAD_REQUEST : END_BAD_RESPONSE;
    return END_OK;
}

enum end_reason h1_parse_request(llhttp_t *parser, struct slice bytes, struct head *h)
{
    struct parse p = { .head = h, .bytes = bytes, .is_request = true };

    return parse(&p, parser, HTTP_REQUEST);
}

enum end_reason h1_parse_response(llhttp_t *parser, struct slice bytes, struct head *h,
                                  enum http_method request_method)
{
    struct parse p = { .head = h, .bytes = bytes, .request_method = request_method };
    enum end_reason why = parse(&p, parser, HTTP_RESPONSE);

    if (why == END_OK || why == END_EXHAUSTED || why == END_RESPONSE_HEADER_TOO_LARGE)
        return why;
    return END_BAD_RESPONSE;
}
