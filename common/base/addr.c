/* Socket addresses and networks as text and as bytes. Owns nothing. Called by the configuration,
 * by accept and connect, by the field rules; never asks a resolver. */
#include "common/base/addr.h"

#include <arpa/inet.h>
#include <string.h>

#define NAME_MAX_LEN 253 /* RFC 1035 2.3.4, as text */
#define LABEL_MAX 63

static const uint8_t mapped_prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

/* As inet_pton, from a slice. */
static bool parse_inet(int family, struct slice text, void *out)
{
    char host[INET6_ADDRSTRLEN];

    /* A NUL within would end the text early. */
    if (slice_find(text, '\0') != text.n || !slice_copy(host, sizeof host, text))
        return false;
    return inet_pton(family, host, out) == 1;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

static bool is_label(struct slice label)
{
    if (label.n == 0 || label.n > LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
        return false;
    for (size_t i = 0; i < label.n; i++)
        if (!is_alnum(label.p[i]) && label.p[i] != '-' && label.p[i] != '_')
            return false;
    return true;
}

/* A host name, its root dot allowed. One that ends in a number is a mistyped IPv4 address. */
static bool is_name(struct slice name)
{
    struct slice rest = name, label = SLICE_NONE;
    uint64_t number;

    if (name.n > 1 && name.p[name.n - 1] == '.')
        rest.n--;
    while (rest.p) {
        label = slice_cut(&rest, '.');
        if (!is_label(label))
            return false;
    }
    return !slice_u64(label, &number);
}

static bool parse_port(struct slice text, in_port_t *out)
{
    uint64_t port;

    if (!slice_u64(text, &port) || port == 0 || port > 65535)
        return false;
    *out = htons((uint16_t)port);
    return true;
}

static enum addr_parse parse_unix(struct slice path, struct addr *out)
{
    if (path.n == 0 || path.p[0] != '/' || slice_find(path, '\0') != path.n)
        return ADDR_BAD_HOST;
    if (!slice_copy(out->un.sun_path, sizeof out->un.sun_path, path))
        return ADDR_TOO_LONG;
    out->un.sun_family = AF_UNIX;
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + 1);
    return ADDR_OK;
}

/* Where `host` of `host:port` ends: at the bracket or the last colon. text.n if there is none. */
static size_t host_end(struct slice text)
{
    size_t end = text.n;

    if (text.n > 0 && text.p[0] == '[') {
        end = slice_find(text, ']');
        return end < text.n ? end + 1 : text.n;
    }
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == ':')
            end = i;
    return end;
}

static enum addr_parse parse_host(struct slice host, in_port_t port, struct addr *out,
                                  struct slice *name)
{
    bool is_bracketed = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';

    if (host.n == 0 || is_bracketed) {
        struct slice inner = host.n == 0 ? SLICE("::") : slice_of(host.p + 1, host.n - 2);

        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = port;
        out->len = sizeof out->in6;
        return parse_inet(AF_INET6, inner, &out->in6.sin6_addr) ? ADDR_OK : ADDR_BAD_HOST;
    }
    out->in4.sin_family = AF_INET;
    out->in4.sin_port = port;
    out->len = sizeof out->in4;
    if (parse_inet(AF_INET, host, &out->in4.sin_addr))
        return ADDR_OK;
    out->len = 0;
    if (!is_name(host))
        return ADDR_BAD_HOST;
    if (host.n > NAME_MAX_LEN)
        return ADDR_TOO_LONG;
    *name = host;
    return ADDR_NAME;
}

enum addr_parse addr_parse(struct slice text, struct addr *out, struct slice *name)
{
    size_t end = host_end(text);
    enum addr_parse result;
    in_port_t port;

    memset(out, 0, sizeof *out);
    *name = SLICE_NONE;
    if (slice_starts(text, SLICE("unix:")))
        result = parse_unix(slice_of(text.p + 5, text.n - 5), out);
    else if (text.n == 0)
        result = ADDR_BAD_HOST;
    else if (end == text.n)
        result = ADDR_NO_PORT;
    else if (text.p[end] != ':')
        result = ADDR_BAD_HOST;
    else if (!parse_port(slice_of(text.p + end + 1, text.n - end - 1), &port))
        result = ADDR_BAD_PORT;
    else
        result = parse_host(slice_of(text.p, end), port, out, name);
    if (result != ADDR_OK && result != ADDR_NAME)
        out->len = 0;
    return result;
}

const char *addr_parse_error(enum addr_parse e)
{
    switch (e) {
    case ADDR_OK: return "a good address";
    case ADDR_NAME: return "a name that must be resolved";
    case ADDR_NO_PORT: return "the port is missing (write HOST:PORT)";
    case ADDR_BAD_PORT: return "the port is not a number from 1 to 65535";
    case ADDR_BAD_HOST:
        return "not an address (write 127.0.0.1:80, [::1]:80, :80, name:80 or unix:/path)";
    case ADDR_TOO_LONG:
        return "too long (a Unix path takes 107 bytes, a name 253)";
    }
    return "not an address";
}

static void format_unix(const struct addr *a, char buf[ADDR_TEXT_MAX])
{
    size_t n = a->len - offsetof(struct sockaddr_un, sun_path);
    const char *path = a->un.sun_path;
    size_t at = 5;

    memcpy(buf, "unix:", 5);
    if (a->len <= offsetof(struct sockaddr_un, sun_path))
        n = 0;
    if (n > 0 && path[0] == '\0') { /* an abstract name, see unix(7) */
        buf[at++] = '@';
        path++;
        n--;
    }
    n = strnlen(path, n);
    memcpy(buf + at, path, n);
    buf[at + n] = '\0';
}

static void format_port(char *at, in_port_t port)
{
    char digits[5];
    unsigned value = ntohs(port);
    size_t n = 0;

    do
        digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    *at++ = ':';
    while (n > 0)
        *at++ = digits[--n];
    *at = '\0';
}

const char *addr_format(const struct addr *a, char buf[ADDR_TEXT_MAX])
{
    memcpy(buf, "-", 2);
    if (a->len == 0)
        return buf;
    if (a->sa.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &a->in4.sin_addr, buf, INET_ADDRSTRLEN);
        format_port(buf + strlen(buf), a->in4.sin_port);
    } else if (a->sa.sa_family == AF_INET6) {
        size_t n;

        buf[0] = '[';
        (void)inet_ntop(AF_INET6, &a->in6.sin6_addr, buf + 1, INET6_ADDRSTRLEN);
        n = strlen(buf);
        buf[n] = ']';
        format_port(buf + n + 1, a->in6.sin6_port);
    } else if (a->sa.sa_family == AF_UNIX) {
        format_unix(a, buf);
    }
    return buf;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    if (a->len == 0 || b->len == 0)
        return a->len == b->len;
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (a->sa.sa_family == AF_INET)
        return a->in4.sin_port == b->in4.sin_port &&
               a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
    if (a->sa.sa_family == AF_INET6)
        return a->in6.sin6_port == b->in6.sin6_port &&
               a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
               memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
    return a->len == b->len && memcmp(&a->sa, &b->sa, a->len) == 0;
}

static void set_mapped(struct ip *ip, const void *v4)
{
    memcpy(ip->b, mapped_prefix, 12);
    memcpy(ip->b + 12, v4, 4);
    ip->family = AF_INET;
}

/* A dual-stack socket's IPv4 peer is an IPv4 peer. */
static void set_v6(struct ip *ip, const void *v6)
{
    memcpy(ip->b, v6, 16);
    ip->family = memcmp(ip->b, mapped_prefix, 12) == 0 ? AF_INET : AF_INET6;
}

struct ip ip_of(const struct sockaddr *sa)
{
    struct ip ip = { .family = AF_UNIX };

    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in4;

        memcpy(&in4, sa, sizeof in4);
        set_mapped(&ip, &in4.sin_addr);
        ip.port = ntohs(in4.sin_port);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, sa, sizeof in6);
        set_v6(&ip, &in6.sin6_addr);
        ip.port = ntohs(in6.sin6_port);
    }
    return ip;
}

void ip_to_addr(const struct ip *ip, struct addr *out)
{
    memset(out, 0, sizeof *out);
    if (ip->family == AF_INET) {
        out->in4.sin_family = AF_INET;
        out->in4.sin_port = htons(ip->port);
        memcpy(&out->in4.sin_addr, ip->b + 12, 4);
        out->len = sizeof out->in4;
    } else if (ip->family == AF_INET6) {
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons(ip->port);
        memcpy(&out->in6.sin6_addr, ip->b, 16);
        out->len = sizeof out->in6;
    } else {
        out->un.sun_family = AF_UNIX;
        out->len = offsetof(struct sockaddr_un, sun_path);
    }
}

/* 0 to 255 in decimal; returns where it ended. */
static char *put_octet(char *at, unsigned value)
{
    if (value >= 100)
        *at++ = (char)('0' + value / 100);
    if (value >= 10)
        *at++ = (char)('0' + value / 10 % 10);
    *at++ = (char)('0' + value % 10);
    return at;
}

/* IPv4 by hand: it is written into a field of every request. */
size_t ip_format(const struct ip *ip, char buf[ADDR_TEXT_MAX])
{
    char *at = buf;

    if (ip->family == AF_INET) {
        for (int i = 12; i < 16; i++) {
            at = put_octet(at, ip->b[i]);
            *at++ = '.';
        }
        *--at = '\0';
        return (size_t)(at - buf);
    }
    if (ip->family == AF_INET6)
        (void)inet_ntop(AF_INET6, ip->b, buf, INET6_ADDRSTRLEN);
    else
        memcpy(buf, "unix", 5);
    return strlen(buf);
}

bool ip_parse(struct slice text, struct ip *out)
{
    uint8_t bytes[16];

    *out = (struct ip){ .family = AF_UNIX };
    if (parse_inet(AF_INET, text, bytes)) {
        set_mapped(out, bytes);
        return true;
    }
    if (parse_inet(AF_INET6, text, bytes)) {
        set_v6(out, bytes);
        return true;
    }
    return false;
}

static bool is_zero_behind(const uint8_t b[16], unsigned bits)
{
    if (bits % 8 != 0 && (b[bits / 8] & (0xff >> bits % 8)) != 0)
        return false;
    for (unsigned i = (bits + 7) / 8; i < 16; i++)
        if (b[i] != 0)
            return false;
    return true;
}

bool net_parse(struct slice text, struct net *out, const char **why)
{
    struct slice rest = text;
    struct slice host = slice_cut(&rest, '/');
    bool is_v4_text = slice_find(host, ':') == host.n;
    uint64_t bits = is_v4_text ? 32 : 128;
    struct ip ip;

    *out = (struct net){ .family = AF_UNIX };
    if (slice_eq(text, SLICE("unix")))
        return true;
    *why = "not a network (write 10.0.0.0/8, 2001:db8::/32, an address or unix)";
    if (!ip_parse(host, &ip))
        return false;
    *why = is_v4_text ? "the prefix length is not a number from 0 to 32"
                      : "the prefix length is not a number from 0 to 128";
    if (rest.p && (!slice_u64(rest, &bits) || bits > (is_v4_text ? 32 : 128)))
        return false;
    if (is_v4_text)
        bits += 96;
    *why = "bits are set behind the prefix";
    if (!is_zero_behind(ip.b, (unsigned)bits))
        return false;
    memcpy(out->b, ip.b, 16);
    out->bits = (uint8_t)bits;
    out->family = ip.family;
    *why = NULL;
    return true;
}

bool net_contains(const struct net *net, const struct ip *ip)
{
    unsigned whole = net->bits / 8, part = net->bits % 8;

    if (net->family != ip->family || memcmp(net->b, ip->b, whole) != 0)
        return false;
    return part == 0 || ((net->b[whole] ^ ip->b[whole]) >> (8 - part)) == 0;
}
