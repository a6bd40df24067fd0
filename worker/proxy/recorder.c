/* Fills the flight recorder. Called by l7.c and finish.c for each request, by l4.c for each
 * session, and once a second; decides nothing. */
#include "worker/proxy/recorder.h"

#include <string.h>
#include "common/base/log.h"
#include "worker/proxy/exchange.h"

/* ---- the recorder ---- */

/* Who is to blame, for whoever looks for failures. */
static const char *outcome(enum end_reason r)
{
    unsigned status = end_reason_status(r);

    if (r == END_OK)
        return "ok";
    if (r == END_CLIENT_CLOSED || r == END_CLIENT_RESET || r == END_CLIENT_IDLE ||
        r == END_CLIENT_WRITE_TIMEOUT)
        return "client";
    if ((status >= 400 && status < 500) || r == END_BAD_METHOD || r == END_BAD_CODING ||
        r == END_BAD_VERSION || r == END_PROXY_HEADER)
        return "request";
    return "failure";
}

static void remember(struct recorder *rec, const struct stats_worker *st)
{
    rec->full = st->full;
    rec->accept_errors = st->accept_errors;
    rec->shed_memory = st->shed_memory;
    rec->shed_descriptors = st->shed_descriptors;
}

void recorder_init(struct proxy *p, void *memory)
{
    struct recorder *rec = &p->recorder;

    flight_open(&rec->flight, memory);
    if (memory && !rec->flight.head)
        log_warnx("run_dir has no room for the flight recorder: nothing is recorded");
    for (int r = 0; r < END_REASONS; r++)
        flight_reason(&rec->flight, end_reason_text((enum end_reason)r),
                      outcome((enum end_reason)r));
    remember(rec, p->stats);
    p->up.flight = &rec->flight;
}

void recorder_fini(struct proxy *p)
{
    p->up.flight = NULL;
    flight_close(&p->recorder.flight);
}

static void note_growth(struct recorder *rec, uint64_t before, uint64_t now, const char *what)
{
    if (now > before)
        flight_event(&rec->flight, "%llu %s", (unsigned long long)(now - before), what);
}

static void note_gate(struct recorder *rec, const struct accept_gate *g, bool has_closed)
{
    bool is_full = g->open >= g->max;

    if ((has_closed || is_full) && !rec->is_full) {
        flight_event(&rec->flight, "at max_connections: %llu are open, further ones wait",
                     (unsigned long long)g->open);
        rec->is_full = true;
    }
    if (rec->is_full && !is_full) {
        flight_event(&rec->flight, "accepting again: %llu connections are open",
                     (unsigned long long)g->open);
        rec->is_full = false;
    }
}

void recorder_tick(struct proxy *p)
{
    struct recorder *rec = &p->recorder;
    const struct stats_worker *st = p->stats;

    flight_clock(&rec->flight);
    if (p->gate.max > 0)
        note_gate(rec, &p->gate, st->full > rec->full);
    note_growth(rec, rec->accept_errors, st->accept_errors,
                "times no connection could be accepted for want of descriptors or memory");
    note_growth(rec, rec->shed_memory, st->shed_memory, "times shed for want of memory");
    note_growth(rec, rec->shed_descriptors, st->shed_descriptors,
                "times shed for want of descriptors");
    remember(rec, st);
}

/* ---- any stream ---- */

void recorder_begin(const struct recorder *rec, struct flight_record *r, enum flight_kind kind,
                    uint64_t began_us, const struct ip *client)
{
    r->kind = (uint8_t)kind;
    r->state = FLIGHT_IN_PROGRESS;
    r->end = END_OK;
    r->flags = 0;
    r->number = 0;
    r->began_us = began_us + rec->flight.wall_us;
    r->total_us = r->bytes_in = r->bytes_out = 0;
    r->head_us = r->wait_us = r->response_us = FLIGHT_NONE;
    r->status = r->retries = 0;
    r->port = client->port;
    r->family = client->family;
    memcpy(r->ip, client->b, sizeof r->ip);
}

void recorder_end(struct recorder *rec, struct flight_record *r, enum end_reason why)
{
    r->end = (uint8_t)why;
    flight_finish(&rec->flight, r);
    flight_written(r);
}

/* ---- requests ---- */

/* What is known with the head; at the end, all of it. */
static void fill(struct exchange *x, struct flight_record *r)
{
    const struct head *h = &x->stream.request;

    recorder_begin(&x->proxy->recorder, r, FLIGHT_HTTP, x->began_us, &x->forwarded.client);
    r->listener = x->listener->flight_name;
    r->route = x->route_stats ? x->generation->route_names[x->route->index] : 0;
    r->backend = x->first.up.backend ? x->first.up.backend->flight_name : 0;
    r->server = x->server_flight_name;
    recorder_begun(r, h->method_text, h->path, x->forwarded.request_id);
}

void exchange_record(struct exchange *x)
{
    struct flight_record *r = x->flight = flight_take(&x->proxy->recorder.flight);

    if (!r)
        return;
    fill(x, r);
    flight_set(&r->head_us, x->proxy->loop.now_us - x->began_us);
}

void exchange_record_backend(struct exchange *x)
{
    if (x->flight)
        flight_set16(&x->flight->backend, x->first.up.backend->flight_name);
}

void exchange_record_server(struct exchange *x, const struct server *s)
{
    x->server_flight_name = s->flight_name;
    if (x->flight)
        flight_set16(&x->flight->server, s->flight_name);
}

void exchange_record_sent(struct exchange *x, bool is_reused)
{
    struct flight_record *r = x->flight;

    if (!r)
        return;
    flight_set(&r->wait_us, x->lead->sent_us - x->began_us - r->head_us);
    __atomic_store_n(&r->flags, (uint8_t)(is_reused ? FLIGHT_REUSED : 0), __ATOMIC_RELAXED);
}

void exchange_record_response(struct exchange *x)
{
    if (!x->flight)
        return;
    flight_set16(&x->flight->status, x->status);
    flight_set(&x->flight->response_us, x->response_us);
}

void exchange_record_end(struct exchange *x, const struct side *down)
{
    struct recorder *rec = &x->proxy->recorder;
    struct flight_record *r = x->flight;

    if (!r && (r = flight_take_at_end(&rec->flight)) != NULL)
        fill(x, r);
    if (!r)
        return;
    flight_write(r);
    r->total_us = x->proxy->loop.now_us - x->began_us;
    r->response_us = x->response_us;
    r->bytes_in = down->wire_in;
    r->bytes_out = down->wire_out;
    r->status = x->status;
    r->retries = (uint16_t)exchange_retries(x);
    recorder_end(rec, r, x->end);
}
