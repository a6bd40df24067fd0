/* Questions to a model: values, what grew between two readings, what is selected. Called by all
 * that print; never changes a value. */
#include "ctl/model.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/mem.h"
#include "common/core/histogram.h"

#define US_PER_S 1e6

static const unsigned char *place(const struct row *r, const struct field *f)
{
    return (f->is_shared ? r->shared : r->slots) + f->offset;
}

static uint64_t u64_at(const unsigned char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

uint64_t row_value(const struct row *r, const struct field *f)
{
    if (f->type == FIELD_TEXT || f->type == FIELD_HISTOGRAM)
        return 0;
    return u64_at(place(r, f));
}

uint64_t row_value_of(const struct row *r, const char *name)
{
    const struct field *f = kind_field(r->kind, name);

    return f ? row_value(r, f) : 0;
}

struct slice row_text(const struct model *m, const struct row *r, const struct field *f)
{
    const char *text;

    if (f->type == FIELD_ENUM)
        return slice_str(schema_value_name(&m->schema, f, row_value(r, f)));
    assert(f->type == FIELD_TEXT);
    text = (const char *)place(r, f);
    return slice_of(text, strnlen(text, f->size));
}

uint64_t row_grown(const struct row *r, const struct row *before, const struct field *f)
{
    uint64_t now = row_value(r, f);
    uint64_t then = before ? row_value(before, f) : 0;

    return now >= then ? now - then : now;
}

/* ---- histograms ---- */

static uint64_t less(uint64_t now, uint64_t then)
{
    return now >= then ? now - then : 0;
}

void row_hist(const struct model *m, const struct row *r, const struct field *f,
              const struct row *before, struct hist *out)
{
    const struct schema *s = &m->schema;
    const unsigned char *p = place(r, f), *old = before ? place(before, f) : NULL;

    out->count = less(u64_at(p + s->count_at), old ? u64_at(old + s->count_at) : 0);
    out->sum = less(u64_at(p + s->sum_at), old ? u64_at(old + s->sum_at) : 0);
    out->max = u64_at(p + s->max_at);
    out->buckets = s->buckets;
    out->sub = s->sub;
    out->bucket = xcalloc(s->buckets, sizeof *out->bucket);
    for (size_t i = 0; i < s->buckets; i++) {
        size_t at = s->bucket_at + i * sizeof(uint64_t);

        out->bucket[i] = less(u64_at(p + at), old ? u64_at(old + at) : 0);
    }
}

void hist_fini(struct hist *h)
{
    free(h->bucket);
    h->bucket = NULL;
}

double hist_quantile(const struct hist *h, double q)
{
    struct histogram_view v = { h->bucket, h->buckets, h->sub, h->max };

    return histogram_view_quantile(&v, q) / US_PER_S;
}

double hist_mean(const struct hist *h)
{
    return h->count ? (double)h->sum / (double)h->count / US_PER_S : 0;
}

/* ---- two readings ---- */

static int order(const struct row *a, const struct row *b)
{
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    return a->slot < b->slot ? -1 : a->slot > b->slot;
}

static int order_void(const void *a, const void *b)
{
    return order(a, b);
}

const struct row *model_before(const struct model *earlier, const struct model *m,
                               const struct row *r)
{
    if (!earlier || earlier->created_us != m->created_us || earlier->rows.n == 0)
        return NULL;
    return bsearch(r, earlier->rows.v, earlier->rows.n, sizeof *r, order_void);
}

/* ---- selection ---- */

static bool is_named(const struct row *r, const char *name)
{
    size_t n = strlen(name);

    if (strcmp(r->name, name) == 0)
        return true;
    return r->kind->shape == SHAPE_NESTED && strncmp(r->name, name, n) == 0 && r->name[n] == '/';
}

static bool is_selected(const struct row *r, const struct kind *kind, char **names)
{
    if (kind && r->kind != kind)
        return false;
    if (!names || !names[0])
        return true;
    for (; *names; names++)
        if (is_named(r, *names))
            return true;
    return false;
}

const char *model_select(struct model *m, const struct kind *kind, char **names)
{
    for (size_t i = 0; i < m->rows.n; i++)
        m->rows.v[i].is_shown = is_selected(&m->rows.v[i], kind, names);
    for (; names && *names; names++) {
        size_t i = 0;

        while (i < m->rows.n && !(m->rows.v[i].is_shown && is_named(&m->rows.v[i], *names)))
            i++;
        if (i == m->rows.n)
            return *names;
    }
    /* A parent brings its children. */
    for (size_t i = 0; i < m->rows.n; i++)
        if (m->rows.v[i].parent != MODEL_NONE && m->rows.v[m->rows.v[i].parent].is_shown)
            m->rows.v[i].is_shown = true;
    return NULL;
}

bool kind_is_asked(const struct model *m, const struct kind *k, const struct kind *only)
{
    if (k->is_log)
        return k == only;
    return !only || k == only
        || (k->shape == SHAPE_NESTED && &m->schema.kinds.v[k->parent] == only);
}

/* ---- computed ---- */

double model_uptime(const struct model *m, const struct row *rpd)
{
    uint64_t started = row_value_of(rpd, "started");

    if (!m->is_running || started == 0 || started > m->read_us)
        return 0;
    return (double)(m->read_us - started) / US_PER_S;
}

static bool text_is(const struct model *m, const struct row *r, const char *field,
                    const char *text)
{
    const struct field *f = kind_field(r->kind, field);

    return f && f->type == FIELD_ENUM && slice_eq(row_text(m, r, f), slice_str(text));
}

bool server_is_usable(const struct model *m, const struct row *s)
{
    const struct field *weight = kind_field(s->kind, "weight");

    return text_is(m, s, "admin", "ready") && !text_is(m, s, "state", "down")
        && !text_is(m, s, "state", "ejected") && (!weight || row_value(s, weight) > 0);
}

uint64_t model_servers_up(const struct model *m, const struct row *backend)
{
    uint64_t n = 0;

    for (size_t i = backend->child; i != MODEL_NONE; i = m->rows.v[i].next)
        n += server_is_usable(m, &m->rows.v[i]);
    return n;
}
