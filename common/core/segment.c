/* The statistics segment: a sparse file of shared memory in which objects are found by kind and
 * name. The master makes it and adds objects; workers look objects up in the mapping they
 * inherited; nobody ever moves or removes one. Never blocks, never locks: an object is published
 * by the release of the header's count, written after its entry. */
#include "common/core/stats.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"
#include "common/core/segment_layout.h"
#include "common/core/stats_schema.h"

#define KIB ((size_t)1024)
#define MIB (KIB * KIB)
#define SCHEMA_AT (4 * KIB)
#define DIRECTORY_AT (64 * KIB)
#define SHARED_AT (16 * MIB)
#define SLOTS_AT (32 * MIB)
#define STRIDE (64 * KIB)
#define CHUNK (STRIDE * STATS_SLOTS_MAX)
#define ENTRIES_MAX ((size_t)65536)
/* Address space reserved; where that much is not to be had, less, and fewer objects. */
#define SEGMENT_MAX (128 * KIB * MIB)
#define SEGMENT_MIN (256 * MIB)
#define MODE 0644

static_assert(sizeof(struct segment_header) <= SCHEMA_AT, "header before schema");
static_assert(offsetof(struct segment_header, count) % 64 == 0, "on its own cache lines");
static_assert(DIRECTORY_AT + ENTRIES_MAX * sizeof(struct segment_entry) <= SHARED_AT, "directory");

struct segment {
    unsigned char *base;
    size_t mapped;
    const struct segment_header *head;
    struct smap names[STATS_KINDS]; /* of entries [0, known) */
    uint64_t known;
    /* The maker's alone. */
    struct segment_header *own;
    pid_t maker; /* only it closes the descriptor: other processes may have no such one */
    int fd;
    size_t size; /* of the file */
    size_t shared_end, slot_end;
    size_t record[STATS_KINDS][2]; /* [1] shared */
    uint8_t *touched; /* since segment_mark_begin */
};

/* ---- common ---- */

static struct segment_entry *entry_at(struct segment *seg, uint64_t i)
{
    return (struct segment_entry *)(void *)(seg->base + DIRECTORY_AT) + i;
}

/* Names published since the last look. */
static void names_refresh(struct segment *seg)
{
    uint64_t count = __atomic_load_n(&seg->head->count, __ATOMIC_ACQUIRE);

    if (count > ENTRIES_MAX)
        count = ENTRIES_MAX;
    for (; seg->known < count; seg->known++) {
        struct segment_entry *e = entry_at(seg, seg->known);
        size_t n = strnlen(e->name, sizeof e->name);

        if (e->kind < STATS_KINDS && n < sizeof e->name)
            smap_put(&seg->names[e->kind], slice_of(e->name, n), e);
    }
}

static struct segment_entry *find(struct segment *seg, enum stats_kind kind, const char *name)
{
    names_refresh(seg);
    return smap_get(&seg->names[kind], slice_str(name));
}

/* NULL when it is not all within what is mapped. */
static void *record_at(struct segment *seg, uint64_t offset, size_t size)
{
    if (offset == 0 || size == 0 || offset > seg->mapped || size > seg->mapped - offset)
        return NULL;
    return seg->base + offset;
}

static struct segment *segment_alloc(void)
{
    struct segment *seg = xcalloc(1, sizeof *seg);

    seg->fd = -1;
    for (int k = 0; k < STATS_KINDS; k++) {
        smap_init(&seg->names[k], false);
        seg->record[k][0] = stats_record_size((enum stats_kind)k, false);
        seg->record[k][1] = stats_record_size((enum stats_kind)k, true);
        assert(seg->record[k][0] <= STRIDE);
    }
    return seg;
}

void segment_close(struct segment **segp)
{
    struct segment *seg = *segp;
    int err = errno;

    if (!seg)
        return;
    *segp = NULL;
    if (seg->base)
        munmap(seg->base, seg->mapped);
    if (seg->maker == getpid())
        fd_close(&seg->fd);
    for (int k = 0; k < STATS_KINDS; k++)
        smap_fini(&seg->names[k]);
    free(seg->touched);
    free(seg);
    errno = err;
}

int segment_fd(const struct segment *seg)
{
    return seg->fd;
}

/* ---- making ---- */

static int grow(struct segment *seg, size_t size)
{
    if (size <= seg->size)
        return 0;
    if (size > seg->mapped) {
        errno = ENOSPC;
        return -1;
    }
    if (ftruncate(seg->fd, (off_t)size) != 0)
        return -1;
    seg->size = size;
    return 0;
}

static int map_reserved(struct segment *seg)
{
    void *p;

    for (size_t n = SEGMENT_MAX; n >= SEGMENT_MIN; n /= 2) {
        p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, seg->fd, 0);
        if (p != MAP_FAILED) {
            seg->base = p;
            seg->mapped = n;
            return 0;
        }
    }
    return -1;
}

static void write_header(struct segment *seg)
{
    struct strbuf schema;
    struct segment_header *h = (struct segment_header *)(void *)seg->base;

    strbuf_init(&schema);
    stats_schema_text(&schema);
    assert(schema.n <= DIRECTORY_AT - SCHEMA_AT);
    memcpy(seg->base + SCHEMA_AT, schema.s, schema.n);
    memcpy(h->magic, SEGMENT_MAGIC, sizeof h->magic);
    h->layout = SEGMENT_LAYOUT;
    h->byte_order = SEGMENT_BYTE_ORDER;
    h->schema_offset = SCHEMA_AT;
    h->schema_size = schema.n;
    h->directory_offset = DIRECTORY_AT;
    h->entry_size = sizeof(struct segment_entry);
    h->entries_max = ENTRIES_MAX;
    h->stride = STRIDE;
    h->slots_max = STATS_SLOTS_MAX;
    h->created_us = clock_wall_us();
    seg->own = h;
    seg->head = h;
    strbuf_fini(&schema);
}

/* A file of our own making, whatever a crashed predecessor left. */
static int open_new(const char *temp)
{
    int fd;

    if (unlink(temp) != 0 && errno != ENOENT)
        return -1;
    fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, MODE);
    if (fd >= 0 && fchmod(fd, MODE) != 0)
        fd_close(&fd);
    return fd;
}

static int segment_make(struct segment *seg, const char *temp)
{
    seg->maker = getpid();
    seg->fd = open_new(temp);
    if (seg->fd < 0 || map_reserved(seg) != 0 || grow(seg, SLOTS_AT) != 0)
        return -1;
    write_header(seg);
    seg->shared_end = SHARED_AT;
    seg->slot_end = SLOTS_AT;
    seg->touched = xcalloc(ENTRIES_MAX, 1);
    if (segment_add(seg, STATS_rpd, "rpd") != 0 || segment_add(seg, STATS_worker, "worker") != 0)
        return -1;
    return 0;
}

int segment_publish(const char *path)
{
    struct strbuf temp;
    int r;

    strbuf_init(&temp);
    strbuf_printf(&temp, "%s.new", path);
    r = rename(temp.s, path);
    strbuf_fini(&temp);
    return r;
}

struct segment *segment_create(const char *path)
{
    struct segment *seg = segment_prepare(path);

    if (seg && segment_publish(path) != 0)
        segment_close(&seg);
    return seg;
}

struct segment *segment_prepare(const char *path)
{
    struct segment *seg = segment_alloc();
    struct strbuf temp;

    strbuf_init(&temp);
    strbuf_printf(&temp, "%s.new", path);
    if (segment_make(seg, temp.s) != 0) {
        int err = errno;

        if (seg->fd >= 0)
            unlink(temp.s);
        segment_close(&seg);
        errno = err;
    }
    strbuf_fini(&temp);
    return seg;
}

/* Room for a slot record: one that would cross its worker's part of the chunk begins the next
 * chunk. Returns its offset; 0 with errno. */
static size_t slot_reserve(struct segment *seg, size_t size)
{
    size_t chunk = (seg->slot_end - SLOTS_AT) / CHUNK;
    size_t within = (seg->slot_end - SLOTS_AT) % CHUNK;
    size_t at;

    if (within + size > STRIDE) {
        chunk++;
        within = 0;
    }
    at = SLOTS_AT + chunk * CHUNK + within;
    if (grow(seg, SLOTS_AT + (chunk + 1) * CHUNK) != 0)
        return 0;
    /* A full chunk's end is the end of slot 0's part, never the next chunk's beginning. */
    seg->slot_end = at + size;
    return at;
}

static size_t shared_reserve(struct segment *seg, size_t size)
{
    size_t at = seg->shared_end;

    if (at + size > SLOTS_AT) {
        errno = ENOSPC;
        return 0;
    }
    seg->shared_end = at + size;
    return at;
}

static int entry_append(struct segment *seg, enum stats_kind kind, struct slice name)
{
    uint64_t i = seg->own->count;
    size_t shared = seg->record[kind][1], slot = seg->record[kind][0];
    struct segment_entry *e;

    if (i >= ENTRIES_MAX) {
        errno = ENOSPC;
        return -1;
    }
    e = entry_at(seg, i);
    e->shared_offset = e->slot_offset = 0;
    if (shared && (e->shared_offset = shared_reserve(seg, shared)) == 0)
        return -1;
    if (slot && (e->slot_offset = slot_reserve(seg, slot)) == 0)
        return -1;
    e->kind = kind;
    memcpy(e->name, name.p, name.n);
    e->name[name.n] = '\0';
    seg->touched[i] = 1;
    stat_set(&e->is_used, 1);
    __atomic_store_n(&seg->own->count, i + 1, __ATOMIC_RELEASE);
    return 0;
}

int segment_add(struct segment *seg, enum stats_kind kind, const char *name)
{
    struct segment_entry *e;
    struct slice s = slice_str(name);

    assert(seg->own && kind < STATS_KINDS);
    if (s.n >= STATS_NAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    e = find(seg, kind, name);
    if (!e)
        return entry_append(seg, kind, s);
    seg->touched[e - entry_at(seg, 0)] = 1;
    stat_set(&e->is_used, 1);
    return 0;
}

void segment_mark_begin(struct segment *seg)
{
    memset(seg->touched, 0, ENTRIES_MAX);
}

void segment_mark_end(struct segment *seg)
{
    for (uint64_t i = 0; i < seg->own->count; i++) {
        struct segment_entry *e = entry_at(seg, i);

        if (!seg->touched[i] && e->kind != STATS_rpd && e->kind != STATS_worker)
            stat_set(&e->is_used, 0);
    }
}

void segment_drop(struct segment *seg, enum stats_kind kind, const char *name)
{
    struct segment_entry *e = find(seg, kind, name);

    if (e)
        stat_set(&e->is_used, 0);
}

/* ---- a worker's death ---- */

/* False where the file has a hole: nothing was written, and to look would take memory. */
static bool has_data(const struct segment *seg, uint64_t offset, size_t size)
{
    off_t data = lseek(seg->fd, (off_t)offset, SEEK_DATA);

    return data < 0 ? errno != ENXIO : (uint64_t)data < offset + size;
}

static void field_died(unsigned char *record, const struct stats_field *f)
{
    uint64_t *value = (uint64_t *)(void *)(record + f->offset);

    if ((f->type == STATS_TYPE_GAUGE || f->is_enum) && stat_get(value) != 0)
        stat_set(value, 0);
}

static void object_died(struct segment *seg, struct segment_entry *e, unsigned slot)
{
    size_t n, size = seg->record[e->kind][0];
    const struct stats_field *fields = stats_fields(&n);
    uint64_t offset = e->slot_offset + (uint64_t)slot * STRIDE;

    if (e->slot_offset == 0 || !has_data(seg, offset, size))
        return;
    for (size_t i = 0; i < n; i++)
        if (fields[i].kind == (enum stats_kind)e->kind && !fields[i].is_shared)
            field_died(seg->base + offset, &fields[i]);
}

void segment_worker_died(struct segment *seg, unsigned slot)
{
    struct stats_worker *w;

    assert(seg->own && slot < STATS_SLOTS_MAX);
    for (uint64_t i = 0; i < seg->own->count; i++)
        object_died(seg, entry_at(seg, i), slot);
    w = STATS_SLOT(seg, worker, "worker", slot);
    stat_set(&w->pid, 0);
}

/* ---- reading ---- */

static bool header_is_known(const struct segment_header *h, size_t size)
{
    struct strbuf schema;
    bool is_known = false;

    if (size < SHARED_AT || memcmp(h->magic, SEGMENT_MAGIC, sizeof h->magic) != 0
        || h->layout != SEGMENT_LAYOUT || h->byte_order != SEGMENT_BYTE_ORDER
        || h->schema_offset != SCHEMA_AT || h->schema_size > DIRECTORY_AT - SCHEMA_AT
        || h->directory_offset != DIRECTORY_AT || h->entry_size != sizeof(struct segment_entry)
        || h->entries_max != ENTRIES_MAX || h->stride != STRIDE
        || h->slots_max != STATS_SLOTS_MAX)
        return false;
    strbuf_init(&schema);
    stats_schema_text(&schema);
    is_known = slice_eq(strbuf_slice(&schema),
                        slice_of((const char *)h + SCHEMA_AT, h->schema_size));
    strbuf_fini(&schema);
    return is_known;
}

static int segment_map(struct segment *seg, int fd)
{
    struct stat st;
    void *p;

    if (fstat(fd, &st) != 0)
        return -1;
    if (!S_ISREG(st.st_mode) || (size_t)st.st_size < sizeof(struct segment_header)) {
        errno = EPROTO;
        return -1;
    }
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (p == MAP_FAILED)
        return -1;
    seg->base = p;
    seg->mapped = (size_t)st.st_size;
    seg->head = p;
    if (!header_is_known(seg->head, seg->mapped)) {
        errno = EPROTO;
        return -1;
    }
    return 0;
}

struct segment *segment_open(const char *path)
{
    struct segment *seg;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return NULL;
    seg = segment_alloc();
    if (segment_map(seg, fd) != 0)
        segment_close(&seg);
    fd_close(&fd);
    return seg;
}

void *segment_slot(struct segment *seg, enum stats_kind kind, const char *name, unsigned slot)
{
    const struct segment_entry *e;

    assert(kind < STATS_KINDS && slot < STATS_SLOTS_MAX);
    e = find(seg, kind, name);
    if (!e || e->slot_offset == 0)
        return NULL;
    return record_at(seg, e->slot_offset + (uint64_t)slot * STRIDE, seg->record[kind][0]);
}

const void *segment_peek(struct segment *seg, enum stats_kind kind, const char *name,
                         unsigned slot)
{
    const struct segment_entry *e;
    uint64_t offset;

    assert(kind < STATS_KINDS && slot < STATS_SLOTS_MAX);
    e = find(seg, kind, name);
    if (!e || e->slot_offset == 0)
        return NULL;
    offset = e->slot_offset + (uint64_t)slot * STRIDE;
    return has_data(seg, offset, seg->record[kind][0])
               ? record_at(seg, offset, seg->record[kind][0]) : NULL;
}

void *segment_shared(struct segment *seg, enum stats_kind kind, const char *name)
{
    const struct segment_entry *e;

    assert(kind < STATS_KINDS);
    e = find(seg, kind, name);
    return e ? record_at(seg, e->shared_offset, seg->record[kind][1]) : NULL;
}

size_t segment_stride(enum stats_kind kind)
{
    assert(kind < STATS_KINDS);
    return STRIDE;
}

unsigned segment_slots(const struct segment *seg)
{
    uint64_t slots = stat_get(&seg->head->slots);

    return slots < STATS_SLOTS_MAX ? (unsigned)slots : STATS_SLOTS_MAX;
}

void segment_use_slots(struct segment *seg, unsigned n)
{
    assert(seg->own && n <= STATS_SLOTS_MAX);
    if (n > seg->own->slots)
        stat_set(&seg->own->slots, n);
}
