/* What `rpctl health` says of certificates. Called by health.c; pure. */
#include "ctl/expiry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/mem.h"
#include "ctl/grid.h"
#include "ctl/human.h"
#include "ctl/output.h"

#define US_PER_S 1e6
#define S_PER_DAY 86400.0

/* Seconds until the time of that name; less than 0: since. */
static double until(const struct model *m, const struct row *r, const char *field)
{
    return ((double)row_value_of(r, field) - (double)m->read_us) / US_PER_S;
}

/* Empty when all is well. */
static void put_why(struct strbuf *out, const struct model *m, const struct row *r)
{
    double left = until(m, r, "not_after"), begins = until(m, r, "not_before");
    char buf[HUMAN_MAX];

    if (row_value_of(r, "not_after") == 0)
        return;
    if (left <= 0)
        strbuf_printf(out, "expired %s ago", human_span(buf, -left));
    else if (begins > 0)
        strbuf_printf(out, "not valid yet, but in %s", human_span(buf, begins));
    else if (human_is_soon(left, 0))
        strbuf_printf(out, "expires in %s", human_span(buf, left));
}

static void put_row(struct grid *g, const struct model *m, const struct row *r)
{
    const struct field *hosts = kind_field(r->kind, "hosts");
    struct slice text = hosts ? row_text(m, r, hosts) : SLICE("-");
    char *copy = xstrndup(text.p, text.n), buf[HUMAN_MAX];
    struct strbuf why;
    bool is_bad;

    strbuf_init(&why);
    put_why(&why, m, r);
    is_bad = why.n > 0;
    if (!is_bad)
        strbuf_printf(&why, "good for %s", human_span(buf, until(m, r, "not_after")));
    grid_cell(g, STYLE_PLAIN, r->name);
    grid_cell(g, is_bad ? STYLE_BAD : STYLE_PLAIN, why.s);
    grid_cell(g, STYLE_PLAIN, copy);
    strbuf_fini(&why);
    free(copy);
}

void expiry_table(struct strbuf *out, const struct model *m, bool is_colour)
{
    const struct kind *kind = schema_kind(&m->schema, "certificate");
    struct grid g;

    grid_init(&g);
    grid_column(&g, "certificate", true);
    grid_column(&g, "validity", true);
    grid_column(&g, "hosts", true);
    for (size_t i = 0; kind && i < m->rows.n; i++)
        if (m->rows.v[i].kind == kind && row_value_of(&m->rows.v[i], "not_after") != 0)
            put_row(&g, m, &m->rows.v[i]);
    if (g.cells.n > g.columns) {
        strbuf_addc(out, '\n');
        grid_print(out, &g, is_colour);
    }
    grid_fini(&g);
}

static void json_certificate(struct json *j, const struct model *m, const struct row *r)
{
    static const char *const fields[] = { "not_before", "not_after", "hosts" };
    double left = until(m, r, "not_after");
    struct strbuf why;

    strbuf_init(&why);
    put_why(&why, m, r);
    json_object(j, r->name);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const struct field *f = kind_field(r->kind, fields[i]);

        if (f)
            json_row_field(j, m, r, f);
    }
    json_i64(j, "days_left", (int64_t)(left / S_PER_DAY));
    json_str(j, "why", strbuf_slice(&why));
    json_object_end(j);
    strbuf_fini(&why);
}

void expiry_json(struct json *j, const struct model *m)
{
    const struct kind *kind = schema_kind(&m->schema, "certificate");

    if (!kind)
        return;
    json_object(j, kind->json);
    for (size_t i = 0; i < m->rows.n; i++)
        if (m->rows.v[i].kind == kind)
            json_certificate(j, m, &m->rows.v[i]);
    json_object_end(j);
}
