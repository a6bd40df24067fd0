/* The flight recorder, run_dir/flight.N: what worker N did last, in memory that outlives it. The
 * master makes the file and maps it before it forks; the worker writes; rpctl reads, at any time
 * and after a crash (flight_read.h). One writer, plain stores, no lock, no system call.
 *
 *   [header][texts][names][ring of events][records of streams]
 *
 * A stream has one record for its whole life: taken at its head, filled where it lies, and kept
 * until FLIGHT_FINISHED others have ended after it. Which records are in use, and in which order
 * they ended, is known to the writer alone; a reader sees it from their states and numbers. */
#ifndef RPD_CORE_FLIGHT_H
#define RPD_CORE_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/addr.h"
#include "common/base/hash.h"
#include "common/base/slice.h"

#define FLIGHT_MAGIC "rpdflght"
/* Another number: another layout. What is only added at the end of a record is no other layout. */
#define FLIGHT_LAYOUT 1
#define FLIGHT_BYTE_ORDER UINT32_C(0x01020304)

#define FLIGHT_FINISHED 1024 /* the last so many are kept */
#define FLIGHT_OPEN 1024     /* so many in progress are recorded; a further one only at its end */
#define FLIGHT_RECORDS (FLIGHT_FINISHED + FLIGHT_OPEN)
#define FLIGHT_EVENTS 128
#define FLIGHT_NAMES 4096    /* of listeners, routes, backends, servers, ever */
#define FLIGHT_NAME_SIZE 128
#define FLIGHT_DIED_SIZE 64
#define FLIGHT_NONE UINT64_MAX /* a time that has not come */

struct flight_header {
    char magic[8];
    uint32_t layout, byte_order;
    uint32_t texts_at, texts_max;
    uint32_t names_at, name_size, names_max;
    uint32_t events_at, event_size, events_max;
    uint32_t records_at, record_size, records_max, finished_max;
    uint32_t worker;           /* its index */
    uint32_t reserved;
    uint64_t pid, started_us;
    /* The master's, when the worker has crashed. */
    uint64_t died_us;
    char died[FLIGHT_DIED_SIZE];
    char reserved_too[32];
    /* The worker's; what changes now and then. */
    uint64_t texts;            /* bytes: lines of `end reason TAB outcome`, in their order */
    uint64_t names;            /* in use; 0 is no name */
    uint64_t records;          /* ever used: those after are holes in the file */
    uint64_t events;           /* ever written */
    uint64_t untracked;        /* streams that had no record while in progress */
};

enum flight_kind { FLIGHT_HTTP, FLIGHT_TCP };
enum flight_state { FLIGHT_FREE, FLIGHT_IN_PROGRESS, FLIGHT_ENDED };
#define FLIGHT_REUSED 1u /* flag: a kept connection to the server */

/* Texts end in NUL or with their room. Times are microseconds. */
struct flight_record {
    uint32_t seq;              /* odd while it is being written */
    uint8_t kind, state;
    uint8_t end;               /* line of the texts */
    uint8_t flags;
    uint64_t number;           /* 1, 2, ... in the order in which they ended */
    uint64_t began_us;         /* since 1970 */
    uint64_t total_us;
    uint64_t bytes_in, bytes_out;
    uint64_t head_us;          /* until the head was there; http */
    uint64_t wait_us;          /* then until a connection to the server was: queue, connect */
    uint64_t response_us;      /* then until the response's head; http */
    uint16_t status;
    uint16_t retries;
    uint16_t listener, route, backend, server; /* names */
    uint16_t port;             /* the client's */
    uint8_t family;            /* AF_INET, AF_INET6, AF_UNIX */
    uint8_t reserved;
    uint8_t ip[16];            /* as struct ip has it */
    char request_id[32];
    char method[16];
    char path[104];            /* query too; tcp: the name asked for in TLS */
};

struct flight_event {
    uint32_t seq, reserved;
    uint64_t number;           /* 1, 2, ... */
    uint64_t at_us;            /* since 1970 */
    char text[168];
};

/* Bytes of the file. */
size_t flight_size(void);
/* The master: makes the header of a file that is nothing else but a hole of that size. */
void flight_format(struct flight_header *h, unsigned worker, uint64_t now_us);

/* The writer's own; zeroed: it records nothing. */
struct flight {
    struct flight_header *head;
    struct flight_record *records;
    uint64_t wall_us;          /* since 1970, when the loop's clock was 0 */
    uint64_t finished, oldest; /* those that ended in between are kept */
    uint32_t used, backed;     /* records; behind so many there is memory */
    bool is_short;             /* there was none for more */
    uint32_t nfree;
    uint16_t free[FLIGHT_RECORDS];
    uint16_t ring[FLIGHT_FINISHED]; /* [oldest, finished) */
    struct smap names;
};

/* Takes the master's memory (formatted; may be NULL) into use; it stays the caller's. If the file
 * system has no room for what is needed at least, nothing is recorded. */
void flight_open(struct flight *f, void *base);
void flight_close(struct flight *f);
/* Now and then, for the two clocks drift. */
void flight_clock(struct flight *f);
/* One line of the texts, in the order of the reasons; `outcome` is ok, client, request or
 * failure. */
void flight_reason(struct flight *f, const char *reason, const char *outcome);
/* The number of a name: the same for the same name. 0 when nothing is recorded, or f is NULL. Not
 * for the hot path. */
uint16_t flight_name(struct flight *f, const char *name);
/* A line in the ring of events; cut. Not for the hot path. */
void flight_event(struct flight *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A record for a stream that has begun; NULL: none is left, or nothing is recorded. It is being
 * written from then on, until flight_written. Everything in it is as it was left. */
struct flight_record *flight_take(struct flight *f);
/* For one that had none, at its end: the oldest of those that ended is given up, if need be. */
struct flight_record *flight_take_at_end(struct flight *f);

/* Its writer's brackets: a reader that meets it in between does not take it. Single values of a
 * stream in progress may be set by flight_set* outside of them. */
static inline void flight_write(struct flight_record *r)
{
    __atomic_store_n(&r->seq, r->seq | 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}
static inline void flight_written(struct flight_record *r)
{
    __atomic_store_n(&r->seq, r->seq + 1, __ATOMIC_RELEASE);
}
static inline void flight_set(uint64_t *field, uint64_t value)
{
    __atomic_store_n(field, value, __ATOMIC_RELAXED);
}
static inline void flight_set16(uint16_t *field, unsigned value)
{
    __atomic_store_n(field, (uint16_t)value, __ATOMIC_RELAXED);
}

/* A text as it is kept. */
static inline void flight_text(char *to, size_t room, struct slice s)
{
    if (s.n >= room) {
        memcpy(to, s.p, room);
        return;
    }
    *slice_put(to, s) = '\0';
}

/* It has ended: it is one of the last from now on. Between flight_write and flight_written. */
void flight_finish(struct flight *f, struct flight_record *r);

#endif
