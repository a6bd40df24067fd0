/* A proxy with one route to a backend of two servers, for tests of what goes to the second. */
#ifndef RPD_UNIT_TWO_SERVERS_H
#define RPD_UNIT_TWO_SERVERS_H

#include "t/unit/proxy_fixture.h"

#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK_5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define TWO "server = %0 name=s0\nserver = %1 name=s1"

static inline void begin_with(const char *route, const char *backend)
{
    char text[2048];

    snprintf(text, sizeof text, "[listener web]\nbind = 127.0.0.1:1\n[route r]\nbackend = b\n%s\n"
             "[backend b]\n%s\n", route, backend);
    proxy_begin(text);
}

static inline void begin(const char *route)
{
    begin_with(route, TWO);
}

static inline struct stats_backend *backend(void)
{
    return STATS_SLOT(seg, backend, "b", 0);
}

static inline struct stats_route *route(void)
{
    return STATS_SLOT(seg, route, "r", 0);
}

static inline struct stats_server *server(unsigned i)
{
    return i ? STATS_SLOT(seg, server, "b/s1", 0) : STATS_SLOT(seg, server, "b/s0", 0);
}

#endif
