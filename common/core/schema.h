/* What a segment holds, as its own schema text says: a reader of another build knows no struct of
 * its writer. */
#ifndef RPD_CORE_SCHEMA_H
#define RPD_CORE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/vec.h"

enum field_type {
    FIELD_COUNTER,
    FIELD_ERRORS,
    FIELD_GAUGE,
    FIELD_SECONDS,
    FIELD_TIME,
    FIELD_UNTIL,
    FIELD_DURATION,
    FIELD_PERCENT,
    FIELD_KEPT,
    FIELD_NUMBER,
    FIELD_TEXT,
    FIELD_HISTOGRAM,
    FIELD_ENUM,
};

/* Kinds of a shape that this rpctl does not know are read as named ones. */
enum kind_shape { SHAPE_NAMED, SHAPE_SINGLE, SHAPE_SLOTS, SHAPE_NESTED };

struct enumeration {
    const char *name;
    VEC(const char *) values;
};

struct field {
    const char *name;
    const char *help;
    enum field_type type;
    bool is_shared;
    size_t offset, size; /* in its record */
    size_t values;       /* FIELD_ENUM: index in schema.enums */
};

struct kind {
    const char *name; /* "route" */
    const char *json; /* "routes" */
    const char *help;
    enum kind_shape shape;
    size_t parent;    /* SHAPE_NESTED: index in schema.kinds */
    bool is_member;   /* of those: in JSON its objects are members of their parent */
    bool is_log;      /* of those: shown by a command of its own */
    size_t shared_size, slot_size;
    VEC(struct field) fields;
};

struct schema {
    char *text; /* cut into the strings above */
    VEC(struct enumeration) enums;
    VEC(struct kind) kinds;
    /* Histograms: offsets in their field. */
    unsigned sub, buckets;
    size_t count_at, sum_at, max_at, bucket_at;
};

/* Takes `n` bytes of schema text apart; false when it makes no sense (the schema is then empty).
 * Lines and field types it does not know are left out: they are a newer rpd's. */
bool schema_parse(struct schema *s, const char *text, size_t n);
void schema_fini(struct schema *s);

/* NULL when there is none. */
const struct field *kind_field(const struct kind *k, const char *name);
/* By singular or plural; NULL when there is none. */
const struct kind *schema_kind(const struct schema *s, const char *name);
/* "?" for a value without a name. */
const char *schema_value_name(const struct schema *s, const struct field *f, uint64_t value);
/* Not for rpd's own use alone. */
static inline bool field_is_shown(const struct field *f)
{
    return f->type != FIELD_KEPT;
}
/* Never falls: COUNTER, ERRORS, SECONDS. */
bool field_is_counter(const struct field *f);

#endif
