/* The limits' memory, run_dir/limits: one sparse file that the master makes, every process of rpd
 * has mapped, and rpctl reads without anybody's help. It is a file, not a record of the statistics
 * segment, because its tables are preallocated, go on over upgrades in which a new segment is made,
 * and show clients' keys: only the daemon's user may read it (0600).
 *
 *   0         struct limits_header
 *   4 KiB     struct limits_entry each: whose table is where
 *   512 KiB   whose each journal is: a process id, or 0
 *   1 MiB     journals of what processes hold, by whoever claims one
 *   2 GiB     tables
 *
 * A table is found by its limit's name, key and size: a change of one of these begins anew, one
 * of rate, burst or anything else does not. That of a limit that has gone serves another one of the
 * same size, once two configurations in a row do without it. Times are of the monotonic clock: a
 * file of another boot is not gone on with. */
#ifndef RPD_CORE_LIMITS_H
#define RPD_CORE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "common/core/conf.h"
#include "common/core/limit_table.h"
#include "common/core/stats.h"

#define LIMITS_ENTRIES_MAX 1024
#define LIMITS_KEYS_MAX 8388608

struct limits_header {
    char magic[8];
    uint32_t layout, byte_order;
    uint64_t boot;        /* which one, hashed */
    uint64_t entries_at, entry_size, journals_at, journal_size, tables_at;
    uint64_t count;       /* of entries; written with release after the entry */
    uint64_t end;         /* of the tables so far */
};

struct limits_entry {
    char name[STATS_NAME_MAX];
    uint64_t key;         /* its template, hashed */
    uint64_t offset, sets;
    uint64_t seed[2];
    uint64_t is_used;     /* by the configuration in force */
    /* For who reads: as that has it. */
    uint64_t interval_ns, burst, max_conns;
    uint64_t reserved[11];
    struct limit_totals totals; /* on a line that is written often */
    uint64_t reserved_too[7];
};

struct limits;

/* The master: a new file in place of what is there; `path` NULL: one that nobody finds. NULL with
 * errno. */
struct limits *limits_create(const char *path);
/* That of a predecessor; takes `fd` over. NULL with errno, EPROTO: it is of another layout or
 * boot. */
struct limits *limits_adopt(int fd);
/* rpctl: read-only. NULL with errno, as above. */
struct limits *limits_open(const char *path);
/* Unmaps; the file stays. */
void limits_close(struct limits **l);
/* The maker's descriptor. */
int limits_fd(const struct limits *l);

/* The master, before it hands `conf` to workers: each of its limits has a table afterwards. `old`
 * is what workers have until then, or NULL. `is_trial`: it may come to nothing. l may be NULL.
 * false: reported. */
bool limits_apply(struct limits *l, const struct conf *conf, const struct conf *old, bool is_trial,
                  struct report *report);
/* The master: gives back what is held by `pid`, which has died, and by any that are no more;
 * l may be NULL. */
void limits_died(struct limits *l, pid_t pid);

/* A worker, once: what it holds from now on is given back if it dies. l may be NULL. */
void limits_join(struct limits *l);
/* The limit's table; false: it has none. */
bool limits_find(struct limits *l, const struct conf_limit *limit, struct limit_table *t);

/* rpctl: the entries, of which some are not in use. */
size_t limits_count(const struct limits *l);
const struct limits_entry *limits_at(const struct limits *l, size_t i);
/* Its sets, in read-only memory; NULL: they are not within the file. */
const struct limit_set *limits_sets(const struct limits *l, const struct limits_entry *e);

#endif
