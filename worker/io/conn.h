/* A connection: a socket in the loop's epoll set once, with an output queue and one timer, plain
 * or TLS (tls.h) behind the same operations. It knows nothing of what it carries: its user does,
 * told by the four callbacks of struct conn_user. A conn changes users (accept -> PROXY header ->
 * protocol; protocol -> idle pool -> protocol) by conn_use.
 *
 * Reading is the user's: on_readable says that bytes (or the end) wait; conn_read until it wants
 * no more, or EAGAIN, or a short read (which clears is_readable by itself: decision "a short read
 * ends a read"). Who stopped reading before that calls conn_resume to be told again.
 *
 * Writing: put bufs into conn->out, call conn_flush: they leave at the batch's end, then on_sent.
 * Bytes that the socket does not take stay queued and leave when it does.
 *
 *   CONNECTING -> OPEN -> (output shut) -> closed: buried and freed at the batch's end
 *
 * One that begins TLS is CONNECTING (once more) until the handshake is done.
 */
#ifndef RPD_IO_CONN_H
#define RPD_IO_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "common/base/addr.h"
#include "worker/io/buf.h"
#include "worker/io/end_reason.h"
#include "worker/io/loop.h"
#include "worker/io/timer.h"

struct conn;

struct conn_user {
    /* CONNECTING ended: error 0, or an errno (the conn is then still the user's to close). */
    void (*on_connected)(struct conn *c, int error);
    /* Bytes, or the end of the peer's output, can be read. Never called while CONNECTING. */
    void (*on_readable)(struct conn *c);
    /* n > 0 bytes of `out` left; out.bytes is what remains. */
    void (*on_sent)(struct conn *c, size_t n);
    /* The conn's timer fired. */
    void (*on_timer)(struct conn *c);
    /* Writing or reading failed (ECONNRESET, EPIPE, ...): nothing more can be done with it but
     * conn_close. Called at most once, never from within conn_read or conn_splice_in. A server
     * may answer early and close: of a conn we connected, what came before the failure is offered
     * to on_readable first, and while it lies unread on_broken waits; reading then ends in -1 with
     * ECONNRESET, which is told instead. */
    void (*on_broken)(struct conn *c, int error);
};

/* Plain, or TLS. The first six as the system calls of that name, non-blocking: a short count of
 * read says that no more can be read now, one of write that no more can be written. */
struct conn_ops {
    ssize_t (*read)(struct conn *c, void *p, size_t n);
    ssize_t (*readv)(struct conn *c, const struct iovec *iov, int n);
    ssize_t (*write)(struct conn *c, const void *p, size_t n);
    ssize_t (*writev)(struct conn *c, const struct iovec *iov, int n);
    int (*shutdown)(struct conn *c); /* of our output; may say EAGAIN */
    void (*close)(struct conn *c);
    /* CONNECTING: goes on with it after these events of epoll. 0 done, EAGAIN not yet, or the errno
     * it failed with. */
    int (*connect)(struct conn *c, uint32_t events);
    /* Sends what is left of the layer's own once the socket takes more: 0, EAGAIN, or an errno. */
    int (*flush)(struct conn *c);
    bool (*has_unread)(const struct conn *c); /* bytes; not the end */
    bool (*is_quiet)(struct conn *c);
    bool can_splice;
};

extern const struct conn_ops conn_plain_ops;

struct conn_slab;
struct tls_process;
struct tls_conn;
/* What all conns of a worker share. */
struct conn_pool {
    struct loop *loop;
    struct buf_pool *bufs;
    struct tls_process *tls; /* NULL: none of them can speak TLS */
    void *free;        /* struct conn, recycled */
    struct conn_slab *slabs;
    size_t free_count, used; /* used: until freed, lingering ones too */
};

struct conn {
    struct watch watch;
    struct conn_pool *pool;
    const struct conn_ops *ops;
    union {
        const struct conn_user *user;
        void (*on_gone)(void *arg); /* is_lingering: arg is owner */
    };
    void *owner;          /* the user's */
    struct tls_conn *tls; /* ops are those of TLS */
    struct bufq out;
    struct task flush;    /* in loop->flushes while output waits for the batch's end */
    struct task resume;   /* in loop->soon after conn_resume */
    union {
        struct timer timer;
        struct dead dead;
    };
    int fd;
    struct ip peer;       /* who is at the other end; a PROXY header changes it for clients */
    struct ip local;      /* what a PROXY header said our end is; family 0: ask the kernel */
    union {
        uint32_t linger_left; /* is_lingering: bytes still read and dropped */
        uint32_t epoch;       /* the user's: tells connections made under other rules */
    };
    uint16_t error;       /* is_broken: the errno on_broken is told */
    bool is_connecting : 1;
    bool is_open : 1;     /* false once closed: callbacks no longer come */
    bool is_readable : 1; /* unread bytes or the end may wait, in the kernel or in TLS */
    bool is_dry : 1;      /* of TLS: the kernel has no more, a short read said so */
    bool is_behind : 1;   /* of TLS: a read came short though there was more; `resume` reads on */
    bool is_hup : 1;      /* the peer's output ended or failed: read on until 0 */
    bool is_blocked : 1;  /* the socket took less than it was to: wait for EPOLLOUT */
    bool is_broken : 1;
    bool is_told : 1;     /* on_broken was called, or an error returned that says the same */
    bool is_ended : 1;    /* the end was read: on_readable comes only after conn_use, conn_resume */
    bool is_shut : 1;     /* our output is, or will be when `out` is empty, shut */
    bool is_lingering : 1;
    bool is_client : 1;   /* accepted, not connected */
};

void conn_pool_init(struct conn_pool *p, struct loop *loop, struct buf_pool *bufs);
/* Closes what is still open or lingering; of callbacks only on_gone comes. Before loop_fini, not
 * within it. */
void conn_pool_fini(struct conn_pool *p);

/* Takes over an accepted, non-blocking socket. NULL with errno (the fd is then closed). */
struct conn *conn_accept(struct conn_pool *p, int fd, const struct ip *peer,
                         const struct conn_user *user, void *owner);
/* Starts to connect (TCP_NODELAY set). on_connected follows, never from within this call. NULL
 * with errno: EMFILE, ENOMEM, or what connect() said at once. */
struct conn *conn_connect(struct conn_pool *p, const struct addr *to,
                          const struct conn_user *user, void *owner);
/* A new user; the timer is cleared. If is_readable, on_readable comes in this batch. */
void conn_use(struct conn *c, const struct conn_user *user, void *owner);

/* Reads once, at most `max` bytes, behind b's bytes: > 0 how many, 0 the end, -1 with errno
 * (EAGAIN, or an error after which only conn_close is left; on_broken is not called for it). b has
 * room. */
ssize_t conn_read(struct conn *c, struct buf *b, size_t max);
/* The same into a pipe buf by splice; only where ops->can_splice. A splice comes short for many
 * reasons: is_readable stays true until EAGAIN. With bytes in the pipe EAGAIN may mean that it is
 * full: is_readable stays true then too, so let the pipe run empty before the next try. */
ssize_t conn_splice_in(struct conn *c, struct buf *pipe, size_t max);
/* The same by one call into memory of the caller's. */
ssize_t conn_readv(struct conn *c, const struct iovec *iov, unsigned n);
/* The same for what comes in bulk, into q, which is empty: by splice into a pipe, at most pipe_max
 * bytes, where the conn can and one is to be had (0: q's user takes none), else by one call into
 * some bufs, at most `max` bytes. -1 with ENOBUFS: exhausted, and nothing has happened. More is
 * best read when this has left: a pipe takes no more, and the socket would hear of small pieces. */
ssize_t conn_read_bulk(struct conn *c, struct bufq *q, size_t pipe_max, size_t max);
/* on_readable again in this batch, if is_readable. */
void conn_resume(struct conn *c);
/* What the events told so far may be out of date: on_readable, or conn_read, asks the kernel. */
static inline void conn_look(struct conn *c)
{
    c->is_readable = true;
    c->is_dry = false;
}
/* Whether neither bytes nor the end wait to be read: asks the kernel, reads nothing of it. */
bool conn_is_quiet(struct conn *c);

/* For conn_flush, the first time in a batch. */
void conn_flush_first(struct conn *c);
/* Output was put into c->out: it leaves at the batch's end. */
static inline void conn_flush(struct conn *c)
{
    if (list_empty(&c->flush.node))
        conn_flush_first(c);
}
/* Half-close: after `out` has left, shut our output. */
void conn_shutdown(struct conn *c);

void conn_timer(struct conn *c, uint64_t delay_us);
void conn_timer_clear(struct conn *c);

/* Closes at once, output dropped; clears *c; NULL is fine. With reset the peer gets a RST. */
void conn_close(struct conn **c);
void conn_reset(struct conn **c);
/* For a last answer: sends what is in `out` (while it moves: at most 30 s without progress), shuts
 * the output, reads and drops what still comes for at most 2 s or 1 MiB, closes: so that unread
 * input does not turn into a RST that takes the answer with it (RFC 9112 9.6). The conn has no user
 * any more; on_sent no longer comes. Clears *c. `on_gone` (may be NULL) is called with arg when it
 * has closed at last, at a batch's end. */
void conn_linger(struct conn **c, void (*on_gone)(void *arg), void *arg);

/* For ops: the socket's pending error, or 0. */
int conn_socket_error(const struct conn *c);
/* Our end's address, as a PROXY header said or asked of the kernel. */
struct ip conn_local(const struct conn *c);

#endif
