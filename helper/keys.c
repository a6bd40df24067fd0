/* `rpd: keys`: the one process with private keys. Its root is struct keys_process; its first thread
 * does what the master says, others (keys_channel.c) sign for workers. The master's side of the
 * conversation is in master/keys.c. It outlives a master that is killed or upgraded, for as long
 * as a worker has a channel to it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <openssl/crypto.h>
#include "common/base/backtrace.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/proctitle.h"
#include "common/core/role.h"
#include "helper/keys_process.h"
#include "helper/keys_sandbox.h"

/* For handshakes that began with the keys of a generation before. */
#define GRACE_US (60 * 1000000ull)
#define WAIT_MS_MAX 60000

static const char title[] = "keys";

/* ---- the master ---- */

/* Waits for a master that does not read: it does not wait for us. */
static void answer(struct keys_process *p, enum ipc_type type, uint64_t number, const char *why)
{
    struct ipc_msg *m = &p->msg;
    struct pollfd room = { .fd = p->channel, .events = POLLOUT };

    *m = (struct ipc_msg){ .type = type, .number = number };
    m->size = (uint32_t)strnlen(why, IPC_DATA_MAX);
    memcpy(m->data, why, m->size);
    while (ipc_send(p->channel, m) != 0 && (errno == EAGAIN || errno == ENOBUFS))
        (void)poll(&room, 1, 1000);
}

/* The keyring is fds[at], if there is one. false: it cannot be loaded. */
static bool load(struct keys_process *p, const struct ipc_msg *msg, unsigned at,
                 struct ring **ring)
{
    *ring = msg->nfds > at ? ring_get(&p->rings, msg->fds[at]) : NULL;
    return msg->nfds <= at || *ring;
}

static void on_channel(struct keys_process *p, struct ipc_msg *msg)
{
    uint64_t number = msg->number;
    struct ring *ring;
    char why[128];
    bool is_loaded;
    int fd;

    if (msg->nfds == 0)
        return;
    is_loaded = load(p, msg, 1, &ring);
    (void)snprintf(why, sizeof why, "the keyring cannot be loaded: %s", strerror(errno));
    fd = msg->fds[0];
    msg->fds[0] = -1;
    ipc_close_fds(msg);
    if (channel_start(p, number, fd, ring) != 0) {
        (void)snprintf(why, sizeof why, "no thread can be made: %s", strerror(errno));
        is_loaded = false;
    }
    answer(p, is_loaded ? IPC_READY : IPC_FAILED, number, is_loaded ? "" : why);
}

static void on_allow(struct keys_process *p, struct ipc_msg *msg)
{
    uint64_t number = msg->number;
    struct ring *ring;
    char why[128];

    if (load(p, msg, 0, &ring)) {
        ipc_close_fds(msg);
        channel_allow(p, number, ring, GRACE_US);
        answer(p, IPC_READY, number, "");
        return;
    }
    (void)snprintf(why, sizeof why, "the keyring cannot be loaded: %s", strerror(errno));
    ipc_close_fds(msg);
    answer(p, IPC_FAILED, number, why);
}

/* A file only: syslog's socket could not be made any more. */
static void on_logs(struct keys_process *p, struct ipc_msg *msg)
{
    int old = p->log_fd;

    if (msg->nfds == 0 || !(msg->flags & IPC_HAS_LOG))
        return;
    p->log_fd = msg->fds[0];
    msg->fds[0] = -1;
    log_open(LOG_TO_FD, p->log_fd, (enum log_level)msg->number, title);
    fd_close(&old);
}

static void on_message(struct keys_process *p, struct ipc_msg *msg)
{
    switch ((enum ipc_type)msg->type) {
    case IPC_KEYS:
        on_channel(p, msg);
        break;
    case IPC_KEYS_ALLOW:
        on_allow(p, msg);
        break;
    case IPC_LOGS:
        on_logs(p, msg);
        break;
    case IPC_STOP:
        p->is_stopping = true;
        channels_stop(p);
        break;
    case IPC_RETIRE: /* it ends with its last channel once the master has closed this one */
    case IPC_LISTEN:
    case IPC_UNLISTEN:
    case IPC_GENERATION:
    case IPC_HEIR:
    case IPC_TICKETS:
    case IPC_CANARY:
    case IPC_NAMES:
    case IPC_READY:
    case IPC_FAILED:
    case IPC_CONFIG:
    case IPC_ORPHAN:
        break;
    }
    ipc_close_fds(msg);
}

void keys_catch_up(struct keys_process *p)
{
    int r = 1;

    while (p->channel >= 0 && !p->is_stopping && (r = ipc_recv(p->channel, &p->msg)) > 0)
        on_message(p, &p->msg);
    if (r > 0 || (r < 0 && errno == EAGAIN))
        return;
    log_info("the master is gone: serving until the last worker is");
    fd_close(&p->channel);
}

/* ---- life ---- */

/* For the master, the end of a channel, or `until_us`. */
static void wait_for_work(struct keys_process *p, uint64_t until_us)
{
    struct pollfd in[] = {
        { .fd = p->is_stopping ? -1 : p->channel, .events = POLLIN },
        { .fd = p->wake, .events = POLLIN },
    };
    uint64_t now_us = clock_mono_us(), ms = WAIT_MS_MAX;
    eventfd_t count;

    if (until_us != UINT64_MAX)
        ms = until_us > now_us ? (until_us - now_us) / 1000 + 1 : 0;
    pthread_mutex_unlock(&p->lock);
    (void)poll(in, 2, ms > WAIT_MS_MAX ? WAIT_MS_MAX : (int)ms);
    if (in[1].revents)
        (void)eventfd_read(p->wake, &count);
    pthread_mutex_lock(&p->lock);
}

static void run(struct keys_process *p)
{
    pthread_mutex_lock(&p->lock);
    for (;;) {
        uint64_t next_us;

        keys_catch_up(p);
        channels_reap(p);
        next_us = channels_expire(p, clock_mono_us());
        if ((p->channel < 0 || p->is_stopping) && list_empty(&p->channels)
            && list_empty(&p->ended))
            break;
        wait_for_work(p, next_us);
    }
    pthread_mutex_unlock(&p->lock);
}

static void init(struct keys_process *p, int channel)
{
    p->channel = channel;
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->log_fd = -1;
    rings_init(&p->rings);
    list_init(&p->channels);
    list_init(&p->ended);
    pthread_mutex_init(&p->lock, NULL);
}

static void fini(struct keys_process *p)
{
    pthread_mutex_destroy(&p->lock);
    fd_close(&p->channel);
    fd_close(&p->wake);
    fd_close(&p->log_fd);
    free(p);
    (void)CRYPTO_secure_malloc_done(); /* which wipes it; there is no key any more */
}

int keys_main(const struct keys_args *args)
{
    struct keys_process *p = xcalloc(1, sizeof *p);
    char why[256];

    proctitle_set("rpd: %s", title);
    backtrace_install(title);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    init(p, args->channel);
    /* No file of its own: what it should do is in the program. */
    if (p->wake < 0 || OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        (void)snprintf(why, sizeof why, "OpenSSL cannot be had: %s", strerror(errno));
    else if (keys_sandbox_enter(args->user, why, sizeof why) == 0) {
        answer(p, IPC_READY, 0, "");
        run(p);
        fini(p);
        return 0;
    }
    log_errorx("%s", why);
    answer(p, IPC_FAILED, 0, why);
    fini(p);
    return 1;
}
