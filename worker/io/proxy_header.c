/* The PROXY protocol, read and written. Called by whoever accepts or connects with it; pure
 * functions of bytes, which own nothing and never read a socket.
 *
 * proxy-protocol.txt 2.1 (v1, one line of text) and 2.2 (v2, binary). What it leaves open is
 * refused: two spaces, leading zeros, other families, a datagram protocol over a stream. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "worker/io/proxy_header.h"

#define V1_MAX 107
#define V2_FIXED 16
#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_SIGNATURE_LEN 12
#define V2_LOCAL 0x20 /* version 2 in the high half */
#define V2_PROXY 0x21
#define V2_UNSPEC 0x00
#define V2_TCP4 0x11
#define V2_TCP6 0x21
#define V2_UNIX 0x31
#define V2_TCP4_SIZE 12
#define V2_TCP6_SIZE 36
#define V2_UNIX_SIZE 216

static struct ip ip_from(int family, const void *address, uint16_t port)
{
    struct addr a = { .len = 0 };

    if (family == AF_INET) {
        a.in4.sin_family = AF_INET;
        memcpy(&a.in4.sin_addr, address, 4);
        a.in4.sin_port = htons(port);
    } else {
        a.in6.sin6_family = AF_INET6;
        memcpy(&a.in6.sin6_addr, address, 16);
        a.in6.sin6_port = htons(port);
    }
    return ip_of(&a.sa);
}

/* ---- v1 ---- */

/* A v1 line being read: MORE where the bytes end before the line does. */
struct line {
    const char *at, *end;
};

static enum proxy_header take_text(struct line *l, const char *text)
{
    for (; *text; text++, l->at++) {
        if (l->at == l->end)
            return PROXY_HEADER_MORE;
        if (*l->at != *text)
            return PROXY_HEADER_BAD;
    }
    return PROXY_HEADER_DONE;
}

/* The characters up to `stop`, of those in `set`, one to max of them. */
static enum proxy_header take_word(struct line *l, const char *set, char stop, size_t max,
                                   struct slice *word)
{
    const char *from = l->at;

    for (; l->at < l->end && *l->at != stop; l->at++) {
        if (*l->at == '\0' || !strchr(set, *l->at) || (size_t)(l->at - from) == max)
            return PROXY_HEADER_BAD;
    }
    *word = slice_of(from, (size_t)(l->at - from));
    if (l->at == l->end)
        return PROXY_HEADER_MORE;
    l->at++;
    return word->n > 0 ? PROXY_HEADER_DONE : PROXY_HEADER_BAD;
}

static enum proxy_header take_address(struct line *l, int family, uint8_t address[16])
{
    bool is_v4 = family == AF_INET;
    char text[INET6_ADDRSTRLEN];
    struct slice word;
    enum proxy_header r = take_word(l, is_v4 ? "0123456789." : "0123456789abcdefABCDEF:.", ' ',
                                    is_v4 ? 15 : sizeof text - 1, &word);

    if (r != PROXY_HEADER_DONE)
        return r;
    if (!slice_copy(text, sizeof text, word) || inet_pton(family, text, address) != 1)
        return PROXY_HEADER_BAD;
    return PROXY_HEADER_DONE;
}

static enum proxy_header take_port(struct line *l, char stop, uint16_t *port)
{
    struct slice word = SLICE_NONE;
    enum proxy_header r = take_word(l, "0123456789", stop, 5, &word);
    uint64_t value = 0;

    if (r == PROXY_HEADER_BAD)
        return r;
    if (word.n > 1 && word.p[0] == '0')
        return PROXY_HEADER_BAD;
    if (word.n > 0 && (!slice_u64(word, &value) || value > UINT16_MAX))
        return PROXY_HEADER_BAD;
    *port = (uint16_t)value;
    return r;
}

/* "UNKNOWN", and anything to the line's end. */
static enum proxy_header take_unknown(struct line *l)
{
    enum proxy_header r = take_text(l, "UNKNOWN");

    if (r != PROXY_HEADER_DONE)
        return r;
    if (l->at < l->end && *l->at != ' ' && *l->at != '\r')
        return PROXY_HEADER_BAD;
    for (; l->at < l->end && *l->at != '\r'; l->at++) {
        if ((unsigned char)*l->at < ' ')
            return PROXY_HEADER_BAD;
    }
    r = take_text(l, "\r\n");
    return r == PROXY_HEADER_DONE ? PROXY_HEADER_LOCAL : r;
}

static enum proxy_header take_addresses(struct line *l, struct ip *src, struct ip *dst)
{
    uint8_t from[16], to[16];
    uint16_t from_port, to_port;
    enum proxy_header r;

    if (l->at == l->end)
        return PROXY_HEADER_MORE;
    int family = *l->at == '6' ? AF_INET6 : AF_INET;
    if ((r = take_text(l, family == AF_INET ? "4 " : "6 ")) != PROXY_HEADER_DONE ||
        (r = take_address(l, family, from)) != PROXY_HEADER_DONE ||
        (r = take_address(l, family, to)) != PROXY_HEADER_DONE ||
        (r = take_port(l, ' ', &from_port)) != PROXY_HEADER_DONE ||
        (r = take_port(l, '\r', &to_port)) != PROXY_HEADER_DONE ||
        (r = take_text(l, "\n")) != PROXY_HEADER_DONE)
        return r;
    *src = ip_from(family, from, from_port);
    *dst = ip_from(family, to, to_port);
    return PROXY_HEADER_DONE;
}

static enum proxy_header parse_v1(struct slice bytes, struct ip *src, struct ip *dst,
                                  size_t *used)
{
    bool is_cut = bytes.n > V1_MAX;
    struct line l = { bytes.p, bytes.p + (is_cut ? V1_MAX : bytes.n) };
    enum proxy_header r = take_text(&l, "PROXY ");

    if (r == PROXY_HEADER_DONE && l.at < l.end && *l.at == 'U')
        r = take_unknown(&l);
    else if (r == PROXY_HEADER_DONE && (r = take_text(&l, "TCP")) == PROXY_HEADER_DONE)
        r = take_addresses(&l, src, dst);
    /* What is still to come, at least, must fit. */
    if (r == PROXY_HEADER_MORE && bytes.n + (bytes.p[bytes.n - 1] == '\r' ? 1 : 2) > V1_MAX)
        return PROXY_HEADER_BAD;
    *used = (size_t)(l.at - bytes.p);
    return r;
}

/* ---- v2 ---- */

static uint16_t read_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* The size of the addresses a PROXY header of this family begins with, or -1. */
static int v2_size(uint8_t family)
{
    if (family == V2_TCP4)
        return V2_TCP4_SIZE;
    if (family == V2_TCP6)
        return V2_TCP6_SIZE;
    if (family == V2_UNIX)
        return V2_UNIX_SIZE;
    return family == V2_UNSPEC ? 0 : -1;
}

static void v2_addresses(const uint8_t *p, uint8_t family, struct ip *src, struct ip *dst)
{
    if (family == V2_TCP4) {
        *src = ip_from(AF_INET, p, read_u16(p + 8));
        *dst = ip_from(AF_INET, p + 4, read_u16(p + 10));
    } else if (family == V2_TCP6) {
        *src = ip_from(AF_INET6, p, read_u16(p + 32));
        *dst = ip_from(AF_INET6, p + 16, read_u16(p + 34));
    } else {
        *src = *dst = (struct ip){ .family = AF_UNIX };
    }
}

static enum proxy_header parse_v2(struct slice bytes, struct ip *src, struct ip *dst,
                                  size_t *used)
{
    const uint8_t *p = (const uint8_t *)bytes.p;
    size_t have = bytes.n < V2_SIGNATURE_LEN ? bytes.n : V2_SIGNATURE_LEN;

    if (memcmp(p, V2_SIGNATURE, have) != 0)
        return PROXY_HEADER_BAD;
    if (bytes.n > 12 && p[12] != V2_LOCAL && p[12] != V2_PROXY)
        return PROXY_HEADER_BAD;
    bool is_proxy = bytes.n > 12 && p[12] == V2_PROXY;
    if (bytes.n > 13 && is_proxy && v2_size(p[13]) < 0)
        return PROXY_HEADER_BAD;
    if (bytes.n > 14 && (p[14] << 8) + V2_FIXED > PROXY_HEADER_MAX)
        return PROXY_HEADER_BAD;
    if (bytes.n < V2_FIXED)
        return PROXY_HEADER_MORE;
    size_t length = read_u16(p + 14);
    if (V2_FIXED + length > PROXY_HEADER_MAX)
        return PROXY_HEADER_BAD;
    if (is_proxy && length < (size_t)v2_size(p[13]))
        return PROXY_HEADER_BAD;
    if (bytes.n < V2_FIXED + length)
        return PROXY_HEADER_MORE;
    *used = V2_FIXED + length;
    if (!is_proxy || p[13] == V2_UNSPEC)
        return PROXY_HEADER_LOCAL;
    v2_addresses(p + V2_FIXED, p[13], src, dst);
    return PROXY_HEADER_DONE;
}

enum proxy_header proxy_header_parse(struct slice bytes, struct ip *src, struct ip *dst,
                                     size_t *used)
{
    if (bytes.n == 0)
        return PROXY_HEADER_MORE;
    if (bytes.p[0] == 'P')
        return parse_v1(bytes, src, dst, used);
    return parse_v2(bytes, src, dst, used);
}

/* ---- writing ---- */

static bool is_pair(const struct ip *src, const struct ip *dst)
{
    return src->family == dst->family && src->family != AF_UNIX;
}

size_t proxy_header_write_v1(char buf[PROXY_HEADER_MAX], const struct ip *src,
                             const struct ip *dst)
{
    char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];
    int n;

    if (!is_pair(src, dst)) {
        n = snprintf(buf, V1_MAX + 1, "PROXY UNKNOWN\r\n");
    } else {
        ip_format(src, from);
        ip_format(dst, to);
        n = snprintf(buf, V1_MAX + 1, "PROXY TCP%c %s %s %u %u\r\n",
                     src->family == AF_INET ? '4' : '6', from, to, src->port, dst->port);
    }
    return (size_t)n;
}

static void write_u16(char *p, uint16_t value)
{
    p[0] = (char)(value >> 8);
    p[1] = (char)(value & 0xff);
}

size_t proxy_header_write_v2(char buf[PROXY_HEADER_MAX], const struct ip *src,
                             const struct ip *dst)
{
    bool is_v4 = src->family == AF_INET;
    size_t skip = is_v4 ? 12 : 0, size = 16 - skip; /* an IPv4 address ends its 16 bytes */

    memcpy(buf, V2_SIGNATURE, V2_SIGNATURE_LEN);
    if (!is_pair(src, dst)) {
        buf[12] = V2_LOCAL;
        buf[13] = V2_UNSPEC;
        write_u16(buf + 14, 0);
        return V2_FIXED;
    }
    buf[12] = V2_PROXY;
    buf[13] = is_v4 ? V2_TCP4 : V2_TCP6;
    write_u16(buf + 14, (uint16_t)(2 * size + 4));
    memcpy(buf + V2_FIXED, src->b + skip, size);
    memcpy(buf + V2_FIXED + size, dst->b + skip, size);
    write_u16(buf + V2_FIXED + 2 * size, src->port);
    write_u16(buf + V2_FIXED + 2 * size + 2, dst->port);
    return V2_FIXED + 2 * size + 4;
}
