/* Streams out of flight recorders: gathered from files, filtered, merged, printed. */
#ifndef RPD_CTL_STREAMS_H
#define RPD_CTL_STREAMS_H

#include "common/base/json.h"
#include "common/base/vec.h"
#include "common/core/flight_read.h"
#include "ctl/ctl.h"
#include "ctl/grid.h"

struct stream_row {
    const struct flight_log *log;
    const struct flight_record *record;
    uint64_t at_us;     /* its end, since 1970; of one in progress its begin */
    uint64_t lasted_us; /* until now, or until the worker died, if it is in progress */
};

/* Of one directory. */
struct streams {
    VEC(struct flight_log *) logs; /* by their worker's begin */
    VEC(struct stream_row) rows;
    bool is_damaged;               /* some file could not be read: said on stderr */
};

struct stream_filter {
    bool is_errors;    /* see stream_is_error */
    const char *route; /* NULL: any */
    size_t most;       /* that have ended, and in progress; 0: any number */
};

/* Reads the files in run_dir named PREFIX.N (`with_old`: and PREFIX.N.old). `only`: that N, or
 * -1 for all. false: no such file. */
bool streams_read(struct streams *s, const char *run_dir, const char *prefix, bool with_old,
                  long only);
void streams_fini(struct streams *s);
/* Adds the log's streams: those that have ended, those in progress, or both. */
void streams_add(struct streams *s, const struct flight_log *l, bool is_open, bool is_ended,
                 uint64_t now_us);
/* Sorts: those that have ended by their end, then those in progress by their begin. Leaves what
 * the filter lets pass. */
void streams_select(struct streams *s, const struct stream_filter *f);

/* A status of 500 or more, or an end that is not ok: a client that left is among them. */
bool stream_is_error(const struct stream_row *r);

void streams_table(struct strbuf *out, const struct streams *s, bool is_colour);
/* An array, key NULL for the outermost. */
void streams_json(struct json *j, const char *key, const struct streams *s);
void streams_csv(struct strbuf *out, const struct streams *s);
/* Year 9999: a damaged file may say what it likes. */
#define STREAM_TIME_MAX_US UINT64_C(253402214400000000)
/* `11-24 20:15:16.123`, local time. Returns buf. */
#define STREAM_TIME_MAX 40
const char *stream_time(char buf[STREAM_TIME_MAX], uint64_t wall_us);
/* Adds a text with what is not printable written as \xNN. */
void stream_put_text(struct strbuf *out, struct slice s);

#endif
