/* The control socket. Owns its clients. Called by the loop; what they ask for is command.c's, which
 * answers by control_answer(), at once or when there is an outcome. A client that does not read or
 * write holds up nobody and is dropped. */
#include "master/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "master/command.h"
#include "master/handing.h"
#include "master/master.h"

#define CLIENTS_MAX 64
#define CLIENT_TIMEOUT_MS 10000 /* to say its line, and to read its answer */
#define SOCKET_MODE 0660

/* ---- clients ---- */

static void client_free(struct client *c)
{
    struct master *m = c->master;

    list_remove(&c->list);
    list_remove(&c->waiting);
    deadline_cancel(&c->deadline);
    event_close(&m->events, &c->event);
    strbuf_fini(&c->answer);
    free(c);
    if (m->control.nclients-- == CLIENTS_MAX && m->control.event.fd >= 0)
        event_want(&m->events, &m->control.event, EPOLLIN);
}

/* false when all is sent or nobody takes it: the client is to go. */
static bool send_more(struct client *c)
{
    ssize_t n;

    while (c->sent < c->answer.n) {
        n = send(c->event.fd, c->answer.s + c->sent, c->answer.n - c->sent,
                 MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0)
            c->sent += (size_t)n;
        else if (n < 0 && errno != EINTR)
            return errno == EAGAIN;
    }
    return false;
}

void control_answer(struct client *c, bool is_ok, struct slice text)
{
    list_remove(&c->waiting);
    strbuf_adds(&c->answer, is_ok ? "ok\n" : "refused\n");
    strbuf_add(&c->answer, text);
    c->is_answered = true;
    /* Sent from the loop: whoever calls may go on using the client. */
    event_want(&c->master->events, &c->event, EPOLLOUT);
    deadline_set(&c->master->events, &c->deadline, CLIENT_TIMEOUT_MS);
}

void control_answer_all(struct list *waiting, bool is_ok, struct slice text)
{
    LIST_EACH(it, waiting)
        control_answer(CONTAINER(it, struct client, waiting), is_ok, text);
}

/* false when the client is gone. */
static bool receive(struct client *c)
{
    char *end;
    ssize_t n = recv(c->event.fd, c->line + c->n, sizeof c->line - c->n, MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        return false;
    if (n < 0)
        return true;
    c->n += (size_t)n;
    end = memchr(c->line, '\n', c->n);
    if (end) {
        c->is_asked = true;
        deadline_cancel(&c->deadline);
        event_want(&c->master->events, &c->event, 0); /* but its hang-up is heard */
        command_run(c, slice_of(c->line, (size_t)(end - c->line)));
    } else if (c->n == sizeof c->line)
        control_answer(c, false, SLICE("the line is too long\n"));
    return true;
}

static void on_client(struct event *e, uint32_t mask)
{
    struct client *c = CONTAINER(e, struct client, event);
    bool stays = true;

    if (c->is_answered)
        stays = send_more(c);
    else if (!c->is_asked && (mask & EPOLLIN))
        stays = receive(c);
    else
        stays = (mask & (EPOLLHUP | EPOLLERR)) == 0;
    if (!stays)
        client_free(c);
}

static void on_client_deadline(struct deadline *d)
{
    client_free(CONTAINER(d, struct client, deadline));
}

/* Who is at the other end; (uid_t)-1 when the kernel does not say. */
static uid_t peer_uid(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 ? peer.uid : (uid_t)-1;
}

static struct client *client_new(struct master *m, int fd)
{
    struct client *c = xcalloc(1, sizeof *c);

    c->master = m;
    c->uid = peer_uid(fd);
    event_init(&c->event);
    list_init(&c->waiting);
    deadline_init(&c->deadline, on_client_deadline);
    strbuf_init(&c->answer);
    if (event_add(&m->events, &c->event, fd, EPOLLIN, on_client) != 0) {
        fd_close(&fd);
        free(c);
        return NULL;
    }
    list_push(&m->control.clients, &c->list);
    deadline_set(&m->events, &c->deadline, CLIENT_TIMEOUT_MS);
    if (++m->control.nclients == CLIENTS_MAX && m->control.event.fd >= 0)
        event_want(&m->events, &m->control.event, 0); /* the rest wait in the kernel's queue */
    return c;
}

/* ---- the socket ---- */

static void on_accept(struct event *e, uint32_t mask)
{
    struct master *m = CONTAINER(e, struct master, control.event);
    int fd = accept4(e->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)mask;
    if (fd >= 0)
        (void)client_new(m, fd);
}

static bool make_addr(struct master *m)
{
    struct addr *a = &m->control.addr;
    int n = snprintf(a->un.sun_path, sizeof a->un.sun_path, "%s/rpd.sock", m->run_dir);

    a->un.sun_family = AF_UNIX;
    a->len = sizeof a->un;
    return n > 0 && (size_t)n < sizeof a->un.sun_path;
}

void control_init(struct control *c)
{
    memset(c, 0, sizeof *c);
    c->bound.fd = -1;
    event_init(&c->event);
    list_init(&c->clients);
}

int control_open(struct master *m)
{
    struct control *c = &m->control;

    if (!make_addr(m)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    (void)unlink(c->addr.un.sun_path); /* a dead daemon's: the directory's lock is ours */
    if (bind_listen(&c->bound, &c->addr, false, false, SOCKET_MODE) != 0)
        return -1;
    return event_add(&m->events, &c->event, c->bound.fd, EPOLLIN, on_accept);
}

/* ---- handed over ---- */

bool control_adopt(struct master *m, int fd)
{
    struct control *c = &m->control;

    if (make_addr(m) && fd >= 0) {
        bind_adopt(&c->bound, &c->addr, fd, true);
        if (event_add(&m->events, &c->event, fd, EPOLLIN, on_accept) == 0)
            return true;
    }
    log_error("the control socket cannot be taken over");
    return false;
}

void client_adopt(struct master *m, int fd, struct slice words)
{
    struct client *c = fd >= 0 ? client_new(m, fd) : NULL;
    uint64_t is_reload = 0;
    struct strbuf line;

    if (!c)
        return;
    strbuf_init(&line);
    (void)handoff_get(words, "reload", &is_reload);
    if (handoff_get_text(words, "rest", &c->answer)) {
        c->is_asked = c->is_answered = true;
        event_want(&m->events, &c->event, EPOLLOUT);
    } else if (!handoff_get_text(words, "line", &line)) {
        c->is_asked = true;
        deadline_cancel(&c->deadline);
        event_want(&m->events, &c->event, 0);
        if (is_reload)
            reload_request(m, c);
        else
            list_push(&m->upgrade.waiting, &c->waiting);
    } else if (line.n < sizeof c->line) {
        memcpy(c->line, line.s, line.n);
        c->n = line.n;
    }
    strbuf_fini(&line);
}

static bool waits_in(const struct list *waiting, const struct client *c)
{
    LIST_EACH(it, waiting)
        if (it == &c->waiting)
            return true;
    return false;
}

static void hand_client(const struct master *m, const struct client *c, struct handing *h)
{
    handoff_kind(&h->text, "client");
    handing_fd(h, "fd", c->event.fd);
    if (c->is_answered)
        handoff_text(&h->text, "rest", slice_of(c->answer.s + c->sent, c->answer.n - c->sent));
    else if (!c->is_asked)
        handoff_text(&h->text, "line", slice_of(c->line, c->n));
    else
        handoff_number(&h->text, "reload", waits_in(&m->reload.next, c));
    handoff_end(&h->text);
}

void control_hand(const struct master *m, struct handing *h)
{
    handoff_kind(&h->text, "control");
    handing_fd(h, "fd", m->control.bound.fd);
    handoff_end(&h->text);
    LIST_EACH(it, &m->control.clients)
        hand_client(m, CONTAINER(it, struct client, list), h);
}

void control_close(struct master *m)
{
    event_remove(&m->events, &m->control.event);
    bind_close(&m->control.bound, &m->control.addr);
}

void control_fini(struct master *m)
{
    control_answer_all(&m->stop.waiting, true, SLICE_NONE);
    LIST_EACH(it, &m->control.clients) {
        struct client *c = CONTAINER(it, struct client, list);

        if (c->is_answered)
            (void)send_more(c);
        client_free(c);
    }
}
