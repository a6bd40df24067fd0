/* The client of the benchmark: one thread, as many connections as asked for.
 *
 *     load [option...] ADDRESS PATH
 *       -c N  connections (1)                  -d SECONDS, -n REQUESTS  how long (one of them)
 *       -r N  requests a second, evenly, whatever is answered meanwhile; without: a connection
 *             asks again when it has its answer
 *       -m METHOD, -b BYTES  of body           -p BYTES  a request's head is padded to
 *       -h N  hosts h0000.bench... in turn     -e BYTES  that a right answer's body has
 *       -C    a connection for each request    -i N  further connections that ask once and stay
 *       -t    TLS, each handshake a full one   -s    TLS, but for the first each one resumed
 *
 * Prints one JSON object when every answer has come. Latency counts from the time a request was
 * due, so that a proxy that stalls is charged for those that could not be sent meanwhile. With -i,
 * connections stay until standard input ends. Exit status 0 unless it could not run: errors
 * (another status than 200, another length than -e, an end too early, a handshake of the other
 * kind) are counted. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>
#include "t/bench/answer.h"
#include "t/bench/net.h"
#include "t/bench/tls.h"

#define BATCH 64
#define SECOND_NS 1000000000U
#define PATIENCE_NS (10 * (uint64_t)SECOND_NS) /* for the last answers */
#define SEND_WHOLE (64 << 10) /* a request with a larger body is sent in two steps */
#define RECEIVE (64 << 10)

struct conn {
    int fd;
    struct tls *tls; /* NULL: plain */
    bool is_waiting; /* for an answer */
    uint64_t due_ns;
    const struct request *request;
    size_t sent;
    struct answer answer;
    struct conn *next; /* of the idle ones */
};

/* Head and, when it is small, body. */
struct request {
    char *bytes;
    size_t n;
};

struct options {
    struct sockaddr_in to;
    const char *method, *path;
    unsigned connections, idle, hosts;
    double seconds, rate;
    uint64_t count;
    size_t body, padding;
    uint64_t expect;
    bool is_close, is_tls, is_resuming;
};

struct load {
    struct options opt;
    int epoll;
    struct request *requests; /* one a host, used in turn */
    unsigned kinds;
    int body; /* memory file, -1: the body is in the request */
    struct tls_side *tls;
    struct conn *idle;
    uint64_t begin_ns, end_ns;
    uint64_t started, ended, active, errors, bytes;
    uint32_t *latency_us;
    size_t latency_room;
    char buffer[RECEIVE];
};

/* ---- requests ---- */

static struct request request_make(const struct options *opt, unsigned host)
{
    bool is_whole = opt->body <= SEND_WHOLE;
    size_t room = 512 + strlen(opt->path) + opt->padding + (is_whole ? opt->body : 0);
    struct request r = { .bytes = net_grow(NULL, room) };
    char name[32] = "bench";

    if (opt->hosts > 0)
        (void)snprintf(name, sizeof name, "h%04u.bench", host);
    r.n = (size_t)snprintf(r.bytes, room, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1\r\n"
                           "Accept: */*\r\n", opt->method, opt->path, name);
    if (strcmp(opt->method, "GET") != 0)
        r.n += (size_t)snprintf(r.bytes + r.n, room - r.n, "Content-Length: %zu\r\n", opt->body);
    if (r.n + 13 <= opt->padding)
        r.n += (size_t)snprintf(r.bytes + r.n, room - r.n, "X-Padding: %0*d\r\n",
                                (int)(opt->padding - r.n - 15), 0);
    r.n += (size_t)snprintf(r.bytes + r.n, room - r.n, "\r\n");
    if (is_whole) {
        memset(r.bytes + r.n, 'x', opt->body);
        r.n += opt->body;
    }
    return r;
}

static void requests_make(struct load *l)
{
    l->kinds = l->opt.hosts ? l->opt.hosts : 1;
    l->requests = net_grow(NULL, l->kinds * sizeof *l->requests);
    for (unsigned i = 0; i < l->kinds; i++)
        l->requests[i] = request_make(&l->opt, i);
    l->body = -1;
    if (l->opt.body > SEND_WHOLE) {
        l->body = memfd_create("body", MFD_CLOEXEC);
        if (l->body < 0 || ftruncate(l->body, (off_t)l->opt.body) < 0)
            net_fail("memory file");
    }
}

/* ---- connections ---- */

static void conn_open(struct load *l, struct conn *c)
{
    c->fd = net_connect(&l->opt.to);
    if (c->fd < 0)
        return;
    if (l->tls)
        c->tls = tls_new(l->tls, c->fd);
    net_watch(l->epoll, c->fd, c);
}

static void conn_close(struct conn *c)
{
    tls_free(&c->tls);
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

static void record(struct load *l, uint64_t ns)
{
    if (l->ended == l->latency_room) {
        l->latency_room = l->latency_room ? 2 * l->latency_room : 1 << 16;
        l->latency_us = net_grow(l->latency_us, l->latency_room * sizeof *l->latency_us);
    }
    l->latency_us[l->ended++] = (uint32_t)(ns / 1000);
}

/* What a request came to; the connection is idle afterwards, and closed if it is of no use. */
static void finish(struct load *l, struct conn *c, bool is_good)
{
    uint64_t now = net_now_ns();

    is_good = is_good && (!c->tls || tls_is_as_meant(c->tls));
    if (is_good)
        record(l, now - c->due_ns);
    else
        l->errors++;
    l->end_ns = now;
    l->active--;
    c->is_waiting = false;
    if (!is_good || l->opt.is_close)
        conn_close(c);
    c->next = l->idle;
    l->idle = c;
}

/* Some of the body, which is zeroes. */
static ssize_t push_body(struct load *l, struct conn *c, size_t at, size_t n)
{
    static const char zeroes[SEND_WHOLE];
    off_t offset = (off_t)at;

    if (!c->tls)
        return sendfile(c->fd, l->body, &offset, n);
    return tls_write(c->tls, zeroes, n < sizeof zeroes ? n : sizeof zeroes);
}

static ssize_t push_head(struct conn *c, bool is_more)
{
    const char *bytes = c->request->bytes + c->sent;
    size_t n = c->request->n - c->sent;

    if (!c->tls)
        return send(c->fd, bytes, n, is_more ? MSG_MORE : 0);
    return tls_write(c->tls, bytes, n);
}

static void push(struct load *l, struct conn *c)
{
    size_t head = c->request->n;
    size_t all = head + (l->body >= 0 ? l->opt.body : 0);

    while (c->sent < all) {
        ssize_t n = c->sent < head ? push_head(c, all > head)
                                   : push_body(l, c, c->sent - head, all - c->sent);

        if (n < 0) {
            if (errno != EAGAIN)
                finish(l, c, false);
            return;
        }
        c->sent += (size_t)n;
    }
}

static void start(struct load *l, struct conn *c, uint64_t due_ns)
{
    c->due_ns = due_ns;
    c->is_waiting = true;
    c->sent = 0;
    c->request = &l->requests[l->started % l->kinds];
    answer_init(&c->answer, l->opt.expect);
    l->started++;
    l->active++;
    if (c->fd < 0)
        conn_open(l, c);
    if (c->fd < 0)
        finish(l, c, false);
    else
        push(l, c);
}

/* Of a body with a length what is left is thrown away in the kernel. *is_last: of what came. */
static ssize_t pull_some(struct load *l, struct conn *c, enum answer_state *state, bool *is_last)
{
    bool is_plain = answer_is_plain(&c->answer) && !c->tls;
    size_t room = is_plain ? c->answer.left : sizeof l->buffer;
    ssize_t n = c->tls ? tls_read(c->tls, l->buffer, room)
                       : recv(c->fd, is_plain ? NULL : l->buffer, room, is_plain ? MSG_TRUNC : 0);

    *is_last = n <= 0 || (!c->tls && (size_t)n < room);
    if (n > 0) {
        l->bytes += (uint64_t)n;
        *state = is_plain ? answer_skip(&c->answer, (size_t)n)
                          : answer_read(&c->answer, l->buffer, (size_t)n);
    }
    return n;
}

static void pull(struct load *l, struct conn *c)
{
    enum answer_state state = ANSWER_MORE;
    bool is_last = false;
    ssize_t n = 0;

    while (state == ANSWER_MORE && !is_last)
        n = pull_some(l, c, &state, &is_last);
    if (state != ANSWER_MORE)
        finish(l, c, state == ANSWER_DONE);
    else if (n == 0 || (n < 0 && errno != EAGAIN))
        finish(l, c, false);
}

static void happened(struct load *l, struct conn *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (!c->is_waiting) {
        if (events & (EPOLLIN | EPOLLHUP)) { /* nothing was asked */
            l->errors++;
            conn_close(c);
        }
        return;
    }
    if (c->tls)
        tls_event(c->tls, events & EPOLLRDHUP);
    if ((events & EPOLLOUT) || c->tls) /* which may have waited for the other side's bytes */
        push(l, c);
    if (c->is_waiting && (events & (EPOLLIN | EPOLLHUP)))
        pull(l, c);
}

/* ---- the run ---- */

static bool is_over(const struct load *l, uint64_t now)
{
    if (l->opt.count)
        return l->started == l->opt.count;
    return now - l->begin_ns >= (uint64_t)(l->opt.seconds * SECOND_NS);
}

static uint64_t due_of_next(const struct load *l, uint64_t now)
{
    if (l->opt.rate <= 0)
        return now;
    return l->begin_ns + (uint64_t)((double)l->started * SECOND_NS / l->opt.rate);
}

/* Starts what is due; gives how long the next may be waited for. */
static uint64_t start_due(struct load *l)
{
    while (l->idle) {
        uint64_t now = net_now_ns();
        uint64_t due = due_of_next(l, now);
        struct conn *c = l->idle;

        if (is_over(l, now))
            break;
        if (due > now)
            return due - now;
        l->idle = c->next;
        start(l, c, due);
    }
    return PATIENCE_NS;
}

static int wait_events(struct load *l, struct epoll_event *events, uint64_t ns)
{
    struct timespec timeout = { .tv_sec = (time_t)(ns / SECOND_NS), .tv_nsec = ns % SECOND_NS };

    return epoll_pwait2(l->epoll, events, BATCH, &timeout, NULL);
}

static void run(struct load *l)
{
    struct epoll_event events[BATCH];

    l->begin_ns = l->end_ns = net_now_ns();
    for (;;) {
        uint64_t patience = start_due(l);
        int n;

        if (l->active == 0 && is_over(l, net_now_ns()))
            return;
        n = wait_events(l, events, patience);
        if (n == 0 && patience == PATIENCE_NS) {
            l->errors += l->active;
            return;
        }
        for (int i = 0; i < n; i++)
            happened(l, events[i].data.ptr, events[i].events);
    }
}

static struct conn *conns_make(struct load *l, unsigned n)
{
    struct conn *conns = net_grow(NULL, (n ? n : 1) * sizeof *conns);

    for (unsigned i = 0; i < n; i++) {
        conns[i] = (struct conn){ .fd = -1, .next = l->idle };
        l->idle = &conns[i];
    }
    return conns;
}

/* Connections that ask once and stay: a run each, of which nothing but errors is kept. When
 * sessions are resumed, it is that of the first. */
static void leave_idle(struct load *l)
{
    struct options opt = l->opt;

    (void)conns_make(l, opt.idle + opt.is_resuming);
    l->opt.rate = 0;
    while (l->idle) {
        struct conn *rest = l->idle->next;

        l->idle->next = NULL;
        l->opt.count = l->started + 1;
        run(l);
        l->idle = rest;
    }
    l->started = l->ended = l->bytes = 0;
    l->opt = opt;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static uint32_t quantile(const struct load *l, double q)
{
    size_t rank = (size_t)(q * (double)l->ended);

    if (l->ended == 0)
        return 0;
    return l->latency_us[rank < l->ended ? rank : l->ended - 1];
}

static void report(struct load *l)
{
    if (l->ended > 0)
        qsort(l->latency_us, l->ended, sizeof *l->latency_us, by_value);
    printf("{\"requests\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"seconds\": %.6f, "
           "\"bytes\": %" PRIu64 ", \"p50_us\": %u, \"p99_us\": %u, \"p999_us\": %u, "
           "\"max_us\": %u}\n", l->ended, l->errors, (double)(l->end_ns - l->begin_ns) / SECOND_NS,
           l->bytes, quantile(l, 0.5), quantile(l, 0.99), quantile(l, 0.999), quantile(l, 1));
    (void)fflush(stdout);
}

static void usage(void)
{
    fputs("usage: load [-Cts] [-c|-d|-n|-r|-b|-p|-h|-e|-i NUMBER] [-m METHOD] ADDRESS PATH\n",
          stderr);
    exit(2);
}

static struct options read_options(int argc, char **argv)
{
    struct options opt = { .method = "GET", .connections = 1, .expect = ANSWER_ANY };
    int letter;

    while ((letter = getopt(argc, argv, "Ctsc:d:n:r:m:b:p:h:e:i:")) != -1) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;

        switch (letter) {
        case 'C': opt.is_close = true; break;
        case 't': opt.is_tls = true; break;
        case 's': opt.is_tls = opt.is_resuming = true; break;
        case 'c': opt.connections = (unsigned)number; break;
        case 'd': opt.seconds = strtod(optarg, NULL); break;
        case 'n': opt.count = number; break;
        case 'r': opt.rate = strtod(optarg, NULL); break;
        case 'm': opt.method = optarg; break;
        case 'b': opt.body = number; break;
        case 'p': opt.padding = number; break;
        case 'h': opt.hosts = (unsigned)number; break;
        case 'e': opt.expect = number; break;
        case 'i': opt.idle = (unsigned)number; break;
        default: usage();
        }
    }
    if (argc - optind != 2 || (opt.count == 0) == (opt.seconds <= 0))
        usage();
    if (opt.rate > 0 && opt.count == 0)
        opt.count = (uint64_t)(opt.rate * opt.seconds);
    opt.to = net_addr(argv[optind]);
    opt.path = argv[optind + 1];
    return opt;
}

int main(int argc, char **argv)
{
    struct load *l = net_grow(NULL, sizeof *l);

    memset(l, 0, sizeof *l);
    l->opt = read_options(argc, argv);
    net_init();
    (void)prctl(PR_SET_TIMERSLACK, 1000UL);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->opt.is_tls)
        l->tls = tls_client_new(l->opt.is_resuming);
    requests_make(l);
    leave_idle(l);
    struct conn *conns = conns_make(l, l->opt.connections);
    for (unsigned i = 0; i < l->opt.connections && !l->opt.is_close; i++)
        conn_open(l, &conns[i]);
    run(l);
    report(l);
    if (l->opt.idle)
        while (read(STDIN_FILENO, l->buffer, sizeof l->buffer) > 0)
            continue;
    return 0;
}
