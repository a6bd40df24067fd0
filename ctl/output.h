/* The forms a model is printed in. Each prints what model_select left shown. */
#ifndef RPD_CTL_OUTPUT_H
#define RPD_CTL_OUTPUT_H

#include <stdbool.h>
#include "common/base/json.h"
#include "common/base/strbuf.h"
#include "ctl/model.h"

/* One object on one line. With only, a kind, all else is left out; without, a kind without
 * objects is an empty object. */
void json_model(struct strbuf *out, const struct model *m, const struct kind *only);
/* The members of one row, for other commands' JSON: without children. */
void json_row_field(struct json *j, const struct model *m, const struct row *r,
                    const struct field *f);

/* A header line (unless !with_header) of `kind`, `name` and each field that a shown kind has, then
 * a line for each row; RFC 4180 quoting. with_time puts the reading's time in front. */
void csv_model(struct strbuf *out, const struct model *m, const struct kind *only,
               bool with_header, bool with_time);
/* One value with quotes where it needs them. */
void csv_value(struct strbuf *out, struct slice s);

/* The text format, version 0.0.4. */
void prometheus_model(struct strbuf *out, const struct model *m, const struct kind *only);

/* A table for each kind. `before` NULL: totals and rates since the start; else rates since. */
void table_model(struct strbuf *out, const struct model *m, const struct model *before,
                 const struct kind *only, bool is_colour);

#endif
