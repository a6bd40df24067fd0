/* JSON, read: a recursive descent whose depth is bounded, over a slice. Owns nothing; called for
 * tokens and key files. */
#include "common/base/json_read.h"

#include <assert.h>

/* ---- small pieces ---- */

static char peek(const struct slice *s)
{
    return s->n > 0 ? s->p[0] : '\0';
}

static void advance(struct slice *s, size_t n)
{
    *s = slice_of(s->p + n, s->n - n);
}

static bool accept(struct slice *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    advance(s, 1);
    return true;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_spaces(struct slice *s)
{
    while (s->n > 0 && is_space(s->p[0]))
        advance(s, 1);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool skip_digits(struct slice *s)
{
    bool has_any = is_digit(peek(s));

    while (is_digit(peek(s)))
        advance(s, 1);
    return has_any;
}

static bool accept_word(struct slice *s, struct slice word)
{
    if (!slice_starts(*s, word))
        return false;
    advance(s, word.n);
    return true;
}

static int hex(char c)
{
    if (is_digit(c))
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four digits; -1: they are not there. */
static int32_t hex4(struct slice s)
{
    int32_t value = 0;

    if (s.n < 4)
        return -1;
    for (size_t i = 0; i < 4; i++) {
        int digit = hex(s.p[i]);

        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* ---- strings ---- */

/* What stands behind a backslash, and how long it is there. 0: no escape (RFC 8259 7). */
static size_t read_escape(struct slice s, uint32_t *out)
{
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const char *at = s.n > 0 && s.p[0] ? strchr(letters, s.p[0]) : NULL;
    int32_t high, low;

    if (at) {
        *out = (unsigned char)bytes[at - letters];
        return 1;
    }
    if (peek(&s) != 'u' || (high = hex4(slice_of(s.p + 1, s.n - 1))) < 0)
        return 0;
    *out = (uint32_t)high;
    if (high < 0xd800 || high > 0xdfff)
        return 5;
    if (high > 0xdbff || s.n < 11 || s.p[5] != '\\' || s.p[6] != 'u')
        return 0; /* half a pair */
    low = hex4(slice_of(s.p + 7, s.n - 7));
    if (low < 0xdc00 || low > 0xdfff)
        return 0;
    *out = 0x10000 + ((uint32_t)(high - 0xd800) << 10 | (uint32_t)(low - 0xdc00));
    return 11;
}

static bool take_string(struct slice *s, struct slice *text)
{
    const char *begin;
    uint32_t ignored;

    if (!accept(s, '"'))
        return false;
    begin = s->p;
    for (;;) {
        size_t n;

        if (s->n == 0 || (unsigned char)s->p[0] < 0x20)
            return false;
        if (s->p[0] == '"')
            break;
        if (s->p[0] == '\\') {
            n = read_escape(slice_of(s->p + 1, s->n - 1), &ignored);
            if (n > 0)
                n++;
        } else {
            n = slice_utf8(*s);
        }
        if (n == 0)
            return false;
        advance(s, n);
    }
    *text = slice_of(begin, (size_t)(s->p - begin));
    advance(s, 1);
    return true;
}

static size_t put_utf8(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* An escape of six bytes is at most three of UTF-8, and a pair of twelve four: it all fits. */
size_t json_unescape(struct slice text, char *out)
{
    size_t n = 0;

    while (text.n > 0) {
        uint32_t c;
        size_t length;

        if (text.p[0] != '\\') {
            out[n++] = text.p[0];
            advance(&text, 1);
            continue;
        }
        length = read_escape(slice_of(text.p + 1, text.n - 1), &c);
        assert(length > 0); /* json_read saw it */
        n += put_utf8(c, out + n);
        advance(&text, length + 1);
    }
    return n;
}

bool json_name_is(struct slice name, struct slice expected)
{
    while (name.n > 0) {
        char bytes[4];
        size_t n = 1, length = 1;
        uint32_t c;

        if (name.p[0] == '\\') {
            length = 1 + read_escape(slice_of(name.p + 1, name.n - 1), &c);
            assert(length > 1);
            n = put_utf8(c, bytes);
        } else {
            bytes[0] = name.p[0];
        }
        if (!slice_starts(expected, slice_of(bytes, n)))
            return false;
        advance(&expected, n);
        advance(&name, length);
    }
    return expected.n == 0;
}

/* ---- values ---- */

static bool take_value(struct slice *s, struct json_value *out, unsigned depth);

/* RFC 8259 6. */
static bool take_number(struct slice *s)
{
    (void)accept(s, '-');
    if (!accept(s, '0') && !skip_digits(s))
        return false;
    if (accept(s, '.') && !skip_digits(s))
        return false;
    if (accept(s, 'e') || accept(s, 'E')) {
        if (!accept(s, '+'))
            (void)accept(s, '-');
        return skip_digits(s);
    }
    return true;
}

/* Up to the bracket that ends it, from behind the one that begins it. */
static bool take_members(struct slice *s, bool is_object, unsigned depth)
{
    const char end = is_object ? '}' : ']';
    struct json_value ignored;
    struct slice name;

    skip_spaces(s);
    if (accept(s, end))
        return true;
    for (;;) {
        if (is_object) {
            skip_spaces(s);
            if (!take_string(s, &name))
                return false;
            skip_spaces(s);
            if (!accept(s, ':'))
                return false;
        }
        if (!take_value(s, &ignored, depth))
            return false;
        if (accept(s, end))
            return true;
        if (!accept(s, ','))
            return false;
    }
}

static bool take_simple(struct slice *s, struct json_value *out)
{
    static const struct {
        struct slice word;
        enum json_kind kind;
    } words[] = {
        { SLICE_INIT("true"), JSON_TRUE },
        { SLICE_INIT("false"), JSON_FALSE },
        { SLICE_INIT("null"), JSON_NULL },
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (accept_word(s, words[i].word)) {
            out->kind = words[i].kind;
            return true;
        }
    }
    out->kind = JSON_NUMBER;
    return take_number(s);
}

/* One value with the spaces around it. */
static bool take_value(struct slice *s, struct json_value *out, unsigned depth)
{
    const char *begin;
    bool is_good;

    skip_spaces(s);
    begin = s->p;
    if (peek(s) == '"') {
        out->kind = JSON_STRING;
        is_good = take_string(s, &out->text);
    } else if (peek(s) == '{' || peek(s) == '[') {
        out->kind = peek(s) == '{' ? JSON_OBJECT : JSON_ARRAY;
        advance(s, 1);
        is_good = depth < JSON_DEPTH_MAX && take_members(s, out->kind == JSON_OBJECT, depth + 1);
    } else {
        is_good = take_simple(s, out);
    }
    if (!is_good)
        return false;
    if (out->kind != JSON_STRING)
        out->text = slice_of(begin, (size_t)(s->p - begin));
    skip_spaces(s);
    return true;
}

bool json_read(struct slice text, struct json_value *out)
{
    return take_value(&text, out, 0) && text.n == 0;
}

/* ---- walking ---- */

/* The bracket that begins, or the comma before the next. */
static bool take_separator(struct slice *rest, char bracket)
{
    if (!accept(rest, bracket) && !accept(rest, ','))
        return false;
    skip_spaces(rest);
    return peek(rest) != '}' && peek(rest) != ']';
}

bool json_next_member(struct slice *rest, struct slice *name, struct json_value *value)
{
    if (!take_separator(rest, '{') || !take_string(rest, name))
        return false;
    skip_spaces(rest);
    return accept(rest, ':') && take_value(rest, value, 0);
}

bool json_next_item(struct slice *rest, struct json_value *value)
{
    return take_separator(rest, '[') && take_value(rest, value, 0);
}

bool json_whole(const struct json_value *value, int64_t *out)
{
    struct slice s = value->text, digits;
    bool is_negative;
    uint64_t n;

    if (value->kind != JSON_NUMBER)
        return false;
    is_negative = accept(&s, '-');
    digits = slice_of(s.p, slice_find(s, '.'));
    if (!slice_u64(digits, &n) || n > INT64_MAX || slice_find(s, 'e') < s.n ||
        slice_find(s, 'E') < s.n)
        return false;
    *out = is_negative ? -(int64_t)n : (int64_t)n;
    return true;
}
