/* A model as one CSV table: a row has the columns of all kinds shown, empty where its own has no
 * such field. Called by stats and workers; pure. */
#include <stdlib.h>
#include <string.h>
#include "ctl/output.h"

#define US_PER_S 1e6
#define PER_PERCENT 100.0

static const char *const hist_columns[] = { "count", "mean", "p50", "p90", "p99", "p999", "max" };

/* Columns by name: kinds share theirs. */
struct columns {
    VEC(const struct field *) v; /* the first field of that name */
};

void csv_value(struct strbuf *out, struct slice s)
{
    bool is_quoted = false;

    for (size_t i = 0; i < s.n && !is_quoted; i++)
        is_quoted = strchr(",\"\r\n", s.p[i]) != NULL;
    if (!is_quoted) {
        strbuf_add(out, s);
        return;
    }
    strbuf_addc(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            strbuf_addc(out, '"');
        strbuf_addc(out, s.p[i]);
    }
    strbuf_addc(out, '"');
}

static bool is_column(const struct columns *c, const char *name)
{
    for (size_t i = 0; i < c->v.n; i++)
        if (strcmp(c->v.v[i]->name, name) == 0)
            return true;
    return false;
}

static void collect(struct columns *c, const struct model *m, const struct kind *only)
{
    for (size_t k = 0; k < m->schema.kinds.n; k++) {
        const struct kind *kind = &m->schema.kinds.v[k];

        for (size_t i = 0; kind_is_asked(m, kind, only) && i < kind->fields.n; i++)
            if (field_is_shown(&kind->fields.v[i]) && !is_column(c, kind->fields.v[i].name))
                *VEC_PUSH(&c->v) = &kind->fields.v[i];
    }
}

static void put_header(struct strbuf *out, const struct columns *c, bool with_time)
{
    strbuf_adds(out, with_time ? "time,kind,name" : "kind,name");
    for (size_t i = 0; i < c->v.n; i++) {
        const struct field *f = c->v.v[i];

        if (f->type != FIELD_HISTOGRAM) {
            strbuf_printf(out, ",%s", f->name);
            continue;
        }
        for (size_t k = 0; k < sizeof hist_columns / sizeof *hist_columns; k++)
            strbuf_printf(out, ",%s_%s", f->name, hist_columns[k]);
    }
    strbuf_addc(out, '\n');
}

static void put_hist(struct strbuf *out, const struct model *m, const struct row *r,
                     const struct field *f)
{
    struct hist h;

    row_hist(m, r, f, NULL, &h);
    strbuf_printf(out, "%llu,%.6f,%.6f,%.6f,%.6f,%.6f,%.6f", (unsigned long long)h.count,
                  hist_mean(&h), hist_quantile(&h, 0.5), hist_quantile(&h, 0.9),
                  hist_quantile(&h, 0.99), hist_quantile(&h, 0.999), (double)h.max / US_PER_S);
    hist_fini(&h);
}

static void put_value(struct strbuf *out, const struct model *m, const struct row *r,
                      const struct field *f)
{
    switch (f->type) {
    case FIELD_COUNTER:
    case FIELD_ERRORS:
    case FIELD_GAUGE:
    case FIELD_NUMBER:
        strbuf_printf(out, "%llu", (unsigned long long)row_value(r, f));
        return;
    case FIELD_SECONDS:
    case FIELD_TIME:
    case FIELD_UNTIL:
    case FIELD_DURATION:
        strbuf_printf(out, "%.6f", (double)row_value(r, f) / US_PER_S);
        return;
    case FIELD_PERCENT:
        strbuf_printf(out, "%.2f", (double)row_value(r, f) / PER_PERCENT);
        return;
    case FIELD_KEPT:
        return;
    case FIELD_TEXT:
    case FIELD_ENUM:
        csv_value(out, row_text(m, r, f));
        return;
    case FIELD_HISTOGRAM:
        put_hist(out, m, r, f);
        return;
    }
}

static void put_empty(struct strbuf *out, const struct field *f)
{
    if (f->type == FIELD_HISTOGRAM)
        for (size_t k = 1; k < sizeof hist_columns / sizeof *hist_columns; k++)
            strbuf_addc(out, ',');
}

static void put_row(struct strbuf *out, const struct columns *c, const struct model *m,
                    const struct row *r, bool with_time)
{
    if (with_time)
        strbuf_printf(out, "%.6f,", (double)m->read_us / US_PER_S);
    strbuf_printf(out, "%s,", r->kind->name);
    csv_value(out, slice_str(r->name));
    for (size_t i = 0; i < c->v.n; i++) {
        const struct field *f = kind_field(r->kind, c->v.v[i]->name);

        strbuf_addc(out, ',');
        /* A name that is a histogram in one kind and none in another has the first's columns. */
        if (f && (f->type == FIELD_HISTOGRAM) == (c->v.v[i]->type == FIELD_HISTOGRAM))
            put_value(out, m, r, f);
        else
            put_empty(out, c->v.v[i]);
    }
    strbuf_addc(out, '\n');
}

void csv_model(struct strbuf *out, const struct model *m, const struct kind *only,
               bool with_header, bool with_time)
{
    struct columns c = { 0 };

    collect(&c, m, only);
    if (with_header)
        put_header(out, &c, with_time);
    for (size_t i = 0; i < m->rows.n; i++)
        if (m->rows.v[i].is_shown && kind_is_asked(m, m->rows.v[i].kind, only))
            put_row(out, &c, m, &m->rows.v[i], with_time);
    VEC_FREE(&c.v);
}
