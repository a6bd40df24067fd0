/* Field lines: the innermost loop of HTTP/1, for heads of both sides and for trailers. Eight bytes
 * a step where there are eight left. Called by h1_parse.c and h1_body.c; keeps nothing. */
#include "worker/http/h1_field.h"

#include "common/base/swar.h"

/* The first colon, or `end`. */
static const char *find_colon(const char *p, const char *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t mark = swar_equal(swar_load(p), ':');

        if (mark)
            return p + swar_first(mark);
    }
    while (p != end && *p != ':')
        p++;
    return p;
}

const char *h1_text_end(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t w = swar_load(p);
        uint64_t mark = swar_below(w, ' ') | swar_equal(w, 0x7f);

        if (!mark) {
            p += 8;
            continue;
        }
        p += swar_first(mark);
        if (*p != '\t')
            return p;
        p++;
    }
    while (p != end && (((unsigned char)*p >= ' ' && *p != 0x7f) || *p == '\t'))
        p++;
    return p;
}

const char *h1_field_read(const char *p, const char *end, struct field *f)
{
    const char *colon = find_colon(p, end), *stop;

    if (colon == end)
        return NULL;
    f->name = slice_of(p, (size_t)(colon - p));
    f->id = field_lookup(f->name);
    if (f->id == FIELD_OTHER && !slice_is_token(f->name))
        return NULL;
    stop = h1_text_end(colon + 1, end);
    if (end - stop < 2 || stop[0] != '\r' || stop[1] != '\n')
        return NULL;
    f->value = slice_trim(slice_of(colon + 1, (size_t)(stop - colon - 1)));
    f->is_line = f->value.p == colon + 2 && colon[1] == ' ' && f->value.p + f->value.n == stop;
    return stop + 2;
}
