/* Writes JSON (RFC 8259) into a strbuf: commas and escapes are its business. */
#ifndef RPD_BASE_JSON_H
#define RPD_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/strbuf.h"

struct json {
    struct strbuf *out;
    bool need_comma;
};

void json_init(struct json *j, struct strbuf *out);
/* `key` is NULL for an array's element and the outermost value. */
void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_array(struct json *j, const char *key);
void json_array_end(struct json *j);
void json_str(struct json *j, const char *key, struct slice value);
void json_u64(struct json *j, const char *key, uint64_t value);
void json_i64(struct json *j, const char *key, int64_t value);
/* Six significant decimals, no exponent, "0" for NaN. */
void json_double(struct json *j, const char *key, double value);
void json_bool(struct json *j, const char *key, bool value);
void json_null(struct json *j, const char *key);

/* Bytes of a JSON string, without quotes: control characters, quote and backslash escaped,
 * bytes that are not UTF-8 as \u00XX. Writes at most cap bytes; returns the count, or 0 if the
 * whole does not fit. Used by the access log. */
size_t json_escape(char *dst, size_t cap, struct slice s);

#endif
