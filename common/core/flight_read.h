/* Reading a flight recorder's file, a worker's at work or a dead one's. The file was written by an
 * unprivileged process that may be broken or worse: all of it is checked, nothing in it can make
 * the reader fail, and texts may still hold any byte but NUL. Called by rpctl. */
#ifndef RPD_CORE_FLIGHT_READ_H
#define RPD_CORE_FLIGHT_READ_H

#include "common/base/strbuf.h"
#include "common/base/vec.h"
#include "common/core/flight.h"

struct flight_reason {
    struct slice reason, outcome;
};

/* A copy; what the worker does meanwhile is not in it. */
struct flight_log {
    unsigned worker;
    uint64_t pid, started_us;
    uint64_t died_us;                   /* 0: it has not, as far as is known */
    char died[FLIGHT_DIED_SIZE];
    uint64_t untracked;
    VEC(struct flight_record) open;     /* in progress, by their begin */
    VEC(struct flight_record) ended;    /* in the order in which they did */
    VEC(struct flight_event) events;    /* in order; texts end in NUL */
    VEC(struct flight_reason) reasons;
    char *texts, *names;                /* what slices point into */
    size_t name_size, nnames;
};

/* NULL: `errno`, and why in words (ENOENT; EPROTO when it is no such file, or another layout). */
struct flight_log *flight_log_read(const char *path, struct strbuf *why);
void flight_log_free(struct flight_log **l);
/* Only the header's pid, for the master; 0 when there is none to be had. */
uint64_t flight_log_pid(const char *path);
/* Whether this pid is a worker's of rpd, of that index, at work: known by its title, which neither
 * a zombie nor whoever has got the number since then has. */
bool flight_log_is_alive(uint64_t pid, unsigned worker);

/* `?` for what the file does not know; empty for none. */
struct slice flight_log_name(const struct flight_log *l, uint16_t id);
struct flight_reason flight_log_reason(const struct flight_log *l, const struct flight_record *r);
struct ip flight_log_client(const struct flight_record *r);
/* Of a text field. */
static inline struct slice flight_log_text(const char *text, size_t room)
{
    return slice_of(text, strnlen(text, room));
}

#endif
