/* Backends of a configuration over real sockets, and requests for them: for the tests of up/. */
#ifndef RPD_UNIT_UP_FIXTURE_H
#define RPD_UNIT_UP_FIXTURE_H

#include <stdarg.h>
#include "t/unit/conf_fixture.h"
#include "t/unit/conn_fixture.h"
#include "worker/up/internal.h"

#define SERVERS 4
#define WORKERS 2

static struct conf_fixture cf;
static struct segment *seg;
static struct up ups[WORKERS];
static struct backend *backends[WORKERS]; /* a reference each */
static int listeners[SERVERS];
static struct addr at[SERVERS];
static struct tls_back *secured;          /* how the backend is applied; NULL: in the clear */
static char ini[1 << 18];

struct req {
    struct up_request r;
    struct conn *c;
    bool is_reused;
    unsigned ready, failed, chosen;
    char server[16]; /* the last chosen */
};

static unsigned order; /* of readiness */

static void req_chosen(struct up_request *r, struct server *s)
{
    struct req *q = CONTAINER(r, struct req, r);

    q->chosen++;
    snprintf(q->server, sizeof q->server, "%s", s->name);
}

/* Who has a connection does nothing with it. */
static void quiet(struct conn *c)
{
    (void)c;
}

static void quiet_sent(struct conn *c, size_t n)
{
    (void)c;
    (void)n;
}

static void quiet_error(struct conn *c, int error)
{
    (void)c;
    (void)error;
}

static const struct conn_user quiet_user = { quiet_error, quiet, quiet_sent, quiet, quiet_error };

static void req_ready(struct up_request *r, struct conn *c, bool is_reused)
{
    struct req *q = CONTAINER(r, struct req, r);

    ck_assert_ptr_nonnull(r->server);
    ck_assert_str_eq(q->server, r->server->name);
    q->ready = ++order;
    q->c = c;
    q->is_reused = is_reused;
    conn_use(c, &quiet_user, q);
}

static void req_failed(struct up_request *r, enum end_reason why)
{
    struct req *q = CONTAINER(r, struct req, r);

    ck_assert_ptr_null(r->server);
    q->failed++;
    q->r.why = why;
}

static const struct up_request_ops req_ops = { req_chosen, req_ready, req_failed };

/* With the retries, connect timeout, reuse and client that `q` was given. */
static inline void begin_on(struct req *q, unsigned worker)
{
    unsigned retries = q->r.retries, timeout = q->r.connect_timeout_ms;
    bool can_reuse = q->r.can_reuse, is_said_once = q->r.is_said_once;
    struct slice alpn = q->r.alpn;
    struct ip client = q->r.client;

    memset(q, 0, sizeof *q);
    q->r = (struct up_request){ .ops = &req_ops, .backend = backends[worker],
                                .connect_timeout_ms = timeout ? timeout : 5000,
                                .retries = retries, .retry_on = CONF_FAIL_CONNECT,
                                .can_reuse = can_reuse,
                                .is_said_once = is_said_once, .alpn = alpn, .client = client,
                                .local = client };
    up_begin(&q->r);
}

static inline void begin_req(struct req *q)
{
    begin_on(q, 0);
}

/* Begins and waits for the connection. */
static inline const char *get(struct req *q)
{
    begin_req(q);
    UNTIL(q->ready || q->failed);
    return q->ready ? q->server : "-";
}

/* The end of one that had a server; the connection is kept if it can be. */
static inline void finish(struct req *q, bool keeps)
{
    struct up_result result = { .status = 200, .why = END_OK, .latency_us = 1000 };

    if (q->c && keeps)
        server_keep(q->r.server, q->c);
    else
        conn_close(&q->c);
    q->c = NULL;
    up_end(&q->r, &result);
}

/* [backend b] with these lines; %0 to %3 are the servers' addresses. */
static inline void write_ini(const char *lines)
{
    size_t n = (size_t)snprintf(ini, sizeof ini, "[listener l]\nbind = 127.0.0.1:1\n"
                                "default_backend = b\n[backend b]\n");

    for (const char *p = lines; *p; p++) {
        char text[ADDR_TEXT_MAX];

        if (*p == '%' && p[1] >= '0' && p[1] <= '3') {
            addr_format(&at[*++p - '0'], text);
            n += (size_t)snprintf(ini + n, sizeof ini - n, "%s", text);
        } else {
            ini[n++] = *p;
        }
    }
    snprintf(ini + n, sizeof ini - n, "\n");
    fixture_good(&cf, ini);
}

/* The backend as it was last configured, in every worker. */
static inline void apply_again(void)
{
    const struct conf_backend *b = &cf.conf->backends[0];

    for (unsigned i = 0; i < WORKERS; i++) {
        struct backend *old = backends[i];

        backends[i] = backend_apply(&ups[i], b, secured);
        backends[i]->primary.draw.random = i + 1; /* the same in each run */
        if (old)
            backend_unref(&old);
    }
}

/* What a new generation does: the master's part, then in every worker. */
static inline void apply(const char *lines)
{
    const struct conf_backend *b;

    write_ini(lines);
    b = &cf.conf->backends[0];
    ck_assert_int_eq(segment_add(seg, STATS_backend, "b"), 0);
    for (size_t i = 0; i < b->server.n; i++) {
        char name[STATS_NAME_MAX];

        snprintf(name, sizeof name, "b/%s", b->server.v[i].name);
        ck_assert_int_eq(segment_add(seg, STATS_server, name), 0);
        stat_set(&STATS_SHARED(seg, server, name)->weight, b->server.v[i].weight);
    }
    apply_again();
}

static inline struct stats_server *stats_of(const char *name, unsigned worker)
{
    char object[STATS_NAME_MAX];

    snprintf(object, sizeof object, "b/%s", name);
    return STATS_SLOT(seg, server, object, worker);
}

static inline struct stats_server_shared *shared_of(const char *name)
{
    char object[STATS_NAME_MAX];

    snprintf(object, sizeof object, "b/%s", name);
    return STATS_SHARED(seg, server, object);
}

/* What the master does for an operator: `admin` of ADMIN_*, or a weight. */
static inline void operator_sets(uint64_t *field, uint64_t value)
{
    stat_set(field, value);
    stat_publish(&STATS_SHARED(seg, backend, "b")->changes);
}

static inline struct stats_backend *stats(void)
{
    return STATS_SLOT(seg, backend, "b", 0);
}

static void up_setup(void)
{
    setup();
    fixture_begin(&cf);
    seg = segment_create("stats");
    ck_assert_ptr_nonnull(seg);
    segment_use_slots(seg, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        up_init(&ups[i], &pool, seg, i, STATS_SLOT(seg, worker, "worker", i));
        backends[i] = NULL;
    }
    for (unsigned i = 0; i < SERVERS; i++)
        listeners[i] = listen_tcp(&at[i]);
    order = 0;
}

static void up_teardown(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        struct stats_backend *b = STATS_SLOT(seg, backend, "b", i);

        if (backends[i])
            backend_unref(&backends[i]);
        up_fini(&ups[i]);
        ck_assert(!b || (b->active == 0 && b->queued == 0));
        for (unsigned s = 0; s < SERVERS; s++) {
            char name[8];
            struct stats_server *st;

            snprintf(name, sizeof name, "s%u", s);
            st = stats_of(name, i);
            ck_assert(!st || (st->active == 0 && st->idle == 0));
        }
    }
    for (unsigned i = 0; i < SERVERS; i++)
        fd_close(&listeners[i]);
    teardown();
    segment_close(&seg);
    fixture_end(&cf);
}

static inline int run_up_tests(const char *name, const TTest *const *tests, size_t n)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, up_setup, up_teardown);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

#endif
