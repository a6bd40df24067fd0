/* A slice is a view of bytes somebody else owns: never NUL-terminated by contract. */
#ifndef RPD_BASE_SLICE_H
#define RPD_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *p;
    size_t n;
};

/* printf("%.*s", SLICE_ARG(s)) */
#define SLICE_ARG(s) (int)(s).n, (s).p
/* From a string literal, usable in static initialisers. */
#define SLICE_INIT(lit) { (lit), sizeof(lit) - 1 }
#define SLICE(lit) ((struct slice)SLICE_INIT(lit))
#define SLICE_NONE ((struct slice){ NULL, 0 })

static inline struct slice slice_of(const char *p, size_t n)
{
    return (struct slice){ p, n };
}

static inline struct slice slice_str(const char *s)
{
    return (struct slice){ s, s ? strlen(s) : 0 };
}

static inline bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* n bytes of each are equal but for ASCII case. */
bool slice_ieq_bytes(const char *a, const char *b, size_t n);

/* ASCII case-insensitive (field names, hosts, tokens: RFC 9110 5.1). */
static inline bool slice_ieq(struct slice a, struct slice b)
{
    return a.n == b.n && slice_ieq_bytes(a.p, b.p, a.n);
}

static inline bool slice_starts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && slice_eq(slice_of(s.p, prefix.n), prefix);
}

static inline bool slice_istarts(struct slice s, struct slice prefix)
{
    return s.n >= prefix.n && slice_ieq_bytes(s.p, prefix.p, prefix.n);
}

/* Copies to `at`, returns where the copy ends. Most texts are short: those need no call. */
static inline char *slice_put(char *at, struct slice s)
{
    if (s.n > 16) {
        memcpy(at, s.p, s.n);
    } else if (s.n >= 8) {
        memcpy(at, s.p, 8);
        memcpy(at + s.n - 8, s.p + s.n - 8, 8);
    } else if (s.n >= 4) {
        memcpy(at, s.p, 4);
        memcpy(at + s.n - 4, s.p + s.n - 4, 4);
    } else if (s.n > 0) {
        at[0] = s.p[0];
        at[s.n / 2] = s.p[s.n / 2];
        at[s.n - 1] = s.p[s.n - 1];
    }
    return at + s.n;
}

bool slice_ends(struct slice s, struct slice suffix);
/* memcmp order, the shorter first on a tie; for qsort and bsearch. */
int slice_cmp(struct slice a, struct slice b);

/* Without leading and trailing spaces and tabs (OWS, RFC 9110 5.6.3). */
struct slice slice_trim(struct slice s);

/* Index of the first `c`, or s.n. */
size_t slice_find(struct slice s, char c);

/* Cuts the part of *rest before the first `sep` off and returns it; the separator goes too.
 * With no `sep` the whole rest is returned and *rest becomes empty with p == NULL: loop with
 * `while (rest.p)`. */
struct slice slice_cut(struct slice *rest, char sep);

/* Next element of a comma-separated list, trimmed; skips empty ones (RFC 9110 5.6.1).
 * false at the end. Knows no quoted strings: for lists of tokens. */
bool slice_next_item(struct slice *rest, struct slice *item);

/* Whole slice as a decimal number without sign; false on anything else or overflow. */
bool slice_u64(struct slice s, uint64_t *out);

#define SLICE_DECIMAL_MAX 20
/* The number in decimal digits, which lie in `room`. */
static inline struct slice slice_decimal(char room[SLICE_DECIMAL_MAX], uint64_t n)
{
    char *end = room + SLICE_DECIMAL_MAX, *p = end;

    do
        *--p = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    return slice_of(p, (size_t)(end - p));
}

/* Copies and NUL-terminates; false (and an empty string) when it does not fit in cap bytes. */
bool slice_copy(char *dst, size_t cap, struct slice s);

static inline char ascii_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c | 0x20) : c;
}

/* ascii_lower of eight bytes at once. Seven-bit sums cannot carry into the next byte: 0x7f plus
 * 0x3f is below 0x100. Bit 7 of a sum says "at or above"; bytes with bit 7 of their own stay. */
static inline uint64_t ascii_lower8(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101ULL;
    uint64_t low = w & (ones * 0x7f);
    uint64_t from_a = low + ones * (0x80 - 'A');
    uint64_t above_z = low + ones * (0x7f - 'Z');
    uint64_t upper = (from_a ^ above_z) & ~w & (ones * 0x80);

    return w | upper >> 2;
}

/* Length of the well-formed UTF-8 sequence at the start of s (RFC 3629), 0 if there is none. */
size_t slice_utf8(struct slice s);

/* RFC 9110 5.6.2 token: at least one tchar and nothing else. */
bool slice_is_token(struct slice s);

#endif
