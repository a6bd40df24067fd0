/* Regular expressions (PCRE2, bytes not UTF-8), whose work per match is bounded whatever the
 * pattern and the subject: a match that would take more ends as REGEX_LIMIT. Compiled when a
 * configuration is read and when a generation is built; matched in workers.
 *
 * A regex is immutable. What a match works in, a regex_room, is one per process for all of them, so
 * that no match takes memory once the room has what it needs. */
#ifndef RPD_BASE_REGEX_H
#define RPD_BASE_REGEX_H

#include <stddef.h>
#include "common/base/slice.h"

struct regex;
struct regex_room;

/* Options of regex_new. */
#define REGEX_CASELESS 1u    /* ASCII letters */
#define REGEX_INTERPRETED 2u /* without machine code: for what is only checked or matched once */

/* The whole match and the groups $1 to $9. A pattern may have more groups: those have no slice. */
#define REGEX_CAPTURES 10

/* A text is where the subject is. p NULL: the group took no part in the match, or there is none. */
struct regex_captures { struct slice v[REGEX_CAPTURES]; };

struct regex_error {
    char text[160]; /* PCRE2's words: "missing closing parenthesis" */
    size_t at;      /* offset into the pattern */
};

enum regex_result {
    REGEX_MATCH,
    REGEX_NO_MATCH,
    REGEX_LIMIT, /* given up: too much work or memory */
};

/* NULL when the pattern is none; *error says why. `\C` and verbs that turn UTF on are refused;
 * verbs can lower the limits only. `$` is the very end. Machine code is made where it may be. */
struct regex *regex_new(struct slice pattern, unsigned options, struct regex_error *error)
    __attribute__((warn_unused_result));
/* How many groups the pattern has. */
unsigned regex_groups(const struct regex *re);
void regex_free(struct regex **re);

struct regex_room *regex_room_new(void);
void regex_room_free(struct regex_room **room);

/* Anywhere in the subject, unless the pattern says `^`. captures may be NULL; it is written to for
 * REGEX_MATCH only. */
enum regex_result regex_match(const struct regex *re, struct regex_room *room,
                              struct slice subject, struct regex_captures *captures)
    __attribute__((warn_unused_result));

#endif
