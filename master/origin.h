/* Where the configuration in force came from, for `rpctl config`. */
#ifndef RPD_MASTER_ORIGIN_H
#define RPD_MASTER_ORIGIN_H

#include <stdint.h>
#include <sys/types.h>
#include "common/base/clock.h"
#include "common/base/strbuf.h"

struct master;

struct origin {
    char *file;        /* it was read from */
    uint64_t at_us;    /* since 1970; 0: not set */
    struct strbuf how; /* `reload by uid 0` */
};

void origin_init(struct origin *o);
void origin_fini(struct origin *o);
/* From now on. `file` is copied; NULL: as before. */
void origin_set(struct origin *o, const char *file, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* More of its story: `, confirmed by uid 0`. */
void origin_add(struct origin *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* `uid 0`, or `a signal` for (uid_t)-1. */
const char *origin_who(uid_t uid, char buf[32]);
/* Local time as text; its result is `buf`. */
const char *origin_when(uint64_t wall_us, char buf[CLOCK_TEXT_MAX]);
/* The lines of comment at the head of `rpctl config`. */
void origin_print(const struct master *m, struct strbuf *out);

#endif
