/* stats.def as a table at run time, for the segment and the manual. Readers of other builds know
 * it only as the schema text. */
#ifndef RPD_CORE_STATS_SCHEMA_H
#define RPD_CORE_STATS_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include "common/base/strbuf.h"
#include "common/core/stats.h"

enum stats_type {
    STATS_TYPE_COUNTER,
    STATS_TYPE_ERRORS,
    STATS_TYPE_GAUGE,
    STATS_TYPE_SECONDS,
    STATS_TYPE_TIME,
    STATS_TYPE_UNTIL,
    STATS_TYPE_DURATION,
    STATS_TYPE_PERCENT,
    STATS_TYPE_KEPT,
    STATS_TYPE_NUMBER,
    STATS_TYPE_TEXT,
    STATS_TYPE_HISTOGRAM,
    /* From here on: STATS_TYPE_ENUM_server_state, ... */
    STATS_TYPES_PLAIN,
};

struct stats_field {
    enum stats_kind kind;
    bool is_shared;
    bool is_enum;
    enum stats_type type; /* of an enum: STATS_TYPES_PLAIN */
    const char *type_name; /* as in stats.def */
    const char *name;
    size_t offset;         /* in its record */
    const char *help;
};

/* All fields, kinds together and in the table's order. */
const struct stats_field *stats_fields(size_t *n);
/* Bytes a kind's shared part or slot record takes, on cache lines of its own; 0: it has none. */
size_t stats_record_size(enum stats_kind kind, bool is_shared);

/* stats_schema() of stats.h, appended. */
void stats_schema_text(struct strbuf *b);

#endif
