/* The table of counters, stats.def, as data and as text: the schema that makes a segment readable
 * to any rpctl, and the manual's tables. Called by segment.c and rpctl; never touches a segment. */
#include "common/core/stats.h"

#include <assert.h>
#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "common/core/histogram.h"
#include "common/core/stats_schema.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define CACHE_LINE 64
#define ENUM_PREFIX "ENUM_"
#define ENUM_VALUES_MAX 16

static const struct {
    const char *name, *json, *shape, *help;
} kinds[] = {
#define KIND(kind, json, SHAPE, help) { #kind, json, #SHAPE, help },
#define SLOT(kind, field, TYPE, help)
#define SHARED(kind, field, TYPE, help)
#define ENUM(name, ...)
#include "common/core/stats.def"
#undef KIND
#undef SLOT
#undef SHARED
#undef ENUM
};

static const struct {
    const char *name;
    const char *values[ENUM_VALUES_MAX + 1];
} enums[] = {
#define KIND(kind, json, SHAPE, help)
#define SLOT(kind, field, TYPE, help)
#define SHARED(kind, field, TYPE, help)
#define ENUM(name, ...) { #name, { __VA_ARGS__ } },
#include "common/core/stats.def"
#undef KIND
#undef SLOT
#undef SHARED
#undef ENUM
};

/* Every enum is one type to stats_field. */
#define KIND(kind, json, SHAPE, help)
#define SLOT(kind, field, TYPE, help)
#define SHARED(kind, field, TYPE, help)
#define ENUM(name, ...) STATS_TYPE_ENUM_##name = STATS_TYPES_PLAIN,
enum {
#include "common/core/stats.def"
};
#undef KIND
#undef SLOT
#undef SHARED
#undef ENUM

#define FIELD(kind, record, is_shared, field, TYPE, help)                                       \
    { STATS_##kind, is_shared, (int)STATS_TYPE_##TYPE >= (int)STATS_TYPES_PLAIN,                \
      (enum stats_type)STATS_TYPE_##TYPE, #TYPE, #field, offsetof(struct record, field), help },
static const struct stats_field fields[] = {
#define KIND(kind, json, SHAPE, help)
#define SLOT(kind, field, TYPE, help) FIELD(kind, stats_##kind, false, field, TYPE, help)
#define SHARED(kind, field, TYPE, help) FIELD(kind, stats_##kind##_shared, true, field, TYPE, help)
#define ENUM(name, ...)
#include "common/core/stats.def"
#undef KIND
#undef SLOT
#undef SHARED
#undef ENUM
};

const struct stats_field *stats_fields(size_t *n)
{
    *n = COUNT(fields);
    return fields;
}

static size_t field_size(const struct stats_field *f)
{
    switch (f->type) {
    case STATS_TYPE_TEXT:
        return STATS_TEXT_MAX;
    case STATS_TYPE_HISTOGRAM:
        return sizeof(struct histogram);
    case STATS_TYPE_COUNTER:
    case STATS_TYPE_ERRORS:
    case STATS_TYPE_GAUGE:
    case STATS_TYPE_SECONDS:
    case STATS_TYPE_TIME:
    case STATS_TYPE_UNTIL:
    case STATS_TYPE_DURATION:
    case STATS_TYPE_PERCENT:
    case STATS_TYPE_KEPT:
    case STATS_TYPE_NUMBER:
    case STATS_TYPES_PLAIN:
        break;
    }
    return sizeof(uint64_t);
}

size_t stats_record_size(enum stats_kind kind, bool is_shared)
{
    size_t end = 0;

    for (size_t i = 0; i < COUNT(fields); i++) {
        const struct stats_field *f = &fields[i];

        if (f->kind == kind && f->is_shared == is_shared)
            end = f->offset + field_size(f);
    }
    return (end + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

const char *stats_value_name(const char *enumeration, uint64_t value)
{
    for (size_t i = 0; i < COUNT(enums); i++)
        if (strcmp(enums[i].name, enumeration) == 0 && value < ENUM_VALUES_MAX &&
            enums[i].values[value])
            return enums[i].values[value];
    return "?";
}

/* Lines of words with tabs between: format, histogram, enums, kinds (their order is their
 * number), fields. */
void stats_schema(FILE *out)
{
    fprintf(out, "rpd-stats\t1\n");
    fprintf(out, "histogram\t%d\t%d\t%zu\t%zu\t%zu\t%zu\n", HISTOGRAM_SUB, HISTOGRAM_BUCKETS,
            offsetof(struct histogram, count), offsetof(struct histogram, sum),
            offsetof(struct histogram, max), offsetof(struct histogram, bucket));
    for (size_t i = 0; i < COUNT(enums); i++) {
        fprintf(out, "enum\t%s", enums[i].name);
        for (const char *const *v = enums[i].values; *v; v++)
            fprintf(out, "\t%s", *v);
        fputc('\n', out);
    }
    for (size_t i = 0; i < COUNT(kinds); i++)
        fprintf(out, "kind\t%s\t%s\t%s\t%zu\t%zu\t%s\n", kinds[i].name, kinds[i].json,
                kinds[i].shape, stats_record_size((enum stats_kind)i, true),
                stats_record_size((enum stats_kind)i, false), kinds[i].help);
    for (size_t i = 0; i < COUNT(fields); i++)
        fprintf(out, "field\t%s\t%s\t%s\t%s\t%zu\t%zu\t%s\n", kinds[fields[i].kind].name,
                fields[i].is_shared ? "shared" : "slot", fields[i].type_name, fields[i].name,
                fields[i].offset, field_size(&fields[i]), fields[i].help);
}

void stats_schema_text(struct strbuf *b)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    assert(f);
    stats_schema(f);
    fclose(f);
    strbuf_add(b, slice_of(text, n));
    free(text);
}

static void put_type(FILE *out, const struct stats_field *f)
{
    const char *name = f->is_enum ? "NAME" : f->type_name;

    for (const char *p = name; *p; p++)
        fputc(tolower((unsigned char)*p), out);
}

/* The names a field may have, after its meaning. */
static void put_names(FILE *out, const struct stats_field *f)
{
    const char *separator = ": ";

    for (size_t i = 0; f->is_enum && i < COUNT(enums); i++) {
        if (strcmp(enums[i].name, f->type_name + strlen(ENUM_PREFIX)) != 0)
            continue;
        for (const char *const *v = enums[i].values; *v; v++, separator = ", ")
            fprintf(out, "%s%s", separator, *v);
    }
}

static void help_kind(FILE *out, size_t kind)
{
    fprintf(out, ".Ss %s\n", kinds[kind].json);
    fprintf(out, "%c%s.\n", toupper((unsigned char)kinds[kind].help[0]), kinds[kind].help + 1);
    fprintf(out, ".Bl -column \"connections_reused\" \"histogram\" \"meaning\" -compact\n");
    fprintf(out, ".It Sy field Ta Sy type Ta Sy meaning\n");
    for (size_t i = 0; i < COUNT(fields); i++) {
        if (fields[i].kind != (enum stats_kind)kind || fields[i].type == STATS_TYPE_KEPT)
            continue;
        fprintf(out, ".It Va %s Ta ", fields[i].name);
        put_type(out, &fields[i]);
        fprintf(out, " Ta %s", fields[i].help);
        put_names(out, &fields[i]);
        fputc('\n', out);
    }
    fprintf(out, ".El\n");
}

void stats_help_mdoc(FILE *out)
{
    for (size_t i = 0; i < COUNT(kinds); i++)
        help_kind(out, i);
}
