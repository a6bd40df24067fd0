/* A worker's proxy without its process: one listener, backends on loopback, and their clients and
 * origins played by the test: for the tests of proxy/. */
#ifndef RPD_UNIT_PROXY_FIXTURE_H
#define RPD_UNIT_PROXY_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "common/base/fd.h"
#include "common/base/log.h"
#include "t/unit/conf_fixture.h"
#include "worker/proxy/aside.h"

#define ORIGINS 2

static struct proxy px;
static struct segment *seg;
static struct conf_fixture cf;
static struct tls_process *tls;
static int keyring = -1;
static struct listener *l;
static int origins[ORIGINS]; /* listening */
static char big[4 << 20];

static inline void spin(unsigned batches)
{
    while (batches-- > 0)
        ck_assert_int_eq(loop_once(&px.loop, 0), 0);
}

/* The unit's time limit is the deadline. */
#define UNTIL(condition)                                  \
    do {                                                  \
        while (!(condition))                              \
            ck_assert_int_eq(loop_once(&px.loop, 2), 0);  \
    } while (0)

static inline int listen_on(struct sockaddr_in *at)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t n = sizeof *at;

    *at = (struct sockaddr_in){ .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    ck_assert_int_eq(bind(fd, (struct sockaddr *)at, sizeof *at), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)at, &n), 0);
    return fd;
}

static inline void add_objects(const struct conf *c)
{
    char name[STATS_NAME_MAX];

    for (size_t i = 0; i < c->nlisteners; i++)
        ck_assert_int_eq(segment_add(seg, STATS_listener, c->listeners[i].name), 0);
    for (size_t i = 0; i < c->nroutes; i++)
        ck_assert_int_eq(segment_add(seg, STATS_route, c->routes[i].name), 0);
    for (size_t i = 0; i < c->nlimits; i++)
        ck_assert_int_eq(segment_add(seg, STATS_limit, c->limits[i].name), 0);
    for (size_t i = 0; i < c->nbackends; i++) {
        ck_assert_int_eq(segment_add(seg, STATS_backend, c->backends[i].name), 0);
        for (size_t s = 0; s < c->backends[i].server.n; s++) {
            snprintf(name, sizeof name, "%s/%s", c->backends[i].name,
                     c->backends[i].server.v[s].name);
            ck_assert_int_eq(segment_add(seg, STATS_server, name), 0);
            stat_set(&STATS_SHARED(seg, server, name)->weight, c->backends[i].server.v[s].weight);
        }
    }
}

/* A generation of `ini`, in which %0 and %1 are the origins' ports. */
static inline struct generation *generation_of(const char *ini)
{
    static uint64_t number;
    char text[8192];
    struct generation *g;
    size_t n = 0;

    for (const char *p = ini; *p; p++) {
        struct sockaddr_in at;
        socklen_t len = sizeof at;

        if (*p != '%' || p[1] < '0' || p[1] >= '0' + ORIGINS) {
            text[n++] = *p;
            continue;
        }
        ck_assert_int_eq(getsockname(origins[*++p - '0'], (struct sockaddr *)&at, &len), 0);
        n += (size_t)snprintf(text + n, sizeof text - n, "127.0.0.1:%u", ntohs(at.sin_port));
    }
    text[n] = '\0';
    fixture_good(&cf, text);
    conf_read_files(&cf.text, cf.conf, NULL, &cf.report);
    add_objects(cf.conf);
    g = generation_new(&cf.text, ++number, keyring, &px.up, px.limits, &cf.report);
    ck_assert_msg(g != NULL, "refused:\n%s", cf.report.text.s);
    return g;
}

/* As the worker does at a reload: the listener goes on under it. */
static inline void load(const char *ini)
{
    struct generation *g = generation_of(ini), *old = px.generation, *older = l->generation;
    const struct conf_listener *conf = &g->conf->listeners[0];

    l->generation = generation_ref(g);
    l->conf = conf;
    l->stats = g->listeners[0];
    l->http = (struct http_service){
        &l7_service_ops,
        { conf->timeout_header_ms, conf->timeout_idle_ms, conf->timeout_body_ms,
          (uint32_t)conf->max_header_size, conf->max_body_size },
        &l->stats->bytes_in, &l->stats->bytes_out, &px.stats->shed_memory,
    };
    px.generation = g;
    generation_unref(&older);
    generation_unref(&old);
}

/* All but a configuration. */
static inline void proxy_setup(void)
{
    struct sockaddr_in at;

    signal(SIGPIPE, SIG_IGN);
    memset(&px, 0, sizeof px);
    fixture_begin(&cf);
    log_open(LOG_TO_FD, STDERR_FILENO, LOG_LEVEL_ERROR, "unit");
    seg = segment_create("stats");
    ck_assert_ptr_nonnull(seg);
    segment_use_slots(seg, 1);
    px.stats = STATS_SLOT(seg, worker, "worker", 0);
    list_init(&px.sessions);
    list_init(&px.greetings);
    asides_init(&px);
    request_ids_init(&px.ids, 1, 2);
    px.regexes = regex_room_new();
    ck_assert_int_eq(loop_init(&px.loop), 0);
    buf_pool_init(&px.bufs, 8, 0, 8);
    conn_pool_init(&px.conns, &px.loop, &px.bufs);
    tls = tls_process_new(&px.conns, NULL);
    ck_assert_ptr_nonnull(tls);
    arena_pool_init(&px.arenas, 8, 0);
    h1_down_pool_init(&px.h1_downs);
    compress_pool_init(&px.compressors, COMPRESS_MEMORY);
    accept_gate_init(&px.gate, &px.loop, 1000);
    access_log_init(&px.log, &px.loop, &px.stats->log_dropped);
    up_init(&px.up, &px.conns, seg, 0, px.stats);
    for (unsigned i = 0; i < ORIGINS; i++)
        origins[i] = listen_on(&at);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 2654435761U >> 13);
    l = calloc(1, sizeof *l);
    list_init(&l->link);
    l->proxy = &px;
    l->name = strdup("web");
    l->refs = 1;
}

static inline void proxy_begin(const char *ini)
{
    proxy_setup();
    load(ini);
}

/* Ends what there is; every gauge must be 0 then, and every piece of memory back. */
static inline void proxy_end(void)
{
    struct stats_route *r = STATS_SLOT(seg, route, "r", 0);
    struct stats_backend *b = STATS_SLOT(seg, backend, "b", 0);
    struct stats_listener *li = STATS_SLOT(seg, listener, "web", 0);
    struct stats_server *s = STATS_SLOT(seg, server, "b/s0", 0);

    front_abort(&px);
    h1_down_abort(&px.h1_downs);
    sessions_abort(&px);
    spin(2);
    asides_fini(&px);
    up_close_idle(&px.up);
    conn_pool_fini(&px.conns);
    exchanges_fini(&px);
    regex_room_free(&px.regexes);
    ck_assert_uint_eq(l->refs, 1);
    listener_unref(&l);
    ck_assert_uint_eq(px.generation->refs, 1);
    generation_unref(&px.generation);
    access_log_fini(&px.log);
    up_fini(&px.up);
    tls_process_free(&tls);
    h1_down_pool_fini(&px.h1_downs);
    compress_pool_fini(&px.compressors);
    arena_pool_fini(&px.arenas);
    ck_assert_uint_eq(px.bufs.demand.used, 0);
    ck_assert_uint_eq(px.bufs.pipes.used, 0);
    buf_pool_fini(&px.bufs);
    loop_fini(&px.loop);
    ck_assert_uint_eq(px.gate.open, 0);
    ck_assert_uint_eq(px.stats->connections, 0);
    ck_assert_uint_eq(li->connections_active, 0);
    ck_assert(!r || r->active == 0);
    ck_assert(!b || (b->active == 0 && b->queued == 0));
    ck_assert(!s || (s->active == 0 && s->idle == 0));
    for (unsigned i = 0; i < ORIGINS; i++)
        fd_close(&origins[i]);
    segment_close(&seg);
    fixture_end(&cf);
}

/* A client's end of a connection to the listener. */
static inline int connect_client(void)
{
    struct sockaddr_in at;
    int listener = listen_on(&at), fd = socket(AF_INET, SOCK_STREAM, 0), ours;
    struct ip peer = ip_of((struct sockaddr *)&at);

    ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    ours = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    ck_assert_int_ge(ours, 0);
    close(listener);
    ck_assert_int_eq(fd_nonblock(fd), 0);
    px.gate.open++;
    front_accept(l, ours, &peer);
    return fd;
}

/* The origin's end of the next connection to it. */
static inline int accept_at(unsigned origin)
{
    int fd = -1;

    UNTIL((fd = accept4(origins[origin], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    return fd;
}

static inline void say(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Reads n bytes, which must be these. */
static inline void takes(int fd, const char *expected, size_t n)
{
    static char buf[65536];

    for (size_t got = 0; got < n;) {
        ssize_t r = read(fd, buf, n - got < sizeof buf ? n - got : sizeof buf);

        if (r > 0) {
            ck_assert_msg(memcmp(buf, expected + got, (size_t)r) == 0, "%.*s\nand not\n%.*s",
                          (int)r, buf, (int)(n - got < 500 ? n - got : 500), expected + got);
            got += (size_t)r;
        } else {
            ck_assert_msg(r < 0 && errno == EAGAIN, "the end instead of %s", expected + got);
            ck_assert_int_eq(loop_once(&px.loop, 2), 0);
        }
    }
}

static inline void expect(int fd, const char *text)
{
    takes(fd, text, strlen(text));
}

/* Reads a head, and leaves what follows; in `head`, NUL-terminated. */
static char head[65536];
static inline const char *read_head(int fd)
{
    size_t n = 0;

    while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0) {
        ssize_t r = read(fd, head + n, 1);

        ck_assert_msg(r > 0 || (r < 0 && errno == EAGAIN), "the end instead of a head");
        if (r > 0)
            n += (size_t)r;
        else
            ck_assert_int_eq(loop_once(&px.loop, 2), 0);
    }
    head[n] = '\0';
    return head;
}

#define HAS(text) ck_assert_msg(strstr(head, text) != NULL, "%s\nhas no %s", head, text)
#define HAS_NOT(text) ck_assert_msg(strstr(head, text) == NULL, "%s\nhas %s", head, text)

/* 0 the end, -1 a reset: nothing else must come. */
static inline ssize_t ends(int fd)
{
    ssize_t n;
    char c;

    while ((n = read(fd, &c, 1)) < 0 && errno == EAGAIN)
        ck_assert_int_eq(loop_once(&px.loop, 2), 0);
    ck_assert_int_le(n, 0);
    return n;
}

static inline void reset_fd(int fd)
{
    struct linger at_once = { 1, 0 };

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

#endif
