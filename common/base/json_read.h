/* Reads JSON (RFC 8259) that strangers send: strict, bounded, without memory of its own. A text is
 * checked as a whole first; what it holds is then walked over by slices of it. */
#ifndef RPD_BASE_JSON_READ_H
#define RPD_BASE_JSON_READ_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/slice.h"

#define JSON_DEPTH_MAX 16 /* arrays and objects within each other */

enum json_kind {
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

struct json_value {
    enum json_kind kind;
    struct slice text; /* as it stands: an object or array with its brackets, a string without its
                        * quotes and with its escapes, a number */
};

/* The text is one value, and nothing but spaces around it. Strings are UTF-8 (also in escapes: no
 * lone surrogates). Names that come twice in one object are its caller's to find. */
bool json_read(struct slice text, struct json_value *out) __attribute__((warn_unused_result));

/* The members of an object, the items of an array, one after another: *rest is first the value's
 * text, and then what is left. Only of values that json_read has read, or that lie in them. */
bool json_next_member(struct slice *rest, struct slice *name, struct json_value *value);
bool json_next_item(struct slice *rest, struct json_value *value);

/* A string's text (or a name) without its escapes; returns how many bytes were written to `out`,
 * which has room for text.n. */
size_t json_unescape(struct slice text, char *out);
/* The same bytes as this name, escapes or not. */
bool json_name_is(struct slice name, struct slice expected);
/* A number's whole part, towards zero. false: it is none, or does not fit. An exponent is none. */
bool json_whole(const struct json_value *value, int64_t *out) __attribute__((warn_unused_result));

#endif
