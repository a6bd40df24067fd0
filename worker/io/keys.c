/* Questions to `rpd: keys` and their answers: keys.h. Owns the channel's end. Called by the
 * provider, within a job, and by the loop; calls handshakes back when their answer is there. */
#include "worker/io/keys.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "worker/io/keys_impl.h"

#define PLACE_BITS 10

_Static_assert(KEYS_WAITING_MAX == 1 << PLACE_BITS, "a place for each that waits");

static struct key_op *op_of(struct list *it)
{
    return CONTAINER(it, struct key_op, node);
}

/* ---- the life of a question ---- */

static void on_cancel(struct key_wait *w);

static void begin(struct keys *k, struct key_op *op)
{
    unsigned place;

    assert(k->nfree > 0); /* there are no more jobs than places */
    place = k->free_places[--k->nfree];
    k->ops[place] = op;
    op->keys = k;
    op->wait = k->running;
    op->state = KEY_OP_ASKED;
    op->request.id = ++k->serial << PLACE_BITS | place;
    op->asked_us = clock_mono_us();
    op->wait->op = op;
    op->wait->cancel = on_cancel;
    list_push(&k->queue, &op->node);
    stat_inc(&k->stats->key_pending);
    loop_flush_soon(k->loop, &k->flush);
}

static void end(struct key_op *op, enum key_op_state state)
{
    struct keys *k = op->keys;
    unsigned place = op->request.id & (KEYS_WAITING_MAX - 1);

    op->state = state;
    op->wait->op = NULL;
    op->wait->cancel = NULL;
    list_remove(&op->node);
    k->ops[place] = NULL;
    k->free_places[k->nfree++] = (uint16_t)place;
    stat_dec(&k->stats->key_pending);
}

static void on_cancel(struct key_wait *w)
{
    end(w->op, KEY_OP_FAILED);
}

bool keys_ask(struct keys *k, struct key_op *op)
{
    if (!k->running)
        return false; /* a question from outside of a handshake: nobody could wait */
    begin(k, op);
    while (op->state == KEY_OP_ASKED)
        if (!keys_pause(k)) {
            end(op, KEY_OP_FAILED);
            break;
        }
    return op->state == KEY_OP_DONE;
}

/* ---- sending ---- */

/* As many as one packet takes, from the queue's front. */
static size_t fill(struct keys *k, struct list *filled)
{
    size_t n = 0;

    LIST_EACH(it, &k->queue) {
        size_t more = keys_put_request(k->out, n, sizeof k->out, &op_of(it)->request);

        if (more == 0)
            break;
        n = more;
        list_remove(it);
        list_push(filled, it);
    }
    return n;
}

static void lose_channel(struct keys *k)
{
    struct list again;

    fd_close(&k->fd);
    k->is_full = false;
    list_init(&again);
    list_splice(&again, &k->sent);
    list_splice(&again, &k->queue);
    list_splice(&k->queue, &again);
}

static void flush(struct keys *k)
{
    struct list filled;

    list_init(&filled);
    while (k->fd >= 0 && !k->is_full && !list_empty(&k->queue)) {
        size_t n = fill(k, &filled);
        ssize_t r = send(k->fd, k->out, n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (r == (ssize_t)n) {
            list_splice(&k->sent, &filled);
            continue;
        }
        list_splice(&filled, &k->queue);
        list_splice(&k->queue, &filled);
        if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
            k->is_full = true;
        else if (errno != EINTR)
            lose_channel(k);
    }
}

static void on_flush(struct task *t)
{
    flush(CONTAINER(t, struct keys, flush));
}

/* ---- answers ---- */

static void on_reply(struct keys *k, const struct keys_reply *r)
{
    struct key_op *op = k->ops[r->id & (KEYS_WAITING_MAX - 1)];
    struct key_wait *w;

    if (!op || op->request.id != r->id)
        return; /* cancelled */
    w = op->wait;
    histogram_add(&k->stats->key_latency, clock_mono_us() - op->asked_us);
    if (r->status == KEYS_OK && r->signature.n <= op->signature_max) {
        memcpy(op->signature, r->signature.p, r->signature.n);
        op->signature_n = r->signature.n;
        stat_inc(&k->stats->key_operations);
        end(op, KEY_OP_DONE);
    } else {
        stat_inc(&k->stats->key_failures);
        end(op, KEY_OP_FAILED);
    }
    w->wake(w);
}

/* false: that is no packet of replies. */
static bool on_packet(struct keys *k, struct slice packet)
{
    struct keys_reply reply;
    int fd = k->fd, r;

    while ((r = keys_take_reply(&packet, &reply)) > 0)
        on_reply(k, &reply);
    assert(k->fd == fd); /* nobody who is woken changes channels */
    return r == 0;
}

/* How many packets there were; -1 with errno: the channel is of no use any more. */
static int receive(struct keys *k)
{
    struct mmsghdr packets[KEYS_BATCH];
    struct iovec room[KEYS_BATCH];
    int n;

    memset(packets, 0, sizeof packets);
    for (unsigned i = 0; i < KEYS_BATCH; i++) {
        room[i] = (struct iovec){ k->in[i], sizeof k->in[i] };
        packets[i].msg_hdr.msg_iov = &room[i];
        packets[i].msg_hdr.msg_iovlen = 1;
    }
    n = recvmmsg(k->fd, packets, KEYS_BATCH, MSG_DONTWAIT, NULL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    for (int i = 0; i < n; i++) {
        if (packets[i].msg_len == 0) {
            errno = 0; /* its end */
            return -1;
        }
        if ((packets[i].msg_hdr.msg_flags & MSG_TRUNC)
            || !on_packet(k, slice_of(k->in[i], packets[i].msg_len))) {
            errno = EPROTO;
            return -1;
        }
    }
    return n;
}

static void on_event(struct watch *watch, uint32_t events)
{
    struct keys *k = CONTAINER(watch, struct keys, watch);
    int n = KEYS_BATCH;

    (void)events;
    while (k->fd >= 0 && n == KEYS_BATCH)
        n = receive(k);
    if (k->fd >= 0 && n < 0) {
        if (errno == EPROTO)
            log_errorx("the channel to rpd: keys is closed: malformed");
        lose_channel(k);
    }
    k->is_full = false; /* who answers has read */
    if (!list_empty(&k->queue))
        loop_flush_soon(k->loop, &k->flush);
}

bool keys_is_cut(const struct keys *k)
{
    return k->had_channel && k->fd < 0;
}

void keys_use_channel(struct keys *k, int fd)
{
    if (k->fd >= 0)
        lose_channel(k);
    /* When it is full there are questions in it: there will be room when their answers come. */
    if (loop_add_input(k->loop, fd, &k->watch) < 0) {
        log_error("the channel to rpd: keys");
        fd_close(&fd);
        return;
    }
    k->fd = fd;
    k->had_channel = true;
    loop_flush_soon(k->loop, &k->flush);
}

/* ---- life ---- */

void keys_tick(struct keys *k)
{
    if (!k->is_started)
        return;
    k->is_full = false; /* no event comes of kernel memory that was short */
    if (!list_empty(&k->queue))
        loop_flush_soon(k->loop, &k->flush);
    keys_jobs_tick(k);
}

struct keys *keys_new(struct loop *loop, struct stats_worker *stats)
{
    struct keys *k = xcalloc(1, sizeof *k);

    k->loop = loop;
    k->stats = stats;
    k->fd = -1;
    k->watch.fn = on_event;
    task_init(&k->flush, on_flush);
    list_init(&k->queue);
    list_init(&k->sent);
    for (unsigned i = 0; i < KEYS_WAITING_MAX; i++)
        k->free_places[k->nfree++] = (uint16_t)(KEYS_WAITING_MAX - 1 - i);
    return k;
}

int keys_start(struct keys *k)
{
    if (k->is_started)
        return 0;
    k->is_started = keys_jobs_init(k) == 0 && keys_provider_init(k) == 0;
    if (k->is_started)
        return 0;
    keys_provider_fini(k);
    keys_jobs_fini(k);
    return -1;
}

void keys_free(struct keys **kp)
{
    struct keys *k = *kp;

    *kp = NULL;
    if (!k)
        return;
    assert(k->nfree == KEYS_WAITING_MAX && k->nkeys == 0);
    task_cancel(&k->flush);
    fd_close(&k->fd);
    if (k->is_started) {
        keys_provider_fini(k);
        keys_jobs_fini(k);
    }
    free(k);
}
