/* Findings about a configuration, in the order they were made: all of them reach the user. */
#ifndef RPD_CORE_REPORT_H
#define RPD_CORE_REPORT_H

#include <stdio.h>
#include "common/base/strbuf.h"

struct report {
    struct strbuf text; /* lines `FILE:LINE: [section] key: ...`; warnings carry `warning: ` */
    unsigned errors, warnings;
};

/* Where in the files a finding is. */
struct report_place {
    const char *file;
    unsigned line;     /* 0: no place; the file is left out */
    const char *chain; /* ", included from a.ini:3" or "" or NULL; ends the line */
};

void report_init(struct report *r);
void report_fini(struct report *r);
/* One line each; the newline is added. A warning without a place begins with `warning: `. */
void report_error(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void report_warning(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* `FILE:LINE: text, included from ...`, with `warning: ` after the place. */
void report_error_at(struct report *r, struct report_place at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void report_warning_at(struct report *r, struct report_place at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The closest of n names by edit distance if it is close enough to be meant, else NULL. */
const char *report_suggest(const char *wrong, const char *const *names, size_t n);

#endif
