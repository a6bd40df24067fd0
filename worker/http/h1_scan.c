/* Finds where a head ends, in bytes that come in pieces, and holds the line discipline that llhttp
 * does not: CRLF alone ends a line, no NUL, no line begins with a blank (obs-fold, RFC 9112 5.2).
 * Used before every head and for trailers; reads no field. */
#include "worker/http/h1.h"

/* The LF of a line that began with s->line bytes in earlier pieces: p up to lf, exclusive, are the
 * new ones. Sets *is_end if the line is empty. */
static bool end_line(struct h1_scan *s, const char *p, const char *lf, bool *is_end)
{
    size_t n = (size_t)(lf - p);
    const char *cr = n > 0 ? memchr(p, '\r', n) : NULL;

    if (n > 0 ? cr != lf - 1 : !s->was_cr)
        return false;
    *is_end = s->line + n == 1;
    if (*is_end && s->first_line == 0)
        return false;
    if (s->first_line == 0)
        s->first_line = s->line + (uint32_t)n + 1;
    s->line = 0;
    s->was_cr = false;
    return true;
}

/* The rest, in which no line ends: a CR may only be its last byte. */
static bool begin_line(struct h1_scan *s, const char *p, size_t n)
{
    const char *cr = memchr(p, '\r', n);

    if (cr && cr != p + n - 1)
        return false;
    s->was_cr = cr != NULL;
    s->line += (uint32_t)n;
    return true;
}

static enum h1_scanned scan_lines(struct h1_scan *s, struct slice bytes, size_t *used)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    bool is_end = false;

    while (p != end) {
        const char *lf;

        if (s->was_cr ? *p != '\n' : s->line == 0 && (*p == ' ' || *p == '\t'))
            return H1_SCAN_BAD;
        lf = memchr(p, '\n', (size_t)(end - p));
        if (!lf) {
            if (!begin_line(s, p, (size_t)(end - p)))
                return H1_SCAN_BAD;
            break;
        }
        if (!end_line(s, p, lf, &is_end))
            return H1_SCAN_BAD;
        p = lf + 1;
        if (is_end) {
            *used = (size_t)(p - bytes.p);
            return H1_SCAN_DONE;
        }
    }
    *used = bytes.n;
    return H1_SCAN_MORE;
}

enum h1_scanned h1_scan(struct h1_scan *s, struct slice bytes, size_t *used)
{
    enum h1_scanned r;

    *used = 0;
    if (bytes.n == 0)
        return H1_SCAN_MORE;
    r = scan_lines(s, bytes, used);
    if (r == H1_SCAN_BAD || memchr(bytes.p, '\0', *used))
        return H1_SCAN_BAD;
    s->seen += (uint32_t)*used;
    return r;
}
