/* `rpctl top`: the objects that do most, again each second. Owns the readings and each row's
 * past. Called by main; reads the segment alone. */
#include <assert.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "ctl/ctl.h"
#include "ctl/grid.h"
#include "ctl/load.h"
#include "ctl/screen.h"
#include "ctl/spark.h"
#include "ctl/human.h"

#define INTERVAL_US 1000000
#define US_PER_S 1e6
#define SPARK_WIDTH 12
#define KIND_WIDTH 8
#define NUMBER_WIDTH 7
#define NUMBERS 5
#define NAME_MIN 12
#define TITLE_LINES 3 /* title, totals, headings */

enum sort { SORT_REQUESTS, SORT_ERRORS, SORT_LATENCY, SORT_CONNECTIONS, SORT_NAME };

struct past {
    char *key; /* "kind name" */
    struct spark requests;
};

struct line {
    const struct row *row;
    struct past *past;
    double requests, errors; /* a second */
    double p50, p99;         /* seconds; < 0: it has no latency */
    double connections;
};

struct top {
    const struct ctl *ctl;
    struct model *now, *before;
    VEC(struct line) lines;
    VEC(struct past *) pasts;
    struct smap past_of;
    enum sort sort;
    bool is_utf8;
    struct strbuf why; /* there is no reading any more */
};

/* ---- figures ---- */

static const struct field *first_field(const struct kind *k, const char *const *names)
{
    const struct field *f = NULL;

    for (; *names && !f; names++)
        f = kind_field(k, *names);
    return f;
}

static const struct field *requests_field(const struct kind *k)
{
    static const char *const names[] = { "requests_total", "requests", NULL };

    return first_field(k, names);
}

static double per_second(const struct top *t, uint64_t grown)
{
    uint64_t us = t->before ? t->now->read_mono_us - t->before->read_mono_us
                            : t->now->read_us - t->now->created_us;

    return us > 0 ? (double)grown * US_PER_S / (double)us : 0;
}

/* All that went wrong. Where the kind counts failures, what it counts beside them is their
 * causes, but for answers that say so themselves. */
static uint64_t errors_grown(const struct row *r, const struct row *before)
{
    bool has_failures = kind_field(r->kind, "failures") != NULL;
    uint64_t sum = 0;

    for (size_t i = 0; i < r->kind->fields.n; i++) {
        const struct field *f = &r->kind->fields.v[i];

        if (f->type == FIELD_ERRORS
            && (!has_failures || strcmp(f->name, "failures") == 0
                || strcmp(f->name, "status_5xx") == 0))
            sum += row_grown(r, before, f);
    }
    return sum;
}

static void set_latency(const struct top *t, struct line *l, const struct row *before)
{
    const struct field *f = kind_field(l->row->kind, "latency");
    struct hist h;

    l->p50 = l->p99 = -1;
    if (!f || f->type != FIELD_HISTOGRAM)
        return;
    row_hist(t->now, l->row, f, before, &h);
    if (h.count > 0) {
        l->p50 = hist_quantile(&h, 0.5);
        l->p99 = hist_quantile(&h, 0.99);
    }
    hist_fini(&h);
}

static struct past *past_of(struct top *t, const struct row *r)
{
    struct strbuf key;
    struct past *p;

    strbuf_init(&key);
    strbuf_printf(&key, "%s %s", r->kind->name, r->name);
    p = smap_get(&t->past_of, strbuf_slice(&key));
    if (!p) {
        p = xcalloc(1, sizeof *p);
        p->key = xstrdup(key.s);
        *VEC_PUSH(&t->pasts) = p;
        (void)smap_put(&t->past_of, slice_str(p->key), p);
    }
    strbuf_fini(&key);
    return p;
}

static void add_line(struct top *t, const struct row *r, const struct field *requests)
{
    static const char *const gauges[] = { "connections_active", "connections", "active", NULL };
    const struct row *before = model_before(t->before, t->now, r);
    const struct field *connections = first_field(r->kind, gauges);
    struct line *l = VEC_PUSH(&t->lines);

    l->row = r;
    l->requests = per_second(t, row_grown(r, before, requests));
    l->errors = per_second(t, errors_grown(r, before));
    l->connections = connections ? (double)row_value(r, connections) : 0;
    set_latency(t, l, before);
    l->past = past_of(t, r);
    if (t->before)
        spark_add(&l->past->requests, l->requests);
}

static int compare_doubles(double a, double b)
{
    return a > b ? -1 : a < b;
}

static int compare_lines(const void *a, const void *b, void *arg)
{
    const struct line *x = a, *y = b;
    const struct top *t = arg;
    int r = 0;

    switch (t->sort) {
    case SORT_REQUESTS:
        r = compare_doubles(x->requests, y->requests);
        break;
    case SORT_ERRORS:
        r = compare_doubles(x->errors, y->errors);
        break;
    case SORT_LATENCY:
        r = compare_doubles(x->p99, y->p99);
        break;
    case SORT_CONNECTIONS:
        r = compare_doubles(x->connections, y->connections);
        break;
    case SORT_NAME:
        r = strcmp(x->row->name, y->row->name);
        break;
    }
    if (r == 0)
        r = x->row->index < y->row->index ? -1 : x->row->index > y->row->index;
    return r ? r : (x->row->slot > y->row->slot) - (x->row->slot < y->row->slot);
}

static void sort_lines(struct top *t)
{
    if (t->lines.n > 0)
        qsort_r(t->lines.v, t->lines.n, sizeof *t->lines.v, compare_lines, t);
}

/* A new reading; false when there is none. */
static bool top_read(struct top *t, enum ctl_exit *status)
{
    struct model *m = ctl_try(t->ctl, status, &t->why);

    if (!m)
        return false;
    model_free(&t->before);
    t->before = t->now;
    t->now = m;
    t->lines.n = 0;
    for (size_t i = 0; i < m->rows.n; i++) {
        const struct field *f = requests_field(m->rows.v[i].kind);

        if (f)
            add_line(t, &m->rows.v[i], f);
    }
    sort_lines(t);
    return true;
}

/* ---- drawing ---- */

/* Cut or filled up to `width` columns, with a space behind. */
static void put_name(struct strbuf *out, const char *s, size_t width)
{
    size_t used = 0;

    for (; *s && (used < width || ((unsigned char)*s & 0xc0) == 0x80); s++) {
        used += ((unsigned char)*s & 0xc0) != 0x80;
        strbuf_addc(out, (unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
    }
    for (; used <= width; used++)
        strbuf_addc(out, ' ');
}

static void put_number(struct strbuf *out, const struct top *t, enum style style, const char *s)
{
    for (size_t used = text_width(s); used < NUMBER_WIDTH; used++)
        strbuf_addc(out, ' ');
    style_begin(out, style, t->ctl->is_colour);
    strbuf_adds(out, s);
    style_end(out, style, t->ctl->is_colour);
    strbuf_addc(out, ' ');
}

static size_t name_width(unsigned columns)
{
    unsigned rest = KIND_WIDTH + 1 + NUMBERS * (NUMBER_WIDTH + 1) + SPARK_WIDTH + 1;

    return columns > rest + NAME_MIN ? columns - rest : NAME_MIN;
}

static const struct row *row_of(const struct model *m, const char *kind)
{
    for (size_t i = 0; i < m->rows.n; i++)
        if (strcmp(m->rows.v[i].kind->name, kind) == 0)
            return &m->rows.v[i];
    return NULL;
}

static void put_title(struct strbuf *out, const struct top *t)
{
    const struct row *rpd = row_of(t->now, "rpd");
    const struct field *version = rpd ? kind_field(rpd->kind, "version") : NULL;
    char buf[HUMAN_MAX];

    strbuf_adds(out, "rpd ");
    if (version && version->type == FIELD_TEXT)
        strbuf_add(out, row_text(t->now, rpd, version));
    if (!t->now->is_running || !rpd) {
        style_begin(out, STYLE_BAD, t->ctl->is_colour);
        strbuf_adds(out, "  the master is not running");
        style_end(out, STYLE_BAD, t->ctl->is_colour);
    } else {
        strbuf_printf(out, "  up %s  generation %llu",
                      human_span(buf, model_uptime(t->now, rpd)),
                      (unsigned long long)row_value_of(rpd, "generation"));
    }
    strbuf_printf(out, "  %s\n", t->ctl->run_dir);
}

/* What all listeners did. */
static void put_totals(struct strbuf *out, const struct top *t)
{
    double requests = 0, errors = 0, connections = 0;
    uint64_t in = 0, sent = 0;
    char r[HUMAN_MAX], e[HUMAN_MAX], c[HUMAN_MAX], i[HUMAN_MAX], o[HUMAN_MAX];

    for (size_t k = 0; k < t->lines.n; k++) {
        const struct row *row = t->lines.v[k].row;
        const struct row *before = model_before(t->before, t->now, row);
        const struct field *f;

        if (strcmp(row->kind->name, "route") == 0)
            errors += t->lines.v[k].errors;
        if (strcmp(row->kind->name, "listener") != 0)
            continue;
        requests += t->lines.v[k].requests;
        connections += t->lines.v[k].connections;
        errors += t->lines.v[k].errors;
        if ((f = kind_field(row->kind, "bytes_in")))
            in += row_grown(row, before, f);
        if ((f = kind_field(row->kind, "bytes_out")))
            sent += row_grown(row, before, f);
    }
    strbuf_printf(out, "%s requests/s  %s errors/s  %s connections  %sB/s in  %sB/s out\n",
                  human_rate(r, requests), human_rate(e, errors), human_count(c, connections),
                  human_count(i, per_second(t, in)), human_count(o, per_second(t, sent)));
}

static void put_heading(struct strbuf *out, const struct top *t, enum sort sort, const char *s)
{
    char text[HUMAN_MAX];

    snprintf(text, sizeof text, "%s%s", sort == t->sort ? "*" : "", s);
    put_number(out, t, STYLE_HEAD, text);
}

static void put_headings(struct strbuf *out, const struct top *t, size_t width)
{
    style_begin(out, STYLE_HEAD, t->ctl->is_colour);
    put_name(out, "KIND", KIND_WIDTH);
    put_name(out, t->sort == SORT_NAME ? "*NAME" : "NAME", width);
    style_end(out, STYLE_HEAD, t->ctl->is_colour);
    put_heading(out, t, SORT_REQUESTS, "REQ/S");
    put_heading(out, t, SORT_ERRORS, "ERR/S");
    put_number(out, t, STYLE_HEAD, "P50");
    put_heading(out, t, SORT_LATENCY, "P99");
    put_heading(out, t, SORT_CONNECTIONS, "CONNS");
    strbuf_addc(out, '\n');
}

static const char *latency_text(double s, char buf[HUMAN_MAX])
{
    if (s < 0)
        return "-";
    return s > 0 ? human_latency(buf, s) : "0us";
}

static void put_line(struct strbuf *out, const struct top *t, const struct line *l, size_t width)
{
    char buf[HUMAN_MAX];

    put_name(out, l->row->kind->name, KIND_WIDTH);
    put_name(out, l->row->name, width);
    put_number(out, t, l->requests > 0 ? STYLE_PLAIN : STYLE_DIM, human_rate(buf, l->requests));
    put_number(out, t, l->errors > 0 ? STYLE_BAD : STYLE_DIM, human_rate(buf, l->errors));
    put_number(out, t, STYLE_PLAIN, latency_text(l->p50, buf));
    put_number(out, t, STYLE_PLAIN, latency_text(l->p99, buf));
    put_number(out, t, STYLE_PLAIN, human_count(buf, l->connections));
    spark_print(out, &l->past->requests, SPARK_WIDTH, t->is_utf8);
    strbuf_addc(out, '\n');
}

/* As many lines as `rows` leaves room for, the last one for the keys; 0: all, no keys. */
static void put_frame(struct strbuf *out, const struct top *t, unsigned rows, unsigned columns)
{
    size_t width = name_width(columns);
    size_t room = rows > TITLE_LINES + 1 ? rows - TITLE_LINES - 1 : 1;
    size_t n = rows == 0 || room > t->lines.n ? t->lines.n : room;

    put_title(out, t);
    put_totals(out, t);
    put_headings(out, t, width);
    for (size_t i = 0; i < n; i++)
        put_line(out, t, &t->lines.v[i], width);
    if (rows == 0)
        return;
    for (size_t i = n; i < room; i++)
        strbuf_addc(out, '\n');
    strbuf_printf(out, "r requests  e errors  l latency  c connections  n name  q quit   "
                  "%zu of %zu", n, t->lines.n);
}

static void draw(const struct top *t)
{
    struct strbuf out;
    unsigned rows, columns;

    screen_size(&rows, &columns);
    strbuf_init(&out);
    put_frame(&out, t, rows, columns);
    screen_draw(strbuf_slice(&out));
    strbuf_fini(&out);
}

/* ---- running ---- */

/* false: quit. */
static bool on_key(struct top *t, char key)
{
    static const struct {
        char key;
        enum sort sort;
    } keys[] = {
        { 'r', SORT_REQUESTS }, { 'e', SORT_ERRORS }, { 'l', SORT_LATENCY },
        { 'c', SORT_CONNECTIONS }, { 'n', SORT_NAME },
    };

    if (key == 'q' || key == 'Q')
        return false;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (keys[i].key == key) {
            t->sort = keys[i].sort;
            sort_lines(t);
        }
    return true;
}

static enum ctl_exit live(struct top *t)
{
    uint64_t next = clock_mono_us() + INTERVAL_US;
    enum ctl_exit status = CTL_DONE;
    bool is_going = true;
    char key = 0;

    screen_open(true);
    while (is_going) {
        draw(t);
        switch (screen_wait(next, &key)) {
        case SCREEN_TICK:
            next += INTERVAL_US;
            if (next < clock_mono_us())
                next = clock_mono_us() + INTERVAL_US;
            is_going = top_read(t, &status);
            break;
        case SCREEN_KEY:
            is_going = on_key(t, key);
            break;
        case SCREEN_RESIZE:
            break;
        case SCREEN_END:
            is_going = false;
            break;
        }
    }
    screen_close();
    return status;
}

/* Not on a terminal: one frame, of one second. */
static enum ctl_exit one_frame(struct top *t)
{
    uint64_t end = clock_mono_us() + INTERVAL_US;
    enum ctl_exit status = CTL_DONE;
    struct strbuf out;
    char key;

    screen_open(false);
    while (screen_wait(end, &key) == SCREEN_RESIZE)
        ;
    screen_close();
    if (!top_read(t, &status))
        return status;
    ctl_note_gone(t->now);
    strbuf_init(&out);
    put_frame(&out, t, 0, 80);
    status = ctl_print(&out);
    strbuf_fini(&out);
    return status;
}

static void top_fini(struct top *t)
{
    for (size_t i = 0; i < t->pasts.n; i++) {
        free(t->pasts.v[i]->key);
        free(t->pasts.v[i]);
    }
    VEC_FREE(&t->pasts);
    VEC_FREE(&t->lines);
    smap_fini(&t->past_of);
    strbuf_fini(&t->why);
    model_free(&t->before);
    model_free(&t->now);
}

enum ctl_exit ctl_top(const struct ctl *ctl, char **args)
{
    struct top t = { .ctl = ctl };
    enum ctl_exit status;

    if (args[0] || ctl->format != CTL_TABLE) {
        ctl_error("top takes no arguments and has one form");
        return CTL_USAGE;
    }
    setlocale(LC_CTYPE, "");
    t.is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    smap_init(&t.past_of, false);
    strbuf_init(&t.why);
    if (top_read(&t, &status))
        status = ctl->is_terminal ? live(&t) : one_frame(&t);
    if (t.why.n > 0)
        ctl_error("%s", t.why.s);
    top_fini(&t);
    return status;
}
