/* Streams out of flight recorders, as a table, JSON and CSV. Called by recent and postmortem;
 * pure. What peers sent is in them: nothing unprintable gets out. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clock.h"
#include "ctl/human.h"
#include "ctl/output.h"
#include "ctl/streams.h"

#define US_PER_S 1e6
#define REQUEST_MAX 48 /* characters of method and path in a table */

void stream_put_text(struct strbuf *out, struct slice s)
{
    while (s.n > 0) {
        unsigned char c = (unsigned char)s.p[0];
        size_t n = c >= 0x80 ? slice_utf8(s) : 1;

        if (c < 0x20 || c == 0x7f || n == 0 || (c == 0xc2 && (unsigned char)s.p[1] < 0xa0)) {
            n = n ? n : 1;
            for (size_t i = 0; i < n; i++)
                strbuf_printf(out, "\\x%02x", (unsigned char)s.p[i]);
        } else {
            strbuf_add(out, slice_of(s.p, n));
        }
        s = slice_of(s.p + n, s.n - n);
    }
}

const char *stream_time(char buf[STREAM_TIME_MAX], uint64_t wall_us)
{
    char text[CLOCK_TEXT_MAX];

    static_assert(CLOCK_TEXT_MAX <= STREAM_TIME_MAX, "a part fits");
    (void)clock_iso8601(text, wall_us < STREAM_TIME_MAX_US ? wall_us : STREAM_TIME_MAX_US);
    /* 2026-11-24T20:15:16.123+00:00 */
    (void)snprintf(buf, STREAM_TIME_MAX, "%.5s %.12s", text + 5, text + 11);
    return buf;
}

/* ---- values ---- */

static struct slice state_of(const struct flight_record *r)
{
    return r->state == FLIGHT_IN_PROGRESS ? SLICE("in progress") : SLICE("ended");
}

static struct slice client_of(const struct flight_record *r, char buf[ADDR_TEXT_MAX])
{
    struct ip ip = flight_log_client(r);

    return slice_of(buf, ip_format(&ip, buf));
}

#define TEXT(field) flight_log_text(field, sizeof(field))

/* ---- a table ---- */

static enum style style_of_end(const struct stream_row *r)
{
    struct slice outcome = flight_log_reason(r->log, r->record).outcome;

    if (r->record->state == FLIGHT_IN_PROGRESS)
        return STYLE_HEAD;
    if (slice_eq(outcome, SLICE("ok")))
        return STYLE_PLAIN;
    return slice_eq(outcome, SLICE("client")) || slice_eq(outcome, SLICE("request")) ? STYLE_WARN
                                                                                     : STYLE_BAD;
}

static void cell(struct grid *g, enum style style, struct slice s)
{
    struct strbuf text;

    strbuf_init(&text);
    stream_put_text(&text, s);
    grid_cell(g, text.n ? style : STYLE_DIM, text.n ? text.s : "-");
    strbuf_fini(&text);
}

static void request_cell(struct grid *g, const struct flight_record *r)
{
    struct strbuf text;

    strbuf_init(&text);
    if (r->kind == FLIGHT_TCP)
        strbuf_adds(&text, "tcp");
    else
        stream_put_text(&text, TEXT(r->method));
    if (r->kind == FLIGHT_HTTP || r->path[0]) {
        strbuf_addc(&text, ' ');
        stream_put_text(&text, TEXT(r->path));
    }
    if (text_width(text.s) > REQUEST_MAX) {
        size_t n = REQUEST_MAX - 3;

        while (n > 0 && ((unsigned char)text.s[n] & 0xc0) == 0x80)
            n--;
        strbuf_cut(&text, n);
        strbuf_adds(&text, "...");
    }
    grid_cell(g, text.n > 1 ? STYLE_PLAIN : STYLE_DIM, text.n > 1 ? text.s : "-");
    strbuf_fini(&text);
}

static void server_cell(struct grid *g, const struct stream_row *r)
{
    struct slice backend = flight_log_name(r->log, r->record->backend);
    struct slice server = flight_log_name(r->log, r->record->server);
    struct strbuf text;

    strbuf_init(&text);
    strbuf_add(&text, backend);
    if (server.n > 0)
        strbuf_printf(&text, "/%.*s", SLICE_ARG(server));
    cell(g, STYLE_PLAIN, strbuf_slice(&text));
    strbuf_fini(&text);
}

static void number_cell(struct grid *g, enum style style, uint64_t n, bool is_known)
{
    char buf[HUMAN_MAX];

    if (is_known)
        grid_cell(g, style, human_count(buf, (double)n));
    else
        grid_cell(g, STYLE_DIM, "-");
}

static void table_row(struct grid *g, const struct stream_row *row)
{
    const struct flight_record *r = row->record;
    bool is_ended = r->state == FLIGHT_ENDED;
    char buf[ADDR_TEXT_MAX], human[HUMAN_MAX];
    double lasted = (double)row->lasted_us / US_PER_S;

    grid_cell(g, STYLE_PLAIN, stream_time(buf, row->at_us));
    (void)snprintf(buf, sizeof buf, "%u", row->log->worker);
    grid_cell(g, STYLE_PLAIN, buf);
    cell(g, STYLE_PLAIN, client_of(r, buf));
    request_cell(g, r);
    cell(g, STYLE_PLAIN, flight_log_name(row->log, r->route));
    server_cell(g, row);
    number_cell(g, r->status >= 500 ? STYLE_BAD : STYLE_PLAIN, r->status, r->status > 0);
    cell(g, style_of_end(row),
         is_ended ? flight_log_reason(row->log, r).reason : state_of(r));
    grid_cell(g, STYLE_PLAIN, lasted > 0 ? human_latency(human, lasted) : "0us");
    number_cell(g, STYLE_PLAIN, r->bytes_in, is_ended);
    number_cell(g, STYLE_PLAIN, r->bytes_out, is_ended);
}

void streams_table(struct strbuf *out, const struct streams *s, bool is_colour)
{
    static const struct {
        const char *heading;
        bool is_left;
    } columns[] = {
        { "time", true },   { "worker", false }, { "client", true }, { "request", true },
        { "route", true },  { "server", true },  { "status", false }, { "end", true },
        { "total", false }, { "in", false },     { "out", false },
    };
    struct grid g;

    grid_init(&g);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        grid_column(&g, columns[i].heading, columns[i].is_left);
    for (size_t i = 0; i < s->rows.n; i++)
        table_row(&g, &s->rows.v[i]);
    grid_print(out, &g, is_colour);
    grid_fini(&g);
}

/* ---- fields, of JSON and CSV alike ---- */

enum form { FORM_TEXT, FORM_NUMBER, FORM_SECONDS, FORM_BOOL, FORM_NONE };

struct value {
    enum form form;
    struct slice text;
    uint64_t n;
};

static struct value text_value(struct slice s)
{
    return (struct value){ .form = FORM_TEXT, .text = s };
}

static struct value number_value(uint64_t n)
{
    return (struct value){ .form = FORM_NUMBER, .n = n };
}

static struct value time_value(uint64_t us)
{
    return (struct value){ .form = us == FLIGHT_NONE ? FORM_NONE : FORM_SECONDS, .n = us };
}

static struct value if_ended(const struct flight_record *r, struct value v)
{
    return r->state == FLIGHT_ENDED ? v : (struct value){ .form = FORM_NONE };
}

#define FIELDS 25
static const char *const names[FIELDS] = {
    "worker", "pid", "kind", "state", "started", "ended", "client_ip", "client_port", "listener",
    "route", "backend", "server", "method", "uri", "status", "end_reason", "outcome",
    "head_time", "wait_time", "response_time", "duration", "bytes_in", "bytes_out", "retries",
    "reused",
};

/* In the order of the names. */
static void values_of(const struct stream_row *row, char client[ADDR_TEXT_MAX],
                      struct value v[FIELDS])
{
    const struct flight_record *r = row->record;
    const struct flight_log *l = row->log;
    struct flight_reason reason = flight_log_reason(l, r);
    size_t i = 0;

    v[i++] = number_value(l->worker);
    v[i++] = number_value(l->pid);
    v[i++] = text_value(r->kind == FLIGHT_HTTP ? SLICE("http") : SLICE("tcp"));
    v[i++] = text_value(state_of(r));
    v[i++] = time_value(r->began_us);
    v[i++] = if_ended(r, time_value(row->at_us));
    v[i++] = text_value(client_of(r, client));
    v[i++] = number_value(r->port);
    v[i++] = text_value(flight_log_name(l, r->listener));
    v[i++] = text_value(flight_log_name(l, r->route));
    v[i++] = text_value(flight_log_name(l, r->backend));
    v[i++] = text_value(flight_log_name(l, r->server));
    v[i++] = text_value(TEXT(r->method));
    v[i++] = text_value(TEXT(r->path));
    v[i++] = number_value(r->status);
    v[i++] = if_ended(r, text_value(reason.reason));
    v[i++] = if_ended(r, text_value(reason.outcome));
    v[i++] = time_value(r->head_us);
    v[i++] = time_value(r->wait_us);
    v[i++] = time_value(r->response_us);
    v[i++] = time_value(row->lasted_us);
    v[i++] = if_ended(r, number_value(r->bytes_in));
    v[i++] = if_ended(r, number_value(r->bytes_out));
    v[i++] = if_ended(r, number_value(r->retries));
    v[i++] = (struct value){ .form = FORM_BOOL, .n = r->flags & FLIGHT_REUSED };
}

static void json_value(struct json *j, const char *name, const struct value *v)
{
    switch (v->form) {
    case FORM_TEXT: json_str(j, name, v->text); return;
    case FORM_NUMBER: json_u64(j, name, v->n); return;
    case FORM_SECONDS: json_double(j, name, (double)v->n / US_PER_S); return;
    case FORM_BOOL: json_bool(j, name, v->n != 0); return;
    case FORM_NONE: json_null(j, name); return;
    }
}

void streams_json(struct json *j, const char *key, const struct streams *s)
{
    struct value v[FIELDS];
    char client[ADDR_TEXT_MAX];

    json_array(j, key);
    for (size_t i = 0; i < s->rows.n; i++) {
        values_of(&s->rows.v[i], client, v);
        json_object(j, NULL);
        for (size_t k = 0; k < FIELDS; k++)
            json_value(j, names[k], &v[k]);
        json_str(j, "request_id", TEXT(s->rows.v[i].record->request_id));
        json_object_end(j);
    }
    json_array_end(j);
}

static void csv_field(struct strbuf *out, const struct value *v)
{
    struct strbuf text;

    switch (v->form) {
    case FORM_TEXT:
        strbuf_init(&text);
        stream_put_text(&text, v->text);
        csv_value(out, strbuf_slice(&text));
        strbuf_fini(&text);
        return;
    case FORM_NUMBER:
    case FORM_BOOL:
        strbuf_printf(out, "%llu", (unsigned long long)v->n);
        return;
    case FORM_SECONDS:
        strbuf_printf(out, "%.6f", (double)v->n / US_PER_S);
        return;
    case FORM_NONE:
        return;
    }
}

void streams_csv(struct strbuf *out, const struct streams *s)
{
    struct value v[FIELDS];
    char client[ADDR_TEXT_MAX];

    for (size_t k = 0; k < FIELDS; k++)
        strbuf_printf(out, "%s,", names[k]);
    strbuf_adds(out, "request_id\n");
    for (size_t i = 0; i < s->rows.n; i++) {
        struct value id = text_value(TEXT(s->rows.v[i].record->request_id));

        values_of(&s->rows.v[i], client, v);
        for (size_t k = 0; k < FIELDS; k++) {
            csv_field(out, &v[k]);
            strbuf_addc(out, ',');
        }
        csv_field(out, &id);
        strbuf_addc(out, '\n');
    }
}
