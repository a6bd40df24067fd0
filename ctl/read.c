/* Reads the statistics segment into a model. The file is read, not mapped: nothing in it and
 * nothing done to it meanwhile can kill the reader, and what nobody wrote stays a hole. Called by
 * every command that shows something; never writes, never asks the daemon. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/core/segment_layout.h"
#include "ctl/model.h"

#define FILE_NAME "stats"
#define SCHEMA_MAX ((size_t)1 << 20)
#define ENTRY_MAX 4096
#define ENTRIES_LIMIT ((uint64_t)1 << 24)
#define SLOTS_LIMIT 4096
#define WINDOW ((size_t)64 * 1024)

/* What was read last of a slot's part of the file: neighbours' records come with it. */
struct window {
    uint64_t at;
    size_t n;
    unsigned char *bytes;
};

struct reader {
    int fd;
    uint64_t size;          /* of the file */
    struct segment_header head;
    struct model *m;
    struct window *windows; /* one a slot */
    const char *what;       /* is wrong with the file */
};

/* ---- bytes ---- */

static bool read_all(struct reader *r, void *to, size_t n, uint64_t at)
{
    if (fd_read_at(r->fd, to, n, at) == n)
        return true;
    r->what = "it is cut off";
    return false;
}

static void *keep(struct model *m, void *p)
{
    *VEC_PUSH(&m->memory) = p;
    return p;
}

/* Of n bytes, as many as the file has. What was never written is not even read: a file system may
 * take memory to answer with zeros. */
static size_t read_sparse(const struct reader *r, unsigned char *to, size_t n, uint64_t at)
{
    off_t data;

    if (at >= r->size)
        return 0;
    data = lseek(r->fd, (off_t)at, SEEK_DATA);
    if (data < 0 ? errno != ENXIO : (uint64_t)data - at < n)
        return fd_read_at(r->fd, to, n, at);
    memset(to, 0, n);
    return n < r->size - at ? n : (size_t)(r->size - at);
}

/* The slot's record at `at`, until the next call for this slot; NULL when it is cut off. */
static const unsigned char *record_of(struct reader *r, uint64_t slot, uint64_t at, size_t size)
{
    struct window *w = &r->windows[slot];
    size_t room = size > WINDOW ? size : WINDOW;

    if (!w->bytes || at < w->at || at - w->at > w->n || size > w->n - (at - w->at)) {
        free(w->bytes);
        w->bytes = xmalloc(room);
        w->at = at;
        w->n = read_sparse(r, w->bytes, room, at);
    }
    if (size <= w->n - (at - w->at))
        return w->bytes + (at - w->at);
    r->what = "it is cut off";
    return NULL;
}

static uint64_t u64_at(const unsigned char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static void u64_put(unsigned char *p, uint64_t v)
{
    memcpy(p, &v, sizeof v);
}

/* ---- processes ---- */

/* Not a zombie either. */
static bool is_alive(uint64_t pid)
{
    char path[64];
    struct strbuf text;
    const char *end;
    bool is_dead;

    if (pid == 0 || pid > INT32_MAX || (kill((pid_t)pid, 0) != 0 && errno != EPERM))
        return false;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    strbuf_init(&text);
    is_dead = fd_read_file(path, 4096, &text) == 0 && (end = strrchr(text.s, ')'))
        && (strncmp(end, ") Z", 3) == 0 || strncmp(end, ") X", 3) == 0);
    strbuf_fini(&text);
    return !is_dead;
}

/* ---- records ---- */

static void add_hist(const struct schema *s, unsigned char *sum, const unsigned char *one)
{
    for (size_t i = 0; i < s->buckets; i++) {
        size_t at = s->bucket_at + i * sizeof(uint64_t);
        uint64_t n = u64_at(one + at);

        if (n)
            u64_put(sum + at, u64_at(sum + at) + n);
    }
    u64_put(sum + s->count_at, u64_at(sum + s->count_at) + u64_at(one + s->count_at));
    u64_put(sum + s->sum_at, u64_at(sum + s->sum_at) + u64_at(one + s->sum_at));
    if (u64_at(one + s->max_at) > u64_at(sum + s->max_at))
        u64_put(sum + s->max_at, u64_at(one + s->max_at));
}

static void add_field(const struct schema *s, const struct field *f, unsigned char *sum,
                      const unsigned char *one)
{
    uint64_t v;

    sum += f->offset;
    one += f->offset;
    switch (f->type) {
    case FIELD_COUNTER:
    case FIELD_ERRORS:
    case FIELD_SECONDS:
    case FIELD_GAUGE:
        u64_put(sum, u64_at(sum) + u64_at(one));
        return;
    case FIELD_TIME:
    case FIELD_UNTIL:
    case FIELD_DURATION:
    case FIELD_PERCENT:
    case FIELD_KEPT:
    case FIELD_NUMBER:
    case FIELD_ENUM:
        v = u64_at(one);
        if (v > u64_at(sum))
            u64_put(sum, v);
        return;
    case FIELD_HISTOGRAM:
        add_hist(s, sum, one);
        return;
    case FIELD_TEXT:
        return;
    }
}

static bool read_sum(struct reader *r, const struct kind *k, const struct segment_entry *e,
                     unsigned char *sum)
{
    for (uint64_t slot = 0; slot < r->m->slots; slot++) {
        uint64_t at = e->slot_offset + slot * r->head.stride;
        const unsigned char *one = record_of(r, slot, at, k->slot_size);

        if (!one)
            return false;
        for (size_t i = 0; i < k->fields.n; i++)
            if (!k->fields.v[i].is_shared)
                add_field(&r->m->schema, &k->fields.v[i], sum, one);
    }
    return true;
}

/* ---- objects ---- */

static struct row *row_add(struct reader *r, const struct kind *k, const char *name,
                           uint64_t index)
{
    struct row *row = VEC_PUSH(&r->m->rows);

    row->kind = k;
    row->name = row->own_name = name;
    row->index = index;
    row->is_shown = true;
    row->parent = row->child = row->next = MODEL_NONE;
    return row;
}

/* A worker that died without its master seeing it. */
static void correct_state(const struct kind *k, unsigned char *record)
{
    const struct field *pid = kind_field(k, "pid");
    const struct field *state = kind_field(k, "state");

    if (pid && state && !pid->is_shared && !state->is_shared && state->type == FIELD_ENUM
        && !is_alive(u64_at(record + pid->offset)))
        u64_put(record + state->offset, 0);
}

static bool read_shared(struct reader *r, const struct kind *k, const struct segment_entry *e,
                        unsigned char **shared)
{
    *shared = NULL;
    if (!k->shared_size)
        return true;
    *shared = keep(r->m, xcalloc(1, k->shared_size));
    return read_all(r, *shared, k->shared_size, e->shared_offset);
}

static bool add_slots(struct reader *r, const struct kind *k, const struct segment_entry *e,
                      uint64_t index)
{
    unsigned char *shared;

    if (!read_shared(r, k, e, &shared))
        return false;
    for (uint64_t slot = 0; slot < r->m->slots; slot++) {
        uint64_t at = e->slot_offset + slot * r->head.stride;
        const unsigned char *one = record_of(r, slot, at, k->slot_size);
        char *name;
        struct row *row;

        if (!one)
            return false;
        name = keep(r->m, xcalloc(1, 24));
        snprintf(name, 24, "%u", (unsigned)slot);
        row = row_add(r, k, name, index);
        row->slot = (unsigned)slot;
        row->shared = shared;
        row->slots = keep(r->m, xmalloc(k->slot_size));
        memcpy(row->slots, one, k->slot_size);
        correct_state(k, row->slots);
    }
    return true;
}

static bool add_object(struct reader *r, const struct segment_entry *e, uint64_t index)
{
    struct model *m = r->m;
    const struct kind *k = &m->schema.kinds.v[e->kind];
    struct row *row;

    if (k->shape == SHAPE_SLOTS && k->slot_size)
        return add_slots(r, k, e, index);
    row = row_add(r, k, keep(m, xstrndup(e->name, sizeof e->name)), index);
    if (!read_shared(r, k, e, &row->shared))
        return false;
    if (k->slot_size) {
        row->slots = keep(m, xcalloc(1, k->slot_size));
        return read_sum(r, k, e, row->slots);
    }
    return true;
}

static bool read_directory(struct reader *r)
{
    const struct segment_header *h = &r->head;

    for (uint64_t i = 0; i < h->count; i++) {
        struct segment_entry e;

        if (!read_all(r, &e, sizeof e, h->directory_offset + i * h->entry_size))
            return false;
        if (e.kind >= r->m->schema.kinds.n || !memchr(e.name, '\0', sizeof e.name)) {
            r->what = "its directory makes no sense";
            return false;
        }
        if (e.is_used && !add_object(r, &e, i))
            return false;
    }
    return true;
}

/* ---- the whole ---- */

static bool read_header(struct reader *r)
{
    struct segment_header *h = &r->head;

    r->what = "it is none";
    if (fd_read_at(r->fd, h, sizeof *h, 0) != sizeof *h
        || memcmp(h->magic, SEGMENT_MAGIC, sizeof h->magic) != 0)
        return false;
    r->what = "this rpctl does not know its layout";
    if (h->layout != SEGMENT_LAYOUT || h->byte_order != SEGMENT_BYTE_ORDER)
        return false;
    r->what = "its header makes no sense";
    return h->schema_size <= SCHEMA_MAX && h->entry_size >= sizeof(struct segment_entry)
        && h->entry_size <= ENTRY_MAX && h->entries_max <= ENTRIES_LIMIT
        && h->count <= h->entries_max && h->slots_max <= SLOTS_LIMIT && h->slots <= h->slots_max
        && h->stride <= INT64_MAX / SLOTS_LIMIT && h->directory_offset <= INT64_MAX / 2;
}

static bool read_schema(struct reader *r)
{
    char *text = xmalloc(r->head.schema_size + 1);
    bool is_good = read_all(r, text, r->head.schema_size, r->head.schema_offset);

    if (is_good && !schema_parse(&r->m->schema, text, r->head.schema_size)) {
        r->what = "its schema makes no sense";
        is_good = false;
    }
    free(text);
    return is_good;
}

static bool read_objects(struct reader *r)
{
    bool is_good;

    r->m->slots = r->head.slots;
    r->m->created_us = r->head.created_us;
    r->windows = xcalloc(r->head.slots_max + 1, sizeof *r->windows);
    is_good = read_directory(r);
    for (uint64_t i = 0; i < r->head.slots_max; i++)
        free(r->windows[i].bytes);
    free(r->windows);
    return is_good;
}

/* Nested rows get their parents. */
static void link_rows(struct model *m)
{
    for (size_t k = 0; k < m->schema.kinds.n; k++) {
        const struct kind *kind = &m->schema.kinds.v[k];
        struct smap parents;

        if (kind->shape != SHAPE_NESTED)
            continue;
        smap_init(&parents, false);
        for (size_t i = 0; i < m->rows.n; i++)
            if (m->rows.v[i].kind == &m->schema.kinds.v[kind->parent])
                (void)smap_put(&parents, slice_str(m->rows.v[i].name), &m->rows.v[i]);
        /* Backwards, so that each list is in the directory's order. */
        for (size_t i = m->rows.n; i-- > 0;) {
            struct row *row = &m->rows.v[i], *parent;
            const char *slash = strchr(row->name, '/');

            if (row->kind != kind || !slash)
                continue;
            row->own_name = slash + 1;
            parent = smap_get(&parents, slice_of(row->name, (size_t)(slash - row->name)));
            if (!parent)
                continue;
            row->parent = (size_t)(parent - m->rows.v);
            row->next = parent->child;
            parent->child = i;
        }
        smap_fini(&parents);
    }
}

/* The master's state; and slots without a worker that none is meant for go out of sight. */
static void find_master(struct model *m)
{
    uint64_t workers = 0;
    size_t kept = 0;

    for (size_t i = 0; i < m->rows.n; i++)
        if (m->rows.v[i].kind->shape == SHAPE_SINGLE
            && strcmp(m->rows.v[i].kind->name, "rpd") == 0) {
            m->pid = row_value_of(&m->rows.v[i], "pid");
            workers = row_value_of(&m->rows.v[i], "workers");
        }
    m->is_running = is_alive(m->pid);
    for (size_t i = 0; i < m->rows.n; i++) {
        const struct row *row = &m->rows.v[i];

        if (row->kind->shape != SHAPE_SLOTS || row->slot < workers
            || row_value_of(row, "pid") != 0)
            m->rows.v[kept++] = *row;
    }
    m->rows.n = kept;
}

static bool read_file(struct reader *r)
{
    struct stat st;

    r->what = "it is none";
    if (fstat(r->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    r->size = (uint64_t)st.st_size;
    return read_header(r) && read_schema(r) && read_objects(r);
}

struct model *model_read(const char *run_dir, struct strbuf *why)
{
    struct reader r = { .what = "" };
    struct strbuf path;
    int err = 0;

    strbuf_init(&path);
    strbuf_printf(&path, "%s/" FILE_NAME, run_dir);
    r.fd = open(path.s, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (r.fd < 0) {
        err = errno;
        strbuf_printf(why, "no statistics at %s: %s", path.s, strerror(err));
    } else {
        r.m = xcalloc(1, sizeof *r.m);
        r.m->read_us = clock_wall_us();
        r.m->read_mono_us = clock_mono_us();
        if (!read_file(&r)) {
            err = EPROTO;
            strbuf_printf(why, "%s is not a statistics segment: %s", path.s, r.what);
            model_free(&r.m);
        } else {
            find_master(r.m);
            link_rows(r.m);
        }
        fd_close(&r.fd);
    }
    strbuf_fini(&path);
    errno = err;
    return r.m;
}

void model_free(struct model **mp)
{
    struct model *m = *mp;

    if (!m)
        return;
    *mp = NULL;
    for (size_t i = 0; i < m->memory.n; i++)
        free(m->memory.v[i]);
    VEC_FREE(&m->memory);
    VEC_FREE(&m->rows);
    schema_fini(&m->schema);
    free(m);
}
