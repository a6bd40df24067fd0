/* A model as JSON: the names are the schema's, times are seconds. Called by stats, health and
 * workers; pure. */
#include "ctl/output.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define US_PER_S 1e6
#define PER_PERCENT 100.0

static void put_hist(struct json *j, const struct model *m, const struct row *r,
                     const struct field *f)
{
    struct hist h;

    row_hist(m, r, f, NULL, &h);
    json_object(j, f->name);
    json_u64(j, "count", h.count);
    json_double(j, "mean", hist_mean(&h));
    json_double(j, "p50", hist_quantile(&h, 0.5));
    json_double(j, "p90", hist_quantile(&h, 0.9));
    json_double(j, "p99", hist_quantile(&h, 0.99));
    json_double(j, "p999", hist_quantile(&h, 0.999));
    json_double(j, "max", (double)h.max / US_PER_S);
    json_object_end(j);
    hist_fini(&h);
}

void json_row_field(struct json *j, const struct model *m, const struct row *r,
                    const struct field *f)
{
    switch (f->type) {
    case FIELD_COUNTER:
    case FIELD_ERRORS:
    case FIELD_GAUGE:
    case FIELD_NUMBER:
        json_u64(j, f->name, row_value(r, f));
        return;
    case FIELD_SECONDS:
    case FIELD_TIME:
    case FIELD_UNTIL:
    case FIELD_DURATION:
        json_double(j, f->name, (double)row_value(r, f) / US_PER_S);
        return;
    case FIELD_PERCENT:
        json_double(j, f->name, (double)row_value(r, f) / PER_PERCENT);
        return;
    case FIELD_KEPT:
        return;
    case FIELD_TEXT:
    case FIELD_ENUM:
        json_str(j, f->name, row_text(m, r, f));
        return;
    case FIELD_HISTOGRAM:
        put_hist(j, m, r, f);
        return;
    }
}

static void put_fields(struct json *j, const struct model *m, const struct row *r)
{
    for (size_t i = 0; i < r->kind->fields.n; i++) {
        const struct field *f = &r->kind->fields.v[i];

        json_row_field(j, m, r, f);
        if (r->kind->shape == SHAPE_SINGLE && strcmp(f->name, "started") == 0)
            json_double(j, "uptime", model_uptime(m, r));
    }
}

static bool has_shown_child(const struct model *m, const struct row *r)
{
    for (size_t i = r->child; i != MODEL_NONE; i = m->rows.v[i].next)
        if (m->rows.v[i].is_shown)
            return true;
    return false;
}

static void put_children(struct json *j, const struct model *m, const struct row *r,
                         const struct kind *kind)
{
    if (!kind->is_member)
        json_object(j, kind->json);
    for (size_t i = r->child; i != MODEL_NONE; i = m->rows.v[i].next) {
        const struct row *child = &m->rows.v[i];

        if (child->kind != kind || !child->is_shown)
            continue;
        json_object(j, child->own_name);
        put_fields(j, m, child);
        json_object_end(j);
    }
    if (!kind->is_member)
        json_object_end(j);
}

/* A row that is not shown itself may hold shown ones. */
static void put_row(struct json *j, const struct model *m, const struct row *r)
{
    const struct schema *s = &m->schema;

    json_object(j, r->name);
    if (r->is_shown)
        put_fields(j, m, r);
    for (size_t k = 0; k < s->kinds.n; k++) {
        const struct kind *kind = &s->kinds.v[k];

        if (kind->shape != SHAPE_NESTED || kind->is_log || &s->kinds.v[kind->parent] != r->kind)
            continue;
        if (r->is_shown && strcmp(kind->json, "servers") == 0)
            json_u64(j, "servers_up", model_servers_up(m, r));
        put_children(j, m, r, kind);
    }
    json_object_end(j);
}

static void put_named(struct json *j, const struct model *m, const struct kind *kind)
{
    json_object(j, kind->json);
    for (size_t i = 0; i < m->rows.n; i++) {
        const struct row *r = &m->rows.v[i];

        if (r->kind == kind && (r->is_shown || has_shown_child(m, r)))
            put_row(j, m, r);
    }
    json_object_end(j);
}

static void put_slots(struct json *j, const struct model *m, const struct kind *kind)
{
    json_array(j, kind->json);
    for (size_t i = 0; i < m->rows.n; i++) {
        const struct row *r = &m->rows.v[i];

        if (r->kind != kind || !r->is_shown)
            continue;
        json_object(j, NULL);
        json_u64(j, "slot", r->slot);
        put_fields(j, m, r);
        json_object_end(j);
    }
    json_array_end(j);
}

static void put_single(struct json *j, const struct model *m, const struct kind *kind)
{
    for (size_t i = 0; i < m->rows.n; i++)
        if (m->rows.v[i].kind == kind && m->rows.v[i].is_shown) {
            json_object(j, kind->json);
            put_fields(j, m, &m->rows.v[i]);
            json_object_end(j);
            return;
        }
}

static void put_kind(struct json *j, const struct model *m, const struct kind *kind)
{
    switch (kind->shape) {
    case SHAPE_SINGLE:
        put_single(j, m, kind);
        return;
    case SHAPE_SLOTS:
        put_slots(j, m, kind);
        return;
    case SHAPE_NAMED:
        put_named(j, m, kind);
        return;
    case SHAPE_NESTED: /* with its parent */
        return;
    }
}

void json_model(struct strbuf *out, const struct model *m, const struct kind *only)
{
    struct json j;

    assert(m->schema.kinds.v);
    /* Nested ones are found where they always are. */
    if (only && only->shape == SHAPE_NESTED)
        only = &m->schema.kinds.v[only->parent];
    json_init(&j, out);
    json_object(&j, NULL);
    if (only)
        put_kind(&j, m, only);
    for (size_t i = 0; !only && i < m->schema.kinds.n; i++)
        put_kind(&j, m, &m->schema.kinds.v[i]);
    json_object_end(&j);
    strbuf_addc(out, '\n');
}
