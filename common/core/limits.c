/* The limits' memory: limits.h. The master makes and grows it; workers find their tables in the
 * mapping that they inherited. Blocks only in the master, where files do. */
#include "common/core/limits.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

#define MAGIC "rpdlimit"
#define LAYOUT 1
#define BYTE_ORDER_MARK UINT32_C(0x01020304)
#define KIB ((uint64_t)1024)
#define MIB (KIB * KIB)
#define ENTRIES_AT (4 * KIB)
#define OWNERS_AT (512 * KIB)
#define JOURNALS_AT MIB
#define JOURNAL_SIZE (2 * MIB)
#define JOURNALS STATS_SLOTS_MAX
#define TABLES_AT (2 * KIB * MIB)
#define PLACES ((JOURNAL_SIZE - sizeof(struct limit_journal)) / sizeof(uint64_t))
/* Address space reserved; where that much is not to be had, less. */
#define RESERVED_MAX (64 * KIB * MIB)
#define RESERVED_MIN (4 * KIB * MIB)
#define MODE 0600

static_assert(sizeof(struct limits_header) <= ENTRIES_AT, "header before entries");
static_assert(sizeof(struct limits_entry) % 64 == 0, "whole cache lines");
static_assert(offsetof(struct limits_entry, totals) % 64 == 0, "on a line of its own");
static_assert(ENTRIES_AT + LIMITS_ENTRIES_MAX * sizeof(struct limits_entry) <= OWNERS_AT,
              "entries before owners");
static_assert(OWNERS_AT + JOURNALS * sizeof(uint64_t) <= JOURNALS_AT, "owners before journals");
static_assert(JOURNALS_AT + JOURNALS * JOURNAL_SIZE <= TABLES_AT, "journals before tables");

struct limits {
    unsigned char *base;
    uint64_t mapped;
    struct limits_header *head;
    struct limit_journal *journal; /* this process's */
    pid_t maker;                   /* only it closes the descriptor */
    int fd;
};

/* ---- the file ---- */

static struct limits *alloc(int fd)
{
    struct limits *l = xcalloc(1, sizeof *l);

    l->fd = fd;
    l->maker = getpid();
    return l;
}

void limits_close(struct limits **lp)
{
    struct limits *l = *lp;
    int err = errno;

    *lp = NULL;
    if (!l)
        return;
    if (l->base)
        (void)munmap(l->base, l->mapped);
    if (l->maker == getpid())
        fd_close(&l->fd);
    free(l);
    errno = err;
}

int limits_fd(const struct limits *l)
{
    return l->fd;
}

static int map(struct limits *l, uint64_t most, uint64_t least, int protection)
{
    for (uint64_t n = most; n >= least; n /= 2) {
        void *p = mmap(NULL, n, protection, MAP_SHARED | MAP_NORESERVE, l->fd, 0);

        if (p == MAP_FAILED)
            continue;
        l->base = p;
        l->mapped = n;
        l->head = p;
        (void)madvise(p, n, MADV_DONTDUMP); /* what clients sent as keys */
        return 0;
    }
    return -1;
}

/* Which boot this is, of which the monotonic clock is; 0: not known. */
static uint64_t this_boot(void)
{
    struct strbuf text;
    uint64_t boot = 0;

    strbuf_init(&text);
    if (fd_read_file("/proc/sys/kernel/random/boot_id", 256, &text) == 0)
        boot = hash_stable(text.s, text.n);
    strbuf_fini(&text);
    return boot;
}

static int make(struct limits *l)
{
    if (ftruncate(l->fd, (off_t)TABLES_AT) != 0
        || map(l, RESERVED_MAX, RESERVED_MIN, PROT_READ | PROT_WRITE) != 0)
        return -1;
    *l->head = (struct limits_header){
        .layout = LAYOUT, .byte_order = BYTE_ORDER_MARK, .boot = this_boot(),
        .entries_at = ENTRIES_AT, .entry_size = sizeof(struct limits_entry),
        .journals_at = JOURNALS_AT, .journal_size = JOURNAL_SIZE, .tables_at = TABLES_AT,
        .end = TABLES_AT,
    };
    memcpy(l->head->magic, MAGIC, sizeof l->head->magic);
    return 0;
}

/* A file of our own making, whatever a crashed predecessor left. */
static int open_new(const char *temp)
{
    if (unlink(temp) != 0 && errno != ENOENT)
        return -1;
    return open(temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, MODE);
}

struct limits *limits_create(const char *path)
{
    struct strbuf temp;
    struct limits *l;
    int err;

    strbuf_init(&temp);
    if (path)
        strbuf_printf(&temp, "%s.new", path);
    l = alloc(path ? open_new(temp.s) : memfd_create("rpd limits", MFD_CLOEXEC));
    if (l->fd < 0 || make(l) != 0 || (path && rename(temp.s, path) != 0)) {
        err = errno;
        if (path && l->fd >= 0)
            (void)unlink(temp.s);
        limits_close(&l);
        errno = err;
    }
    strbuf_fini(&temp);
    return l;
}

static bool is_known(const struct limits_header *h)
{
    return memcmp(h->magic, MAGIC, sizeof h->magic) == 0 && h->layout == LAYOUT
           && h->byte_order == BYTE_ORDER_MARK && h->entries_at == ENTRIES_AT
           && h->entry_size == sizeof(struct limits_entry) && h->journals_at == JOURNALS_AT
           && h->journal_size == JOURNAL_SIZE && h->tables_at == TABLES_AT
           && h->count <= LIMITS_ENTRIES_MAX;
}

/* *size: of the file. */
static int check(int fd, uint64_t *size)
{
    struct limits_header h;
    struct stat st;

    if (fstat(fd, &st) != 0)
        return -1;
    *size = (uint64_t)st.st_size;
    if (S_ISREG(st.st_mode) && *size >= TABLES_AT && fd_read_at(fd, &h, sizeof h, 0) == sizeof h
        && is_known(&h) && h.boot == this_boot())
        return 0;
    errno = EPROTO;
    return -1;
}

struct limits *limits_adopt(int fd)
{
    struct limits *l = alloc(fd);
    uint64_t size;

    if (check(fd, &size) != 0
        || map(l, RESERVED_MAX, RESERVED_MIN, PROT_READ | PROT_WRITE) != 0)
        limits_close(&l);
    return l;
}

struct limits *limits_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct limits *l;
    uint64_t size = 0;

    if (fd < 0)
        return NULL;
    l = alloc(fd);
    if (check(fd, &size) != 0 || map(l, size, size, PROT_READ) != 0)
        limits_close(&l);
    return l;
}

/* ---- entries ---- */

static struct limits_entry *entry_at(const struct limits *l, uint64_t i)
{
    return (struct limits_entry *)(void *)(l->base + ENTRIES_AT) + i;
}

/* A size that is no power of two is taken up to one. */
static uint64_t sets_of(const struct conf_limit *limit)
{
    uint64_t sets = 1;

    while (sets * LIMIT_WAYS < limit->keys)
        sets *= 2;
    return sets;
}

static bool is_of(const struct limits_entry *e, const struct conf_limit *limit)
{
    return e->sets == sets_of(limit) && strcmp(e->name, limit->name) == 0
           && e->key == hash_stable(limit->key.source.p, limit->key.source.n);
}

static struct limits_entry *find(const struct limits *l, const struct conf_limit *limit)
{
    for (uint64_t i = 0; i < __atomic_load_n(&l->head->count, __ATOMIC_ACQUIRE); i++)
        if (is_of(entry_at(l, i), limit))
            return entry_at(l, i);
    return NULL;
}

static bool is_wanted(const struct limits_entry *e, const struct conf *conf)
{
    for (size_t i = 0; conf && i < conf->nlimits; i++)
        if (is_of(e, &conf->limits[i]))
            return true;
    return false;
}

/* Of a limit that has gone; NULL: there is none. */
static struct limits_entry *reuse(struct limits *l, uint64_t sets, const struct conf *conf,
                                  const struct conf *old)
{
    for (uint64_t i = 0; i < l->head->count; i++) {
        struct limits_entry *e = entry_at(l, i);

        if (e->sets != sets || is_wanted(e, conf) || is_wanted(e, old))
            continue;
        memset(l->base + e->offset, 0, sets * sizeof(struct limit_set));
        return e;
    }
    return NULL;
}

/* With its memory, so that nobody meets the file system's end later. NULL with errno. */
static struct limits_entry *append(struct limits *l, uint64_t sets)
{
    uint64_t size = sets * sizeof(struct limit_set), at = l->head->end;
    struct limits_entry *e = entry_at(l, l->head->count);

    errno = ENOSPC;
    if (l->head->count >= LIMITS_ENTRIES_MAX || size > l->mapped - at)
        return NULL;
    errno = posix_fallocate(l->fd, (off_t)at, (off_t)size);
    if (errno != 0)
        return NULL;
    memset(e, 0, sizeof *e);
    e->offset = at;
    e->sets = sets;
    l->head->end = at + size;
    return e;
}

static bool name_it(struct limits_entry *e, const struct conf_limit *limit)
{
    if (getrandom(e->seed, sizeof e->seed, 0) != (ssize_t)sizeof e->seed)
        return false;
    e->totals = (struct limit_totals){ 0 };
    e->key = hash_stable(limit->key.source.p, limit->key.source.n);
    (void)slice_copy(e->name, sizeof e->name, slice_str(limit->name));
    return true;
}

static struct limits_entry *provide(struct limits *l, const struct conf_limit *limit,
                                    const struct conf *conf, const struct conf *old)
{
    struct limits_entry *e = find(l, limit);

    if (e)
        return e;
    e = reuse(l, sets_of(limit), conf, old);
    if (e)
        return name_it(e, limit) ? e : NULL;
    e = append(l, sets_of(limit));
    if (!e || !name_it(e, limit))
        return NULL;
    __atomic_store_n(&l->head->count, l->head->count + 1, __ATOMIC_RELEASE);
    return e;
}

static void describe(struct limits_entry *e, const struct conf_limit *limit)
{
    e->interval_ns = conf_rate_interval(limit->rate);
    e->burst = limit->burst;
    e->max_conns = limit->max_conns;
    e->is_used = 1;
}

bool limits_apply(struct limits *l, const struct conf *conf, const struct conf *old, bool is_trial,
                  struct report *report)
{
    bool is_good = true;

    if (!l && conf->nlimits > 0)
        report_error(report, "there is no memory for limits");
    if (!l)
        return conf->nlimits == 0;
    for (uint64_t i = 0; !is_trial && i < l->head->count; i++)
        entry_at(l, i)->is_used = 0;
    for (size_t i = 0; i < conf->nlimits; i++) {
        const struct conf_limit *limit = &conf->limits[i];
        struct limits_entry *e = provide(l, limit, conf, old);

        if (!e) {
            report_error(report, "memory of limit %s: %s", limit->name, strerror(errno));
            is_good = false;
        } else if (!is_trial) {
            describe(e, limit);
        }
    }
    return is_good;
}

/* ---- journals ---- */

static struct limit_journal *journal_at(const struct limits *l, unsigned i)
{
    return (struct limit_journal *)(void *)(l->base + JOURNALS_AT + i * JOURNAL_SIZE);
}

/* Together, so that to look through them touches nothing of journals that were never used. */
static uint64_t *owner_at(const struct limits *l, unsigned i)
{
    return (uint64_t *)(void *)(l->base + OWNERS_AT) + i;
}

void limits_join(struct limits *l)
{
    for (unsigned i = 0; l && i < JOURNALS; i++) {
        uint64_t nobody = 0;

        if (!__atomic_compare_exchange_n(owner_at(l, i), &nobody, (uint64_t)getpid(), false,
                                         __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            continue;
        l->journal = journal_at(l, i);
        return;
    }
}

void limits_died(struct limits *l, pid_t pid)
{
    for (unsigned i = 0; l && i < JOURNALS; i++) {
        pid_t owner = (pid_t)__atomic_load_n(owner_at(l, i), __ATOMIC_ACQUIRE);

        if (owner == 0 || (owner != pid && (kill(owner, 0) == 0 || errno != ESRCH)))
            continue;
        (void)limit_journal_undo(journal_at(l, i), PLACES, l->base, l->head->end);
        __atomic_store_n(owner_at(l, i), 0, __ATOMIC_RELEASE);
    }
}

/* ---- finding ---- */

bool limits_find(struct limits *l, const struct conf_limit *limit, struct limit_table *t)
{
    struct limits_entry *e = find(l, limit);

    if (!e)
        return false;
    *t = (struct limit_table){
        .sets = (struct limit_set *)(void *)(l->base + e->offset),
        .mask = e->sets - 1,
        .seed = { e->seed[0], e->seed[1] },
        .totals = &e->totals,
        .journal = l->journal,
        .places = PLACES,
        .base = l->base,
    };
    return true;
}

size_t limits_count(const struct limits *l)
{
    return __atomic_load_n(&l->head->count, __ATOMIC_ACQUIRE);
}

const struct limits_entry *limits_at(const struct limits *l, size_t i)
{
    return entry_at(l, i);
}

const struct limit_set *limits_sets(const struct limits *l, const struct limits_entry *e)
{
    uint64_t size = e->sets * sizeof(struct limit_set);

    if (e->offset < TABLES_AT || e->sets > LIMITS_KEYS_MAX / LIMIT_WAYS
        || e->offset > l->mapped || size > l->mapped - e->offset)
        return NULL;
    return (const struct limit_set *)(const void *)(l->base + e->offset);
}
