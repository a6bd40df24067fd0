/* The operations of a conn that carries its bytes within TLS, either role: the handshake, records
 * both ways, the end. Called by conn.c; contexts are made by tls_front.c and tls_back.c.
 *
 * OpenSSL's error queue is empty whenever it is called: who meets a failure empties it. */
#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "common/base/fd.h"
#include "worker/io/tls_impl.h"

/* Bufs smaller than this are put together into one record; larger ones are records by themselves,
 * not copied. */
#define GATHER_BELOW 4096
/* After the handshake a peer may send more messages of that kind: new tickets, changes of keys. So
 * many steps of them in so many bytes, or in that time; who sends more is after our time. */
#define POST_MESSAGES 128
#define POST_BYTES 65536
#define POST_US (60 * 1000000)
/* Records that one read takes, however little is in them: who sends thousands with a byte in each
 * has the others' turns come in between. */
#define READ_RECORDS 256
/* Runs of a handshake that is given up while it waits for a key. */
#define UNWIND_MAX 8

/* Before OpenSSL is called. */
static void enter(struct tls_conn *t)
{
    t->process->current = t;
}

/* ---- its buffers ---- */

/* The same for what needs buffers. */
static void touch(struct tls_conn *t)
{
    struct tls_process *p = t->process;

    assert(t->info);
    enter(t);
    t->used_us = p->conns->loop->now_us;
    if (p->warm.next != &t->warm)
        tls_process_warm(t);
}

static bool has_more(const struct tls_conn *t)
{
    return t->first.bytes > 0 || !t->conn->is_dry || SSL_has_pending(t->ssl);
}

/* Sends what was made beside the user's bytes; the rest when the socket takes more. */
static void send_own(struct tls_conn *t)
{
    if (t->process->stage_n > 0 && tls_send(t) == EAGAIN)
        t->conn->is_blocked = true;
}

/* ---- the handshake ---- */

/* One more may have its turn. */
static void wake_starved(struct tls_process *p)
{
    struct list *node = list_shift(&p->starved);

    if (node)
        loop_soon(p->conns->loop, &CONTAINER(node, struct tls_conn, starved)->conn->resume);
}

static void on_key(struct key_wait *w)
{
    struct tls_conn *t = CONTAINER(w, struct tls_conn, wait);

    loop_soon(t->process->conns->loop, &t->conn->resume);
}

/* Steps of handshake messages that come when the handshake is long done. */
static void on_post_handshake(const SSL *ssl, int where, int ret)
{
    struct tls_conn *t = tls_conn_of(ssl);

    (void)ret;
    if (!(where & SSL_CB_LOOP) || ++t->post_messages <= POST_MESSAGES || t->is_flooded)
        return;
    t->is_flooded = true;
    /* OpenSSL is within its loop: so it leaves it. */
    SSL_set_shutdown(t->ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

static void forgive_messages(struct tls_conn *t, size_t got)
{
    t->post_read += (uint32_t)got;
    if (t->post_messages == 0
        || (t->post_read < POST_BYTES && t->used_us - t->post_us < POST_US))
        return;
    t->post_messages = 0;
    t->post_read = 0;
    t->post_us = t->used_us;
}

static int handshake_failed(struct tls_conn *t)
{
    tls_note_failure(t);
    t->is_direct = false;
    if (tls_send(t) == EAGAIN)
        t->conn->is_blocked = true;
    if (t->error || t->send_error)
        return t->error ? t->error : t->send_error;
    return t->is_eof ? ECONNRESET : EPROTO;
}

static int handshake_done(struct tls_conn *t)
{
    t->info = tls_info_new(t->ssl);
    if (!t->info) {
        t->error = ENOMEM;
        return handshake_failed(t);
    }
    SSL_set_info_callback(t->ssl, on_post_handshake);
    t->conn->is_readable = has_more(t) || t->conn->is_hup;
    list_init(&t->warm);
    t->post_read = t->post_messages = 0;
    touch(t);
    t->post_us = t->used_us;
    return 0;
}

static int run_handshake(struct tls_conn *t)
{
    const struct tls_keys *k = t->process->keys;

    enter(t);
    return t->is_remote ? k->handshake(k->keys, &t->wait, t->ssl) : SSL_do_handshake(t->ssl);
}

/* 0 done, EAGAIN, or what it failed with. */
static int handshake_step(struct tls_conn *t)
{
    int r = run_handshake(t), error;

    list_remove(&t->starved);
    if (r == KEYS_WAITS) {
        t->was_asking = true;
        return EAGAIN;
    }
    if (r == KEYS_CROWDED) {
        list_push(&t->process->starved, &t->starved);
        return EAGAIN;
    }
    if (r == 1)
        error = handshake_done(t);
    else if (SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_READ)
        error = EAGAIN;
    else
        error = handshake_failed(t);
    /* It has a job no more, or did not need the one that it was woken for. */
    wake_starved(t->process);
    return error;
}

static int tls_connect(struct conn *c, uint32_t events)
{
    struct tls_conn *t = c->tls;
    int result, error;

    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->is_hup = true;
    result = handshake_step(t);
    error = tls_send(t);
    c->is_blocked = error == EAGAIN;
    if (t->send_error && result == EAGAIN) {
        c->is_hup = true; /* the peer may have said why it takes no more */
        result = handshake_step(t);
    }
    if (t->send_error && (result == 0 || result == EAGAIN))
        return handshake_failed(t);
    return result;
}

/* ---- reading ---- */

/* Why SSL_read_ex brought nothing: notes it. */
static void read_stopped(struct tls_conn *t)
{
    struct conn *c = t->conn;
    int why = SSL_get_error(t->ssl, 0);

    if (why == SSL_ERROR_WANT_READ)
        return;
    if (why == SSL_ERROR_SSL)
        tls_note_failure(t); /* an alert says more than an errno can */
    ERR_clear_error();
    c->is_hup = true;
    if (t->is_flooded || (why == SSL_ERROR_SSL && !t->error))
        t->error = EPROTO;
    else if (why == SSL_ERROR_ZERO_RETURN)
        t->is_ended = true;
    else if (t->is_eof && c->is_client)
        t->is_ended = true; /* many do not say goodbye, and who is cut short has lost nothing */
    else if (!t->error)
        t->error = ECONNRESET;
}

static ssize_t tls_read(struct conn *c, void *p, size_t n)
{
    struct tls_conn *t = c->tls;
    unsigned records = 0;
    size_t got = 0, more;

    touch(t);
    if (t->is_ended)
        return 0;
    while (!t->error && !t->is_ended && got < n) {
        if (!SSL_read_ex(t->ssl, (char *)p + got, n - got, &more)) {
            read_stopped(t);
            break;
        }
        got += more;
        if (!has_more(t))
            break;
        if (++records == READ_RECORDS) {
            c->is_behind = true;
            loop_soon(t->process->conns->loop, &c->resume);
            break;
        }
    }
    forgive_messages(t, got);
    send_own(t);
    if (got > 0)
        return (ssize_t)got;
    if (t->is_ended)
        return 0;
    errno = t->error ? t->error : EAGAIN;
    return -1;
}

static ssize_t tls_readv(struct conn *c, const struct iovec *iov, int n)
{
    ssize_t got = 0;

    for (int i = 0; i < n; i++) {
        ssize_t r = tls_read(c, iov[i].iov_base, iov[i].iov_len);

        if (r <= 0)
            return got > 0 ? got : r;
        got += r;
        if ((size_t)r < iov[i].iov_len)
            break;
    }
    return got;
}

static bool tls_has_unread(const struct conn *c)
{
    const struct tls_conn *t = c->tls;
    int n = 0;

    if (t->is_ended || t->error)
        return false;
    return SSL_has_pending(t->ssl) || (ioctl(c->fd, FIONREAD, &n) == 0 && n > 0);
}

/* What came may be a ticket, which is for nobody but OpenSSL. */
static bool tls_is_quiet(struct conn *c)
{
    struct tls_conn *t = c->tls;
    char byte;
    size_t n;

    if (t->is_ended || t->error || t->send_error)
        return false;
    if (!SSL_has_pending(t->ssl) && conn_plain_ops.is_quiet(c))
        return true;
    c->is_dry = false;
    touch(t);
    if (SSL_peek_ex(t->ssl, &byte, 1, &n))
        return false;
    read_stopped(t);
    send_own(t);
    return !t->is_ended && !t->error;
}

/* ---- writing ---- */

/* What is left to be sent. */
struct source {
    const struct iovec *iov;
    int n;
    size_t off; /* in the first */
};

static void advance(struct source *s, size_t n)
{
    s->off += n;
    while (s->n > 0 && s->off >= s->iov->iov_len) {
        s->off -= s->iov->iov_len;
        s->iov++;
        s->n--;
    }
}

static struct slice leading(const struct source *s)
{
    return slice_of((char *)s->iov->iov_base + s->off, s->iov->iov_len - s->off);
}

/* The bytes of the next record. */
static struct slice next_piece(struct source *s, char gather[TLS_PLAIN_MAX])
{
    struct slice piece = leading(s);
    size_t n = 0;

    if (piece.n > TLS_PLAIN_MAX)
        piece.n = TLS_PLAIN_MAX;
    if (piece.n >= GATHER_BELOW || s->n == 1) {
        advance(s, piece.n);
        return piece;
    }
    do {
        memcpy(gather + n, piece.p, piece.n);
        n += piece.n;
        advance(s, piece.n);
        if (s->n > 0)
            piece = leading(s);
    } while (s->n > 0 && piece.n <= TLS_PLAIN_MAX - n);
    return slice_of(gather, n);
}

static int make_record(struct tls_conn *t, struct slice piece, bool is_last)
{
    size_t n;
    int ok;

    t->is_direct = is_last;
    ok = SSL_write_ex(t->ssl, piece.p, piece.n, &n);
    t->is_direct = false;
    if (ok) {
        assert(n == piece.n);
        return 0;
    }
    ERR_clear_error();
    if (!t->error)
        t->error = EPROTO;
    return t->error;
}

/* Makes records of it and sends them. *left: bytes, of `ahead` too, of whose records nothing is in
 * the wire any more. 0, EAGAIN when the rest of those made is, or an errno. */
static int send_records(struct tls_conn *t, struct source *s, size_t ahead, size_t *left)
{
    struct tls_process *p = t->process;
    size_t made = ahead;
    int error = 0;

    while (s->n > 0) {
        struct slice piece;

        if (TLS_STAGE_SIZE - p->stage_n < TLS_RECORD_MAX) {
            error = tls_send(t);
            if (error)
                break;
            *left = made;
        }
        piece = next_piece(s, p->gather);
        error = make_record(t, piece, s->n == 0);
        if (error)
            return error;
        made += piece.n;
    }
    if (error == 0)
        error = tls_send(t);
    if (error == 0)
        *left = made;
    t->ahead = made - *left;
    return error;
}

static ssize_t tls_writev(struct conn *c, const struct iovec *iov, int n)
{
    struct tls_conn *t = c->tls;
    struct source s = { iov, n, 0 };
    size_t left = t->ahead;
    int error;

    assert(t->info && t->ahead <= c->out.bytes);
    touch(t);
    error = t->error ? t->error : tls_send(t);
    if (error == 0) {
        t->ahead = 0;
        advance(&s, left);
        error = send_records(t, &s, left, &left);
        if (left > 0 && (error == 0 || error == EAGAIN))
            return (ssize_t)left;
    }
    errno = error;
    return -1;
}

static ssize_t tls_write(struct conn *c, const void *p, size_t n)
{
    struct iovec iov = { (void *)(uintptr_t)p, n };

    return tls_writev(c, &iov, 1);
}

static int tls_flush(struct conn *c)
{
    return tls_send(c->tls);
}

/* ---- the end ---- */

/* close_notify: says that nothing is missing. */
static void say_goodbye(struct tls_conn *t)
{
    if (!t->info || t->error || t->send_error || t->is_mute
        || SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN)
        return;
    enter(t);
    t->is_direct = true;
    if (SSL_shutdown(t->ssl) < 0)
        ERR_clear_error();
    t->is_direct = false;
}

static int tls_shutdown(struct conn *c)
{
    int error;

    say_goodbye(c->tls);
    error = tls_send(c->tls);
    if (error) {
        errno = error;
        return -1;
    }
    return shutdown(c->fd, SHUT_WR);
}

/* A job that is paused would be lost: it is told that there is no key, and runs to its end. */
static void unwind(struct tls_conn *t)
{
    for (unsigned i = 0; t->wait.job && i < UNWIND_MAX; i++) {
        if (t->wait.op)
            t->wait.cancel(&t->wait);
        (void)run_handshake(t);
    }
    ERR_clear_error();
}

static void tls_conn_free(struct tls_conn **tp)
{
    struct tls_conn *t = *tp;

    *tp = NULL;
    t->is_mute = true;
    t->process->stage_n = 0;
    if (!t->info) {
        list_remove(&t->starved);
        if (t->wait.job)
            unwind(t);
        wake_starved(t->process); /* its turn, if it had one, is the next one's */
    }
    tls_process_chill(t);
    /* Or the session would be marked as one not to resume. */
    if (t->info && !t->error)
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    enter(t);
    SSL_free(t->ssl);
    t->process->current = NULL;
    bufq_clear(&t->first);
    bufq_clear(&t->wire);
    tls_info_unref(&t->info);
    tls_resumption_unref(&t->resumption);
    free(t);
}

static void tls_close(struct conn *c)
{
    struct tls_conn *t = c->tls;

    if (!c->is_broken && c->out.bytes == 0 && t->wire.bytes == 0)
        say_goodbye(t);
    tls_conn_free(&c->tls);
    fd_close(&c->fd);
}

static const struct conn_ops tls_ops = {
    .read = tls_read,
    .readv = tls_readv,
    .write = tls_write,
    .writev = tls_writev,
    .shutdown = tls_shutdown,
    .close = tls_close,
    .connect = tls_connect,
    .flush = tls_flush,
    .has_unread = tls_has_unread,
    .is_quiet = tls_is_quiet,
    .can_splice = false,
};

/* ---- beginning ---- */

static struct tls_conn *tls_conn_new(struct conn *c, SSL_CTX *ctx)
{
    struct tls_conn *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->conn = c;
    t->process = c->pool->tls;
    t->wait.wake = on_key;
    list_init(&t->starved);
    bufq_init(&t->first);
    bufq_init(&t->wire);
    t->ssl = SSL_new(ctx);
    if (t->ssl && BIO_up_ref(t->process->bio)) {
        SSL_set_bio(t->ssl, t->process->bio, t->process->bio);
        enter(t);
        t->is_remote = tls_site_of(t->ssl)->is_remote;
        return t;
    }
    ERR_clear_error();
    SSL_free(t->ssl);
    free(t);
    return NULL;
}

static void begin(struct conn *c, struct tls_conn *t)
{
    c->tls = t;
    c->ops = &tls_ops;
    c->is_connecting = true;
    c->is_dry = !c->is_readable;
    task_cancel(&c->flush);
    loop_soon(c->pool->loop, &c->resume);
}

int conn_tls_accept(struct conn *c, SSL_CTX *ctx, struct bufq *first)
{
    struct tls_conn *t;

    assert(c->is_open && !c->is_connecting && !c->tls && c->pool->tls && c->out.bytes == 0);
    t = tls_conn_new(c, ctx);
    if (!t) {
        errno = ENOMEM;
        return -1;
    }
    SSL_set_accept_state(t->ssl);
    bufq_splice(&t->first, first);
    begin(c, t);
    return 0;
}

int conn_tls_connect(struct conn *c, const struct tls_back *back, const char *name,
                     struct slice alpn, struct tls_resumption *resumption)
{
    struct tls_conn *t;

    assert(c->is_open && !c->is_connecting && !c->tls && c->pool->tls);
    t = tls_conn_new(c, tls_back_context(back));
    if (t)
        t->resumption = tls_resumption_ref(resumption);
    if (t && tls_back_prepare(back, t, name, alpn) < 0)
        tls_conn_free(&t);
    if (!t) {
        ERR_clear_error();
        errno = ENOMEM;
        return -1;
    }
    SSL_set_connect_state(t->ssl);
    bufq_splice(&t->wire, &c->out);
    begin(c, t);
    return 0;
}

/* ---- what came of it ---- */

struct tls_info *conn_tls(const struct conn *c)
{
    return c->tls ? c->tls->info : NULL;
}

enum tls_failure conn_tls_failure(const struct conn *c)
{
    return c->tls ? (enum tls_failure)c->tls->failure : TLS_FAIL_NONE;
}

const char *conn_tls_reason(const struct conn *c)
{
    return c->tls && c->tls->reason ? c->tls->reason : "";
}
