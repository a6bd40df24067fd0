/* A worker whose master is gone: it serves on, and tells the next master, which connects to the
 * socket that the last one gave it, who it is and what it has. Called by main.c; never serves a
 * client. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "common/base/fd.h"
#include "common/base/log.h"
#include "worker/self.h"

static int send_sockets(struct worker *w)
{
    struct ipc_msg *m = &w->msg;

    *m = (struct ipc_msg){ .type = IPC_LISTEN };
    LIST_EACH(it, &w->sockets) {
        struct socket *s = CONTAINER(it, struct socket, link);
        struct ipc_listen one = { .slot = s->slot, .is_shared = s->is_shared };

        memcpy(one.key, s->key, sizeof one.key);
        memcpy(m->data + m->size, &one, sizeof one);
        m->size += (uint32_t)sizeof one;
        m->fds[m->nfds++] = s->listener ? s->acceptor.fd : s->fd;
        if (++m->count < IPC_LISTEN_MAX)
            continue;
        if (ipc_send(w->channel_fd, m) < 0)
            return -1;
        *m = (struct ipc_msg){ .type = IPC_LISTEN };
    }
    return m->count > 0 ? ipc_send(w->channel_fd, m) : 0;
}

/* To the new master: who this is, and what it has. */
static int introduce(struct worker *w)
{
    uint64_t generation = w->proxy.generation->number;
    struct ipc_msg *m = &w->msg;
    int n;

    *m = (struct ipc_msg){ .type = IPC_ORPHAN, .nfds = 2 };
    m->fds[0] = segment_fd(w->segment);
    m->fds[1] = w->bundle;
    m->fds[2] = tls_process_tickets_fd(w->tls);
    if (m->fds[2] >= 0)
        m->nfds++;
    n = snprintf(m->data, sizeof m->data, "index=%u\tslot=%u\tgeneration=%llu\ttold=%d",
                 w->index, w->slot, (unsigned long long)generation, w->proxy.is_retiring);
    m->size = (uint32_t)n;
    if (ipc_send(w->channel_fd, m) < 0 || send_sockets(w) < 0)
        return -1;
    self_answer(w, IPC_READY, generation, SLICE_NONE);
    return 0;
}

static void on_heir(struct watch *watch, uint32_t events)
{
    struct worker *w = CONTAINER(watch, struct worker, heir);
    int fd = accept4(w->heir_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd < 0)
        return;
    fd_close(&w->channel_fd); /* of one whose end was not seen yet */
    w->channel_fd = fd;
    if (introduce(w) < 0 || loop_add(&w->proxy.loop, fd, &w->channel) < 0) {
        log_error("a new master cannot be told what there is");
        fd_close(&w->channel_fd);
        return;
    }
    log_notice("there is a master again");
}

void orphan_begin(struct worker *w)
{
    const struct generation *g = w->proxy.generation;
    bool can_wait = g && w->heir_fd >= 0 && w->bundle >= 0;

    fd_close(&w->channel_fd);
    /* A second master that is lost finds the socket watched already. */
    if (can_wait && (w->is_heir_watched
                     || loop_add(&w->proxy.loop, w->heir_fd, &w->heir) == 0)) {
        w->is_heir_watched = true;
        log_warnx("the master is gone: %s", w->proxy.is_retiring
                  ? "finishing without it" : "serving until there is another");
        return;
    }
    log_warnx("the master is gone: retiring");
    if (g)
        self_retire(w, g->conf->global.shutdown_timeout_ms, false);
    else
        self_stop(w);
}

void orphan_init(struct worker *w)
{
    w->heir.fn = on_heir;
}
