/* What becomes of an accepted socket: counted, its PROXY header and its ClientHello read where
 * they are due, then handed to HTTP or tcp.
 *
 *   accepted -> PROXY_HEADER -> HELLO -> HANDSHAKE -> served
 *                                     -> passed through
 *
 * Each step only where the listener asks for it, all of them within timeout_header. The ClientHello
 * is left as it is, for whoever speaks TLS with the client: OpenSSL here, or a server. */
#include "worker/proxy/proxy.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/log.h"
#include "worker/io/clienthello.h"
#include "worker/io/proxy_header.h"

enum greeting_state { GREETING_PROXY_HEADER, GREETING_HELLO, GREETING_HANDSHAKE };

/* A client that has not said all that is needed to know who serves it. */
struct greeting {
    struct list link; /* in proxy->greetings */
    struct listener *listener;
    struct generation *generation;    /* the one it began under; a reference */
    const struct conf_listener *conf; /* of that generation */
    const struct conf_route *route;   /* by the name in the hello; or NULL */
    struct conn *conn;
    struct bufq in;                   /* read, behind a PROXY header */
    struct clienthello hello;
    enum greeting_state state;
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

static void client_gone(void *listener)
{
    front_closed(listener);
}

static void shed(struct listener *l, struct conn *c)
{
    stat_inc(&l->proxy->stats->shed_memory);
    conn_close(&c);
    front_closed(l);
}

/* ---- served ---- */

static void serve_http(struct listener *l, struct conn *c, struct bufq *first)
{
    struct buf *b = bufq_shift(first);

    assert(first->bytes == 0); /* nobody reads on with a buf full behind a PROXY header */
    if (h1_down_start(&l->proxy->h1_downs, c, &l->http, b))
        return;
    buf_put(&b);
    shed(l, c);
}

static const struct conf_backend *backend_of(const struct conf_route *route,
                                             const struct conf_listener *conf)
{
    return route ? route->backend : conf->default_backend;
}

/* Carried by `route`, by the rules of that generation. */
static void serve_tcp(struct listener *l, struct generation *generation,
                      const struct conf_listener *conf, const struct conf_route *route,
                      struct conn *c, struct bufq *first)
{
    const struct session_way way = {
        .generation = generation,
        .route = route,
        .backend = backend_of(route, conf),
    };

    session_start(l, c, first, &way);
}

/* In the clear. */
static void serve(struct listener *l, struct conn *c, struct bufq *first)
{
    if (l->conf->mode == CONF_MODE_TCP)
        serve_tcp(l, l->generation, l->conf,
                  router_tcp(l->generation->routers[l->conf->index]), c, first);
    else
        serve_http(l, c, first);
}

/* ---- greetings ---- */

/* Whoever has the conn by now. */
static void greeting_free(struct greeting *g)
{
    bufq_clear(&g->in);
    generation_unref(&g->generation);
    list_remove(&g->link);
    free(g);
}

static void greeting_close(struct greeting *g)
{
    struct listener *l = g->listener;

    conn_close(&g->conn);
    greeting_free(g);
    front_closed(l);
}

/* What is received for whoever ends TLS here counts when it is decrypted, and not now. */
static void count_in(const struct greeting *g, size_t n)
{
    stat_add(&g->listener->stats->bytes_in, n);
}

static void refuse(struct greeting *g)
{
    count_in(g, g->in.bytes);
    stat_inc(&g->listener->stats->refused);
    greeting_close(g);
}

static void exhausted(struct greeting *g)
{
    stat_inc(&g->listener->proxy->stats->shed_memory);
    greeting_close(g);
}

/* ---- failures of TLS ---- */

/* counter: the reason's own. */
static void note_failure(struct greeting *g, uint64_t *counter, const char *why)
{
    struct slice sni = clienthello_sni(&g->hello);
    char client[ADDR_TEXT_MAX];

    count_in(g, g->in.bytes);
    stat_inc(&g->listener->stats->tls_failed);
    stat_inc(counter);
    if (!log_enabled(LOG_LEVEL_INFO))
        return;
    ip_format(&g->conn->peer, client);
    log_info("listener %s: TLS with %s port %u, name %.*s: %s", g->listener->name, client,
             g->conn->peer.port, SLICE_ARG(sni.n > 0 ? sni : SLICE("-")), why);
}

/* With an alert, which has the time to arrive. */
static void refuse_hello(struct greeting *g, enum clienthello_alert alert, uint64_t *counter,
                         const char *why)
{
    struct listener *l = g->listener;
    struct conn *c = g->conn;
    char room[CLIENTHELLO_ALERT_SIZE];

    note_failure(g, counter, why);
    greeting_free(g);
    if (bufq_add(&c->out, &l->proxy->bufs, clienthello_alert_record(room, alert)))
        conn_linger(&c, client_gone, l);
    else
        shed(l, c);
}

static void bad_hello(struct greeting *g)
{
    struct stats_listener *st = g->listener->stats;
    enum clienthello_alert alert = g->hello.alert;

    switch (alert) {
    case CLIENTHELLO_UNEXPECTED_MESSAGE:
        refuse_hello(g, alert, &st->tls_failed_hello, "no ClientHello");
        break;
    case CLIENTHELLO_RECORD_OVERFLOW:
        refuse_hello(g, alert, &st->tls_failed_hello, "a record is too long");
        break;
    case CLIENTHELLO_ILLEGAL_PARAMETER:
        refuse_hello(g, alert, &st->tls_failed_hello,
                     "the ClientHello is too long, or its name is none");
        break;
    case CLIENTHELLO_DECODE_ERROR:
        refuse_hello(g, alert, &st->tls_failed_hello, "the ClientHello is malformed");
        break;
    case CLIENTHELLO_PROTOCOL_VERSION:
        refuse_hello(g, alert, &st->tls_failed_version, "no version of TLS");
        break;
    case CLIENTHELLO_UNRECOGNIZED_NAME:
        assert(!"no hello is bad for that");
    }
}

/* ---- the handshake ---- */

static void note_handshake(struct stats_listener *st, const struct tls_info *i)
{
    stat_inc(&st->tls_handshakes);
    if (i->is_resumed)
        stat_inc(&st->tls_resumed);
    stat_inc(strcmp(i->version, "TLSv1.2") == 0 ? &st->tls_v12 : &st->tls_v13);
}

static uint64_t *failure_counter(struct stats_listener *st, enum tls_failure why)
{
    switch (why) {
    case TLS_FAIL_HELLO: return &st->tls_failed_hello;
    case TLS_FAIL_VERSION: return &st->tls_failed_version;
    case TLS_FAIL_CIPHER: return &st->tls_failed_cipher;
    case TLS_FAIL_NAME: return &st->tls_failed_name;
    case TLS_FAIL_CERTIFICATE: return &st->tls_failed_certificate;
    case TLS_FAIL_ALERT: return &st->tls_failed_alert;
    case TLS_FAIL_CLOSED: return &st->tls_failed_closed;
    case TLS_FAIL_TIMEOUT: return &st->tls_failed_timeout;
    case TLS_FAIL_KEYS: return &st->tls_failed_keys;
    case TLS_FAIL_NONE:
    case TLS_FAIL_OTHER: break;
    }
    return &st->tls_failed_other;
}

/* What it was about to say, an alert as a rule, has the time to arrive. */
static void handshake_failed(struct greeting *g)
{
    struct listener *l = g->listener;
    struct conn *c = g->conn;

    note_failure(g, failure_counter(l->stats, conn_tls_failure(c)), conn_tls_reason(c));
    greeting_free(g);
    conn_linger(&c, client_gone, l);
}

static void on_connected(struct conn *c, int error)
{
    struct greeting *g = c->owner;
    struct bufq none;

    if (error) {
        handshake_failed(g);
        return;
    }
    note_handshake(g->listener->stats, conn_tls(c));
    bufq_init(&none);
    if (g->conf->mode == CONF_MODE_TCP)
        serve_tcp(g->listener, g->generation, g->conf, g->route, c, &none);
    else
        serve_http(g->listener, c, &none);
    greeting_free(g);
}

/* ---- the ClientHello ---- */

static void pass_through(struct greeting *g)
{
    const struct session_way way = {
        .generation = g->generation,
        .route = g->route,
        .backend = g->route->backend,
        .sni = clienthello_sni(&g->hello),
    };

    count_in(g, g->in.bytes);
    stat_inc(&g->listener->stats->tls_passthrough);
    session_start(g->listener, g->conn, &g->in, &way);
    greeting_free(g);
}

/* With strict_sni, some route or certificate has to know the name. A tcp listener without a
 * default_backend has nobody for a name that no route takes. */
static bool is_served(const struct greeting *g, bool is_named, bool is_known)
{
    if (g->conf->strict_sni && !is_named && !is_known)
        return false;
    return g->conf->mode == CONF_MODE_HTTP || backend_of(g->route, g->conf);
}

/* The most specific route for the name says who is to speak TLS with the client. */
static void decide(struct greeting *g)
{
    const struct generation *gen = g->generation;
    struct slice sni = clienthello_sni(&g->hello);
    bool is_named, is_known;
    SSL_CTX *context;

    g->route = sni_router_find(gen->sni_routers[g->conf->index], sni, &is_named);
    if (g->route && g->route->tls == CONF_ROUTE_PASSTHROUGH) {
        pass_through(g);
        return;
    }
    context = tls_front_find(gen->fronts[g->conf->index], sni, &is_known);
    if (!context || !is_served(g, is_named, is_known))
        refuse_hello(g, CLIENTHELLO_UNRECOGNIZED_NAME,
                     &g->listener->stats->tls_failed_name, "nobody serves that name");
    else if (conn_tls_accept(g->conn, context, &g->in) < 0)
        exhausted(g);
    else
        g->state = GREETING_HANDSHAKE;
}

/* true: more is needed. */
static bool take_hello(struct greeting *g)
{
    if (g->in.bytes == 0)
        return true;
    switch (clienthello_read(&g->hello, &g->in)) {
    case CLIENTHELLO_MORE:
        return true;
    case CLIENTHELLO_DONE:
        decide(g);
        break;
    case CLIENTHELLO_BAD:
        bad_hello(g);
        break;
    }
    return false;
}

/* ---- the PROXY header ---- */

static bool greeted(struct greeting *g, size_t used)
{
    struct listener *l = g->listener;
    struct conn *c = g->conn;
    struct bufq first;

    count_in(g, g->conf->tls ? used : g->in.bytes);
    bufq_skip(&g->in, used);
    if (g->conf->tls) {
        g->state = GREETING_HELLO;
        return take_hello(g);
    }
    first = g->in;
    bufq_init(&g->in);
    greeting_free(g);
    serve(l, c, &first);
    return false;
}

/* A header is shorter than a buf: it lies in the first. */
static bool take_proxy_header(struct greeting *g)
{
    struct conn *c = g->conn;
    struct ip src, dst;
    size_t used;

    switch (proxy_header_parse(buf_slice(g->in.head), &src, &dst, &used)) {
    case PROXY_HEADER_MORE:
        return true;
    case PROXY_HEADER_BAD:
        refuse(g);
        return false;
    case PROXY_HEADER_DONE:
        c->peer = src;
        c->local = dst;
        return greeted(g, used);
    case PROXY_HEADER_LOCAL:
        return greeted(g, used);
    }
    return false;
}

/* ---- the conn's events ---- */

static void gone(struct greeting *g)
{
    switch (g->state) {
    case GREETING_PROXY_HEADER:
        refuse(g);
        break;
    case GREETING_HELLO:
    case GREETING_HANDSHAKE:
        note_failure(g, &g->listener->stats->tls_failed_closed, "the client went away");
        greeting_close(g);
        break;
    }
}

/* As conn_read, into the queue's last buf. */
static ssize_t read_more(struct greeting *g)
{
    ssize_t n;

    if (!bufq_reserve(&g->in, &g->listener->proxy->bufs, 1)) {
        errno = ENOBUFS;
        return -1;
    }
    n = conn_read(g->conn, g->in.tail, BUF_SIZE);
    if (n > 0)
        g->in.bytes += (size_t)n;
    return n;
}

static bool take(struct greeting *g)
{
    switch (g->state) {
    case GREETING_PROXY_HEADER:
        return take_proxy_header(g);
    case GREETING_HELLO:
        return take_hello(g);
    case GREETING_HANDSHAKE:
        break;
    }
    return false;
}

static void on_readable(struct conn *c)
{
    struct greeting *g = c->owner;
    ssize_t n;

    do {
        n = read_more(g);
        if (n > 0 && !take(g))
            return;
    } while (n > 0 && c->is_readable);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != ENOBUFS))
        gone(g);
    else if (n < 0 && errno == ENOBUFS)
        exhausted(g);
    else if (g->in.bytes == 0)
        bufq_clear(&g->in);
}

static void on_timer(struct conn *c)
{
    struct greeting *g = c->owner;

    switch (g->state) {
    case GREETING_PROXY_HEADER:
        refuse(g);
        break;
    case GREETING_HELLO:
        note_failure(g, &g->listener->stats->tls_failed_timeout, "the ClientHello takes too long");
        greeting_close(g);
        break;
    case GREETING_HANDSHAKE:
        note_failure(g, &g->listener->stats->tls_failed_timeout, "the handshake takes too long");
        greeting_close(g);
        break;
    }
}

static void on_broken(struct conn *c, int error)
{
    (void)error;
    gone(c->owner);
}

static void on_sent(struct conn *c, size_t n)
{
    (void)c;
    (void)n;
}

static const struct conn_user greeting_user = {
    .on_connected = on_connected,
    .on_readable = on_readable,
    .on_sent = on_sent,
    .on_timer = on_timer,
    .on_broken = on_broken,
};

static void greet(struct listener *l, struct conn *c)
{
    struct greeting *g = calloc(1, sizeof *g);

    if (!g) {
        shed(l, c);
        return;
    }
    g->listener = l;
    g->generation = generation_ref(l->generation);
    g->conf = l->conf;
    g->conn = c;
    g->state = l->conf->accept_proxy ? GREETING_PROXY_HEADER : GREETING_HELLO;
    list_push(&l->proxy->greetings, &g->link);
    conn_use(c, &greeting_user, g);
    conn_timer(c, (uint64_t)l->conf->timeout_header_ms * 1000);
}

void front_retire(struct proxy *p)
{
    LIST_EACH(it, &p->greetings) {
        struct greeting *g = CONTAINER(it, struct greeting, link);

        if (g->state != GREETING_HANDSHAKE && g->in.bytes == 0 && !g->conn->is_readable)
            greeting_close(g);
    }
}

void front_abort(struct proxy *p)
{
    LIST_EACH(it, &p->greetings)
        refuse(CONTAINER(it, struct greeting, link));
}

/* ---- accepted ---- */

void front_accept(struct listener *l, int fd, const struct ip *peer)
{
    struct proxy *p = l->proxy;
    struct bufq none;
    struct conn *c;

    stat_inc(&l->stats->connections_total);
    stat_inc(&l->stats->connections_active);
    stat_inc(&p->stats->connections);
    l->refs++;
    c = conn_accept(&p->conns, fd, peer, &greeting_user, NULL);
    if (!c) {
        stat_inc(&p->stats->shed_memory);
        front_closed(l);
    } else if (l->conf->accept_proxy || l->conf->tls) {
        greet(l, c);
    } else {
        bufq_init(&none);
        serve(l, c, &none);
    }
}
