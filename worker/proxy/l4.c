/* Layer 4: a session carries bytes between one client and one server, both ways at once, each way
 * as fast as the other end takes them. Started by front.c; never looks at a byte.
 *
 *   client --flow--> server->out        server --flow--> client->out
 *
 * A flow stops reading while FLOW_MAX bytes wait at the other end. Small pieces go through a
 * buffer; once reads fill whole buffers, by splice, a pipe at a time, or through TLS some buffers
 * at a time. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "worker/proxy/access.h"
#include "worker/proxy/affinity.h"
#include "worker/proxy/canary.h"
#include "worker/proxy/limit.h"
#include "worker/proxy/split.h"

#define FLOW_MAX 65536
/* A pipe that brought less says that the flow is not bulk any more. */
#define PIPE_WORTH 4096

/* One direction. */
struct flow {
    struct conn *from, *to;
    uint64_t bytes;
    bool is_bulk; /* the last read filled its buffer */
    bool is_eof;  /* from has ended; to is told */
};

struct session {
    struct list link; /* in proxy->sessions */
    struct proxy *proxy;
    struct listener *listener;
    struct generation *generation;
    const struct conf_route *route;
    struct stats_route *route_stats;
    struct up_request up;
    struct flow in, out;   /* from the client, from the server */
    struct conn *client, *server;
    struct bufq first;     /* bytes that were read before there was a server */
    struct ip peer;
    const struct conf_backend *backend;
    char *server_name, *sni; /* or NULL */
    struct flight_record *flight;
    uint16_t server_flight_name;
    struct limit_uses *limits; /* what it took of them; or NULL */
    uint64_t began_us;
};

static void session_end(struct session *s, enum end_reason why);

/* ---- counting ---- */

static struct slice text_or_none(const char *s)
{
    return s ? slice_str(s) : SLICE_NONE;
}

/* The name that the client asked for in TLS, whoever has ended that. */
static struct slice sni_of(const struct session *s)
{
    const struct tls_info *tls = conn_tls(s->client);

    return tls ? tls->sni : text_or_none(s->sni);
}

static void session_vars(const struct session *s, struct vars *v)
{
    *v = (struct vars){
        .client = s->peer,
        .conn = s->client,
        .scheme = SLICE("tcp"),
        .listener = slice_str(s->listener->name),
        .route = s->route_stats ? slice_str(s->route->name) : SLICE_NONE,
        .backend = s->backend ? slice_str(s->backend->name) : SLICE_NONE,
        .server = text_or_none(s->server_name),
        .tls = conn_tls(s->client),
        .sni = sni_of(s),
        .bytes_in = s->in.bytes,
        .bytes_out = s->out.bytes,
        .duration_us = s->proxy->loop.now_us - s->began_us,
        .response_us = UINT64_MAX,
        .connect_us = s->server_name ? s->up.connect_us : UINT64_MAX,
        .retries = s->up.retried,
    };
}

static void log_line(const struct session *s, enum end_reason why)
{
    struct proxy *p = s->proxy;
    struct vars v;

    if (!access_log_is_on(&p->log) || s->route->access_log)
        return;
    session_vars(s, &v);
    v.end = why;
    access_log_line(&p->log, &s->generation->conf->global.access_log_format, &v);
}

static void count(const struct session *s, enum end_reason why)
{
    struct stats_route *r = s->route_stats;
    uint64_t us = s->proxy->loop.now_us - s->began_us;

    stat_inc(&s->listener->stats->requests_total);
    stat_inc(&s->proxy->stats->requests);
    proxy_count_shed(s->proxy, why);
    if (!r)
        return;
    stat_dec(&r->active);
    stat_inc(&r->requests_total);
    stat_add(&r->bytes_in, s->in.bytes);
    stat_add(&r->bytes_out, s->out.bytes);
    stat_add(&r->retries, s->up.retried);
    if (why != END_OK)
        stat_inc(&r->aborted);
    histogram_add(&r->latency, us);
    if (s->route->canary && s->up.backend)
        canary_session_done(s->generation, s->route, s->backend, why, us);
}

/* ---- the flight recorder ---- */

static void fill_record(const struct session *s, struct flight_record *r)
{
    uint16_t route = s->route_stats ? s->generation->route_names[s->route->index] : 0;

    recorder_begin(&s->proxy->recorder, r, FLIGHT_TCP, s->began_us, &s->peer);
    r->listener = s->listener->flight_name;
    r->route = route;
    r->backend = s->generation->backends[s->backend->index]->flight_name;
    r->server = s->server_flight_name;
    recorder_begun(r, SLICE_NONE, sni_of(s), SLICE_NONE);
}

static void record_end(struct session *s, enum end_reason why)
{
    struct recorder *rec = &s->proxy->recorder;
    struct flight_record *r = s->flight;

    if (!r && (r = flight_take_at_end(&rec->flight)) != NULL)
        fill_record(s, r);
    if (!r)
        return;
    flight_write(r);
    r->bytes_in = s->in.bytes;
    r->bytes_out = s->out.bytes;
    r->retries = (uint16_t)s->up.retried;
    r->total_us = s->proxy->loop.now_us - s->began_us;
    recorder_end(rec, r, why);
    s->flight = NULL;
}

/* ---- ending ---- */

static void client_gone(void *listener)
{
    front_closed(listener);
}

/* What a server said before it broke off is still delivered. */
static void close_client(struct session *s, enum end_reason why)
{
    if ((why == END_SERVER_RESET || why == END_SERVER_ALERT) && s->client->out.bytes > 0) {
        conn_linger(&s->client, client_gone, s->listener);
        return;
    }
    conn_close(&s->client);
    front_closed(s->listener);
}

static void session_end(struct session *s, enum end_reason why)
{
    struct up_result result = { .why = why,
                                .latency_us = s->proxy->loop.now_us - s->began_us };

    log_line(s, why);
    record_end(s, why);
    count(s, why);
    limit_session_over(&s->limits);
    conn_close(&s->server);
    up_end(&s->up, &result);
    bufq_clear(&s->first);
    list_remove(&s->link);
    generation_unref(&s->generation);
    close_client(s, why);
    free(s->server_name);
    free(s->sni);
    free(s);
}

/* Both ends have said all and heard all. */
static bool is_over(const struct session *s)
{
    return s->in.is_eof && s->out.is_eof && s->client->out.bytes == 0 &&
           s->server->out.bytes == 0;
}

/* ---- carrying ---- */

static void touch(struct session *s)
{
    conn_timer(s->client, (uint64_t)s->route->timeout_stream_ms * 1000);
}

static ssize_t read_one(struct flow *f, struct bufq *q)
{
    struct buf *b = buf_get(f->from->pool->bufs);
    ssize_t n;

    if (!b) {
        errno = ENOBUFS;
        return -1;
    }
    n = conn_read(f->from, b, BUF_SIZE);
    bufq_push(q, b);
    return n;
}

static ssize_t flow_read(struct flow *f)
{
    size_t room = FLOW_MAX - f->to->out.bytes;
    struct bufq q;
    ssize_t n;

    if (room < BUF_READ_MAX)
        room = BUF_READ_MAX;
    bufq_init(&q);
    if (f->is_bulk)
        n = conn_read_bulk(f->from, &q, f->to->ops->can_splice ? BUF_PIPE_SIZE : 0, room);
    else
        n = read_one(f, &q);
    if (n <= 0)
        return n;
    f->is_bulk = n >= (q.head->is_pipe ? PIPE_WORTH : BUF_READ_MAX);
    f->bytes += (uint64_t)n;
    if (q.head->next)
        bufq_splice(&f->to->out, &q);
    else
        bufq_push(&f->to->out, bufq_shift(&q));
    conn_flush(f->to);
    return n;
}

static void count_in(const struct session *s, const struct flow *f, uint64_t n)
{
    if (f == &s->in)
        stat_add(&s->listener->stats->bytes_in, n);
    else
        stat_add(&s->up.server->stats->bytes_in, n);
}

static enum end_reason broken(const struct session *s, const struct conn *c)
{
    if (c == s->client)
        return END_CLIENT_RESET;
    return conn_tls_failure(c) == TLS_FAIL_ALERT ? END_SERVER_ALERT : END_SERVER_RESET;
}

/* Reads as much as the other end may hold. The session may be gone afterwards: false. */
static bool flow_run(struct session *s, struct flow *f)
{
    bool was_bulk = false;

    while (!f->is_eof && f->from->is_readable && f->to->out.bytes < FLOW_MAX && !was_bulk) {
        ssize_t n;

        was_bulk = f->is_bulk; /* then more when it has left */
        n = flow_read(f);
        if (n > 0) {
            count_in(s, f, (uint64_t)n);
            continue;
        }
        if (n == 0) {
            f->is_eof = true;
            conn_shutdown(f->to);
        } else if (errno == ENOBUFS) {
            session_end(s, END_EXHAUSTED);
            return false;
        } else if (errno != EAGAIN) {
            session_end(s, broken(s, f->from));
            return false;
        }
        break;
    }
    if (is_over(s)) {
        session_end(s, END_OK);
        return false;
    }
    return true;
}

static void on_readable(struct conn *c)
{
    struct session *s = c->owner;

    if (!s->server)
        return; /* is_readable waits until there is one */
    touch(s);
    flow_run(s, c == s->client ? &s->in : &s->out);
}

static void on_sent(struct conn *c, size_t n)
{
    struct session *s = c->owner;

    if (c == s->client)
        stat_add(&s->listener->stats->bytes_out, n);
    else
        stat_add(&s->up.server->stats->bytes_out, n);
    touch(s);
    flow_run(s, c == s->client ? &s->out : &s->in);
}

static void on_timer(struct conn *c)
{
    session_end(c->owner, END_STREAM_IDLE);
}

static void on_broken(struct conn *c, int error)
{
    (void)error;
    session_end(c->owner, broken(c->owner, c));
}

static void on_connected(struct conn *c, int error)
{
    (void)c;
    (void)error;
    assert(!"it is connected already");
}

static const struct conn_user session_user = {
    .on_connected = on_connected,
    .on_readable = on_readable,
    .on_sent = on_sent,
    .on_timer = on_timer,
    .on_broken = on_broken,
};

/* ---- starting ---- */

static void on_ready(struct up_request *r, struct conn *c, bool is_reused)
{
    struct session *s = CONTAINER(r, struct session, up);

    assert(!is_reused);
    s->server = c;
    up_answered(r, r->connect_us);
    if (s->flight)
        flight_set(&s->flight->wait_us, s->proxy->loop.now_us - s->began_us);
    s->in = (struct flow){ .from = s->client, .to = c };
    s->out = (struct flow){ .from = c, .to = s->client };
    conn_use(c, &session_user, s);
    touch(s);
    if (s->first.bytes > 0) {
        s->in.bytes = s->first.bytes;
        bufq_splice(&c->out, &s->first);
        conn_flush(c);
    }
    conn_resume(s->client);
}

static void on_failed(struct up_request *r, enum end_reason why)
{
    session_end(CONTAINER(r, struct session, up), why);
}

static void on_chosen(struct up_request *r, struct server *server)
{
    struct session *s = CONTAINER(r, struct session, up);

    free(s->server_name);
    s->server_name = strdup(server->name);
    s->server_flight_name = server->flight_name;
    if (s->flight)
        flight_set16(&s->flight->server, server->flight_name);
}

static const struct up_request_ops session_up_ops = {
    .on_chosen = on_chosen,
    .on_ready = on_ready,
    .on_failed = on_failed,
};

/* No server to go to, or no memory to remember it in. */
static void refuse(struct listener *l, struct conn *c, struct bufq *first)
{
    conn_close(&c);
    bufq_clear(first);
    front_closed(l);
}

static void begin(struct session *s)
{
    s->up.ops = &session_up_ops;
    s->up.backend = s->generation->backends[s->backend->index];
    s->up.connect_timeout_ms = s->route->timeout_connect_ms;
    s->up.retries = s->route->retries;
    s->up.retry_on = s->route->retry_on;
    s->up.client = s->client->peer;
    if (s->up.backend->send_proxy != CONF_SEND_PROXY_OFF)
        s->up.local = conn_local(s->client);
    if (affinity_is_wanted(s->backend)) {
        struct vars v;

        session_vars(s, &v);
        affinity_fill(&s->up, s->backend, &v);
    }
    up_begin(&s->up);
}

static bool is_within_networks(struct session *s)
{
    if (access_allows(s->route, &s->peer))
        return true;
    if (s->route_stats)
        stat_inc(&s->route_stats->denied);
    session_end(s, END_DENIED);
    return false;
}

/* false: the session has ended. */
static bool is_let_in(struct session *s)
{
    enum end_reason why;
    struct vars v;

    if (!is_within_networks(s))
        return false;
    if (s->route->limit.n == 0)
        return true;
    session_vars(s, &v);
    why = limit_session(s->generation, s->route, &v, s->began_us, &s->limits);
    if (why == END_OK)
        return true;
    if (s->route_stats && why != END_EXHAUSTED)
        stat_inc(&s->route_stats->limited);
    session_end(s, why);
    return false;
}

/* NULL without memory. */
static struct session *session_new(const struct session_way *way)
{
    struct session *s = calloc(1, sizeof *s);

    if (s && way->sni.n > 0 && !(s->sni = strndup(way->sni.p, way->sni.n))) {
        free(s);
        return NULL;
    }
    return s;
}

/* Of a route that leads to several, one. */
static const struct conf_backend *backend_of(const struct session *s, const struct session_way *way,
                                             const struct ip *peer)
{
    if (s->route->steps & CONF_STEP_SPLIT)
        return split_session(s->proxy, s->route, peer);
    if (s->route->steps & CONF_STEP_CANARY)
        return canary_session(s->proxy, s->generation, s->route, peer);
    return way->backend;
}

void session_start(struct listener *l, struct conn *c, struct bufq *first,
                   const struct session_way *way)
{
    struct proxy *p = l->proxy;
    const struct conf_route *route = way->route;
    struct session *s = way->backend ? session_new(way) : NULL;

    if (!s) {
        stat_inc(way->backend ? &p->stats->shed_memory : &l->stats->refused);
        refuse(l, c, first);
        return;
    }
    s->proxy = p;
    s->listener = l;
    s->generation = generation_ref(way->generation);
    s->route = route ? route : &s->generation->conf->route_defaults;
    s->route_stats = route ? s->generation->routes[route->index] : NULL;
    s->backend = backend_of(s, way, &c->peer);
    s->client = c;
    s->peer = c->peer;
    bufq_splice(&s->first, first);
    s->began_us = p->loop.now_us;
    list_push(&p->sessions, &s->link);
    if (s->route_stats)
        stat_inc(&s->route_stats->active);
    s->flight = flight_take(&p->recorder.flight);
    if (s->flight)
        fill_record(s, s->flight);
    conn_use(c, &session_user, s);
    if (is_let_in(s))
        begin(s);
}

void sessions_abort(struct proxy *p)
{
    LIST_EACH(it, &p->sessions)
        session_end(CONTAINER(it, struct session, link), END_RETIRING);
}
