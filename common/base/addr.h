/* Socket addresses and networks: parsing, printing, comparing. */
#ifndef RPD_BASE_ADDR_H
#define RPD_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "common/base/slice.h"

/* Longest text of addr_format and net_format, NUL included. */
#define ADDR_TEXT_MAX 128

/* An address as connect() and bind() take it. */
struct addr {
    socklen_t len; /* 0 = none */
    union {
        struct sockaddr sa;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
};

/* The 20 bytes a connection keeps of its peer: IPv4 as ::ffff:a.b.c.d; a Unix peer is all zero
 * with port 0. */
struct ip {
    uint8_t b[16];
    uint16_t port; /* host order */
    uint8_t family; /* AF_INET, AF_INET6 or AF_UNIX */
};

enum addr_parse {
    ADDR_OK,
    ADDR_NAME,      /* well-formed `name:port` that must be resolved; name and port are set */
    ADDR_NO_PORT,
    ADDR_BAD_PORT,
    ADDR_BAD_HOST,
    ADDR_TOO_LONG,  /* a Unix path over 107 bytes, a name over 253 */
};

/* `127.0.0.1:80`, `[::1]:80`, `:80` (gives [::]:80, dual-stack), `unix:/path`, `name:80`.
 * Ports are 1 to 65535, Unix paths absolute. For ADDR_NAME *name points into `text`, and
 * out->in4.sin_port holds the port. */
enum addr_parse addr_parse(struct slice text, struct addr *out, struct slice *name);
/* What is wrong, in words for a configuration error. */
const char *addr_parse_error(enum addr_parse e);

/* `127.0.0.1:80`, `[::1]:80`, `unix:/path`, `-` for none; returns buf. */
const char *addr_format(const struct addr *a, char buf[ADDR_TEXT_MAX]);
bool addr_eq(const struct addr *a, const struct addr *b);

struct ip ip_of(const struct sockaddr *sa);
void ip_to_addr(const struct ip *ip, struct addr *out);
/* Without port: `127.0.0.1`, `::1`, `unix`; returns its length. */
size_t ip_format(const struct ip *ip, char buf[ADDR_TEXT_MAX]);
/* `127.0.0.1` or `::1` without port or brackets. */
bool ip_parse(struct slice text, struct ip *out);

/* A network: `10.0.0.0/8`, `2001:db8::/32`, `127.0.0.1`, `::1`; `unix` for Unix sockets. */
struct net {
    uint8_t b[16];
    uint8_t bits; /* of the 128-bit form: an IPv4 /8 is 104 */
    uint8_t family;
};

/* false when malformed or when bits are set behind the prefix (`why` says which). */
bool net_parse(struct slice text, struct net *out, const char **why);
bool net_contains(const struct net *net, const struct ip *ip);

#endif
