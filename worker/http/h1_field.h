/* One field line of HTTP/1, in a head or a trailer section (RFC 9112 5). */
#ifndef RPD_HTTP_H1_FIELD_H
#define RPD_HTTP_H1_FIELD_H

#include "worker/http/head.h"

/* Reads the line at p, whose CRLF lies before `end`. Fills name, value (trimmed), id and is_line;
 * returns where the next line begins, NULL for what is no field line: no colon, a name that is no
 * token, control bytes in the value, a line that another end than CRLF cuts. */
const char *h1_field_read(const char *p, const char *end, struct field *f)
    __attribute__((warn_unused_result));

/* The first byte at or behind p that no field value and no reason phrase may hold: a control byte
 * but HTAB (RFC 9110 5.5). `end` if there is none. */
const char *h1_text_end(const char *p, const char *end);

#endif
