/* Connections of conn.h: from accept or connect to close. Called by the codecs, l4, and whoever
 * accepts; it calls them back from the loop, never from within their own calls. It never looks at
 * the bytes it carries, and never blocks.
 *
 * A failure (broke) is told by the `resume` task, so that it never comes out of a user's own call;
 * is_told then ends all callbacks but the timer's. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>
#include "worker/io/conn.h"

#define SLAB_CONNS 64
#define IOV_MAX_OUT 16
#define LINGER_US (2 * 1000000)       /* for the peer's input, once our output is shut */
#define LINGER_SEND_US (30 * 1000000) /* without progress, while output is left */
#define LINGER_BYTES (1 << 20)
/* Events by which there are bytes to be read, or an end. */
#define READABLE (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)

_Static_assert(sizeof(struct conn) <= 256, "an idle connection must stay small");

/* A free conn's fd is -1 and its owner the next free one. */
struct conn_slab {
    struct conn_slab *next;
    struct conn conns[SLAB_CONNS];
};

static void conn_event(struct watch *w, uint32_t events);
static void flush_task(struct task *t);
static void resume_task(struct task *t);
static void timer_fired(struct timer *t);

void conn_pool_init(struct conn_pool *p, struct loop *loop, struct buf_pool *bufs)
{
    memset(p, 0, sizeof *p);
    p->loop = loop;
    p->bufs = bufs;
}

static void put_free(struct conn_pool *p, struct conn *c)
{
    c->fd = -1;
    c->owner = p->free;
    p->free = c;
    p->free_count++;
}

static bool slab_add(struct conn_pool *p)
{
    struct conn_slab *slab = calloc(1, sizeof *slab);

    if (!slab)
        return false;
    for (size_t i = SLAB_CONNS; i-- > 0;)
        put_free(p, &slab->conns[i]);
    slab->next = p->slabs;
    p->slabs = slab;
    return true;
}

/* Takes the fd over; NULL with errno (the fd is then closed). */
static struct conn *conn_new(struct conn_pool *p, int fd, const struct conn_user *user,
                             void *owner)
{
    if (!p->free && !slab_add(p)) {
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    struct conn *c = p->free;
    p->free = c->owner;
    p->free_count--;
    *c = (struct conn){ .watch = { conn_event }, .pool = p, .ops = &conn_plain_ops,
                        .user = user, .owner = owner, .fd = fd, .is_open = true };
    task_init(&c->flush, flush_task);
    task_init(&c->resume, resume_task);
    timer_init(&c->timer, timer_fired);
    if (loop_add(p->loop, fd, &c->watch) < 0) {
        int error = errno;
        put_free(p, c);
        close(fd);
        errno = error;
        return NULL;
    }
    p->used++;
    return c;
}

static void conn_free(struct dead *d)
{
    struct conn *c = CONTAINER(d, struct conn, dead);
    struct conn_pool *p = c->pool;
    void (*on_gone)(void *) = c->is_lingering ? c->on_gone : NULL;
    void *arg = c->owner;

    p->used--;
    put_free(p, c);
    if (on_gone)
        on_gone(arg);
}

static void bury(struct conn *c)
{
    assert(c->is_open);
    c->is_open = false;
    task_cancel(&c->flush);
    task_cancel(&c->resume);
    timer_clear(&c->pool->loop->timers, &c->timer);
    c->ops->close(c);
    bufq_clear(&c->out);
    loop_bury(c->pool->loop, &c->dead, conn_free);
}

void conn_pool_fini(struct conn_pool *p)
{
    loop_reap(p->loop);
    for (struct conn_slab *slab = p->slabs; slab; slab = slab->next) {
        for (size_t i = 0; i < SLAB_CONNS; i++) {
            struct conn *c = &slab->conns[i];
            if (c->fd < 0)
                continue;
            bury(c);
        }
    }
    loop_reap(p->loop);
    while (p->slabs) {
        struct conn_slab *slab = p->slabs;
        p->slabs = slab->next;
        free(slab);
    }
    p->free = NULL;
    p->free_count = 0;
}

/* ---- opening ---- */

struct conn *conn_accept(struct conn_pool *p, int fd, const struct ip *peer,
                         const struct conn_user *user, void *owner)
{
    struct conn *c = conn_new(p, fd, user, owner);

    if (c) {
        c->peer = *peer;
        c->is_client = true;
    }
    return c;
}

/* A socket that connects, or is connected; -1 with errno. */
static int connect_socket(const struct addr *to)
{
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0)
        return -1;
    if (to->sa.sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, &to->sa, to->len) < 0 && errno != EINPROGRESS) {
        /* A Unix socket's EAGAIN: its queue is full, and no event will say when it is not. */
        int error = errno == EAGAIN ? ECONNREFUSED : errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

struct conn *conn_connect(struct conn_pool *p, const struct addr *to,
                          const struct conn_user *user, void *owner)
{
    int fd = connect_socket(to);
    struct conn *c = fd < 0 ? NULL : conn_new(p, fd, user, owner);

    if (!c)
        return NULL;
    c->peer = ip_of(&to->sa);
    c->is_connecting = true;
    /* connect() to a Unix socket is over at once. */
    if (to->sa.sa_family == AF_UNIX)
        loop_soon(p->loop, &c->resume);
    return c;
}

void conn_use(struct conn *c, const struct conn_user *user, void *owner)
{
    assert(c->is_open && !c->is_lingering);
    c->user = user;
    c->owner = owner;
    conn_timer_clear(c);
    conn_resume(c);
}

int conn_socket_error(const struct conn *c)
{
    int error = 0;
    socklen_t n = sizeof error;

    return getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 ? errno : error;
}

/* One that TLS failed on may have an alert to send: only a socket that failed is broken. */
static void connected(struct conn *c, int error)
{
    c->is_connecting = false;
    task_cancel(&c->resume);
    if (error) {
        c->is_told = true;
        c->is_broken = error != EPROTO;
    } else if (c->out.bytes > 0 || c->is_shut) {
        loop_flush_soon(c->pool->loop, &c->flush);
    }
    c->user->on_connected(c, error);
}

/* Whether the events have more to say. */
static bool connect_step(struct conn *c, uint32_t events)
{
    int error = c->ops->connect(c, events);

    if (error == EAGAIN)
        return false;
    if (!c->tls && (events & READABLE)) { /* for TLS, should it begin now */
        c->is_readable = true;
        c->is_hup = (events & ~(uint32_t)EPOLLIN & READABLE) != 0;
    }
    connected(c, error);
    if (!c->is_open || c->is_told || c->is_lingering || c->is_connecting)
        return false;
    if (!c->tls)
        return true;
    conn_resume(c); /* what the handshake's last read left is all there is */
    return false;
}

/* ---- failing ---- */

/* No more output; the user is told from the loop. */
static void broke(struct conn *c, int error)
{
    c->is_broken = c->is_hup = true;
    c->error = (uint16_t)error;
    bufq_clear(&c->out);
    loop_soon(c->pool->loop, &c->resume);
}

static void tell_broken(struct conn *c)
{
    if (!c->is_client && !c->is_ended && c->ops->has_unread(c)) {
        c->is_readable = true;
        c->user->on_readable(c);
        if (!c->is_open || c->is_lingering || c->is_told || c->ops->has_unread(c))
            return;
    }
    c->is_told = true;
    c->user->on_broken(c, c->error);
}

/* An error met in reading: the caller is told by it. */
static ssize_t read_failed(struct conn *c)
{
    c->is_readable = false;
    if (errno != EAGAIN) {
        c->is_broken = c->is_told = true;
        bufq_clear(&c->out);
    }
    return -1;
}

static ssize_t read_end(struct conn *c)
{
    if (c->is_broken) {
        errno = ECONNRESET;
        return read_failed(c);
    }
    c->is_hup = c->is_ended = true;
    return 0;
}

/* ---- reading ---- */

static ssize_t read_done(struct conn *c, ssize_t n, size_t asked)
{
    if (n < 0)
        return read_failed(c);
    if (n == 0)
        return read_end(c);
    if ((size_t)n < asked && !c->is_hup)
        c->is_readable = false;
    return n;
}

ssize_t conn_read(struct conn *c, struct buf *b, size_t max)
{
    size_t room = buf_room(b);

    assert(c->is_open && !b->is_pipe && room > 0 && max > 0);
    if (max > room)
        max = room;
    ssize_t n = c->ops->read(c, buf_tail(b), max);
    if (n > 0)
        b->len += (uint32_t)n;
    return read_done(c, n, max);
}

ssize_t conn_readv(struct conn *c, const struct iovec *iov, unsigned count)
{
    size_t asked = 0;

    assert(c->is_open);
    for (unsigned i = 0; i < count; i++)
        asked += iov[i].iov_len;
    return read_done(c, c->ops->readv(c, iov, (int)count), asked);
}

ssize_t conn_splice_in(struct conn *c, struct buf *pipe, size_t max)
{
    assert(c->is_open && pipe->is_pipe && c->ops->can_splice && max > 0);
    ssize_t n = splice(c->fd, NULL, pipe->pipe[1], NULL, max,
                       SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n > 0)
        pipe->len += (uint32_t)n;
    else if (n == 0)
        return read_end(c);
    else if (errno != EAGAIN || pipe->len == 0)
        return read_failed(c);
    return n;
}

void conn_resume(struct conn *c)
{
    if (c->is_readable && !c->is_connecting)
        loop_soon(c->pool->loop, &c->resume);
}

bool conn_is_quiet(struct conn *c)
{
    return c->ops->is_quiet(c);
}

/* ---- writing ---- */

void conn_flush_first(struct conn *c)
{
    assert(c->is_open && !c->is_lingering);
    if (c->is_broken)
        bufq_clear(&c->out);
    else if (!c->is_blocked && !c->is_connecting)
        loop_flush_soon(c->pool->loop, &c->flush);
}

void conn_shutdown(struct conn *c)
{
    c->is_shut = true;
    conn_flush(c);
}

/* Apart, so that one buf, the usual case, pays for no iovecs on the stack. */
static __attribute__((noinline)) ssize_t send_several(struct conn *c, bool *is_full)
{
    struct iovec iov[IOV_MAX_OUT];
    unsigned count = bufq_iov(&c->out, iov, IOV_MAX_OUT);
    size_t asked = 0;

    for (unsigned i = 0; i < count; i++)
        asked += iov[i].iov_len;
    ssize_t n = c->ops->writev(c, iov, (int)count);
    if (n > 0)
        bufq_skip(&c->out, (size_t)n);
    *is_full = n >= 0 && (size_t)n < asked;
    return n;
}

/* What leads the queue, memory: a short count says that the socket is full. */
static ssize_t send_memory(struct conn *c, bool *is_full)
{
    struct buf *b = c->out.head;
    ssize_t n;

    if (b->next)
        return send_several(c, is_full);
    n = c->ops->write(c, buf_bytes(b), b->len);
    if (n == (ssize_t)b->len) {
        bufq_init(&c->out);
        buf_put(&b);
    } else if (n >= 0) {
        bufq_skip(&c->out, (size_t)n);
        *is_full = true;
    }
    return n;
}

/* What leads the queue, a pipe: a short count says nothing, only EAGAIN does. */
static ssize_t send_pipe(struct conn *c)
{
    struct buf *b = c->out.head;
    unsigned flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

    if (b->len < c->out.bytes)
        flags |= SPLICE_F_MORE;
    ssize_t n = splice(b->pipe[0], NULL, c->fd, NULL, b->len, flags);
    if (n == 0) {
        errno = EIO; /* the pipe holds less than it should */
        return -1;
    }
    if (n > 0) {
        buf_skip(b, (size_t)n);
        c->out.bytes -= (size_t)n;
        if (b->len == 0) {
            b = bufq_shift(&c->out);
            buf_put(&b);
        }
    }
    return n;
}

/* 0, or the errno that ended the conn. */
static int send_out(struct conn *c, size_t *sent)
{
    bool is_full = false;

    while (c->out.bytes > 0 && !is_full) {
        if (c->out.head->len == 0)
            bufq_skip(&c->out, 0);
        ssize_t n = c->out.head->is_pipe ? send_pipe(c) : send_memory(c, &is_full);
        if (n >= 0)
            *sent += (size_t)n;
        else if (errno == EAGAIN)
            is_full = true;
        else
            return errno;
    }
    c->is_blocked = is_full;
    if (c->out.bytes == 0 && c->out.head)
        bufq_clear(&c->out);
    return 0;
}

/* What the layer below has left to send. 0, or the errno that ended the conn. */
static int flush_rest(struct conn *c)
{
    int error = c->ops->flush ? c->ops->flush(c) : 0;

    c->is_blocked = error == EAGAIN;
    return c->is_blocked ? 0 : error;
}

static int flush_out(struct conn *c, size_t *sent)
{
    int error = c->out.bytes > 0 && !c->is_connecting ? send_out(c, sent) : 0;

    if (error == 0 && !c->is_blocked)
        error = flush_rest(c);
    if (error == 0 && c->is_shut && c->out.bytes == 0 && !c->is_blocked && !c->is_connecting)
        c->is_blocked = c->ops->shutdown(c) < 0 && errno == EAGAIN;
    return error;
}

static bool has_output(const struct conn *c)
{
    return c->out.bytes > 0 || c->is_blocked;
}

/* ---- lingering ---- */

/* Reads and drops; closes when nothing is left to do. */
static void linger_read(struct conn *c)
{
    char scratch[16384];

    while (!c->is_broken && !c->is_ended) {
        ssize_t n = recv(c->fd, scratch, sizeof scratch, 0);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            c->is_broken = true;
        else if (n == 0 || (size_t)n >= c->linger_left)
            c->is_ended = true;
        else
            c->linger_left -= (uint32_t)n;
        if (n > 0 && (size_t)n < sizeof scratch && !c->is_hup)
            break;
    }
    if (c->is_broken || (c->is_ended && !has_output(c)))
        bury(c);
}

void conn_linger(struct conn **cp, void (*on_gone)(void *arg), void *arg)
{
    struct conn *c = *cp;

    *cp = NULL;
    assert(c->is_open && !c->is_lingering);
    task_cancel(&c->resume);
    c->is_told = c->is_broken;
    c->is_lingering = c->is_shut = true;
    c->on_gone = on_gone;
    c->owner = arg;
    c->linger_left = LINGER_BYTES;
    if (c->is_connecting) {
        bury(c);
        return;
    }
    conn_timer(c, LINGER_SEND_US);
    loop_flush_soon(c->pool->loop, &c->flush);
}

/* ---- called by the loop ---- */

static void flush_task(struct task *t)
{
    struct conn *c = CONTAINER(t, struct conn, flush);
    size_t sent = 0;

    if (c->is_broken) {
        bufq_clear(&c->out);
    } else if (!c->is_blocked) {
        int error = flush_out(c, &sent);
        if (error)
            broke(c, error);
    }
    if (c->is_lingering) {
        conn_timer(c, has_output(c) ? LINGER_SEND_US : LINGER_US);
        linger_read(c);
    } else if (sent > 0) {
        c->user->on_sent(c, sent);
    }
}

static void resume_task(struct task *t)
{
    struct conn *c = CONTAINER(t, struct conn, resume);

    if (c->is_behind) {
        c->is_behind = false;
        c->is_readable = true;
    }
    if (c->is_connecting)
        (void)connect_step(c, EPOLLOUT);
    else if (c->is_broken && !c->is_told)
        tell_broken(c);
    else if (c->is_readable && !c->is_told)
        c->user->on_readable(c);
}

static void timer_fired(struct timer *t)
{
    struct conn *c = CONTAINER(t, struct conn, timer);

    if (c->is_lingering)
        bury(c);
    else
        c->user->on_timer(c);
}

static void readable_event(struct conn *c, uint32_t events)
{
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->is_hup = true;
    if (c->is_lingering) {
        linger_read(c);
        return;
    }
    if (!c->is_ended) {
        c->is_readable = true;
        c->user->on_readable(c);
    }
    /* A user that has read the error is told by that; one that did not read, by this. */
    if ((events & EPOLLERR) && c->is_open && !c->is_lingering && !c->is_broken) {
        int error = conn_socket_error(c);
        if (error)
            broke(c, error);
    }
}

static void conn_event(struct watch *w, uint32_t events)
{
    struct conn *c = CONTAINER(w, struct conn, watch);

    if (!c->is_open || c->is_told)
        return;
    if (events & READABLE)
        c->is_dry = false;
    if (c->is_connecting && !connect_step(c, events))
        return;
    if ((events & EPOLLOUT) && c->is_blocked) {
        c->is_blocked = false;
        loop_flush_soon(c->pool->loop, &c->flush);
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        readable_event(c, events);
}

/* ---- timer, closing ---- */

void conn_timer(struct conn *c, uint64_t delay_us)
{
    assert(c->is_open);
    timer_set(&c->pool->loop->timers, &c->timer, c->pool->loop->now_us, delay_us);
}

void conn_timer_clear(struct conn *c)
{
    assert(c->is_open);
    timer_pause(&c->timer);
}

void conn_close(struct conn **cp)
{
    struct conn *c = *cp;

    *cp = NULL;
    if (!c)
        return;
    assert(!c->is_lingering);
    bury(c);
}

void conn_reset(struct conn **cp)
{
    struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

    if (*cp) {
        setsockopt((*cp)->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        (*cp)->is_broken = true; /* no farewell */
    }
    conn_close(cp);
}

struct ip conn_local(const struct conn *c)
{
    struct addr a = { .len = 0 };

    if (c->local.family != 0)
        return c->local;
    a.len = sizeof a - offsetof(struct addr, sa);
    if (getsockname(c->fd, &a.sa, &a.len) < 0)
        a.sa.sa_family = AF_UNSPEC;
    return ip_of(&a.sa);
}
