/* JSON (RFC 8259). Owns commas and escapes, not the buffer. Called by reports, rpctl and the
 * access log; never checks that objects and arrays are closed in order. */
#include "common/base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define ESCAPE_MAX 6

/* Bytes that stand for themselves in a string: printable ASCII but quote and backslash. */
static bool is_plain(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* The short escape of RFC 8259 section 7, or 0. */
static char short_escape(char c)
{
    switch (c) {
    case '"': return '"';
    case '\\': return '\\';
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return '\0';
    }
}

static size_t plain_length(struct slice s)
{
    size_t n = 0;

    while (n < s.n && is_plain(s.p[n]))
        n++;
    return n;
}

/* The first character of *rest, which is not plain; returns its length. */
static size_t escape_one(char out[ESCAPE_MAX], struct slice *rest)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char c = (unsigned char)rest->p[0];
    size_t taken = c >= 0x80 ? slice_utf8(*rest) : 0;
    size_t n = taken;

    if (taken > 0) {
        memcpy(out, rest->p, taken);
    } else {
        taken = 1;
        out[0] = '\\';
        out[1] = short_escape((char)c);
        n = 2;
        if (!out[1]) {
            memcpy(out + 1, "u00", 3);
            out[4] = hex[c >> 4];
            out[5] = hex[c & 15];
            n = 6;
        }
    }
    *rest = slice_of(rest->p + taken, rest->n - taken);
    return n;
}

size_t json_escape(char *dst, size_t cap, struct slice s)
{
    size_t n = 0;

    while (s.n > 0) {
        char one[ESCAPE_MAX];
        size_t len = plain_length(s);
        const char *from = s.p;

        if (len > 0)
            s = slice_of(s.p + len, s.n - len);
        else {
            len = escape_one(one, &s);
            from = one;
        }
        if (len > cap - n)
            return 0;
        memcpy(dst + n, from, len);
        n += len;
    }
    return n;
}

static void put_string(struct strbuf *out, struct slice s)
{
    strbuf_addc(out, '"');
    while (s.n > 0) {
        size_t len = plain_length(s);

        strbuf_add(out, slice_of(s.p, len));
        s = slice_of(s.p + len, s.n - len);
        if (s.n > 0) {
            char one[ESCAPE_MAX];

            len = escape_one(one, &s);
            strbuf_add(out, slice_of(one, len));
        }
    }
    strbuf_addc(out, '"');
}

/* What goes before a value; the next one needs a comma. */
static void begin(struct json *j, const char *key)
{
    if (j->need_comma)
        strbuf_addc(j->out, ',');
    j->need_comma = true;
    if (key) {
        put_string(j->out, slice_str(key));
        strbuf_addc(j->out, ':');
    }
}

static void open_with(struct json *j, const char *key, char bracket)
{
    begin(j, key);
    strbuf_addc(j->out, bracket);
    j->need_comma = false;
}

static void close_with(struct json *j, char bracket)
{
    strbuf_addc(j->out, bracket);
    j->need_comma = true;
}

void json_init(struct json *j, struct strbuf *out)
{
    *j = (struct json){ .out = out };
}

void json_object(struct json *j, const char *key)
{
    open_with(j, key, '{');
}

void json_object_end(struct json *j)
{
    close_with(j, '}');
}

void json_array(struct json *j, const char *key)
{
    open_with(j, key, '[');
}

void json_array_end(struct json *j)
{
    close_with(j, ']');
}

void json_str(struct json *j, const char *key, struct slice value)
{
    begin(j, key);
    put_string(j->out, value);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
    begin(j, key);
    strbuf_printf(j->out, "%" PRIu64, value);
}

void json_i64(struct json *j, const char *key, int64_t value)
{
    begin(j, key);
    strbuf_printf(j->out, "%" PRId64, value);
}

void json_double(struct json *j, const char *key, double value)
{
    char text[512]; /* the largest double has 309 digits before the point */
    size_t n;

    begin(j, key);
    if (!isfinite(value))
        value = 0;
    n = (size_t)snprintf(text, sizeof text, "%.6f", value);
    while (text[n - 1] == '0')
        n--;
    if (text[n - 1] == '.')
        n--;
    if (slice_eq(slice_of(text, n), SLICE("-0")))
        strbuf_addc(j->out, '0');
    else
        strbuf_add(j->out, slice_of(text, n));
}

void json_null(struct json *j, const char *key)
{
    begin(j, key);
    strbuf_adds(j->out, "null");
}

void json_bool(struct json *j, const char *key, bool value)
{
    begin(j, key);
    strbuf_adds(j->out, value ? "true" : "false");
}
