/* The origin of the benchmark: one thread, and as little work a request as can be.
 *
 *     origin LISTEN
 *
 * GET /N answers with N bytes by Content-Length, GET /chunked/N in chunks; any other method has its
 * body, by Content-Length, thrown away unread and a short 200. Connections are kept, pipelined
 * requests answered in turn. An answer is made once, head and body in one memory file: a small one
 * is written from there, a large one sent with sendfile, a slice a turn: whoever asks for little
 * does not wait here for whoever asks for much. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>
#include "t/bench/net.h"

#define BATCH 64
#define REQUEST_MAX 8192
#define ANSWERS 64          /* different ones in a life */
#define WRITE_MAX (64 << 10) /* larger: sendfile */
#define TURN_MAX (256 << 10) /* of sendfile */
#define CHUNK 4096

struct answer {
    char path[32];
    int file;
    const char *bytes; /* the file's, mapped */
    size_t n;
};

struct conn {
    int fd;
    const struct answer *answer; /* what is being sent; NULL: a request is read */
    size_t sent;
    uint64_t body; /* bytes to throw away before the answer */
    bool is_waiting;   /* for its next turn: an event has nothing to add */
    struct conn *next; /* of those that wait */
    size_t n;
    char request[REQUEST_MAX];
};

struct origin {
    int epoll;
    int listener;
    struct conn *waiting;
    unsigned answers;
    struct answer answer[ANSWERS];
};

static void put(FILE *out, size_t n)
{
    static const char filler[CHUNK] = "0123456789abcdef";

    for (size_t part; n > 0; n -= part) {
        part = n < CHUNK ? n : CHUNK;
        (void)fwrite(filler, 1, part, out);
    }
}

static void put_chunks(FILE *out, size_t n)
{
    for (size_t part; n > 0; n -= part) {
        part = n < CHUNK ? n : CHUNK;
        (void)fprintf(out, "%zx\r\n", part);
        put(out, part);
        (void)fputs("\r\n", out);
    }
    (void)fputs("0\r\n\r\n", out);
}

static void answer_make(struct answer *a, const char *path)
{
    bool is_chunked = strncmp(path, "/chunked/", 9) == 0;
    size_t n = strtoul(path + (is_chunked ? 9 : 1), NULL, 10);
    FILE *out;

    a->file = memfd_create("answer", MFD_CLOEXEC);
    out = fdopen(dup(a->file), "w");
    if (a->file < 0 || !out)
        net_fail("memory file");
    (void)snprintf(a->path, sizeof a->path, "%s", path);
    (void)fputs("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n", out);
    if (is_chunked) {
        (void)fputs("Transfer-Encoding: chunked\r\n\r\n", out);
        put_chunks(out, n);
    } else {
        (void)fprintf(out, "Content-Length: %zu\r\n\r\n", n);
        put(out, n);
    }
    a->n = (size_t)ftell(out);
    (void)fclose(out);
    a->bytes = mmap(NULL, a->n, PROT_READ, MAP_SHARED | MAP_POPULATE, a->file, 0);
    if (a->bytes == MAP_FAILED)
        net_fail("mmap");
}

/* The path ends with the blank before the protocol's name. */
static const struct answer *answer_for(struct origin *o, const char *path, size_t n)
{
    char text[sizeof o->answer[0].path];

    for (unsigned i = 0; i < o->answers; i++) {
        const char *known = o->answer[i].path;

        if (strncmp(known, path, n) == 0 && known[n] == '\0')
            return &o->answer[i];
    }
    if (o->answers == ANSWERS || n >= sizeof text)
        return &o->answer[0];
    memcpy(text, path, n);
    text[n] = '\0';
    answer_make(&o->answer[o->answers], text);
    return &o->answer[o->answers++];
}

static uint64_t content_length(const char *head, const char *end)
{
    static const char name[] = "\ncontent-length:";

    for (const char *p = head; (p = memchr(p, '\n', (size_t)(end - p))); p++) {
        if (strncasecmp(p, name, sizeof name - 1) == 0)
            return strtoull(p + sizeof name - 1, NULL, 10);
    }
    return 0;
}

static void conn_close(struct conn *c)
{
    (void)close(c->fd);
    c->fd = -1;
}

/* True when the whole head is there; it leaves the buffer, and what of its body came with it. */
static bool take_request(struct origin *o, struct conn *c)
{
    char *end = memmem(c->request, c->n, "\r\n\r\n", 4);
    char *path = end ? memchr(c->request, ' ', (size_t)(end - c->request)) : NULL;
    char *path_end = path ? memchr(path + 1, ' ', (size_t)(end - path)) : NULL;
    bool is_get = c->request[0] == 'G';
    size_t used;

    if (!path_end) {
        if (c->n == REQUEST_MAX || end)
            conn_close(c);
        return false;
    }
    c->body = is_get ? 0 : content_length(c->request, end);
    path++;
    c->answer = is_get ? answer_for(o, path, (size_t)(path_end - path)) : answer_for(o, "/2", 2);
    used = (size_t)(end + 4 - c->request);
    if (c->body <= c->n - used) {
        used += c->body;
        c->body = 0;
    } else {
        c->body -= c->n - used;
        used = c->n;
    }
    c->n -= used;
    memmove(c->request, c->request + used, c->n);
    c->sent = 0;
    return true;
}

static void lost(struct conn *c, ssize_t n)
{
    if (n == 0 || errno != EAGAIN)
        conn_close(c);
}

/* Each of these three is true when there is a reason to go on at once. */
static bool swallow(struct conn *c)
{
    ssize_t n = recv(c->fd, NULL, c->body, MSG_TRUNC);

    if (n <= 0)
        lost(c, n);
    else
        c->body -= (size_t)n;
    return n > 0;
}

static size_t slice_of(const struct answer *a, size_t sent)
{
    return a->n - sent < TURN_MAX ? a->n - sent : TURN_MAX;
}

static bool send_answer(struct conn *c)
{
    const struct answer *a = c->answer;
    off_t at = (off_t)c->sent;
    ssize_t n = a->n <= WRITE_MAX ? send(c->fd, a->bytes + c->sent, a->n - c->sent, 0)
                                  : sendfile(c->fd, a->file, &at, slice_of(a, c->sent));

    if (n < 0) {
        lost(c, n);
        return false;
    }
    c->sent += (size_t)n;
    if (c->sent == a->n)
        c->answer = NULL;
    c->is_waiting = n == TURN_MAX && c->answer;
    return !c->is_waiting;
}

static bool receive(struct origin *o, struct conn *c)
{
    size_t room = REQUEST_MAX - c->n;
    ssize_t n = recv(c->fd, c->request + c->n, room, 0);

    if (n <= 0) {
        lost(c, n);
        return false;
    }
    c->n += (size_t)n;
    return take_request(o, c) || ((size_t)n == room && c->fd >= 0);
}

static bool step(struct origin *o, struct conn *c, uint32_t events)
{
    if (c->body > 0)
        return swallow(c);
    if (c->answer)
        return send_answer(c) && (c->answer || c->n > 0 || (events & EPOLLRDHUP));
    if (c->n > 0 && take_request(o, c))
        return true;
    return receive(o, c);
}

static void accept_all(struct origin *o)
{
    int fd;

    while ((fd = net_accept(o->listener)) >= 0) {
        struct conn *c = net_grow(NULL, sizeof *c);

        c->fd = fd;
        c->answer = NULL;
        c->body = 0;
        c->is_waiting = false;
        c->n = 0;
        net_watch(o->epoll, fd, c);
    }
}

static void serve(struct origin *o, struct conn *c, uint32_t events)
{
    while (c->fd >= 0 && step(o, c, events))
        continue;
    if (c->is_waiting) {
        c->next = o->waiting;
        o->waiting = c;
    } else if (c->fd < 0) {
        free(c);
    }
}

static void take_turns(struct origin *o)
{
    struct conn *list = o->waiting;

    o->waiting = NULL;
    while (list) {
        struct conn *c = list;

        list = c->next;
        c->is_waiting = false;
        serve(o, c, EPOLLRDHUP); /* which an event in between may have said */
    }
}

int main(int argc, char **argv)
{
    struct origin *o = net_grow(NULL, sizeof *o);
    struct sockaddr_in at;

    if (argc != 2) {
        errno = EINVAL;
        net_fail("usage: origin LISTEN");
    }
    net_init();
    at = net_addr(argv[1]);
    o->answers = 0;
    o->waiting = NULL;
    (void)answer_for(o, "/2", 2);
    o->listener = net_listen(&at);
    o->epoll = epoll_create1(EPOLL_CLOEXEC);
    net_watch(o->epoll, o->listener, NULL);
    for (;;) {
        struct epoll_event events[BATCH];
        int n = epoll_wait(o->epoll, events, BATCH, o->waiting ? 0 : -1);

        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;

            if (!c)
                accept_all(o);
            else if (!c->is_waiting)
                serve(o, c, events[i].events);
        }
        take_turns(o);
    }
}
