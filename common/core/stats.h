/* The statistics segment, run_dir/stats: a file of shared memory that the master makes, workers
 * write and rpctl reads, each without the others' help.
 *
 *   [header][schema text][directory of objects][shared parts and slots of the objects ...]
 *
 * An object is a kind and a name (a server's is "backend/server"). It has one slot record per
 * worker index, segment_stride() apart, each on cache lines of its own and with a single writer:
 * plain relaxed stores, no lock, no read-modify-write. The directory only grows; the mapping
 * reserves address space for SEGMENT_MAX bytes, so pointers into it stay valid while the file
 * grows. Objects keep their place by name for the segment's life. */
#ifndef RPD_CORE_STATS_H
#define RPD_CORE_STATS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "common/base/slice.h"

#define STATS_WORKERS_MAX 256 /* worker indexes */
#define STATS_SLOTS_MAX 512   /* slots of an object: workers', and those of processes of before */
#define STATS_TEXT_MAX 128
#define STATS_NAME_MAX 160    /* an object's name, NUL included */

/* Log-linear: 16 buckets an octave, so a bucket's middle is within 3.2 % of its values. Values
 * below 16 us are exact; those at 2^32 us (71 minutes) and more share the last bucket. */
#define HISTOGRAM_BUCKETS 464
struct histogram {
    uint64_t count;
    uint64_t sum; /* of the values */
    uint64_t max;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

/* ---- records: struct stats_listener (a slot) and struct stats_server_shared, ... ---- */

#define ENUM(name, ...)
#define STATS_C_COUNTER(f) uint64_t f;
#define STATS_C_ERRORS(f) uint64_t f;
#define STATS_C_GAUGE(f) uint64_t f;
#define STATS_C_SECONDS(f) uint64_t f;
#define STATS_C_TIME(f) uint64_t f;
#define STATS_C_UNTIL(f) uint64_t f;
#define STATS_C_DURATION(f) uint64_t f;
#define STATS_C_PERCENT(f) uint64_t f;
#define STATS_C_KEPT(f) uint64_t f;
#define STATS_C_NUMBER(f) uint64_t f;
#define STATS_C_TEXT(f) char f[STATS_TEXT_MAX];
#define STATS_C_HISTOGRAM(f) struct histogram f;
#define STATS_C_ENUM_worker_state(f) uint64_t f;
#define STATS_C_ENUM_server_state(f) uint64_t f;
#define STATS_C_ENUM_server_admin(f) uint64_t f;
#define STATS_C_ENUM_server_why(f) uint64_t f;
#define STATS_C_ENUM_check_result(f) uint64_t f;
#define STATS_C_ENUM_server_error(f) uint64_t f;
#define STATS_C_ENUM_canary_state(f) uint64_t f;
#define STATS_C_ENUM_canary_event(f) uint64_t f;
#include "common/core/stats_records.inc"

enum stats_kind {
#define KIND(kind, json, SHAPE, help) STATS_##kind,
#define SLOT(kind, field, TYPE, help)
#define SHARED(kind, field, TYPE, help)
#include "common/core/stats.def"
#undef KIND
#undef SLOT
#undef SHARED
    STATS_KINDS,
};
#undef ENUM

enum { WORKER_GONE, WORKER_STARTING, WORKER_RUNNING, WORKER_RETIRING };
enum server_state { SERVER_UNCHECKED, SERVER_UP, SERVER_DOWN, SERVER_STARTING, SERVER_EJECTED };
enum server_why { SERVER_WHY_CONFIGURED, SERVER_WHY_CHECKS_PASSED, SERVER_WHY_CHECKS_FAILED,
       SERVER_WHY_FAILURES, SERVER_WHY_OUTLIER, SERVER_WHY_EJECTION_OVER,
       SERVER_WHY_SLOW_START_OVER, SERVER_WHY_NO_NAME, SERVER_WHY_NAME, SERVER_WHY_NO_CHECK };
enum check_result { CHECK_NONE, CHECK_PASSED, CHECK_REFUSED, CHECK_TIMEOUT, CHECK_CONNECT,
       CHECK_TLS, CHECK_CLOSED, CHECK_BAD_ANSWER, CHECK_STATUS, CHECK_BODY };
enum canary_state { CANARY_WAITING, CANARY_RUNNING, CANARY_PAUSED, CANARY_PROMOTED,
       CANARY_ROLLED_BACK };
enum canary_event { CANARY_NOTHING, CANARY_START, CANARY_STEP, CANARY_PAUSE, CANARY_RESUME,
       CANARY_WEIGHT, CANARY_PROMOTE, CANARY_ROLLBACK, CANARY_WAIT };
enum { ADMIN_READY, ADMIN_DRAIN, ADMIN_DOWN };
enum server_error { SERVER_ERROR_NONE, SERVER_ERROR_REFUSED, SERVER_ERROR_CONNECT_TIMEOUT,
       SERVER_ERROR_CONNECT, SERVER_ERROR_RESPONSE_TIMEOUT, SERVER_ERROR_CLOSED,
       SERVER_ERROR_RESET, SERVER_ERROR_BAD_RESPONSE, SERVER_ERROR_UNRESOLVED,
       SERVER_ERROR_TRUNCATED, SERVER_ERROR_TLS, SERVER_ERROR_TLS_REFUSED,
       SERVER_ERROR_CERT_EXPIRED, SERVER_ERROR_CERT_NAME, SERVER_ERROR_CERT_UNTRUSTED,
       SERVER_ERROR_CERT_REFUSED };

/* ---- writing (the slot's owner) ---- */

static inline void stat_set(uint64_t *field, uint64_t value)
{
    __atomic_store_n(field, value, __ATOMIC_RELAXED);
}
static inline uint64_t stat_get(const uint64_t *field)
{
    return __atomic_load_n(field, __ATOMIC_RELAXED);
}
static inline void stat_add(uint64_t *field, uint64_t n)
{
    stat_set(field, *field + n);
}
static inline void stat_inc(uint64_t *field)
{
    stat_add(field, 1);
}
/* Gauges only. */
static inline void stat_dec(uint64_t *field)
{
    stat_set(field, *field - 1);
}
/* A number that says: look again, what stands beside it has changed. Any of its writers adds after
 * its other writes; who sees another number than before sees those too. */
static inline void stat_publish(uint64_t *changes)
{
    (void)__atomic_fetch_add(changes, 1, __ATOMIC_ACQ_REL);
}
static inline bool stat_is_changed(const uint64_t *changes, uint64_t *seen)
{
    uint64_t now = stat_get(changes);

    if (__builtin_expect(now == *seen, 1))
        return false;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    *seen = now;
    return true;
}
/* Index of the bucket that counts `us`. */
unsigned histogram_bucket(uint64_t us);
/* Smallest value of a bucket, and its width. */
uint64_t histogram_low(unsigned bucket, uint64_t *width);
void histogram_add(struct histogram *h, uint64_t us);
/* The value below which the share q (0..1) lies, within 5 %; 0 for an empty one. */
double histogram_quantile(const struct histogram *h, double q);

/* The name of a value of an enum of stats.def ("server_state"); "?" for what has none. Static. */
const char *stats_value_name(const char *enumeration, uint64_t value);

/* ---- the segment ---- */

struct segment;

/* The master: makes a new segment under a temporary name and renames it to `path` (0644), with
 * the objects "rpd" and "worker". NULL with errno. */
struct segment *segment_create(const char *path);
/* The same in two steps: under the temporary name, and the rename (0, or -1 with errno). */
struct segment *segment_prepare(const char *path);
int segment_publish(const char *path);
/* rpctl: maps read-only what is there. NULL with errno: ENOENT, EPROTO when it is no segment or
 * of a layout this reader does not know. */
struct segment *segment_open(const char *path);
/* The maker's descriptor of it. */
int segment_fd(const struct segment *seg);
/* Unmaps; the file stays. */
void segment_close(struct segment **seg);

/* The master, before it hands a generation out: finds or makes the object; -1 with errno (ENOSPC
 * at the limit of objects, ENAMETOOLONG). Marks it in use. */
int segment_add(struct segment *seg, enum stats_kind kind, const char *name);
/* The master, after a reload: marks the objects that segment_mark_begin and segment_add since did
 * not touch as unused: readers skip them, their counts stay for when the name comes back. */
void segment_mark_begin(struct segment *seg);
void segment_mark_end(struct segment *seg);
/* The master: marks this one as unused, if it is there. */
void segment_drop(struct segment *seg, enum stats_kind kind, const char *name);
/* The master, when a worker died: zero its gauges, state and pid in every object. */
void segment_worker_died(struct segment *seg, unsigned slot);

/* Workers: the object's record for `slot`, or its shared part; NULL when there is no such object.
 * Looked up once a generation (hashed), then kept. Typed by the wrappers below. */
void *segment_slot(struct segment *seg, enum stats_kind kind, const char *name, unsigned slot);
void *segment_shared(struct segment *seg, enum stats_kind kind, const char *name);

/* For who only reads: NULL also where nobody has written yet (to look would take memory). */
const void *segment_peek(struct segment *seg, enum stats_kind kind, const char *name,
                         unsigned slot);

#define STATS_SLOT(seg, kind, name, slot) \
    ((struct stats_##kind *)segment_slot((seg), STATS_##kind, (name), (slot)))
#define STATS_SHARED(seg, kind, name) \
    ((struct stats_##kind##_shared *)segment_shared((seg), STATS_##kind, (name)))

/* Bytes from one slot's record of this object to the next: lets a worker sum a gauge over all. */
size_t segment_stride(enum stats_kind kind);
/* 1 + the highest slot ever used: how far sums need to go. Workers' slots are marked by the
 * master with segment_use_slots before they are forked. */
unsigned segment_slots(const struct segment *seg);
void segment_use_slots(struct segment *seg, unsigned n);

/* The tables as text: the schema of the segment, and rpd-stats(7)'s mdoc table. */
void stats_schema(FILE *out);
void stats_help_mdoc(FILE *out);

#endif
