/* A worker: gets sockets and generations from the master, accepts, and leaves the rest to proxy/.
 * Its root is struct worker; the master's side of the conversation is in master/worker.c. */
#include "common/core/role.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/base/backtrace.h"
#include "common/base/fd.h"
#include "common/base/proctitle.h"
#include "common/core/bundle.h"
#include "common/core/ipc.h"
#include "common/core/limits.h"
#include "worker/proxy/aside.h"
#include "worker/proxy/mirror.h"
#include "worker/proxy/passwords.h"
#include "worker/self.h"

#define TICK_US 1000000
#define RETIRE_CHECK_US 20000
/* For the first request of connections accepted just before. */
#define RETIRE_FRESH_US 1000000
/* What one connection may hold at most: input, and both directions' credit. */
#define BUFS_PER_CONNECTION 12
#define BLOCKS_PER_CONNECTION 24
/* However idle it is. */
#define BUFS_KEPT 16
#define BLOCKS_KEPT 16

/* ---- sockets and listeners ---- */

static void on_accept(struct acceptor *a, int fd, const struct ip *peer)
{
    front_accept(CONTAINER(a, struct socket, acceptor)->listener, fd, peer);
}

static void socket_free(struct socket *s)
{
    if (s->listener) {
        struct listener *l = s->listener;

        acceptor_fini(&s->acceptor);
        listener_unref(&l);
    }
    fd_close(&s->fd);
    list_remove(&s->link);
    free(s);
}

static struct socket *socket_find(struct worker *w, const char *key, uint32_t slot)
{
    LIST_EACH(it, &w->sockets) {
        struct socket *s = CONTAINER(it, struct socket, link);

        if (s->slot == slot && strcmp(s->key, key) == 0)
            return s;
    }
    return NULL;
}

static struct listener *listener_find(struct worker *w, const char *name)
{
    LIST_EACH(it, &w->listeners) {
        struct listener *l = CONTAINER(it, struct listener, link);

        if (!l->is_removed && strcmp(l->name, name) == 0)
            return l;
    }
    return NULL;
}

/* Accepted connections belong to the listener that the socket has at that moment. */
static void socket_attach(struct worker *w, struct socket *s, struct listener *l)
{
    struct listener *old = s->listener;

    l->refs++;
    s->listener = l;
    if (old) {
        listener_unref(&old);
        return;
    }
    if (acceptor_init(&s->acceptor, &w->proxy.gate, s->fd, on_accept, s) < 0)
        log_error("listening on %s", s->key);
    s->fd = -1;
}

static const struct conf_listener *bound_by(const struct conf *conf, const char *key)
{
    char text[ADDR_TEXT_MAX];

    for (size_t i = 0; i < conf->nlisteners; i++)
        for (size_t b = 0; b < conf->listeners[i].bind.n; b++)
            if (strcmp(addr_format(&conf->listeners[i].bind.v[b].addr, text), key) == 0)
                return &conf->listeners[i];
    return NULL;
}

/* Made for this worker, or for one that is held back or gone: that one's clients wait in it, so
 * it is accepted from at once, unless its address is one of the generation to come. */
static void socket_add(struct worker *w, const struct ipc_listen *what, int fd)
{
    const struct generation *g = w->proxy.generation;
    const struct conf_listener *conf;
    struct socket *s;

    if (w->proxy.is_retiring || socket_find(w, what->key, what->slot)) {
        fd_close(&fd);
        return;
    }
    s = xcalloc(1, sizeof *s);
    slice_copy(s->key, sizeof s->key, slice_str(what->key));
    s->slot = what->slot;
    s->is_shared = what->is_shared != 0;
    s->fd = fd;
    list_push(&w->sockets, &s->link);
    conf = g ? bound_by(g->conf, s->key) : NULL;
    if (conf)
        socket_attach(w, s, listener_find(w, conf->name));
}

static void listener_apply(struct worker *w, struct listener *l, struct generation *g,
                           const struct conf_listener *conf)
{
    struct generation *old = l->generation;

    l->generation = generation_ref(g);
    generation_unref(&old);
    l->conf = conf;
    l->stats = g->listeners[conf->index];
    l->http.ops = &l7_service_ops;
    l->http.bytes_in = &l->stats->bytes_in;
    l->http.bytes_out = &l->stats->bytes_out;
    l->http.shed = &w->proxy.stats->shed_memory;
    l->http.limits = (struct http_limits){
        .header_timeout_ms = conf->timeout_header_ms,
        .idle_timeout_ms = conf->timeout_idle_ms,
        .body_timeout_ms = conf->timeout_body_ms,
        .max_header_size = (uint32_t)conf->max_header_size,
        .max_body_size = conf->max_body_size,
    };
}

static struct listener *listener_new(struct worker *w, const char *name)
{
    struct listener *l = xcalloc(1, sizeof *l);

    l->proxy = &w->proxy;
    l->name = xstrdup(name);
    l->flight_name = flight_name(&w->proxy.recorder.flight, name);
    l->refs = 1;
    list_push(&w->listeners, &l->link);
    return l;
}

/* ---- generations ---- */

static void swap(struct worker *w, struct generation *g)
{
    struct generation *old = w->proxy.generation;

    for (size_t i = 0; i < g->conf->nlisteners; i++) {
        const struct conf_listener *conf = &g->conf->listeners[i];
        struct listener *l = listener_find(w, conf->name);

        listener_apply(w, l ? l : listener_new(w, conf->name), g, conf);
    }
    LIST_EACH(it, &w->sockets) {
        struct socket *s = CONTAINER(it, struct socket, link);
        const struct conf_listener *conf = bound_by(g->conf, s->key);

        if (conf)
            socket_attach(w, s, listener_find(w, conf->name));
        else
            socket_free(s);
    }
    LIST_EACH(it, &w->listeners) {
        struct listener *l = CONTAINER(it, struct listener, link);

        if (l->is_removed || l->generation == g)
            continue;
        l->is_removed = true;
        listener_unref(&l);
    }
    w->proxy.generation = g;
    self_names_follow(w);
    generation_unref(&old);
}

static void apply_global(struct worker *w, const struct conf_global *g)
{
    struct proxy *p = &w->proxy;

    accept_gate_set_max(&p->gate, g->max_connections);
    p->bufs.used_max = (size_t)g->max_connections * BUFS_PER_CONNECTION + BUFS_KEPT +
                       MIRROR_BUFS;
    p->arenas.used_max = (size_t)g->max_connections * BLOCKS_PER_CONNECTION + BLOCKS_KEPT +
                         MIRROR_BLOCKS;
}

/* fds[at...] as ipc.h says of IPC_GENERATION and IPC_LOGS; taken over. */
static void open_logs(struct worker *w, const struct conf_global *g, struct ipc_msg *msg,
                      unsigned at)
{
    int fd = 2, old = w->log_fd;

    if (msg->flags & IPC_HAS_LOG) {
        fd = w->log_fd = msg->fds[at];
        msg->fds[at++] = -1;
    }
    log_open(conf_log_target(g->log) == CONF_LOG_SYSLOG ? LOG_TO_SYSLOG : LOG_TO_FD, fd,
             g->log_level, w->name);
    if (w->log_fd != old)
        fd_close(&old);
    fd = -1;
    if (msg->flags & IPC_HAS_ACCESS_LOG) {
        fd = msg->fds[at];
        msg->fds[at] = -1;
    }
    access_log_open(&w->proxy.log, conf_log_target(g->access_log), fd);
}

void self_answer(struct worker *w, enum ipc_type type, uint64_t number, struct slice text)
{
    struct ipc_msg *m = &w->msg;

    *m = (struct ipc_msg){ .type = type, .number = number };
    if (text.n > IPC_DATA_MAX)
        text.n = IPC_DATA_MAX;
    m->size = (uint32_t)text.n;
    if (text.n > 0)
        memcpy(m->data, text.p, text.n);
    if (ipc_send(w->channel_fd, m) < 0)
        log_warn("telling the master");
}

/* The last descriptor; -1: there is none. */
static int take_keyring(struct ipc_msg *msg)
{
    int fd;

    if (!(msg->flags & IPC_HAS_KEYRING) || msg->nfds == 0)
        return -1;
    fd = msg->fds[msg->nfds - 1];
    msg->fds[msg->nfds - 1] = -1;
    return fd;
}

static void on_generation(struct worker *w, struct ipc_msg *msg)
{
    struct conf_text text = { .entries = { NULL, 0, 0 } };
    struct generation *g = NULL;
    struct report report;
    uint64_t number = msg->number;
    int keyring = take_keyring(msg);

    report_init(&report);
    if (msg->nfds == 0 || bundle_open(msg->fds[0], &text, &number) < 0)
        report_error(&report, "the configuration bundle cannot be read: %s", strerror(errno));
    else
        g = generation_new(&text, number, keyring, &w->proxy.up,
                           w->proxy.limits, &report);
    conf_text_fini(&text);
    if (g) {
        apply_global(w, &g->conf->global);
        open_logs(w, &g->conf->global, msg, 1);
        fd_close(&w->bundle);
        w->bundle = msg->fds[0];
        msg->fds[0] = -1;
        fd_close(&w->keyring);
        w->keyring = keyring;
        ipc_close_fds(msg);
        swap(w, g);
        stat_set(&w->proxy.stats->generation, number);
        stat_set(&w->proxy.stats->state, WORKER_RUNNING);
        flight_event(&w->proxy.recorder.flight, "generation %llu taken",
                     (unsigned long long)number);
        self_answer(w, IPC_READY, number, SLICE_NONE);
    } else {
        fd_close(&keyring);
        ipc_close_fds(msg);
        flight_event(&w->proxy.recorder.flight, "generation %llu refused",
                     (unsigned long long)number);
        self_answer(w, IPC_FAILED, number, strbuf_slice(&report.text));
    }
    report_fini(&report);
}

/* ---- the end ---- */

static void accept_no_more(struct worker *w)
{
    LIST_EACH(it, &w->sockets)
        socket_free(CONTAINER(it, struct socket, link));
    accept_gate_shut(&w->proxy.gate);
}

static void abort_all(struct worker *w)
{
    front_abort(&w->proxy);
    h1_down_abort(&w->proxy.h1_downs);
    sessions_abort(&w->proxy);
}

static void close_idle(struct proxy *p, bool is_fresh_too)
{
    h1_down_retire(&p->h1_downs, is_fresh_too);
    if (is_fresh_too)
        front_retire(p);
}

static void on_retire_check(struct timer *t)
{
    struct worker *w = CONTAINER(t, struct worker, retire_check);
    struct proxy *p = &w->proxy;

    if (p->loop.now_us >= w->retire_at_us && p->gate.open > 0) {
        log_notice("%llu connections did not end in time",
                   (unsigned long long)p->gate.open);
        flight_event(&p->recorder.flight, "%llu connections did not end in time",
                     (unsigned long long)p->gate.open);
        abort_all(w);
        p->loop.should_stop = true;
    } else if (p->gate.open == 0) {
        p->loop.should_stop = true;
    } else {
        if (w->closes_idle)
            close_idle(p, p->loop.now_us - w->retire_from_us >= RETIRE_FRESH_US);
        timer_set(&p->loop.timers, t, p->loop.now_us, RETIRE_CHECK_US);
    }
}

void self_retire(struct worker *w, uint64_t within_ms, bool closes_idle)
{
    struct proxy *p = &w->proxy;

    if (p->is_retiring && (w->closes_idle || !closes_idle))
        return;
    if (!p->is_retiring)
        accept_no_more(w); /* takes what waits in the kernel's queues first */
    p->is_retiring = true;
    w->closes_idle = closes_idle;
    flight_event(&p->recorder.flight, "retiring: %llu connections are open",
                 (unsigned long long)p->gate.open);
    stat_set(&p->stats->state, WORKER_RETIRING);
    w->retire_from_us = p->loop.now_us;
    w->retire_at_us = p->loop.now_us + within_ms * 1000;
    up_close_idle(&p->up);
    timer_set(&p->loop.timers, &w->retire_check, p->loop.now_us, 0);
}

void self_stop(struct worker *w)
{
    flight_event(&w->proxy.recorder.flight, "told to stop");
    accept_no_more(w);
    abort_all(w);
    w->proxy.loop.should_stop = true;
}

/* ---- the master's messages ---- */

static void on_listen(struct worker *w, struct ipc_msg *msg)
{
    for (unsigned i = 0; i < msg->count; i++) {
        struct ipc_listen what;
        struct socket *s;

        assert(msg->size >= (i + 1) * sizeof what);
        memcpy(&what, msg->data + i * sizeof what, sizeof what);
        if (msg->type == IPC_LISTEN) {
            socket_add(w, &what, msg->fds[i]);
            msg->fds[i] = -1;
        } else if ((s = socket_find(w, what.key, what.slot)) != NULL) {
            socket_free(s);
        }
    }
}

static void on_tickets(struct worker *w, struct ipc_msg *msg)
{
    if (msg->nfds != 1)
        return;
    if (tls_process_tickets(w->tls, msg->fds[0]) < 0)
        log_error("the ticket keys of the master cannot be used");
    msg->fds[0] = -1;
}

static void on_keys(struct worker *w, struct ipc_msg *msg)
{
    if (msg->nfds != 1)
        return;
    keys_use_channel(w->keys.keys, msg->fds[0]);
    msg->fds[0] = -1;
}

static void on_message(struct worker *w, struct ipc_msg *msg)
{
    switch ((enum ipc_type)msg->type) {
    case IPC_LISTEN:
    case IPC_UNLISTEN:
        on_listen(w, msg);
        break;
    case IPC_GENERATION:
        on_generation(w, msg);
        break;
    case IPC_LOGS:
        if (w->proxy.generation)
            open_logs(w, &w->proxy.generation->conf->global, msg, 1);
        break;
    case IPC_RETIRE:
        self_retire(w, msg->number, msg->flags & IPC_CLOSE_IDLE);
        break;
    case IPC_STOP:
        self_stop(w);
        break;
    case IPC_HEIR:
        if (msg->nfds == 1) {
            fd_close(&w->heir_fd);
            w->heir_fd = msg->fds[0];
            msg->fds[0] = -1;
        }
        break;
    case IPC_READY:
    case IPC_FAILED:
    case IPC_CONFIG:
    case IPC_ORPHAN:
    case IPC_KEYS_ALLOW:
    case IPC_CANARY:
        break;
    case IPC_KEYS:
        on_keys(w, msg);
        break;
    case IPC_TICKETS:
        on_tickets(w, msg);
        break;
    case IPC_NAMES:
        self_names_take(w, msg);
        break;
    }
    ipc_close_fds(msg);
}

static void on_channel(struct watch *watch, uint32_t events)
{
    struct worker *w = CONTAINER(watch, struct worker, channel);
    int r;

    (void)events;
    while ((r = ipc_recv(w->channel_fd, &w->msg)) > 0)
        on_message(w, &w->msg);
    if (r < 0 && errno == EAGAIN)
        return;
    orphan_begin(w);
}

/* The process may live all the same: then the master makes another channel. */
static void ask_channel(struct worker *w)
{
    const struct ipc_msg msg = { .type = IPC_KEYS };

    if (keys_is_cut(w->keys.keys) && w->channel_fd >= 0)
        (void)ipc_send(w->channel_fd, &msg);
}

/* ---- start ---- */

static void on_tick(struct timer *t)
{
    struct worker *w = CONTAINER(t, struct worker, tick);
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) == 0)
        stat_set(&w->proxy.stats->cpu_seconds, w->cpu_before_us +
                 (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 +
                 (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec));
    proxy_tick(&w->proxy);
    up_tick(&w->proxy.up);
    keys_tick(w->keys.keys);
    ask_channel(w);
    recorder_tick(&w->proxy);
    timer_set(&w->proxy.loop.timers, t, w->proxy.loop.now_us, TICK_US);
}

/* Hashes have a secret of the master's start in them. */
static void seed_numbers(struct proxy *p, unsigned index)
{
    uint64_t self[3] = { clock_wall_us(), (uint64_t)getpid(), index };
    uint64_t worker = hash_bytes(self, sizeof self);

    self[0] = ~self[0];
    request_ids_init(&p->ids, hash_bytes(self, sizeof self), worker);
    p->draws = p->asides.draws = worker;
    p->fault_draws = ~worker;
}

static int worker_init(struct worker *w, const struct role_args *args)
{
    struct proxy *p = &w->proxy;

    w->index = args->index;
    w->slot = args->slot;
    w->segment = args->segment;
    w->channel_fd = args->channel;
    w->channel.fn = on_channel;
    w->log_fd = w->heir_fd = w->bundle = w->keyring = -1;
    orphan_init(w);
    list_init(&w->sockets);
    list_init(&w->listeners);
    list_init(&p->sessions);
    list_init(&p->greetings);
    asides_init(p);
    p->stats = STATS_SLOT(args->segment, worker, "worker", args->slot);
    assert(p->stats);
    stat_set(&p->stats->pid, (uint64_t)getpid());
    stat_set(&p->stats->started, clock_wall_us());
    stat_set(&p->stats->state, WORKER_STARTING);
    w->cpu_before_us = stat_get(&p->stats->cpu_seconds);
    if (loop_init(&p->loop) < 0 || loop_add(&p->loop, w->channel_fd, &w->channel) < 0)
        return -1;
    buf_pool_init(&p->bufs, BUFS_KEPT, 0, 1024);
    p->bufs.gauge = &p->stats->buffers;
    conn_pool_init(&p->conns, &p->loop, &p->bufs);
    w->keys = (struct tls_keys){ keys_new(&p->loop, p->stats), keys_handshake, keys_key };
    w->tls = tls_process_new(&p->conns, &w->keys);
    arena_pool_init(&p->arenas, BLOCKS_KEPT, 0);
    h1_down_pool_init(&p->h1_downs);
    compress_pool_init(&p->compressors, COMPRESS_MEMORY);
    accept_gate_init(&p->gate, &p->loop, 0);
    p->gate.errors = &p->stats->accept_errors;
    p->gate.full = &p->stats->full;
    access_log_init(&p->log, &p->loop, &p->stats->log_dropped);
    up_init(&p->up, &p->conns, args->segment, args->slot, p->stats);
    p->limits = args->limits;
    limits_join(p->limits);
    self_names_init(w);
    recorder_init(p, args->flight);
    seed_numbers(p, args->index);
    p->regexes = regex_room_new();
    timer_init(&w->tick, on_tick);
    timer_init(&w->retire_check, on_retire_check);
    timer_set(&p->loop.timers, &w->tick, p->loop.now_us, 0);
    return 0;
}

/* All that is left is memory: requests and sessions have ended. */
static void worker_fini(struct worker *w)
{
    struct proxy *p = &w->proxy;

    accept_no_more(w);
    asides_fini(p);
    up_close_idle(&p->up);
    conn_pool_fini(&p->conns); /* those that linger are counted out by their listeners */
    exchanges_fini(p);
    passwords_free(&p->passwords);
    regex_room_free(&p->regexes);
    LIST_EACH(it, &w->listeners) {
        struct listener *l = CONTAINER(it, struct listener, link);

        if (!l->is_removed)
            listener_unref(&l);
    }
    self_names_fini(w);
    generation_unref(&p->generation);
    access_log_fini(&p->log);
    up_fini(&p->up);
    tls_process_free(&w->tls);
    keys_free(&w->keys.keys);
    recorder_fini(p);
    h1_down_pool_fini(&p->h1_downs);
    compress_pool_fini(&p->compressors);
    arena_pool_fini(&p->arenas);
    buf_pool_fini(&p->bufs);
    timer_clear(&p->loop.timers, &w->tick);
    timer_clear(&p->loop.timers, &w->retire_check);
    loop_fini(&p->loop);
    fd_close(&w->channel_fd);
    fd_close(&w->heir_fd);
    fd_close(&w->bundle);
    fd_close(&w->keyring);
    fd_close(&w->log_fd);
    stat_set(&p->stats->state, WORKER_GONE);
}

int worker_main(const struct role_args *args)
{
    struct worker *w = xcalloc(1, sizeof *w);
    int status;

    snprintf(w->name, sizeof w->name, "worker %u", args->index);
    proctitle_set("rpd: worker %u", args->index);
    log_process(w->name);
    backtrace_install(w->name);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error of write() */
    if (role_become(args->user, args->group) < 0)
        return 1;
    if (worker_init(w, args) < 0) {
        log_error("starting");
        return 1;
    }
    status = loop_run(&w->proxy.loop) < 0;
    worker_fini(w);
    free(w);
    return status;
}
