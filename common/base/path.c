/* Paths: one scan for nearly all of them, which are normal already, and segment by segment for the
 * rest.
 *
 *   /a/%2e/b//c%2fd/..   ->   /a/b/
 *        |    |    |
 *        |    |    an escaped slash parts nothing here, but may for the server: see `climb`
 *        |    merged
 *        decoded, then a dot segment                                                         */
#include "common/base/path.h"

#include <assert.h>
#include "common/base/swar.h"

/* ---- the scan ---- */

/* Bytes that only a path out of the ordinary has: an escape, a backslash, and the slash before
 * another or before a dot. `next` holds the bytes one further on. `.` and `/` differ in bit 0
 * alone; where swar_equal marks too much, it is a dot behind a slash, and that slash is marked. */
static inline uint64_t odd_bytes(uint64_t w, uint64_t next)
{
    return swar_equal(w, '%') | swar_equal(w, '\\') |
           (swar_equal(w, '/') & swar_equal(next | SWAR_ONES, '/'));
}

/* The same of one byte, for what is shorter than eight. */
enum kind { PLAIN, QUERY, ODD, SLASH };
static const unsigned char kinds[256] = { ['?'] = QUERY, ['%'] = ODD, ['\\'] = ODD,
                                          ['/'] = SLASH };

bool path_scan(struct slice target, size_t *end)
{
    const char *p = target.p, *last = target.p + target.n;
    bool is_odd = false;

    for (; last - p > 8; p += 8) {
        uint64_t w = swar_load(p), query = swar_equal(w, '?');
        uint64_t odd = odd_bytes(w, swar_load(p + 1));

        if (query) {
            is_odd |= odd && swar_first(odd) < swar_first(query);
            *end = (size_t)(p - target.p) + swar_first(query);
            return !is_odd;
        }
        is_odd |= odd != 0;
    }
    for (; p != last; p++) {
        enum kind kind = kinds[(unsigned char)*p];

        if (kind == PLAIN)
            continue;
        if (kind == QUERY)
            break;
        is_odd |= kind == ODD || (last - p > 1 && (p[1] | 1) == '/');
    }
    *end = (size_t)(p - target.p);
    return !is_odd;
}

/* ---- escapes ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3986 2.3 */
static bool is_unreserved(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '.' || c == '_' || c == '~';
}

/* What stands behind a `%`, to *w. */
static enum path_verdict put_escape(const char *at, const char *end, char **w)
{
    static const char digits[] = "0123456789ABCDEF";
    int high, low, c;

    if (end - at < 2 || (high = hex_digit(at[0])) < 0 || (low = hex_digit(at[1])) < 0)
        return PATH_BAD_ESCAPE;
    c = high << 4 | low;
    if (c == 0)
        return PATH_NUL;
    if (is_unreserved(c)) {
        *(*w)++ = (char)c;
        return PATH_GOOD;
    }
    (*w)[0] = '%';
    (*w)[1] = digits[high];
    (*w)[2] = digits[low];
    *w += 3;
    return PATH_GOOD;
}

/* Up to a slash or the end. */
static enum path_verdict put_segment(const char **from, const char *end, char **w)
{
    const char *at = *from;
    enum path_verdict v;

    while (at != end && *at != '/') {
        char c = *at++;

        if (c == '\0')
            return PATH_NUL;
        if (c != '%') {
            *(*w)++ = c;
            continue;
        }
        v = put_escape(at, end, w);
        if (v != PATH_GOOD)
            return v;
        at += 2;
    }
    *from = at;
    return PATH_GOOD;
}

/* ---- climbing ---- */

static bool has_escape(struct slice s, size_t i, const char *escape)
{
    return s.n - i >= 3 && memcmp(s.p + i, escape, 3) == 0;
}

/* Length of what some servers take for a slash; 0: it is none. */
static size_t loose_slash(struct slice s, size_t i)
{
    if (s.p[i] == '\\')
        return 1;
    return has_escape(s, i, "%2F") || has_escape(s, i, "%5C") ? 3 : 0;
}

/* Cuts the next part off as the loosest reader would: at every kind of slash, and without
 * parameters, which begin with `;`. */
static struct slice cut_loosely(struct slice *rest)
{
    struct slice s = *rest, part = s;
    size_t i = 0, n = 0;

    while (i < s.n && (n = loose_slash(s, i)) == 0)
        i++;
    *rest = i == s.n ? SLICE_NONE : slice_of(s.p + i + n, s.n - i - n);
    part.n = i;
    for (i = 0; i < part.n; i++)
        if (part.p[i] == ';' || has_escape(part, i, "%3B"))
            part.n = i;
    return part;
}

/* Walks one more segment down or up. Readers differ in what parts a segment; a name in it leads
 * down once, for whoever sees fewest parts. A `..` has to be one for all of them. */
static enum path_verdict climb(size_t *depth, struct slice segment)
{
    bool is_up = slice_eq(segment, SLICE("..")), has_name = false;

    while (segment.p) {
        struct slice part = cut_loosely(&segment);

        if (slice_eq(part, SLICE(".."))) {
            if (*depth == 0)
                return PATH_CLIMBS;
            if (!is_up)
                return PATH_HIDES;
            --*depth;
        } else if (part.n > 0 && !slice_eq(part, SLICE(".")) && !has_name) {
            has_name = true;
            ++*depth;
        }
    }
    return PATH_GOOD;
}

/* ---- the whole ---- */

enum path_verdict path_normalise(struct slice path, char *out, size_t *n)
{
    const char *at = path.p, *end = path.p + path.n;
    char *w = out, *segment;
    enum path_verdict v;
    size_t depth = 0;

    assert(path.n > 0 && path.p[0] == '/');
    while (at != end) {
        while (at != end && *at == '/')
            at++;
        *w++ = '/';
        segment = w;
        v = put_segment(&at, end, &w);
        if (v != PATH_GOOD)
            return v;

        struct slice s = slice_of(segment, (size_t)(w - segment));
        v = climb(&depth, s);
        if (v != PATH_GOOD)
            return v;
        if (slice_eq(s, SLICE("."))) {
            w = segment - 1;
        } else if (slice_eq(s, SLICE(".."))) {
            for (w = segment - 2; *w != '/'; w--)
                continue;
        } else {
            continue;
        }
        if (at == end)
            w++; /* the slash before a last dot segment stays */
    }
    *n = (size_t)(w - out);
    return PATH_GOOD;
}

const char *path_verdict_text(enum path_verdict v)
{
    switch (v) {
    case PATH_GOOD: return "";
    case PATH_BAD_ESCAPE: return "`%` without two hexadecimal digits in the path";
    case PATH_NUL: return "NUL in the path";
    case PATH_CLIMBS: return "path leads above its root";
    case PATH_HIDES: return "path hides a `..` from some readers";
    }
    return "";
}
