/* The table of listening sockets: what there is, which worker has which. Owns the descriptors.
 * Called by start.c, install.c, supervise.c; binding itself is bind.c. Accepts nothing. */
#include "master/listen.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/core/stats.h"
#include "master/bind.h"
#include "master/handing.h"

#define RETRY_MS 50
#define UNIX_MODE 0666 /* anyone who reaches the directory may connect, as with a port */
#define HELD_WORDS (STATS_WORKERS_MAX / 64)

struct listen_socket {
    struct list list;
    struct addr addr;
    char key[ADDR_TEXT_MAX];
    struct bind_socket bound;
    unsigned slot;
    bool is_shared;
    bool is_unused;
    bool was_used;               /* before the last commit */
    uint64_t unused_since;       /* generation */
    uint64_t held[HELD_WORDS];   /* bit per worker index that got it and has not dropped it */
};

_Static_assert(ADDR_TEXT_MAX == sizeof ((struct ipc_listen *)NULL)->key, "a key is an address");

static struct listen_socket *of(struct list *it)
{
    return CONTAINER(it, struct listen_socket, list);
}

static void drop(struct listen_socket *s)
{
    bind_close(&s->bound, &s->addr);
    list_remove(&s->list);
    free(s);
}

void listen_init(struct listen_table *t)
{
    list_init(&t->sockets);
    list_init(&t->fresh);
    memset(t->workers, LISTEN_GONE, sizeof t->workers);
    t->is_trial = false;
}

void listen_fini(struct listen_table *t)
{
    listen_abort(t);
    LIST_EACH(it, &t->sockets)
        drop(of(it));
}

void listen_leave(struct listen_table *t)
{
    listen_abort(t);
    LIST_EACH(it, &t->sockets) {
        bind_adopt(&of(it)->bound, &of(it)->addr, of(it)->bound.fd, false);
        drop(of(it));
    }
}

/* ---- which worker has it ---- */

static bool is_held(const struct listen_socket *s, unsigned index)
{
    return s->held[index / 64] >> (index % 64) & 1;
}

static void set_held(struct listen_socket *s, unsigned index, bool on)
{
    uint64_t bit = (uint64_t)1 << (index % 64);

    if (on)
        s->held[index / 64] |= bit;
    else
        s->held[index / 64] &= ~bit;
}

static bool is_held_by_any(const struct listen_socket *s)
{
    for (size_t i = 0; i < HELD_WORDS; i++)
        if (s->held[i] != 0)
            return true;
    return false;
}

/* Among indexes `from` to `end`; when nobody is there, one of them all the same. */
static unsigned holder_between(const struct listen_table *t, unsigned slot, unsigned nworkers,
                               unsigned from, unsigned end)
{
    unsigned own = slot % nworkers;

    for (unsigned i = 0; i < nworkers; i++) {
        unsigned index = (slot + i) % nworkers;

        if (index >= from && index < end && t->workers[index] != LISTEN_GONE)
            return index;
    }
    return own >= from && own < end ? own : from;
}

unsigned listen_holder(const struct listen_table *t, unsigned slot, unsigned nworkers)
{
    assert(nworkers > 0);
    return holder_between(t, slot, nworkers, 0, nworkers);
}

/* Somebody is to accept from it. */
static bool is_used(const struct listen_table *t, const struct listen_socket *s)
{
    return !s->is_unused || (t->is_trial && s->was_used);
}

/* Worker indexes that have a configuration which binds it: *from, up to *end. */
static void users(const struct listen_table *t, const struct listen_socket *s, unsigned nworkers,
                  unsigned *from, unsigned *end)
{
    *from = t->is_trial && s->is_unused ? 1 : 0;
    *end = t->is_trial && !s->was_used ? 1 : nworkers;
}

static unsigned holder_of(const struct listen_table *t, const struct listen_socket *s,
                          unsigned nworkers)
{
    unsigned from, end;

    users(t, s, nworkers, &from, &end);
    return holder_between(t, s->slot, nworkers, from, end);
}

static bool is_wanted(const struct listen_table *t, const struct listen_socket *s,
                      unsigned index, unsigned nworkers)
{
    unsigned from, end;

    if (!is_used(t, s) || is_held(s, index))
        return false;
    users(t, s, nworkers, &from, &end);
    return index >= from && index < end
           && (s->is_shared || holder_of(t, s, nworkers) == index);
}

/* Two may have a socket for a while; none may not. */
static bool is_surplus(const struct listen_table *t, const struct listen_socket *s,
                       unsigned index, unsigned nworkers)
{
    unsigned holder = holder_of(t, s, nworkers);

    return !s->is_shared && is_used(t, s) && is_held(s, index) && holder != index
           && t->workers[holder] == LISTEN_SERVING && is_held(s, holder);
}

static void add_to(struct ipc_msg *msg, const struct listen_socket *s)
{
    struct ipc_listen one = { .slot = s->slot, .is_shared = s->is_shared };

    memcpy(one.key, s->key, sizeof one.key);
    memcpy(msg->data + msg->size, &one, sizeof one);
    msg->size += (uint32_t)sizeof one;
    msg->count++;
}

bool listen_batch(const struct listen_table *t, unsigned index, unsigned nworkers,
                  struct ipc_msg *msg)
{
    memset(msg, 0, offsetof(struct ipc_msg, fds));
    msg->type = IPC_LISTEN;
    LIST_EACH(it, &t->sockets) {
        if (!is_wanted(t, of(it), index, nworkers))
            continue;
        if (msg->count == IPC_LISTEN_MAX)
            break;
        add_to(msg, of(it));
        msg->fds[msg->nfds++] = of(it)->bound.fd;
    }
    return msg->count > 0;
}

bool listen_surplus(const struct listen_table *t, unsigned index, unsigned nworkers,
                    struct ipc_msg *msg)
{
    memset(msg, 0, offsetof(struct ipc_msg, fds));
    msg->type = IPC_UNLISTEN;
    LIST_EACH(it, &t->sockets)
        if (msg->count < IPC_LISTEN_MAX && is_surplus(t, of(it), index, nworkers))
            add_to(msg, of(it));
    return msg->count > 0;
}

static bool names(const struct ipc_msg *msg, const struct listen_socket *s)
{
    struct ipc_listen one;

    for (unsigned i = 0; i < msg->count; i++) {
        memcpy(&one, msg->data + i * sizeof one, sizeof one);
        if (one.slot == s->slot && strcmp(one.key, s->key) == 0)
            return true;
    }
    return false;
}

void listen_sent(struct listen_table *t, unsigned index, const struct ipc_msg *msg)
{
    LIST_EACH(it, &t->sockets)
        if (names(msg, of(it)))
            set_held(of(it), index, msg->type == IPC_LISTEN);
}

void listen_generation_sent(struct listen_table *t, unsigned index, uint64_t generation)
{
    LIST_EACH(it, &t->sockets)
        if (of(it)->is_unused && of(it)->unused_since <= generation)
            set_held(of(it), index, false);
}

void listen_worker(struct listen_table *t, unsigned index, enum listen_worker is)
{
    t->workers[index] = (uint8_t)is;
}

void listen_worker_gone(struct listen_table *t, unsigned index)
{
    t->workers[index] = LISTEN_GONE;
    LIST_EACH(it, &t->sockets)
        set_held(of(it), index, false);
}

void listen_prune(struct listen_table *t, uint64_t acknowledged)
{
    LIST_EACH(it, &t->sockets) {
        struct listen_socket *s = of(it);

        if (t->is_trial && s->was_used)
            continue; /* who has the old configuration may be starting just now */
        if (s->is_unused && s->unused_since <= acknowledged && !is_held_by_any(s))
            drop(s);
    }
}

/* ---- handed over ---- */

static struct listen_socket *find(const struct list *l, const char *key, unsigned slot)
{
    LIST_EACH(it, l) {
        struct listen_socket *s = of(it);

        if (strcmp(s->key, key) == 0 && (s->is_shared || s->slot == slot))
            return s;
    }
    return NULL;
}

bool listen_adopt(struct listen_table *t, const char *key, unsigned slot, bool is_shared, int fd,
                  bool is_ours)
{
    struct listen_socket *s;
    struct slice name;
    struct addr addr;

    if (addr_parse(slice_str(key), &addr, &name) != ADDR_OK)
        return false;
    if (find(&t->sockets, key, slot)) { /* several workers had it */
        fd_close(&fd);
        return true;
    }
    s = xcalloc(1, sizeof *s);
    s->addr = addr;
    s->slot = slot;
    s->is_shared = is_shared;
    (void)slice_copy(s->key, sizeof s->key, slice_str(key));
    bind_adopt(&s->bound, &addr, fd, is_ours);
    list_push(&t->sockets, &s->list);
    return true;
}

void listen_hand(const struct listen_table *t, struct handing *h)
{
    LIST_EACH(it, &t->sockets) {
        const struct listen_socket *s = of(it);

        handoff_kind(&h->text, "socket");
        handing_fd(h, "fd", s->bound.fd);
        handoff_number(&h->text, "slot", s->slot);
        handoff_number(&h->text, "shared", s->is_shared);
        handoff_text(&h->text, "key", slice_str(s->key));
        handoff_end(&h->text);
    }
}

/* ---- binding ---- */

static bool overlaps(const struct list *l, const struct addr *a)
{
    LIST_EACH(it, l)
        if (bind_overlaps(&of(it)->addr, a))
            return true;
    return false;
}

/* -1 with errno. */
static int bind_one(struct listen_table *t, const struct conf_bind *b, const char *key,
                    unsigned slot)
{
    struct listen_socket *s = xcalloc(1, sizeof *s);
    /* SO_REUSEPORT would let two daemons share a port in silence: a port that is not ours already
     * must be free of others first. */
    bool is_ours = overlaps(&t->sockets, &b->addr) || overlaps(&t->fresh, &b->addr);

    s->addr = b->addr;
    s->slot = slot;
    s->is_shared = b->addr.sa.sa_family == AF_UNIX;
    memcpy(s->key, key, sizeof s->key);
    if (bind_listen(&s->bound, &b->addr, b->text[0] == ':', is_ours, UNIX_MODE) != 0) {
        int saved_errno = errno;

        free(s);
        errno = saved_errno;
        return -1;
    }
    list_push(&t->fresh, &s->list);
    return 0;
}

static int bind_patiently(struct listen_table *t, const struct conf_bind *b, const char *key,
                          unsigned slot, unsigned *wait_ms)
{
    const struct timespec pause = { .tv_nsec = RETRY_MS * 1000000L };
    int r;

    while ((r = bind_one(t, b, key, slot)) != 0 && errno == EADDRINUSE && *wait_ms >= RETRY_MS) {
        (void)nanosleep(&pause, NULL);
        *wait_ms -= RETRY_MS;
    }
    return r;
}

static void bind_address(struct listen_table *t, const char *listener, const struct conf_bind *b,
                         unsigned nworkers, unsigned *wait_ms, struct report *report)
{
    char key[ADDR_TEXT_MAX] = "";

    (void)addr_format(&b->addr, key);
    for (unsigned slot = 0; slot < nworkers; slot++) {
        if (find(&t->sockets, key, slot) || find(&t->fresh, key, slot))
            continue;
        if (bind_patiently(t, b, key, slot, wait_ms) != 0) {
            report_error(report, "%s:%u: [listener %s] bind: %s: %s%s", b->origin.file,
                         b->origin.line, listener, b->text, strerror(errno), b->origin.chain);
            return;
        }
    }
}

bool listen_prepare(struct listen_table *t, const struct conf *conf, unsigned nworkers,
                    unsigned wait_ms, struct report *report)
{
    unsigned errors = report->errors;

    assert(list_empty(&t->fresh));
    for (size_t i = 0; i < conf->nlisteners; i++) {
        const struct conf_listener *l = &conf->listeners[i];

        for (size_t k = 0; k < l->bind.n; k++)
            bind_address(t, l->name, &l->bind.v[k], nworkers, &wait_ms, report);
    }
    if (report->errors == errors)
        return true;
    listen_abort(t);
    return false;
}

void listen_abort(struct listen_table *t)
{
    LIST_EACH(it, &t->fresh)
        drop(of(it));
}

static bool is_bound_by(const struct conf *conf, const struct addr *a)
{
    for (size_t i = 0; i < conf->nlisteners; i++)
        for (size_t k = 0; k < conf->listeners[i].bind.n; k++)
            if (addr_eq(&conf->listeners[i].bind.v[k].addr, a))
                return true;
    return false;
}

void listen_commit(struct listen_table *t, const struct conf *conf, uint64_t generation,
                   bool is_serving)
{
    LIST_EACH(it, &t->sockets)
        of(it)->was_used = !of(it)->is_unused;
    LIST_EACH(it, &t->fresh) {
        /* The port has others: clients are served without this one, too. */
        if (is_serving && bind_start(&of(it)->bound) != 0)
            log_error("listening on %s for worker %u", of(it)->key, of(it)->slot);
        list_remove(it);
        list_push(&t->sockets, it);
    }
    LIST_EACH(it, &t->sockets) {
        struct listen_socket *s = of(it);
        bool is_unused = !is_bound_by(conf, &s->addr);

        if (is_unused && !s->is_unused)
            s->unused_since = generation;
        s->is_unused = is_unused;
    }
}
