/* The hand-off record: what one master leaves to the next, as text, so that builds of any age read
 * each other's. One line a thing, its kind and then `key=value` words, tabs between:
 *
 *   rpd-handoff
 *   socket  fd=9  slot=0  key=127.0.0.1:80
 *   worker  pid=4711  index=0  fd=12
 *
 * Kinds and keys that a reader does not know are left out. Values hold any byte. */
#ifndef RPD_CORE_HANDOFF_H
#define RPD_CORE_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/strbuf.h"

void handoff_begin(struct strbuf *out);
/* A line: its kind, then its words, then handoff_end. */
void handoff_kind(struct strbuf *out, const char *kind);
void handoff_number(struct strbuf *out, const char *key, uint64_t value);
void handoff_text(struct strbuf *out, const char *key, struct slice value);
void handoff_end(struct strbuf *out);

/* Whether *text begins as such a record; the line that says so goes. */
bool handoff_is_one(struct slice *text);
/* The next line; false at the end. */
bool handoff_next(struct slice *text, struct slice *kind, struct slice *words);
/* A word of a line; false (and *value is untouched) when it is not there, or no number. */
bool handoff_get(struct slice words, const char *key, uint64_t *value);
/* The same, appended. */
bool handoff_get_text(struct slice words, const char *key, struct strbuf *value);

#endif
