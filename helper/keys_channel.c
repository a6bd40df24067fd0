/* A worker's channel: keys_process.h. Owns the thread that serves it. Questions whose answer takes
 * little are answered first, so that a flood of RSA does not keep a worker's other handshakes
 * waiting; a malformed one ends the channel.
 *
 *   packets -> quick ones: signed at once, answers gathered ------+-> packet
 *        +---> slow ones: `slow`, one when no packet waits -------+
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "helper/keys_process.h"
#include "helper/keys_sign.h"

#define STACK_SIZE ((size_t)512 << 10)
/* A worker has no more questions open than this; one that does waits. */
#define SLOW_MAX 1024
#define SLOW_ROOM (SLOW_MAX + KEYS_REQUESTS_MAX / 48)
/* Taken before the next slow question is answered. */
#define PACKETS_MAX 64
/* Quick answers gathered before they leave: half a millisecond's work. */
#define QUICK_MAX 16

struct slow {
    struct keys_request request;
    unsigned char key[KEYS_ID_SIZE];
    char digest[KEYS_DIGEST_MAX];
};

struct channel {
    struct list link;          /* of the process: `channels`, then `ended` */
    struct keys_process *process;
    pthread_t thread;
    uint64_t number;           /* the master's name for it */
    int fd;
    pthread_mutex_t lock;      /* for these two */
    struct grants grants;
    struct signer signer;
    /* the thread's */
    bool has_warned;
    unsigned gathered;         /* answers in `out` */
    size_t out_n;
    char out[KEYS_REPLIES_MAX];
    char in[KEYS_REQUESTS_MAX];
    unsigned first, nslow;     /* a ring */
    struct slow slow[SLOW_ROOM];
};

/* ---- answering ---- */

static bool flush(struct channel *c)
{
    size_t n = c->out_n;

    if (n == 0)
        return true;
    c->out_n = c->gathered = 0;
    return send(c->fd, c->out, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* false: the worker may not use that key, as far as is known. */
static bool try_sign(struct channel *c, const struct keys_request *r, unsigned char *signature,
                     struct keys_reply *reply)
{
    EVP_PKEY *key;
    size_t n = 0;

    pthread_mutex_lock(&c->lock);
    key = grants_find(&c->grants, r->key);
    if (key)
        reply->status = signer_sign(&c->signer, key, r, signature, &n) ? KEYS_OK : KEYS_FAILED;
    pthread_mutex_unlock(&c->lock);
    if (reply->status == KEYS_OK)
        reply->signature = slice_of((const char *)signature, n);
    return key != NULL;
}

static void catch_up(struct keys_process *p)
{
    pthread_mutex_lock(&p->lock);
    keys_catch_up(p);
    pthread_mutex_unlock(&p->lock);
}

/* Once: a worker gone wrong shall not fill the log. */
static void warn_of_unknown(struct channel *c)
{
    if (!c->has_warned)
        log_warnx("a worker asks for keys that it may not use (channel %llu)",
                  (unsigned long long)c->number);
    c->has_warned = true;
}

/* false: the channel has ended. */
static bool answer(struct channel *c, const struct keys_request *r)
{
    unsigned char signature[KEYS_SIGNATURE_MAX];
    struct keys_reply reply = { .id = r->id, .status = KEYS_UNKNOWN };
    size_t n;

    if (!try_sign(c, r, signature, &reply)) {
        /* The worker heard of it from the master, who told us first: but we may not have
         * listened yet. */
        catch_up(c->process);
        if (!try_sign(c, r, signature, &reply))
            warn_of_unknown(c);
    }
    n = keys_put_reply(c->out, c->out_n, sizeof c->out, &reply);
    if (n == 0) {
        if (!flush(c))
            return false;
        n = keys_put_reply(c->out, 0, sizeof c->out, &reply);
    }
    c->out_n = n;
    return ++c->gathered < QUICK_MAX || flush(c);
}

/* ---- asking ---- */

static void put_off(struct channel *c, const struct keys_request *r)
{
    struct slow *s = &c->slow[(c->first + c->nslow++) % SLOW_ROOM];

    assert(c->nslow <= SLOW_ROOM && r->data.n <= sizeof s->digest);
    s->request = *r;
    memcpy(s->key, r->key, sizeof s->key);
    memcpy(s->digest, r->data.p, r->data.n);
    s->request.key = s->key;
    s->request.data.p = s->digest;
}

static bool answer_slow(struct channel *c)
{
    const struct slow *s = &c->slow[c->first];

    c->first = (c->first + 1) % SLOW_ROOM;
    c->nslow--;
    return answer(c, &s->request) && flush(c);
}

/* false: the channel has ended, or has to. */
static bool serve_packet(struct channel *c, struct slice packet)
{
    struct keys_request r;
    int taken;

    while ((taken = keys_take_request(&packet, &r)) > 0)
        if (signing_is_slow(r.scheme))
            put_off(c, &r);
        else if (!answer(c, &r))
            return false;
    if (taken < 0)
        log_errorx("channel %llu is closed: malformed question", (unsigned long long)c->number);
    return taken == 0 && flush(c);
}

/* Waits for a packet if there is nothing else to do. 1; 0 there is none; -1 the channel has ended,
 * or has to. */
static int serve_next(struct channel *c)
{
    ssize_t n = recv(c->fd, c->in, sizeof c->in, MSG_TRUNC | (c->nslow > 0 ? MSG_DONTWAIT : 0));

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if ((size_t)n > sizeof c->in) {
        log_errorx("channel %llu is closed: packet too large", (unsigned long long)c->number);
        return -1;
    }
    return n > 0 && serve_packet(c, slice_of(c->in, (size_t)n)) ? 1 : -1;
}

/* The packets that wait, of which there may be no end, and one slow question. */
static bool serve_some(struct channel *c)
{
    for (unsigned i = 0; i < PACKETS_MAX && c->nslow < SLOW_MAX; i++) {
        int r = serve_next(c);

        if (r < 0)
            return false;
        if (r == 0)
            break;
        if (c->nslow == 0)
            return true;
    }
    return c->nslow == 0 || answer_slow(c);
}

/* ---- the thread ---- */

/* With the process's lock. */
static void channel_free(struct channel *c)
{
    list_remove(&c->link);
    signer_forget(&c->signer);
    (void)grants_expire(&c->grants, UINT64_MAX);
    pthread_mutex_destroy(&c->lock);
    fd_close(&c->fd);
    free(c);
}

static void *serve(void *arg)
{
    struct channel *c = arg;
    struct keys_process *p = c->process;

    while (serve_some(c))
        ;
    pthread_mutex_lock(&p->lock);
    list_remove(&c->link);
    list_push(&p->ended, &c->link);
    pthread_mutex_unlock(&p->lock);
    (void)eventfd_write(p->wake, 1);
    return NULL;
}

static int start_thread(struct channel *c)
{
    pthread_attr_t attr;
    int err;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    err = pthread_create(&c->thread, &attr, serve, c);
    pthread_attr_destroy(&attr);
    errno = err;
    return err == 0 ? 0 : -1;
}

int channel_start(struct keys_process *p, uint64_t number, int fd, struct ring *ring)
{
    struct channel *c = calloc(1, sizeof *c);
    int flags = fcntl(fd, F_GETFL);

    if (!c) {
        ring_put(&ring);
        fd_close(&fd);
        return -1;
    }
    c->process = p;
    c->number = number;
    c->fd = fd;
    pthread_mutex_init(&c->lock, NULL);
    list_push(&p->channels, &c->link);
    grants_add(&c->grants, ring, 0);
    if (flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0 && start_thread(c) == 0)
        return 0;
    channel_free(c);
    return -1;
}

/* ---- the master's wishes ---- */

static struct channel *channel_of(struct list *it)
{
    return CONTAINER(it, struct channel, link);
}

static struct channel *find(struct keys_process *p, uint64_t number)
{
    LIST_EACH(it, &p->channels)
        if (channel_of(it)->number == number)
            return channel_of(it);
    return NULL; /* its worker is gone */
}

void channel_allow(struct keys_process *p, uint64_t number, struct ring *ring, uint64_t grace_us)
{
    struct channel *c = find(p, number);

    if (!c) {
        ring_put(&ring);
        return;
    }
    pthread_mutex_lock(&c->lock);
    grants_add(&c->grants, ring, clock_mono_us() + grace_us);
    signer_forget(&c->signer);
    pthread_mutex_unlock(&c->lock);
}

uint64_t channels_expire(struct keys_process *p, uint64_t now_us)
{
    uint64_t next_us = UINT64_MAX;

    LIST_EACH(it, &p->channels) {
        struct channel *c = channel_of(it);
        uint64_t its_us;

        pthread_mutex_lock(&c->lock);
        if (grants_expire(&c->grants, now_us))
            signer_forget(&c->signer);
        its_us = grants_next_us(&c->grants);
        pthread_mutex_unlock(&c->lock);
        if (its_us < next_us)
            next_us = its_us;
    }
    return next_us;
}

/* Joined and not detached: what OpenSSL keeps of a thread goes at its very end. */
void channels_reap(struct keys_process *p)
{
    LIST_EACH(it, &p->ended) {
        struct channel *c = channel_of(it);

        (void)pthread_join(c->thread, NULL);
        channel_free(c);
    }
}

void channels_stop(struct keys_process *p)
{
    LIST_EACH(it, &p->channels)
        (void)shutdown(channel_of(it)->fd, SHUT_RDWR);
}
