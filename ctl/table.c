/* A model as tables, one a kind, for people: units, rates, no column in which nothing happened.
 * Called by stats and workers; pure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ctl/grid.h"
#include "ctl/output.h"
#include "ctl/human.h"

#define US_PER_S 1e6
#define PER_PERCENT 100.0
#define HEADING_MAX 64

enum column_form { COLUMN_VALUE, COLUMN_RATE, COLUMN_QUANTILE };

struct column {
    enum column_form form;
    const struct field *field;
    double q;
    char heading[HEADING_MAX];
};

struct table {
    const struct model *m, *before;
    const struct kind *kind;
    double elapsed; /* seconds that rates are over */
    VEC(struct column) columns;
};

/* ---- columns ---- */

/* Headings are the fields' names, shortened where that does no harm. */
static void heading(char out[HEADING_MAX], const char *name, const char *after)
{
    struct slice s = slice_str(name);
    const char *before = "";

    if (slice_starts(s, SLICE("status_")))
        s = slice_of(s.p + 7, s.n - 7);
    if (slice_ends(s, SLICE("_total")))
        s.n -= 6;
    if (slice_ends(s, SLICE("_seconds")))
        s.n -= 8;
    if (slice_starts(s, SLICE("connections"))) {
        before = "conns";
        s = slice_of(s.p + 11, s.n - 11);
    } else if (slice_starts(s, SLICE("requests"))) {
        before = "req";
        s = slice_of(s.p + 8, s.n - 8);
    }
    snprintf(out, HEADING_MAX, "%s%.*s%s", before, SLICE_ARG(s), after);
}

/* Of what: nothing is said where it is the object's own latency. */
static void quantile_heading(char out[HEADING_MAX], const char *name, const char *title)
{
    struct slice s = slice_str(name);

    if (slice_ends(s, SLICE("latency")))
        s.n -= 7;
    snprintf(out, HEADING_MAX, "%.*s%s", SLICE_ARG(s), title);
}

static void add_column(struct table *t, enum column_form form, const struct field *f, double q,
                       const char *title)
{
    struct column *c = VEC_PUSH(&t->columns);

    c->form = form;
    c->field = f;
    c->q = q;
    if (form == COLUMN_QUANTILE)
        quantile_heading(c->heading, f->name, title);
    else if (f->type == FIELD_UNTIL)
        snprintf(c->heading, sizeof c->heading, "left");
    else
        heading(c->heading, f->name, title);
}

static bool is_zero(const struct table *t, const struct row *r, const struct field *f)
{
    const struct row *before = t->before ? model_before(t->before, t->m, r) : NULL;
    struct hist h;

    if (f->type == FIELD_TEXT)
        return false;
    if (f->type == FIELD_HISTOGRAM) {
        row_hist(t->m, r, f, before, &h);
        hist_fini(&h);
        return h.count == 0;
    }
    if (t->before && field_is_counter(f))
        return row_grown(r, before, f) == 0;
    return row_value(r, f) == 0;
}

static bool is_zero_everywhere(const struct table *t, const struct field *f)
{
    for (size_t i = 0; i < t->m->rows.n; i++) {
        const struct row *r = &t->m->rows.v[i];

        if (r->kind == t->kind && r->is_shown && !is_zero(t, r, f))
            return false;
    }
    return true;
}

/* What the table is about stays in sight even at rest. */
static bool is_main(const struct field *f)
{
    return slice_ends(slice_str(f->name), SLICE("_total")) || strcmp(f->name, "requests") == 0;
}

/* A value without a name of its own would say nothing: "none". */
static bool is_hidden(const struct table *t, const struct field *f)
{
    switch (f->type) {
    case FIELD_COUNTER:
    case FIELD_ERRORS:
    case FIELD_SECONDS:
        return !is_main(f) && is_zero_everywhere(t, f);
    case FIELD_TIME:
        return t->kind->shape != SHAPE_SLOTS;
    case FIELD_UNTIL: /* of a server: `health` tells */
        return t->kind->shape == SHAPE_NESTED;
    case FIELD_ENUM:
        return strcmp(schema_value_name(&t->m->schema, f, 0), "none") == 0
            && is_zero_everywhere(t, f);
    case FIELD_HISTOGRAM:
        return is_zero_everywhere(t, f);
    case FIELD_NUMBER: /* `health` has the names of users; workers' clocks are for workers */
        return slice_ends(slice_str(f->name), SLICE("_uid"))
            || slice_ends(slice_str(f->name), SLICE("_since"))
            || (t->kind->shape == SHAPE_NESTED && is_zero_everywhere(t, f));
    case FIELD_KEPT:
        return true;
    case FIELD_DURATION: /* as where nothing was measured yet */
        return t->kind->shape == SHAPE_NESTED && is_zero_everywhere(t, f);
    case FIELD_PERCENT:
    case FIELD_GAUGE:
    case FIELD_TEXT:
        break;
    }
    return false;
}

static void field_columns(struct table *t, const struct field *f)
{
    if (is_hidden(t, f))
        return;
    if (f->type == FIELD_HISTOGRAM) {
        add_column(t, COLUMN_QUANTILE, f, 0.5, "p50");
        add_column(t, COLUMN_QUANTILE, f, 0.9, "p90");
        add_column(t, COLUMN_QUANTILE, f, 0.99, "p99");
        add_column(t, COLUMN_QUANTILE, f, 0.999, "p99.9");
        return;
    }
    if (!t->before || !field_is_counter(f))
        add_column(t, COLUMN_VALUE, f, 0, f->type == FIELD_TIME ? "_ago" : "");
    if (field_is_counter(f) && (t->before || is_main(f)))
        add_column(t, COLUMN_RATE, f, 0, f->type == FIELD_SECONDS ? "%" : "/s");
}

/* ---- cells ---- */

static const char *value_text(const struct table *t, const struct row *r, const struct field *f,
                              char buf[HUMAN_MAX])
{
    double v = (double)row_value(r, f);

    switch (f->type) {
    case FIELD_TIME:
        return v > 0 ? human_span(buf, ((double)t->m->read_us - v) / US_PER_S) : "-";
    case FIELD_UNTIL:
        return human_left(buf, v / US_PER_S, (double)t->m->read_us / US_PER_S);
    case FIELD_SECONDS:
        return v < US_PER_S ? human_latency(buf, v / US_PER_S) : human_span(buf, v / US_PER_S);
    case FIELD_DURATION:
        return human_latency(buf, v / US_PER_S);
    case FIELD_PERCENT:
        snprintf(buf, HUMAN_MAX, "%g%%", v / PER_PERCENT);
        return buf;
    case FIELD_NUMBER:
        snprintf(buf, HUMAN_MAX, "%.0f", v);
        return buf;
    case FIELD_COUNTER:
    case FIELD_ERRORS:
    case FIELD_GAUGE:
    case FIELD_KEPT:
    case FIELD_TEXT:
    case FIELD_HISTOGRAM:
    case FIELD_ENUM:
        break;
    }
    return human_count(buf, v);
}

static void text_cell(struct grid *g, const struct table *t, const struct row *r,
                      const struct field *f)
{
    struct slice text = row_text(t->m, r, f);
    char *s = xstrndup(text.p, text.n);

    grid_cell(g, f->type == FIELD_ENUM ? style_of_state(text) : STYLE_PLAIN, s);
    free(s);
}

static enum style number_style(const struct table *t, const struct field *f, double n)
{
    if (n <= 0)
        return STYLE_DIM;
    if (f->type == FIELD_UNTIL)
        return human_is_soon(n / US_PER_S, (double)t->m->read_us / US_PER_S) ? STYLE_BAD
                                                                             : STYLE_PLAIN;
    return f->type == FIELD_ERRORS ? STYLE_BAD : STYLE_PLAIN;
}

static void rate_cell(struct grid *g, const struct table *t, const struct row *r,
                      const struct field *f)
{
    const struct row *before = t->before ? model_before(t->before, t->m, r) : NULL;
    double n = t->elapsed > 0 ? (double)row_grown(r, before, f) / t->elapsed : 0;
    char buf[HUMAN_MAX];

    if (f->type == FIELD_SECONDS)
        n = n / US_PER_S * 100;
    grid_cell(g, number_style(t, f, n), human_rate(buf, n));
}

static void quantile_cell(struct grid *g, const struct table *t, const struct row *r,
                          const struct column *c)
{
    const struct row *before = t->before ? model_before(t->before, t->m, r) : NULL;
    struct hist h;
    char buf[HUMAN_MAX];

    row_hist(t->m, r, c->field, before, &h);
    if (h.count == 0)
        grid_cell(g, STYLE_DIM, "-");
    else {
        double s = hist_quantile(&h, c->q);

        grid_cell(g, STYLE_PLAIN, s > 0 ? human_latency(buf, s) : "0us");
    }
    hist_fini(&h);
}

static void put_cell(struct grid *g, const struct table *t, const struct row *r,
                     const struct column *c)
{
    char buf[HUMAN_MAX];

    switch (c->form) {
    case COLUMN_RATE:
        rate_cell(g, t, r, c->field);
        return;
    case COLUMN_QUANTILE:
        quantile_cell(g, t, r, c);
        return;
    case COLUMN_VALUE:
        break;
    }
    if (c->field->type == FIELD_TEXT || c->field->type == FIELD_ENUM)
        text_cell(g, t, r, c->field);
    else
        grid_cell(g, number_style(t, c->field, (double)row_value(r, c->field)),
                  value_text(t, r, c->field, buf));
}

/* ---- kinds ---- */

static void put_table(struct strbuf *out, struct table *t, bool is_colour)
{
    struct grid g;

    for (size_t i = 0; i < t->kind->fields.n; i++)
        field_columns(t, &t->kind->fields.v[i]);
    grid_init(&g);
    grid_column(&g, t->kind->json, true);
    for (size_t i = 0; i < t->columns.n; i++) {
        enum field_type type = t->columns.v[i].field->type;

        grid_column(&g, t->columns.v[i].heading, type == FIELD_TEXT || type == FIELD_ENUM);
    }
    for (size_t i = 0; i < t->m->rows.n; i++) {
        const struct row *r = &t->m->rows.v[i];

        if (r->kind != t->kind || !r->is_shown)
            continue;
        grid_cell(&g, STYLE_PLAIN, r->name);
        for (size_t c = 0; c < t->columns.n; c++)
            put_cell(&g, t, r, &t->columns.v[c]);
    }
    grid_print(out, &g, is_colour);
    grid_fini(&g);
    VEC_FREE(&t->columns);
}

static void put_pair(struct strbuf *out, const struct table *t, const struct row *r,
                     const struct field *f, bool is_colour)
{
    enum style style = number_style(t, f, (double)row_value(r, f));
    char buf[HUMAN_MAX];

    if (f->type == FIELD_ERRORS && row_value(r, f) == 0)
        return;
    strbuf_printf(out, "  %s ", f->type == FIELD_TIME ? "up" : f->name);
    if (style != STYLE_BAD)
        style = STYLE_PLAIN;
    style_begin(out, style, is_colour);
    if (f->type == FIELD_TEXT || f->type == FIELD_ENUM)
        strbuf_add(out, row_text(t->m, r, f));
    else if (f->type == FIELD_TIME)
        strbuf_adds(out, t->m->is_running ? human_span(buf, model_uptime(t->m, r)) : "-");
    else
        strbuf_adds(out, value_text(t, r, f, buf));
    style_end(out, style, is_colour);
}

/* The one object on a line of its own. */
static void put_single(struct strbuf *out, const struct table *t, const struct row *r,
                       bool is_colour)
{
    style_begin(out, STYLE_HEAD, is_colour);
    strbuf_adds(out, t->kind->json);
    style_end(out, STYLE_HEAD, is_colour);
    for (size_t i = 0; i < t->kind->fields.n; i++)
        put_pair(out, t, r, &t->kind->fields.v[i], is_colour);
    strbuf_addc(out, '\n');
}

static const struct row *first_shown(const struct model *m, const struct kind *kind)
{
    for (size_t i = 0; i < m->rows.n; i++)
        if (m->rows.v[i].kind == kind && m->rows.v[i].is_shown)
            return &m->rows.v[i];
    return NULL;
}

static double seconds_between(const struct model *m, const struct model *before)
{
    if (before)
        return (double)(m->read_mono_us - before->read_mono_us) / US_PER_S;
    return m->read_us > m->created_us ? (double)(m->read_us - m->created_us) / US_PER_S : 0;
}

void table_model(struct strbuf *out, const struct model *m, const struct model *before,
                 const struct kind *only, bool is_colour)
{
    bool is_first = true;

    for (size_t i = 0; i < m->schema.kinds.n; i++) {
        const struct kind *kind = &m->schema.kinds.v[i];
        struct table t = { .m = m, .before = before, .kind = kind,
                           .elapsed = seconds_between(m, before) };
        const struct row *first = first_shown(m, kind);

        if (!kind_is_asked(m, kind, only) || !first)
            continue;
        if (!is_first)
            strbuf_addc(out, '\n');
        is_first = false;
        if (kind->shape == SHAPE_SINGLE)
            put_single(out, &t, first, is_colour);
        else
            put_table(out, &t, is_colour);
    }
}
