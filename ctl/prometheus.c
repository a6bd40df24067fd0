/* A model in Prometheus' text format 0.0.4. Names follow the JSON's: rpd_KIND_FIELD, counters end
 * in _total, times and latencies in _seconds. Called by stats; pure. */
#include <stdio.h>
#include <string.h>
#include "common/core/histogram.h"
#include "ctl/output.h"

#define US_PER_S 1e6
#define PER_ONE 10000.0 /* hundredths of a percent */
#define NAME_MAX_ 128
/* Upper ends of buckets: powers of two from 64 us to 134 s. */
#define LE_FIRST 6
#define LE_LAST 27

struct family {
    const struct model *m;
    const struct kind *kind;
    const struct field *field;
    char name[NAME_MAX_];
};

static bool ends_with(const char *s, const char *end)
{
    return slice_ends(slice_str(s), slice_str(end));
}

static const char *suffix_of(const struct field *f)
{
    switch (f->type) {
    case FIELD_COUNTER:
    case FIELD_ERRORS:
        return ends_with(f->name, "_total") ? "" : "_total";
    case FIELD_SECONDS:
        return ends_with(f->name, "_seconds") ? "_total" : "_seconds_total";
    case FIELD_TIME:
    case FIELD_UNTIL:
        return "_timestamp_seconds";
    case FIELD_PERCENT:
        return "_ratio";
    case FIELD_DURATION:
    case FIELD_HISTOGRAM:
        return "_seconds";
    case FIELD_TEXT:
        return "_info";
    case FIELD_GAUGE:
    case FIELD_NUMBER:
    case FIELD_KEPT:
    case FIELD_ENUM:
        return "";
    }
    return "";
}

static const char *type_of(const struct field *f)
{
    if (f->type == FIELD_HISTOGRAM)
        return "histogram";
    return field_is_counter(f) ? "counter" : "gauge";
}

static void name_put(struct family *f, const char *field, const char *suffix)
{
    if (f->kind->shape == SHAPE_SINGLE)
        snprintf(f->name, sizeof f->name, "rpd_%s%s", field, suffix);
    else
        snprintf(f->name, sizeof f->name, "rpd_%s_%s%s", f->kind->name, field, suffix);
}

static void put_head(struct strbuf *out, const char *name, const char *help, const char *type)
{
    strbuf_printf(out, "# HELP %s ", name);
    for (; *help; help++)
        strbuf_adds(out, *help == '\\' ? "\\\\" : (char[]){ *help, '\0' });
    strbuf_printf(out, "\n# TYPE %s %s\n", name, type);
}

static void put_label(struct strbuf *out, bool *is_first, const char *name, struct slice value)
{
    strbuf_printf(out, "%c%s=\"", *is_first ? '{' : ',', name);
    *is_first = false;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '\n')
            strbuf_adds(out, "\\n");
        else {
            if (value.p[i] == '"' || value.p[i] == '\\')
                strbuf_addc(out, '\\');
            strbuf_addc(out, value.p[i]);
        }
    }
    strbuf_addc(out, '"');
}

/* `name{labels... ,extra="value"} `; extra may be NULL. */
static void put_series(struct strbuf *out, const struct family *f, const struct row *r,
                       const char *suffix, const char *extra, struct slice value)
{
    bool is_first = true;

    strbuf_printf(out, "%s%s", f->name, suffix);
    if (r->kind->shape == SHAPE_NESTED)
        put_label(out, &is_first, f->m->schema.kinds.v[r->kind->parent].name,
                  slice_of(r->name, r->own_name > r->name ? (size_t)(r->own_name - r->name - 1)
                                                          : 0));
    if (r->kind->shape != SHAPE_SINGLE)
        put_label(out, &is_first, r->kind->name, slice_str(r->own_name));
    if (extra)
        put_label(out, &is_first, extra, value);
    strbuf_adds(out, is_first ? " " : "} ");
}

static void put_enum(struct strbuf *out, const struct family *f, const struct row *r)
{
    const struct enumeration *e = &f->m->schema.enums.v[f->field->values];
    uint64_t value = row_value(r, f->field);

    for (size_t i = 0; i < e->values.n; i++) {
        put_series(out, f, r, "", f->field->name, slice_str(e->values.v[i]));
        strbuf_adds(out, value == i ? "1\n" : "0\n");
    }
}

static void put_hist(struct strbuf *out, const struct family *f, const struct row *r)
{
    unsigned long long total = 0;
    unsigned at = 0;
    struct hist h;
    char le[32];

    row_hist(f->m, r, f->field, NULL, &h);
    for (unsigned k = LE_FIRST; k <= LE_LAST; k++) {
        uint64_t end = (uint64_t)1 << k, width;

        while (at < h.buckets && histogram_view_low(h.sub, at, &width) < end)
            total += h.bucket[at++];
        snprintf(le, sizeof le, "%.6f", (double)end / US_PER_S);
        put_series(out, f, r, "_bucket", "le", slice_str(le));
        strbuf_printf(out, "%llu\n", total);
    }
    while (at < h.buckets)
        total += h.bucket[at++];
    put_series(out, f, r, "_bucket", "le", SLICE("+Inf"));
    strbuf_printf(out, "%llu\n", total);
    put_series(out, f, r, "_sum", NULL, SLICE_NONE);
    strbuf_printf(out, "%.6f\n", (double)h.sum / US_PER_S);
    put_series(out, f, r, "_count", NULL, SLICE_NONE);
    strbuf_printf(out, "%llu\n", total);
    hist_fini(&h);
}

static void put_row(struct strbuf *out, const struct family *f, const struct row *r)
{
    switch (f->field->type) {
    case FIELD_ENUM:
        put_enum(out, f, r);
        return;
    case FIELD_HISTOGRAM:
        put_hist(out, f, r);
        return;
    case FIELD_TEXT:
        put_series(out, f, r, "", f->field->name, row_text(f->m, r, f->field));
        strbuf_adds(out, "1\n");
        return;
    case FIELD_SECONDS:
    case FIELD_TIME:
    case FIELD_UNTIL:
    case FIELD_DURATION:
        put_series(out, f, r, "", NULL, SLICE_NONE);
        strbuf_printf(out, "%.6f\n", (double)row_value(r, f->field) / US_PER_S);
        return;
    case FIELD_PERCENT:
        put_series(out, f, r, "", NULL, SLICE_NONE);
        strbuf_printf(out, "%.4f\n", (double)row_value(r, f->field) / PER_ONE);
        return;
    case FIELD_KEPT:
        return;
    case FIELD_COUNTER:
    case FIELD_ERRORS:
    case FIELD_GAUGE:
    case FIELD_NUMBER:
        put_series(out, f, r, "", NULL, SLICE_NONE);
        strbuf_printf(out, "%llu\n", (unsigned long long)row_value(r, f->field));
        return;
    }
}

static bool is_anything_shown(const struct model *m, const struct kind *kind)
{
    for (size_t i = 0; i < m->rows.n; i++)
        if (m->rows.v[i].kind == kind && m->rows.v[i].is_shown)
            return true;
    return false;
}

/* What no field holds: whether the master runs, and usable servers. */
static void put_computed(struct strbuf *out, struct family *f)
{
    const struct model *m = f->m;
    bool is_backend = strcmp(f->kind->name, "backend") == 0;

    if (f->kind->shape != SHAPE_SINGLE && !is_backend)
        return;
    if (is_backend)
        name_put(f, "servers_up", "");
    else
        name_put(f, "up", "");
    put_head(out, f->name, is_backend ? "servers that take requests" : "whether the master runs",
             "gauge");
    for (size_t i = 0; i < m->rows.n; i++) {
        const struct row *r = &m->rows.v[i];

        if (r->kind != f->kind || !r->is_shown)
            continue;
        put_series(out, f, r, "", NULL, SLICE_NONE);
        strbuf_printf(out, "%llu\n", is_backend ? (unsigned long long)model_servers_up(m, r)
                                                : (unsigned long long)m->is_running);
    }
}

/* A text with numbers in it would be another series each time. */
static bool is_series(const struct field *f)
{
    return field_is_shown(f) && strcmp(f->name, "verdict") != 0;
}

static void put_kind(struct strbuf *out, const struct model *m, const struct kind *kind)
{
    struct family f = { .m = m, .kind = kind };

    put_computed(out, &f);
    for (size_t i = 0; i < kind->fields.n; i++) {
        f.field = &kind->fields.v[i];
        if (!is_series(f.field))
            continue;
        name_put(&f, f.field->name, suffix_of(f.field));
        put_head(out, f.name, f.field->help, type_of(f.field));
        for (size_t k = 0; k < m->rows.n; k++)
            if (m->rows.v[k].kind == kind && m->rows.v[k].is_shown)
                put_row(out, &f, &m->rows.v[k]);
    }
}

void prometheus_model(struct strbuf *out, const struct model *m, const struct kind *only)
{
    for (size_t i = 0; i < m->schema.kinds.n; i++) {
        const struct kind *kind = &m->schema.kinds.v[i];

        if (kind_is_asked(m, kind, only) && is_anything_shown(m, kind))
            put_kind(out, m, kind);
    }
}
