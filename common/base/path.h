/* The normal form of a request's path, in which paths are compared and sent on: escapes of
 * unreserved characters decoded (RFC 3986 2.3), those that stay in upper case, dot segments
 * removed (5.2.4), slashes merged. An escaped slash is no separator, and stays escaped. What leads
 * above the root is refused, and so is every `..` that only some servers would read as one: who may
 * is decided by this form, and would be decided of another path than theirs. Pure; called for every
 * request. */
#ifndef RPD_BASE_PATH_H
#define RPD_BASE_PATH_H

#include "common/base/slice.h"

enum path_verdict {
    PATH_GOOD,
    PATH_BAD_ESCAPE, /* `%` without two hexadecimal digits */
    PATH_NUL,
    PATH_CLIMBS,     /* above its root */
    PATH_HIDES,      /* a `..` that only some readers see: behind an escaped slash, a backslash, or
                      * before parameters */
};

/* Finds where the path of a target ends: at its query, or its end. true: it is in its normal form.
 * false: ask path_normalise. */
bool path_scan(struct slice target, size_t *end);

/* `path` begins with `/`. Its normal form, which has no more bytes, goes to `out`; *n: how many.
 * Unless the verdict is good, out and *n mean nothing. */
enum path_verdict path_normalise(struct slice path, char *out, size_t *n)
    __attribute__((warn_unused_result));

/* What is wrong, for messages; "" for PATH_GOOD. */
const char *path_verdict_text(enum path_verdict v);

#endif
