/* Rewritten paths and redirects. */
#include "worker/proxy/target.h"

#include <assert.h>
#include "common/base/path.h"

/* ---- escaping ---- */

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f');
}

/* RFC 3986 2: what no URI holds as it is. A percent sign that begins an escape is one. */
static bool is_foreign(struct slice s, size_t i)
{
    unsigned char c = (unsigned char)s.p[i];

    if (c == '%')
        return s.n - i < 3 || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2]);
    return c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`{|}", c);
}

/* Of vars_escape_fn: what is foreign to a URI, and what is of `ends`. */
static size_t escape(char *dst, size_t cap, struct slice s, const char *ends)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool is_escaped = is_foreign(s, i) || strchr(ends, c);

        if (cap - n < (is_escaped ? 3 : 1))
            return 0;
        dst[n++] = is_escaped ? '%' : (char)c;
        if (is_escaped) {
            dst[n++] = digits[c >> 4];
            dst[n++] = digits[c & 15];
        }
    }
    return n;
}

static size_t escape_path(char *dst, size_t cap, struct slice s)
{
    return escape(dst, cap, s, "?#");
}

static size_t escape_query(char *dst, size_t cap, struct slice s)
{
    return escape(dst, cap, s, "#");
}

static size_t escape_url(char *dst, size_t cap, struct slice s)
{
    return escape(dst, cap, s, "");
}

/* ---- the new path ---- */

static enum end_reason refuse(struct exchange *x, const char *why)
{
    x->detail = why;
    stat_inc(&x->listener->stats->bad_requests);
    return END_BAD_REQUEST;
}

/* `path` is in its normal form, and has the query behind it. */
static enum end_reason replace_prefix(struct exchange *x, struct slice path)
{
    const struct conf_route *r = x->route;
    size_t matched = r->path_exact.n > 0 ? r->path_exact.n
                     : r->path.n > 1     ? r->path.n
                                         : 0; /* of "/" nothing but what follows it */
    struct slice rest = slice_of(path.p + matched, path.n - matched);
    struct slice prefix = r->rewrite.prefix;
    char *text, *at;

    if (prefix.n == 0 && rest.n > 0 && *rest.p == '/') {
        x->new_path = rest;
        return END_OK;
    }
    if (prefix.n == 0)
        prefix = SLICE("/");
    text = arena_alloc(&x->stream.arena, prefix.n + rest.n);
    if (!text)
        return END_EXHAUSTED;
    at = slice_put(slice_put(text, prefix), rest);
    x->new_path = slice_of(text, (size_t)(at - text));
    return END_OK;
}

/* "." or "..", escaped or not. */
static bool is_dots(struct slice segment)
{
    size_t i = 0, dots = 0;

    while (i < segment.n) {
        if (slice_istarts(slice_of(segment.p + i, segment.n - i), SLICE("%2e")))
            i += 3;
        else if (segment.p[i] == '.')
            i++;
        else
            return false;
        dots++;
    }
    return dots == 1 || dots == 2;
}

/* Bytes of what parts segments, for rpd or only for some servers; 0: nothing does. */
static size_t separator(struct slice rest)
{
    if (*rest.p == '/' || *rest.p == ';')
        return 1;
    return slice_istarts(rest, SLICE("%2f")) || slice_istarts(rest, SLICE("%5c")) ? 3 : 0;
}

static bool has_dots(struct slice path)
{
    size_t begin = 0;

    for (size_t i = 0; i < path.n; i++) {
        size_t n = separator(slice_of(path.p + i, path.n - i));

        if (n == 0)
            continue;
        if (is_dots(slice_of(path.p + begin, i - begin)))
            return true;
        i += n - 1;
        begin = i + 1;
    }
    return is_dots(slice_of(path.p + begin, path.n - begin));
}

/* What the template gives, in its normal form. A value that leads elsewhere by dot segments is not
 * followed: `/files$1` of "/../x" was never meant to be "/x". */
static enum end_reason expand_path(struct exchange *x, const struct vars *v, struct slice *path)
{
    struct arena *arena = &x->stream.arena;
    struct slice text = vars_escaped(&x->route->rewrite.path, v, arena, escape_path);
    char *whole, *normal;
    size_t n;

    whole = text.p ? arena_alloc(arena, text.n + 1) : NULL;
    normal = whole ? arena_alloc(arena, text.n + 1) : NULL;
    if (!normal)
        return END_EXHAUSTED;
    *whole = '/';
    (void)slice_put(whole + 1, text);
    if (has_dots(text) || path_normalise(slice_of(whole, text.n + 1), normal, &n) != PATH_GOOD)
        return refuse(x, "its rewritten path leads elsewhere");
    *path = slice_of(normal, n);
    return END_OK;
}

/* path and "?query". */
static enum end_reason join(struct exchange *x, struct slice path, struct slice query)
{
    char *text = arena_alloc(&x->stream.arena, path.n + 1 + query.n), *at;

    if (!text)
        return END_EXHAUSTED;
    at = slice_put(text, path);
    if (query.n > 0)
        *at++ = '?';
    at = slice_put(at, query);
    x->new_path = slice_of(text, (size_t)(at - text));
    return END_OK;
}

static enum end_reason replace_regex(struct exchange *x, struct slice path, struct slice query)
{
    const struct conf_rewrite *r = &x->route->rewrite;
    struct regex_captures captures;
    enum end_reason why;
    struct vars v;

    switch (regex_match(r->pattern, x->proxy->regexes, path, &captures)) {
    case REGEX_NO_MATCH:
        return END_OK;
    case REGEX_LIMIT:
        return refuse(x, "its path costs the rewrite's pattern too much");
    case REGEX_MATCH:
        break;
    }
    exchange_vars(x, &v);
    v.captures = &captures;
    why = expand_path(x, &v, &path);
    if (why != END_OK)
        return why;
    if (r->has_query) {
        query = vars_escaped(&r->query, &v, &x->stream.arena, escape_query);
        if (!query.p)
            return END_EXHAUSTED;
    }
    return join(x, path, query);
}

enum end_reason target_make(struct exchange *x)
{
    struct slice target = x->stream.request.path, query = target, path;

    if (*target.p != '/') /* OPTIONS * */
        return END_OK;
    switch (x->route->rewrite.how) {
    case CONF_REWRITE_PREFIX:
        return replace_prefix(x, target);
    case CONF_REWRITE_REGEX:
        path = slice_cut(&query, '?');
        return replace_regex(x, path, query);
    case CONF_REWRITE_OFF:
        break;
    }
    return END_OK;
}

/* ---- redirects ---- */

static bool names_host(const struct template *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->parts[i].var == VAR_HOST)
            return true;
    return false;
}

/* By TLS to where it would have gone without. RFC 9110 15.4.2: a client may make a POST a GET for a
 * 301, and must not for a 308. */
static enum end_reason redirect_https(struct exchange *x, unsigned *status,
                                      struct slice *location)
{
    const struct head *h = &x->stream.request;
    struct slice host = authority_host(h->authority);
    struct slice path = *h->path.p == '/' ? h->path : SLICE(""); /* OPTIONS * */
    unsigned port = x->route->redirect.https_port;

    if (slice_eq(x->forwarded.scheme, SLICE("https"))) {
        x->detail = "it came by https already, to where redirect leads";
        return END_NO_ROUTE;
    }
    if (h->method != METHOD_GET && h->method != METHOD_HEAD)
        *status = 308;
    *location = port == 443 ? arena_printf(&x->stream.arena, "https://%.*s%.*s", SLICE_ARG(host),
                                           SLICE_ARG(path))
                            : arena_printf(&x->stream.arena, "https://%.*s:%u%.*s",
                                           SLICE_ARG(host), port, SLICE_ARG(path));
    return location->p ? END_OK : END_EXHAUSTED;
}

enum end_reason target_redirect(struct exchange *x, unsigned *status, struct slice *location)
{
    const struct conf_redirect *r = &x->route->redirect;
    struct vars v;

    *status = r->status;
    if (x->stream.request.authority.n == 0 && (r->https_port || names_host(&r->location))) {
        x->detail = "the redirect needs a Host";
        return END_BAD_HOST;
    }
    if (r->https_port)
        return redirect_https(x, status, location);
    exchange_vars(x, &v);
    *location = vars_escaped(&r->location, &v, &x->stream.arena, escape_url);
    return location->p ? END_OK : END_EXHAUSTED;
}
