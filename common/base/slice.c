/* Slices: comparing, cutting and reading byte strings. Owns nothing and allocates nothing; every
 * other module calls it. Never looks behind a slice's end. */
#include "common/base/slice.h"

/* RFC 9110 5.6.2: tchar = "!#$%&'*+-.^_`|~", digits and letters. */
static const bool is_tchar[256] = {
    ['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1,
    ['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1, ['~'] = 1,
    ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1,
    ['5'] = 1, ['6'] = 1, ['7'] = 1, ['8'] = 1, ['9'] = 1,
    ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1, ['G'] = 1, ['H'] = 1,
    ['I'] = 1, ['J'] = 1, ['K'] = 1, ['L'] = 1, ['M'] = 1, ['N'] = 1, ['O'] = 1, ['P'] = 1,
    ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1, ['W'] = 1, ['X'] = 1,
    ['Y'] = 1, ['Z'] = 1,
    ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1, ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1,
    ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1, ['m'] = 1, ['n'] = 1, ['o'] = 1, ['p'] = 1,
    ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1, ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1,
    ['y'] = 1, ['z'] = 1,
};

static uint64_t load8(const char *p)
{
    uint64_t w;

    memcpy(&w, p, 8);
    return w;
}

/* Every one of n < 8 bytes, some of them twice: the same positions for the same n, so two words
 * are equal if and only if the bytes are. */
static uint64_t load_short(const char *p, size_t n)
{
    if (n >= 4) {
        uint32_t head, tail;

        memcpy(&head, p, 4);
        memcpy(&tail, p + n - 4, 4);
        return (uint64_t)head << 32 | tail;
    }
    if (n == 0)
        return 0;
    return (uint64_t)(unsigned char)p[0] << 16 | (uint64_t)(unsigned char)p[n / 2] << 8 |
           (unsigned char)p[n - 1];
}

bool slice_ieq_bytes(const char *a, const char *b, size_t n)
{
    if (n < 8)
        return ascii_lower8(load_short(a, n)) == ascii_lower8(load_short(b, n));
    for (size_t i = 0; i + 8 <= n; i += 8)
        if (ascii_lower8(load8(a + i)) != ascii_lower8(load8(b + i)))
            return false;
    /* The last eight, which overlap what was compared unless n is a multiple of eight. */
    return ascii_lower8(load8(a + n - 8)) == ascii_lower8(load8(b + n - 8));
}

bool slice_ends(struct slice s, struct slice suffix)
{
    if (suffix.n == 0)
        return true;
    return s.n >= suffix.n && memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0;
}

int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;

    if (order != 0)
        return order;
    return (a.n > b.n) - (a.n < b.n);
}

static bool is_ows(char c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
    while (s.n > 0 && is_ows(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_ows(s.p[s.n - 1]))
        s.n--;
    return s;
}

size_t slice_find(struct slice s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

    return at ? (size_t)(at - s.p) : s.n;
}

struct slice slice_cut(struct slice *rest, char sep)
{
    size_t n = slice_find(*rest, sep);
    struct slice part = slice_of(rest->p, n);

    if (n == rest->n)
        *rest = SLICE_NONE;
    else
        *rest = slice_of(rest->p + n + 1, rest->n - n - 1);
    return part;
}

bool slice_next_item(struct slice *rest, struct slice *item)
{
    while (rest->p) {
        *item = slice_trim(slice_cut(rest, ','));
        if (item->n > 0)
            return true;
    }
    *item = SLICE_NONE;
    return false;
}

bool slice_u64(struct slice s, uint64_t *out)
{
    uint64_t value = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';

        if (digit > 9)
            return false;
        /* Nineteen digits fit whatever they are. */
        if (i >= 19 && (value > UINT64_MAX / 10 || value * 10 > UINT64_MAX - digit))
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool slice_copy(char *dst, size_t cap, struct slice s)
{
    if (cap == 0)
        return false;
    if (s.n >= cap) {
        dst[0] = '\0';
        return false;
    }
    if (s.n > 0)
        memcpy(dst, s.p, s.n);
    dst[s.n] = '\0';
    return true;
}

/* RFC 3629 section 4: the lead byte says the length, and narrows the second byte so that there
 * are no overlong forms, no surrogates and nothing above U+10FFFF. */
size_t slice_utf8(struct slice s)
{
    unsigned char lead, low = 0x80, high = 0xbf;
    size_t n;

    if (s.n == 0)
        return 0;
    lead = (unsigned char)s.p[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    n = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (s.n < n)
        return 0;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < low || c > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return n;
}

bool slice_is_token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_tchar[(unsigned char)s.p[i]])
            return false;
    return s.n > 0;
}
