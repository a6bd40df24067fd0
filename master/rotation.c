/* Ticket keys in the master: rotation.h. Called at start, for each worker, and when a successor is
 * to go on with them. Without them nothing fails but resumption. */
#include "master/rotation.h"

#include <string.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/core/ipc.h"
#include "master/handing.h"
#include "master/master.h"

#define RETRY_MS 60000

static void arm(struct master *m)
{
    uint64_t now_us = clock_mono_us(), due_us = tickets_due_us(m->rotation.tickets);

    deadline_set(&m->events, &m->rotation.due, due_us > now_us ? (due_us - now_us) / 1000 : 0);
}

static void on_due(struct deadline *d)
{
    struct master *m = CONTAINER(d, struct master, rotation.due);

    if (tickets_rotate(m->rotation.tickets, clock_mono_us()) == 0) {
        arm(m);
        return;
    }
    log_error("new TLS ticket keys");
    deadline_set(&m->events, d, RETRY_MS);
}

void rotation_init(struct rotation *r)
{
    r->tickets = NULL;
    deadline_init(&r->due, on_due);
}

void rotation_adopt(struct master *m, int *fd)
{
    struct rotation *r = &m->rotation;

    if (*fd < 0 || r->tickets)
        return;
    r->tickets = tickets_adopt(*fd, clock_mono_us());
    if (!r->tickets)
        log_warn("the TLS ticket keys of before cannot be taken");
    fd_close(fd);
}

void rotation_begin(struct master *m)
{
    struct rotation *r = &m->rotation;

    if (!r->tickets)
        r->tickets = tickets_new(clock_mono_us());
    if (r->tickets)
        arm(m);
    else
        log_error("TLS ticket keys: no session will be resumed");
}

void rotation_tell(struct master *m, struct worker *w)
{
    struct ipc_msg msg = { .type = IPC_TICKETS, .nfds = 1 };

    if (!m->rotation.tickets)
        return;
    msg.fds[0] = tickets_fd(m->rotation.tickets);
    if (ipc_send(w->channel.fd, &msg) != 0)
        log_warn("%s has no TLS ticket keys", w->name);
}

void rotation_hand(const struct master *m, struct handing *h)
{
    if (m->rotation.tickets)
        handing_fd(h, "tickets", tickets_fd(m->rotation.tickets));
}

void rotation_fini(struct rotation *r)
{
    deadline_cancel(&r->due);
    tickets_free(&r->tickets);
}
