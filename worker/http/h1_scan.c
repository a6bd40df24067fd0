/* Finds where a head ends, in bytes that come in pieces, and holds the line discipline: CRLF alone
 * ends a line, no NUL, no line begins with a blank (obs-fold, RFC 9112 5.2). Only control bytes are
 * looked at, so most of a head is passed over eight bytes a step. Used before every head and for
 * trailers; reads no field. */
#include "worker/http/h1.h"

#include "common/base/swar.h"

/* The first byte below a blank, or `end`. */
static const char *find_control(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t mark = swar_below(swar_load(p), ' ');

        if (mark)
            return p + swar_first(mark);
    }
    while (p != end && (unsigned char)*p >= ' ')
        p++;
    return p;
}

/* The LF behind a CR: the line's n bytes, both included, are known. DONE: it was the empty line. */
static enum h1_scanned end_line(struct h1_scan *s, uint32_t n)
{
    s->was_cr = false;
    s->line = 0;
    if (s->first_line == 0) {
        s->first_line = n;
        return n == 2 ? H1_SCAN_BAD : H1_SCAN_MORE;
    }
    return n == 2 ? H1_SCAN_DONE : H1_SCAN_MORE;
}

static bool is_fold(const struct h1_scan *s, char c)
{
    return s->line == 0 && !s->was_cr && (c == ' ' || c == '\t');
}

/* `line` is where the current one begins, less what of it came in earlier pieces. */
static enum h1_scanned scan_lines(struct h1_scan *s, struct slice bytes, size_t *used)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n, *line = p;
    enum h1_scanned r = H1_SCAN_MORE;

    if (is_fold(s, *p))
        return H1_SCAN_BAD;
    while (r == H1_SCAN_MORE && p != end) {
        if (s->was_cr) {
            if (*p++ != '\n')
                return H1_SCAN_BAD;
            r = end_line(s, s->line + (uint32_t)(p - line));
            line = p;
            if (r == H1_SCAN_MORE && p != end && is_fold(s, *p))
                return H1_SCAN_BAD;
            continue;
        }
        p = find_control(p, end);
        if (p == end)
            break;
        if (*p == '\n' || *p == '\0')
            return H1_SCAN_BAD;
        s->was_cr = *p++ == '\r';
    }
    s->line += (uint32_t)(p - line);
    *used = (size_t)(p - bytes.p);
    return r;
}

enum h1_scanned h1_scan(struct h1_scan *s, struct slice bytes, size_t *used)
{
    enum h1_scanned r;

    *used = 0;
    if (bytes.n == 0)
        return H1_SCAN_MORE;
    r = scan_lines(s, bytes, used);
    s->seen += (uint32_t)*used;
    return r;
}
