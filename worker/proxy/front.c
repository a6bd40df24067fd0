/* What becomes of an accepted socket: counted, its PROXY header read where one is due, then handed
 * to HTTP or tcp. */
#include "worker/proxy/proxy.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "worker/io/proxy_header.h"

/* Waits for a PROXY header. */
struct greeting {
    struct list link; /* in proxy->greetings */
    struct listener *listener;
    struct conn *conn;
    struct buf *in;
};

void listener_unref(struct listener **lp)
{
    struct listener *l = *lp;

    *lp = NULL;
    assert(l->refs > 0);
    if (--l->refs > 0)
        return;
    list_remove(&l->link);
    generation_unref(&l->generation);
    free(l->name);
    free(l);
}

void front_closed(struct listener *l)
{
    stat_dec(&l->stats->connections_active);
    stat_dec(&l->proxy->stats->connections);
    accept_gate_closed_one(&l->proxy->gate);
    listener_unref(&l);
}

static void serve(struct listener *l, struct conn *c, struct buf *first)
{
    if (l->conf->mode == CONF_MODE_TCP) {
        session_start(l, c, first);
    } else if (!h1_down_start(&l->proxy->h1_downs, c, &l->http, first)) {
        stat_inc(&l->proxy->stats->shed_memory);
        buf_put(&first);
        conn_close(&c);
        front_closed(l);
    }
}

/* ---- PROXY header ---- */

static void refuse(struct conn *c)
{
    struct greeting *g = c->owner;

    stat_inc(&g->listener->stats->refused);
    conn_close(&c);
    front_closed(g->listener);
    buf_put(&g->in);
    list_remove(&g->link);
    free(g);
}

static void greeted(struct conn *c)
{
    struct greeting *g = c->owner;
    struct listener *l = g->listener;
    struct buf *in = g->in;

    list_remove(&g->link);
    free(g);
    if (in->len == 0)
        buf_put(&in);
    serve(l, c, in);
}

static void on_readable(struct conn *c)
{
    struct greeting *g = c->owner;
    struct ip src, dst;
    size_t used;
    ssize_t n;

    if (!g->in && !(g->in = buf_get(&g->listener->proxy->bufs))) {
        stat_inc(&g->listener->proxy->stats->shed_memory);
        refuse(c);
        return;
    }
    n = conn_read(c, g->in, BUF_SIZE);
    if (n < 0 && errno == EAGAIN) {
        if (g->in->len == 0)
            buf_put(&g->in);
        return;
    }
    if (n <= 0) {
        refuse(c);
        return;
    }
    stat_add(&g->listener->stats->bytes_in, (uint64_t)n);
    switch (proxy_header_parse(buf_slice(g->in), &src, &dst, &used)) {
    case PROXY_HEADER_MORE:
        if (buf_room(g->in) == 0)
            refuse(c);
        break;
    case PROXY_HEADER_BAD:
        refuse(c);
        break;
    case PROXY_HEADER_DONE:
        c->peer = src;
        c->local = dst;
        buf_skip(g->in, used);
        greeted(c);
        break;
    case PROXY_HEADER_LOCAL:
        buf_skip(g->in, used);
        greeted(c);
        break;
    }
}

static void on_broken(struct conn *c, int error)
{
    (void)error;
    refuse(c);
}

static void on_sent(struct conn *c, size_t n)
{
    (void)c;
    (void)n;
}

static void on_connected(struct conn *c, int error)
{
    (void)c;
    (void)error;
}

static const struct conn_user greeting_user = {
    .on_connected = on_connected,
    .on_readable = on_readable,
    .on_sent = on_sent,
    .on_timer = refuse,
    .on_broken = on_broken,
};

static void greet(struct listener *l, struct conn *c)
{
    struct greeting *g = calloc(1, sizeof *g);

    if (!g) {
        stat_inc(&l->proxy->stats->shed_memory);
        conn_close(&c);
        front_closed(l);
        return;
    }
    g->listener = l;
    g->conn = c;
    list_push(&l->proxy->greetings, &g->link);
    conn_use(c, &greeting_user, g);
    conn_timer(c, (uint64_t)l->conf->timeout_header_ms * 1000);
}

void front_abort(struct proxy *p)
{
    LIST_EACH(it, &p->greetings)
        refuse(CONTAINER(it, struct greeting, link)->conn);
}

/* ---- accepted ---- */

void front_accept(struct listener *l, int fd, const struct ip *peer)
{
    struct proxy *p = l->proxy;
    struct conn *c;

    stat_inc(&l->stats->connections_total);
    stat_inc(&l->stats->connections_active);
    stat_inc(&p->stats->connections);
    l->refs++;
    c = conn_accept(&p->conns, fd, peer, &greeting_user, NULL);
    if (!c) {
        stat_inc(&p->stats->shed_memory);
        front_closed(l);
    } else if (l->conf->accept_proxy) {
        greet(l, c);
    } else {
        serve(l, c, NULL);
    }
}
