/* PROXY protocol v1 and v2, as HAProxy's proxy-protocol.txt defines it. */
#ifndef RPD_IO_PROXY_HEADER_H
#define RPD_IO_PROXY_HEADER_H

#include "common/base/addr.h"
#include "common/base/slice.h"

/* v1 at most 107 bytes; a v2 header of more than this is refused. */
#define PROXY_HEADER_MAX 4096

enum proxy_header {
    PROXY_HEADER_MORE,  /* bytes so far are fine; need more */
    PROXY_HEADER_BAD,
    PROXY_HEADER_LOCAL, /* complete, no addresses (LOCAL, UNKNOWN): keep the socket's own */
    PROXY_HEADER_DONE,  /* complete, *src and *dst set */
};

/* *used is set to the header's length for LOCAL and DONE. */
enum proxy_header proxy_header_parse(struct slice bytes, struct ip *src, struct ip *dst,
                                     size_t *used);
/* Writes a header; returns its length (at most 108). Unequal families or Unix sockets give
 * UNKNOWN / LOCAL. */
size_t proxy_header_write_v1(char buf[PROXY_HEADER_MAX], const struct ip *src,
                             const struct ip *dst);
size_t proxy_header_write_v2(char buf[PROXY_HEADER_MAX], const struct ip *src,
                             const struct ip *dst);

#endif
