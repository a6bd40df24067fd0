/* The schema text of a segment taken apart. Owns the text and the tables made from it. Called by
 * rpctl's read.c and by carry.c; trusts nothing in the text: offsets are held against record sizes
 * here, once. */
#include "common/core/schema.h"

#include <stdlib.h>
#include <string.h>
#include "common/base/slice.h"

#define FORMAT "rpd-stats"
#define WORDS_MAX 64
#define KINDS_MAX 256
#define FIELDS_MAX 1024
#define RECORD_MAX ((size_t)1 << 20)
#define BUCKETS_MAX 65536
#define SUB_MAX 4096
#define ENUM_PREFIX "ENUM_"
#define NESTED_PREFIX "IN_"
#define MEMBER_PREFIX "OF_"
#define LOG_PREFIX "LOG_"

static const char *const type_names[] = {
    [FIELD_COUNTER] = "COUNTER", [FIELD_ERRORS] = "ERRORS", [FIELD_GAUGE] = "GAUGE",
    [FIELD_SECONDS] = "SECONDS", [FIELD_TIME] = "TIME", [FIELD_UNTIL] = "UNTIL",
    [FIELD_DURATION] = "DURATION", [FIELD_PERCENT] = "PERCENT", [FIELD_KEPT] = "KEPT",
    [FIELD_NUMBER] = "NUMBER", [FIELD_TEXT] = "TEXT", [FIELD_HISTOGRAM] = "HISTOGRAM",
};

struct words {
    char *v[WORDS_MAX];
    size_t n;
};

static bool number(const char *word, size_t max, size_t *out)
{
    uint64_t v;

    if (!slice_u64(slice_str(word), &v) || v > max)
        return false;
    *out = (size_t)v;
    return true;
}

static size_t kind_index(const struct schema *s, const char *name)
{
    size_t i = 0;

    while (i < s->kinds.n && strcmp(s->kinds.v[i].name, name) != 0)
        i++;
    return i;
}

/* ---- lines ---- */

/* histogram SUB BUCKETS COUNT_AT SUM_AT MAX_AT BUCKET_AT */
static bool line_histogram(struct schema *s, const struct words *w)
{
    size_t sub, buckets;

    if (w->n < 7 || !number(w->v[1], SUB_MAX, &sub) || !number(w->v[2], BUCKETS_MAX, &buckets)
        || !number(w->v[3], RECORD_MAX, &s->count_at) || !number(w->v[4], RECORD_MAX, &s->sum_at)
        || !number(w->v[5], RECORD_MAX, &s->max_at)
        || !number(w->v[6], RECORD_MAX, &s->bucket_at))
        return false;
    /* Values of 64 bits have no more rows of `sub` buckets than this. */
    if (sub == 0 || (sub & (sub - 1)) != 0 || buckets == 0 || buckets / sub > 60)
        return false;
    s->sub = (unsigned)sub;
    s->buckets = (unsigned)buckets;
    return true;
}

/* enum NAME VALUE... */
static bool line_enum(struct schema *s, const struct words *w)
{
    struct enumeration *e;

    if (w->n < 2 || s->enums.n == KINDS_MAX)
        return false;
    e = VEC_PUSH(&s->enums);
    e->name = w->v[1];
    for (size_t i = 2; i < w->n; i++)
        *VEC_PUSH(&e->values) = w->v[i];
    return true;
}

/* Its parent stands before it, and is not nested itself. */
static bool kind_nest(const struct schema *s, struct kind *k, const char *parent)
{
    k->shape = SHAPE_NESTED;
    k->parent = kind_index(s, parent);
    return k->parent < s->kinds.n - 1 && s->kinds.v[k->parent].shape == SHAPE_NAMED;
}

static bool kind_shape(const struct schema *s, struct kind *k, const char *word)
{
    struct slice shape = slice_str(word);

    if (slice_eq(shape, SLICE("SINGLE")))
        k->shape = SHAPE_SINGLE;
    if (slice_eq(shape, SLICE("SLOTS")))
        k->shape = SHAPE_SLOTS;
    k->is_member = slice_starts(shape, SLICE(MEMBER_PREFIX));
    k->is_log = slice_starts(shape, SLICE(LOG_PREFIX));
    if (k->is_member || k->is_log || slice_starts(shape, SLICE(NESTED_PREFIX)))
        return kind_nest(s, k, strchr(word, '_') + 1);
    return true;
}

/* kind NAME JSON SHAPE SHARED_SIZE SLOT_SIZE HELP */
static bool line_kind(struct schema *s, const struct words *w)
{
    struct kind *k;

    if (w->n < 7 || s->kinds.n == KINDS_MAX)
        return false;
    k = VEC_PUSH(&s->kinds);
    k->name = w->v[1];
    k->json = w->v[2];
    k->help = w->v[6];
    return kind_shape(s, k, w->v[3]) && number(w->v[4], RECORD_MAX, &k->shared_size)
        && number(w->v[5], RECORD_MAX, &k->slot_size);
}

/* False: a type this rpctl does not know. */
static bool field_type(const struct schema *s, struct field *f, const char *word)
{
    struct slice name = slice_str(word);

    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (strcmp(word, type_names[i]) == 0) {
            f->type = (enum field_type)i;
            return true;
        }
    if (!slice_starts(name, SLICE(ENUM_PREFIX)))
        return false;
    f->type = FIELD_ENUM;
    while (f->values < s->enums.n
           && strcmp(s->enums.v[f->values].name, word + strlen(ENUM_PREFIX)) != 0)
        f->values++;
    return f->values < s->enums.n;
}

static bool is_within(size_t offset, size_t size, size_t whole)
{
    return offset % sizeof(uint64_t) == 0 && size <= whole && offset <= whole - size;
}

/* The field lies in its record, and holds what its type needs. */
static bool field_fits(const struct schema *s, const struct kind *k, const struct field *f)
{
    size_t u64 = sizeof(uint64_t);

    if (!is_within(f->offset, f->size, f->is_shared ? k->shared_size : k->slot_size))
        return false;
    if (f->type == FIELD_TEXT)
        return f->size > 0 && f->is_shared;
    if (f->type != FIELD_HISTOGRAM)
        return f->size >= u64;
    return !f->is_shared && s->buckets > 0 && is_within(s->count_at, u64, f->size)
        && is_within(s->sum_at, u64, f->size) && is_within(s->max_at, u64, f->size)
        && is_within(s->bucket_at, s->buckets * u64, f->size);
}

/* field KIND SCOPE TYPE NAME OFFSET SIZE HELP */
static bool line_field(struct schema *s, const struct words *w)
{
    struct field f = { 0 };
    struct kind *k;
    size_t kind;

    if (w->n < 8 || (kind = kind_index(s, w->v[1])) == s->kinds.n)
        return false;
    k = &s->kinds.v[kind];
    if (k->fields.n == FIELDS_MAX)
        return false;
    f.is_shared = strcmp(w->v[2], "shared") == 0;
    f.name = w->v[4];
    f.help = w->v[7];
    if (!number(w->v[5], RECORD_MAX, &f.offset) || !number(w->v[6], RECORD_MAX, &f.size))
        return false;
    if (!field_type(s, &f, w->v[3]))
        return true;
    if (!field_fits(s, k, &f))
        return false;
    *VEC_PUSH(&k->fields) = f;
    return true;
}

/* ---- text ---- */

static const struct {
    const char *word;
    bool (*fn)(struct schema *s, const struct words *w);
} lines[] = {
    { "histogram", line_histogram },
    { "enum", line_enum },
    { "kind", line_kind },
    { "field", line_field },
};

static bool line_parse(struct schema *s, const struct words *w)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (strcmp(w->v[0], lines[i].word) == 0)
            return lines[i].fn(s, w);
    return true;
}

/* Ends the words of a line with NULs; what is over WORDS_MAX is left out. */
static void words_cut(struct words *w, char *line)
{
    char *tab;

    w->n = 0;
    while (line && w->n < WORDS_MAX) {
        tab = strchr(line, '\t');
        if (tab)
            *tab++ = '\0';
        w->v[w->n++] = line;
        line = tab;
    }
}

static bool text_parse(struct schema *s)
{
    struct words w;
    char *line = s->text, *end;
    bool is_first = true;

    while ((end = strchr(line, '\n'))) {
        *end = '\0';
        words_cut(&w, line);
        if (is_first ? strcmp(w.v[0], FORMAT) != 0 : !line_parse(s, &w))
            return false;
        is_first = false;
        line = end + 1;
    }
    return !is_first && s->kinds.n > 0;
}

bool schema_parse(struct schema *s, const char *text, size_t n)
{
    memset(s, 0, sizeof *s);
    s->text = xstrndup(text, n);
    if (text_parse(s))
        return true;
    schema_fini(s);
    return false;
}

void schema_fini(struct schema *s)
{
    for (size_t i = 0; i < s->enums.n; i++)
        VEC_FREE(&s->enums.v[i].values);
    for (size_t i = 0; i < s->kinds.n; i++)
        VEC_FREE(&s->kinds.v[i].fields);
    VEC_FREE(&s->enums);
    VEC_FREE(&s->kinds);
    free(s->text);
    s->text = NULL;
}

/* ---- questions ---- */

const struct field *kind_field(const struct kind *k, const char *name)
{
    for (size_t i = 0; i < k->fields.n; i++)
        if (strcmp(k->fields.v[i].name, name) == 0)
            return &k->fields.v[i];
    return NULL;
}

const struct kind *schema_kind(const struct schema *s, const char *name)
{
    for (size_t i = 0; i < s->kinds.n; i++)
        if (strcmp(s->kinds.v[i].name, name) == 0 || strcmp(s->kinds.v[i].json, name) == 0)
            return &s->kinds.v[i];
    return NULL;
}

const char *schema_value_name(const struct schema *s, const struct field *f, uint64_t value)
{
    const struct enumeration *e = &s->enums.v[f->values];

    return value < e->values.n ? e->values.v[value] : "?";
}

bool field_is_counter(const struct field *f)
{
    return f->type == FIELD_COUNTER || f->type == FIELD_ERRORS || f->type == FIELD_SECONDS;
}
