/* A connection over a socket pair or loopback, its peer, and a user who notes what he is told: for
 * the tests of conn, which drive them by a real loop. */
#ifndef RPD_UNIT_CONN_FIXTURE_H
#define RPD_UNIT_CONN_FIXTURE_H

#include <errno.h>
#include <signal.h>
#include <unistd.h>
#include "t/unit/unit.h"
#include "common/base/fd.h"
#include "worker/io/conn.h"
#include "worker/io/tls.h"

static struct loop loop;
static struct buf_pool bufs;
static struct conn_pool pool;

/* The user under test: what it was told, and what it does then. */
static struct {
    struct conn *c;
    unsigned connected, readable, sent_calls, timers, broken, gone;
    int connect_error, broken_error;
    size_t sent;
    char got[1 << 20]; /* read so far */
    size_t got_n;
    size_t read_max;   /* 0: does not read */
    bool got_end;
    int read_error;
    char close_in;     /* closes in that callback: c, r, s, t, b */
} u;

static int peer = -1;
static char big[4 << 20];

static inline bool closes(char callback)
{
    if (u.close_in != callback)
        return false;
    conn_close(&u.c);
    return true;
}

static inline void read_all(struct conn *c)
{
    while (c->is_readable) {
        struct buf *b = buf_get(&bufs);
        ssize_t n = conn_read(c, b, u.read_max);
        if (n > 0) {
            ck_assert_uint_eq(b->len, (size_t)n);
            ck_assert_uint_le(u.got_n + (size_t)n, sizeof u.got);
            memcpy(u.got + u.got_n, buf_bytes(b), (size_t)n);
            u.got_n += (size_t)n;
        }
        buf_put(&b);
        if (n == 0)
            u.got_end = true;
        if (n < 0 && errno != EAGAIN)
            u.read_error = errno;
        if (n <= 0)
            return;
    }
}

static inline void on_connected(struct conn *c, int error)
{
    ck_assert_ptr_eq(c, u.c);
    u.connected++;
    u.connect_error = error;
    closes('c');
}

static inline void on_readable(struct conn *c)
{
    ck_assert_ptr_eq(c, u.c);
    ck_assert_ptr_eq(c->owner, &u);
    u.readable++;
    if (u.read_max)
        read_all(c);
    closes('r');
}

static inline void on_sent(struct conn *c, size_t n)
{
    ck_assert_ptr_eq(c, u.c);
    ck_assert_uint_gt(n, 0);
    u.sent_calls++;
    u.sent += n;
    closes('s');
}

static inline void on_timer(struct conn *c)
{
    ck_assert_ptr_eq(c, u.c);
    u.timers++;
    closes('t');
}

static inline void on_broken(struct conn *c, int error)
{
    ck_assert_ptr_eq(c, u.c);
    u.broken++;
    u.broken_error = error;
    closes('b');
}

static const struct conn_user user = { on_connected, on_readable, on_sent, on_timer, on_broken };

static inline void on_gone(void *arg)
{
    ck_assert_ptr_eq(arg, &u);
    u.gone++;
}

static inline void setup(void)
{
    signal(SIGPIPE, SIG_IGN);
    memset(&u, 0, sizeof u);
    u.read_max = SIZE_MAX;
    ck_assert_int_eq(loop_init(&loop), 0);
    buf_pool_init(&bufs, 8, 0, 8);
    conn_pool_init(&pool, &loop, &bufs);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 2654435761U >> 13);
}

static inline void teardown(void)
{
    struct tls_process *tls = pool.tls;

    conn_close(&u.c);
    if (peer >= 0)
        close(peer);
    peer = -1;
    conn_pool_fini(&pool);
    tls_process_free(&tls);
    ck_assert_uint_eq(pool.used, 0);
    ck_assert_uint_eq(bufs.demand.used, 0);
    ck_assert_uint_eq(bufs.pipes.used, 0);
    buf_pool_fini(&bufs);
    loop_fini(&loop);
}

static inline void spin(unsigned batches)
{
    while (batches-- > 0)
        ck_assert_int_eq(loop_once(&loop, 0), 0);
}

/* Until the condition holds; the unit's time limit is the deadline. */
#define UNTIL(condition)                              \
    do {                                              \
        while (!(condition))                          \
            ck_assert_int_eq(loop_once(&loop, 20), 0); \
    } while (0)

static inline int listen_tcp(struct addr *at)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct slice name;

    ck_assert_int_eq(addr_parse(SLICE("127.0.0.1:1"), at, &name), ADDR_OK);
    at->in4.sin_port = 0;
    ck_assert_int_eq(bind(fd, &at->sa, at->len), 0);
    ck_assert_int_eq(listen(fd, 16), 0);
    ck_assert_int_eq(getsockname(fd, &at->sa, &at->len), 0);
    return fd;
}

/* u.c is our end of a TCP connection, accepted or connected; peer is the other. */
static inline void open_tcp(bool is_client)
{
    struct addr at;
    int listener = listen_tcp(&at);

    if (is_client) {
        struct ip ip = ip_of(&at.sa);
        peer = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_eq(connect(peer, &at.sa, at.len), 0);
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        u.c = conn_accept(&pool, fd, &ip, &user, &u);
    } else {
        u.c = conn_connect(&pool, &at, &user, &u);
        ck_assert_ptr_nonnull(u.c);
        peer = accept(listener, NULL, NULL);
        UNTIL(u.connected);
        ck_assert_int_eq(u.connect_error, 0);
    }
    ck_assert_ptr_nonnull(u.c);
    close(listener);
    spin(2);
}

static inline void open_pair(void)
{
    struct ip ip = { .family = AF_UNIX };
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer = fds[0];
    ck_assert_int_eq(fd_nonblock(fds[1]), 0);
    u.c = conn_accept(&pool, fds[1], &ip, &user, &u);
    ck_assert_ptr_nonnull(u.c);
    spin(2);
}

static inline void small_buffers(int fd)
{
    int size = 8192;

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
}

static inline void peer_writes(const char *text)
{
    ck_assert_int_eq(write(peer, text, strlen(text)), (ssize_t)strlen(text));
}

static inline void queue(const char *p, size_t n)
{
    ck_assert(bufq_add(&u.c->out, &bufs, slice_of(p, n)));
}

static inline void queue_pipe(const char *p, size_t n)
{
    struct buf *b = buf_get_pipe(&bufs);

    ck_assert_ptr_nonnull(b);
    ck_assert_int_eq(write(b->pipe[1], p, n), (ssize_t)n);
    b->len = (uint32_t)n;
    bufq_push(&u.c->out, b);
}

/* The peer reads n bytes, ours the loop runs meanwhile; they must be `expected`. */
static inline void peer_gets(const char *expected, size_t n)
{
    char buf[7001];
    size_t got = 0;

    ck_assert_int_eq(fd_nonblock(peer), 0);
    while (got < n) {
        ssize_t r = read(peer, buf, sizeof buf);
        if (r > 0) {
            ck_assert_mem_eq(buf, expected + got, (size_t)r);
            got += (size_t)r;
        } else {
            ck_assert_int_lt(r, 0);
            ck_assert_int_eq(errno, EAGAIN);
            ck_assert_int_eq(loop_once(&loop, 5), 0);
        }
    }
}

static inline ssize_t peer_read(void)
{
    char c;
    ssize_t n;

    ck_assert_int_eq(fd_nonblock(peer), 0);
    while ((n = read(peer, &c, 1)) < 0 && errno == EAGAIN)
        ck_assert_int_eq(loop_once(&loop, 5), 0);
    return n;
}

static inline void reset_peer(void)
{
    struct linger at_once = { 1, 0 };

    setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(peer);
    peer = -1;
}

static inline int run_conn_tests(const char *name, const TTest *const *tests, size_t n)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}

#endif
