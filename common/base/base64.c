/* Reads base64, four characters at a time. */
#include "common/base/base64.h"

/* -1: not of the alphabet. */
static int digit_of(enum base64_kind kind, char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (kind == BASE64_URL ? '-' : '+'))
        return 62;
    return c == (kind == BASE64_URL ? '_' : '/') ? 63 : -1;
}

/* Two to four digits, for one to three bytes. */
static bool read_group(enum base64_kind kind, struct slice digits, unsigned char *out)
{
    uint32_t bits = 0;
    size_t nbytes = digits.n - 1;

    for (size_t i = 0; i < digits.n; i++) {
        int digit = digit_of(kind, digits.p[i]);

        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
    }
    bits <<= 6 * (4 - digits.n);
    for (size_t i = 0; i < nbytes; i++)
        out[i] = (unsigned char)(bits >> (16 - 8 * i));
    return (bits & ((UINT32_C(1) << (24 - 8 * nbytes)) - 1)) == 0;
}

bool base64_read(enum base64_kind kind, struct slice text, unsigned char *out, size_t *n)
{
    size_t left = text.n;

    *n = 0;
    if (kind == BASE64_PADDED) {
        if (text.n % 4 != 0)
            return false;
        while (left > 0 && text.n - left < 2 && text.p[left - 1] == '=')
            left--;
    }
    if (left % 4 == 1)
        return false;
    for (const char *p = text.p; left > 0;) {
        size_t take = left < 4 ? left : 4;

        if (!read_group(kind, slice_of(p, take), out + *n))
            return false;
        *n += take - 1;
        p += take;
        left -= take;
    }
    return true;
}
