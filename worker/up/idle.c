/* Idle connections to servers: kept by the server that they lead to, closed when they are too old
 * or too many, or when the server closes or speaks unasked. */
#include "worker/up/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct idle_conn {
    struct list at_server;
    struct list at_backend;
    struct conn *conn;
    struct server *server;
    struct idle_conn *next_free;
};

static struct idle_conn *idle_alloc(struct up *u)
{
    struct idle_conn *i = u->free_idle;

    if (!i)
        return malloc(sizeof *i);
    u->free_idle = i->next_free;
    return i;
}

/* Out of the lists; the conn is the caller's. */
static struct conn *idle_take(struct idle_conn *i)
{
    struct backend *b = i->server->backend;
    struct conn *c = i->conn;

    list_remove(&i->at_server);
    list_remove(&i->at_backend);
    b->idle_count--;
    stat_dec(&i->server->stats->idle);
    i->next_free = b->up->free_idle;
    b->up->free_idle = i;
    return c;
}

static void idle_close(struct idle_conn *i)
{
    struct conn *c = idle_take(i);

    conn_close(&c);
}

/* The server closed, or sent what nobody asked for: useless either way. But is_readable may be
 * left over from a read that ended just where the response did. */
static void on_readable(struct conn *c)
{
    struct buf *b = buf_get(c->pool->bufs);
    bool is_quiet = b && conn_read(c, b, 1) < 0 && errno == EAGAIN;

    buf_put(&b);
    if (!is_quiet)
        idle_close(c->owner);
}

static void on_timer(struct conn *c)
{
    idle_close(c->owner);
}

static void on_broken(struct conn *c, int error)
{
    (void)error;
    idle_close(c->owner);
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
    assert(!"an idle connection is connected");
}

static const struct conn_user idle_user = {
    .on_connected = on_connected,
    .on_readable = on_readable,
    .on_sent = on_sent,
    .on_timer = on_timer,
    .on_broken = on_broken,
};

void backend_idle_trim(struct backend *b, uint32_t max)
{
    while (b->idle_count > max)
        idle_close(CONTAINER(b->idle.next, struct idle_conn, at_backend));
}

void server_keep(struct server *s, struct conn *c)
{
    struct backend *b = s->backend;
    struct idle_conn *i;

    if (s->is_removed || c->epoch != s->moves || !server_is_kept(s) || b->keepalive == 0 ||
        b->send_proxy != CONF_SEND_PROXY_OFF || c->is_hup || c->is_broken ||
        !(i = idle_alloc(b->up))) {
        conn_close(&c);
        return;
    }
    backend_idle_trim(b, b->keepalive - 1);
    i->conn = c;
    i->server = s;
    list_unshift(&s->idle, &i->at_server);
    list_push(&b->idle, &i->at_backend);
    b->idle_count++;
    stat_inc(&s->stats->idle);
    conn_use(c, &idle_user, i);
    conn_timer(c, (uint64_t)b->keepalive_timeout_ms * 1000);
}

struct conn *server_idle_get(struct server *s, bool must_live)
{
    while (!list_empty(&s->idle)) {
        struct idle_conn *i = CONTAINER(s->idle.next, struct idle_conn, at_server);

        if (!must_live || conn_is_quiet(i->conn))
            return idle_take(i);
        idle_close(i);
    }
    return NULL;
}

void server_idle_close(struct server *s)
{
    LIST_EACH(it, &s->idle)
        idle_close(CONTAINER(it, struct idle_conn, at_server));
}

void up_close_idle(struct up *u)
{
    LIST_EACH(it, &u->all) {
        struct backend *b = CONTAINER(it, struct backend, link);

        LIST_EACH(at, &b->idle)
            idle_close(CONTAINER(at, struct idle_conn, at_backend));
    }
}

void up_fini(struct up *u)
{
    struct idle_conn *i;

    assert(list_empty(&u->all));
    while ((i = u->free_idle) != NULL) {
        u->free_idle = i->next_free;
        free(i);
    }
    smap_fini(&u->backends);
}
