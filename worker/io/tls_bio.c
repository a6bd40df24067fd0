/* What OpenSSL reads from and writes to: the conn's socket. Called by OpenSSL, and by conn_tls.c
 * for what was written. Knows no TLS.
 *
 * One BIO does for all conns, for there is nothing in it: it serves the one that is being worked
 * on. One each would be 200 bytes of what an idle connection may have.
 *
 * Reading: one recv of all the room that OpenSSL has (it reads ahead), and none after a short one.
 * Writing never blocks and never fails for a full socket: records are gathered in the process's
 * stage, leave together (tls_send), and what the socket does not take waits in the conn's `wire`.
 * So OpenSSL never has a record half sent, and nobody has to offer it the same bytes again. */
#include <errno.h>
#include <openssl/bio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "worker/io/tls_impl.h"

#define IOV_MAX_WIRE 16
/* More of it than flushes leave comes of a peer who makes us answer and does not read. */
#define WIRE_MAX (TLS_STAGE_SIZE + 65536)

static struct tls_conn *current(BIO *bio)
{
    const struct tls_process *p = BIO_get_data(bio);

    return p->current;
}

/* ---- reading ---- */

static size_t take_first(struct tls_conn *t, char *p, size_t n)
{
    struct buf *b = t->first.head;

    if (n > b->len)
        n = b->len;
    memcpy(p, buf_bytes(b), n);
    bufq_skip(&t->first, n);
    return n;
}

static int on_read(BIO *bio, char *p, size_t n, size_t *got)
{
    struct tls_conn *t = current(bio);
    struct conn *c = t->conn;
    ssize_t r;

    BIO_clear_retry_flags(bio);
    if (t->first.bytes > 0) {
        *got = take_first(t, p, n);
        return 1;
    }
    if (t->is_eof || t->error)
        return 0;
    if (c->is_dry && !c->is_hup) {
        BIO_set_retry_read(bio);
        return 0;
    }
    r = recv(c->fd, p, n, 0);
    c->is_dry = r < (ssize_t)n;
    if (r > 0) {
        *got = (size_t)r;
        return 1;
    }
    if (r == 0)
        t->is_eof = true;
    else if (errno == EAGAIN)
        BIO_set_retry_read(bio);
    else
        t->error = (uint16_t)errno;
    return 0;
}

/* ---- writing ---- */

static int queue(struct tls_conn *t, const char *p, size_t n)
{
    if (t->wire.bytes + n > WIRE_MAX
        || !bufq_add(&t->wire, t->conn->pool->bufs, slice_of(p, n))) {
        t->send_error = ENOBUFS;
        return -1;
    }
    return 0;
}

/* Sends at once; the rest goes to the wire. */
static int send_or_queue(struct tls_conn *t, const char *p, size_t n)
{
    ssize_t r = send(t->conn->fd, p, n, MSG_NOSIGNAL);

    if (r < 0 && errno != EAGAIN) {
        t->send_error = (uint16_t)errno;
        return -1;
    }
    if (r < 0)
        r = 0;
    return (size_t)r < n ? queue(t, p + r, n - (size_t)r) : 0;
}

static int send_wire(struct tls_conn *t)
{
    struct iovec iov[IOV_MAX_WIRE];

    while (t->wire.bytes > 0) {
        struct msghdr m = { .msg_iov = iov,
                            .msg_iovlen = bufq_iov(&t->wire, iov, IOV_MAX_WIRE) };
        ssize_t r = sendmsg(t->conn->fd, &m, MSG_NOSIGNAL);

        if (r < 0 && errno == EAGAIN)
            return 0;
        if (r < 0) {
            t->send_error = (uint16_t)errno;
            return -1;
        }
        bufq_skip(&t->wire, (size_t)r);
    }
    return 0;
}

static int send_stage(struct tls_conn *t)
{
    struct tls_process *p = t->process;
    size_t n = p->stage_n;

    p->stage_n = 0;
    if (n == 0 || t->is_mute)
        return 0;
    return t->wire.bytes > 0 ? queue(t, p->stage, n) : send_or_queue(t, p->stage, n);
}

int tls_send(struct tls_conn *t)
{
    if (t->send_error)
        t->process->stage_n = 0;
    else if (t->wire.bytes == 0 || send_wire(t) == 0)
        (void)send_stage(t);
    if (t->send_error)
        return t->send_error;
    return t->wire.bytes > 0 ? EAGAIN : 0;
}

/* What cannot be sent is no error to OpenSSL, which could not read any more then: tls_send tells
 * of it. */
static int on_write(BIO *bio, const char *p, size_t n, size_t *put)
{
    struct tls_conn *t = current(bio);
    struct tls_process *process = t->process;

    BIO_clear_retry_flags(bio);
    *put = n;
    if (t->error)
        return 0;
    if (n > TLS_STAGE_SIZE - process->stage_n)
        (void)send_stage(t);
    if (t->is_mute || t->send_error)
        return 1;
    if (t->is_direct && process->stage_n == 0 && t->wire.bytes == 0) {
        (void)send_or_queue(t, p, n);
    } else if (n > TLS_STAGE_SIZE) {
        (void)queue(t, p, n);
    } else {
        memcpy(process->stage + process->stage_n, p, n);
        process->stage_n += n;
    }
    return 1;
}

/* ---- the rest of a BIO ---- */

/* An end is no error to OpenSSL, which could not write any more then: is_eof tells. */
static long on_ctrl(BIO *bio, int what, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return what == BIO_CTRL_FLUSH;
}

static int on_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *tls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "conn");

    if (m && BIO_meth_set_read_ex(m, on_read) && BIO_meth_set_write_ex(m, on_write)
        && BIO_meth_set_ctrl(m, on_ctrl) && BIO_meth_set_create(m, on_create))
        return m;
    BIO_meth_free(m);
    return NULL;
}

BIO *tls_bio_new(const BIO_METHOD *method, struct tls_process *p)
{
    BIO *bio = BIO_new(method);

    if (bio)
        BIO_set_data(bio, p);
    return bio;
}
