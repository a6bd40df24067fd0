/* The floor of the benchmark: what an epoll forwarder that parses nothing has to spend.
 *
 *     floor [--splice] [--fresh] [--tls PEM] LISTEN ORIGIN
 *
 * A client's connection is paired with one to the origin; what either says is read once and written
 * once. No timer, and no memory asked for per request. When a client closes, its server connection
 * is kept for the next one: with clients that close only after a whole answer (load does) nothing
 * of an earlier answer can be in it, which is how a forwarder that knows no HTTP may reuse it as
 * the proxies do. With --fresh each client gets a new one: what is carried is TLS, say.
 *
 * With --splice the bytes never leave the kernel: they go through a pipe per direction.
 *
 * With --tls the clients' TLS ends here, with the certificate and the key of that file. This floor
 * is OpenSSL as it comes, with few lines around it: who drives it better may do with less. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "t/bench/net.h"
#include "t/bench/tls.h"

#define BATCH 64
#define PAGE 4096
/* By measurement of bodies of 10 MiB: smaller ones cost more (64 KiB twice as much), larger ones no
 * less. Small messages do not care. */
#define BUFFER (512 << 10)
#define PIPE (1 << 20) /* the most that an unprivileged user may have */

struct buffer {
    char bytes[BUFFER];  /* from a page's begin: elsewhere the kernel may need twice the time */
    struct buffer *next; /* of the spare ones */
};

/* One of the two sockets of a pair. Never given back to the heap: an event that comes late in a
 * batch finds nothing to read, and nothing worse. */
struct end {
    int fd;
    struct tls *tls;  /* of a client that speaks it */
    struct end *to;   /* NULL: a server connection kept, or a spare end */
    struct end *next; /* of the list it lies in */
    bool is_server;
    bool is_stuck;  /* `to` takes no more for now */
    bool is_closed; /* by the origin, while it was kept */
    /* Read and not written: bytes of a buffer that is the end's until then, or of the pipe. */
    struct buffer *rest;
    size_t at, left;
    int pipe[2];
};

struct floor {
    int epoll;
    int listener;
    bool is_splice;
    bool is_fresh;
    struct tls_side *tls; /* NULL: clients do not speak it */
    struct sockaddr_in origin;
    struct end *kept;  /* server connections */
    struct end *spare; /* ends of clients that have gone */
    struct buffer *buffers; /* the first is what is read into; never none */
};

static struct end *pop(struct end **list)
{
    struct end *e = *list;

    if (e)
        *list = e->next;
    return e;
}

static void push(struct end **list, struct end *e)
{
    e->next = *list;
    *list = e;
}

static void buffer_new(struct floor *f)
{
    struct buffer *b = aligned_alloc(PAGE, (sizeof *b + PAGE - 1) / PAGE * PAGE);

    if (!b)
        net_fail("memory");
    b->next = f->buffers;
    f->buffers = b;
}

static void buffer_give(struct floor *f, struct end *e)
{
    e->rest->next = f->buffers;
    f->buffers = e->rest;
    e->rest = NULL;
}

static void pipe_open(struct end *e)
{
    if (pipe2(e->pipe, O_NONBLOCK | O_CLOEXEC) < 0 || fcntl(e->pipe[1], F_SETPIPE_SZ, PIPE) < 0)
        net_fail("pipe");
}

static struct end *end_new(struct floor *f)
{
    struct end *e = net_grow(NULL, sizeof *e);

    *e = (struct end){ .fd = -1 };
    if (f->is_splice)
        pipe_open(e);
    return e;
}

/* Closed, and as new; what still lies in a pipe is lost with it. */
static void recycle(struct floor *f, struct end *e)
{
    tls_free(&e->tls);
    (void)close(e->fd);
    e->fd = -1;
    e->to = NULL;
    e->is_server = e->is_stuck = e->is_closed = false;
    if (e->rest)
        buffer_give(f, e);
    if (f->is_splice && e->left > 0) {
        (void)close(e->pipe[0]);
        (void)close(e->pipe[1]);
        pipe_open(e);
    }
    e->left = 0;
    push(&f->spare, e);
}

static struct end *end_get(struct floor *f, int fd)
{
    struct end *e = pop(&f->spare);

    if (!e)
        e = end_new(f);
    e->fd = fd;
    return e;
}

static struct end *server_get(struct floor *f)
{
    struct end *e;
    int fd;

    while ((e = pop(&f->kept))) {
        if (!e->is_closed)
            return e;
        recycle(f, e);
    }
    fd = net_connect(&f->origin);
    if (fd < 0)
        net_fail("connect");
    e = end_get(f, fd);
    e->is_server = true;
    net_watch(f->epoll, fd, e);
    return e;
}

static void accept_all(struct floor *f)
{
    int fd;

    while ((fd = net_accept(f->listener)) >= 0) {
        struct end *client = end_get(f, fd);
        struct end *server = server_get(f);

        client->to = server;
        server->to = client;
        if (f->tls)
            client->tls = tls_new(f->tls, fd);
        net_watch(f->epoll, fd, client);
    }
}

/* The client has gone, or its server has. */
static void part(struct floor *f, struct end *e)
{
    struct end *client = e->is_server ? e->to : e;
    struct end *server = client->to;

    server->to = NULL;
    if (e == client && client->left == 0 && server->left == 0 && !f->is_fresh)
        push(&f->kept, server);
    else
        recycle(f, server);
    recycle(f, client);
}

static ssize_t end_read(struct end *e, char *bytes, size_t n)
{
    return e->tls ? tls_read(e->tls, bytes, n) : read(e->fd, bytes, n);
}

static ssize_t end_write(struct end *e, const char *bytes, size_t n)
{
    return e->tls ? tls_write(e->tls, bytes, n) : write(e->fd, bytes, n);
}

static bool is_again(ssize_t n)
{
    return n < 0 && errno == EAGAIN;
}

/* What end_write() left of a buffer: it is the end's until the socket takes more. */
static void keep_rest(struct floor *f, struct end *e, size_t at, size_t left)
{
    e->rest = f->buffers;
    e->at = at;
    e->left = left;
    e->is_stuck = true;
    f->buffers = e->rest->next;
    if (!f->buffers)
        buffer_new(f);
}

/* These three are true when it is worth to read on; false at a pause and, with *gone, at an end. */
static bool write_rest(struct floor *f, struct end *e, bool *gone)
{
    ssize_t n = end_write(e->to, e->rest->bytes + e->at, e->left);

    *gone = n < 0 && !is_again(n);
    if (n > 0) {
        e->at += (size_t)n;
        e->left -= (size_t)n;
    }
    e->is_stuck = e->left > 0;
    if (!e->is_stuck)
        buffer_give(f, e);
    return !e->is_stuck;
}

static bool copy(struct floor *f, struct end *e, bool *gone)
{
    char *bytes = f->buffers->bytes;
    ssize_t n = end_read(e, bytes, BUFFER);
    ssize_t done;

    *gone = n == 0 || (n < 0 && !is_again(n));
    if (n <= 0)
        return false;
    done = end_write(e->to, bytes, (size_t)n);
    *gone = done < 0 && !is_again(done);
    if (done < 0)
        done = 0;
    if (done < n)
        keep_rest(f, e, (size_t)done, (size_t)(n - done));
    /* TLS gives a record a call and knows without asking the socket that there is none. */
    return (n == BUFFER || e->tls) && !e->is_stuck;
}

static bool splice_on(struct end *e, bool *gone)
{
    unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    size_t room = PIPE - e->left; /* without any, splice's 0 would not be an end */
    ssize_t in = room > 0 ? splice(e->fd, NULL, e->pipe[1], NULL, room, flags) : 0;
    ssize_t out = 0;

    *gone = (in == 0 && room > 0) || (in < 0 && !is_again(in));
    if (in > 0)
        e->left += (size_t)in;
    if (e->left > 0)
        out = splice(e->pipe[0], NULL, e->to->fd, NULL, e->left, flags);
    if (out > 0)
        e->left -= (size_t)out;
    else if (out < 0 && !is_again(out))
        *gone = true;
    e->is_stuck = is_again(out); /* a short count says nothing */
    return (in > 0 || out > 0) && !e->is_stuck;
}

static void forward(struct floor *f, struct end *e)
{
    bool gone = false;
    bool is_on = true;

    if (!f->is_splice && e->is_stuck)
        is_on = write_rest(f, e, &gone);
    while (is_on && !gone)
        is_on = f->is_splice ? splice_on(e, &gone) : copy(f, e, &gone);
    if (gone)
        part(f, e);
}

static void happened(struct floor *f, struct end *e, uint32_t events)
{
    if (!e) {
        accept_all(f);
        return;
    }
    if (e->tls)
        tls_event(e->tls, events & EPOLLRDHUP);
    if (e->to && (events & EPOLLOUT) && e->to->is_stuck)
        forward(f, e->to);
    if (e->to && (events & EPOLLIN) && !e->is_stuck)
        forward(f, e);
    else if (!e->to && e->is_server && (events & EPOLLIN))
        e->is_closed = true;
}

static _Noreturn void usage(void)
{
    errno = EINVAL;
    net_fail("usage: floor [--splice] [--fresh] [--tls PEM] LISTEN ORIGIN");
}

static void read_options(struct floor *f, int argc, char **argv)
{
    static const struct option known[] = {
        { "splice", no_argument, NULL, 's' },
        { "fresh", no_argument, NULL, 'f' },
        { "tls", required_argument, NULL, 't' },
        { NULL, 0, NULL, 0 },
    };
    struct sockaddr_in at;
    int letter;

    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (letter) {
        case 's': f->is_splice = true; break;
        case 'f': f->is_fresh = true; break;
        case 't': f->tls = tls_server_new(optarg); break;
        default: usage();
        }
    }
    if (argc - optind != 2 || (f->tls && f->is_splice))
        usage();
    at = net_addr(argv[optind]);
    f->origin = net_addr(argv[optind + 1]);
    f->listener = net_listen(&at);
}

int main(int argc, char **argv)
{
    struct floor *f = net_grow(NULL, sizeof *f);

    *f = (struct floor){ .epoll = -1 };
    buffer_new(f);
    net_init();
    read_options(f, argc, argv);
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    net_watch(f->epoll, f->listener, NULL);
    for (;;) {
        struct epoll_event events[BATCH];
        int n = epoll_wait(f->epoll, events, BATCH, -1);

        for (int i = 0; i < n; i++)
            happened(f, events[i].data.ptr, events[i].events);
    }
}
