/* Carrying counts over: carry.h. Owns a descriptor of the old segment, which is read and not
 * mapped: to look at a hole in a mapping takes memory. Called by master/takeover.c and retiree.c.
 * */
#include "common/core/carry.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/core/histogram.h"
#include "common/core/schema.h"
#include "common/core/segment_layout.h"
#include "common/core/stats_schema.h"

#define SCHEMA_MAX ((size_t)1 << 20)
#define OBJECTS_MAX ((uint64_t)1 << 20)
#define WINDOW ((size_t)64 * 1024)

/* A field that both have. */
struct pair {
    const struct field *from, *to;
};

struct carried_kind {
    size_t to; /* enum stats_kind; STATS_KINDS: unknown here */
    VEC(struct pair) slot, shared;
};

struct object {
    const struct carried_kind *kind;
    size_t shared_size, slot_size;
    uint64_t shared_offset, slot_offset;
    char name[STATS_NAME_MAX];
};

struct carry {
    int fd;
    unsigned refs;
    struct segment_header head;
    struct schema from, to;
    struct carried_kind *kinds; /* one for each of `from` */
    VEC(struct object) objects;
    unsigned char *window;      /* what was read last: neighbours' records come with it */
    uint64_t window_at;
    size_t window_n;
};

/* ---- bytes ---- */

static uint64_t u64_at(const unsigned char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static void put(unsigned char *p, uint64_t v)
{
    uint64_t *to = (uint64_t *)(void *)p;

    if (stat_get(to) != v) /* a page that only holds zeros is never touched */
        stat_set(to, v);
}

static bool read_at(const struct carry *c, void *to, size_t n, uint64_t at)
{
    return fd_read_at(c->fd, to, n, at) == n;
}

/* The record until the next call; NULL where nothing was ever written, or past the end. */
static const unsigned char *record_at(struct carry *c, uint64_t at, size_t size)
{
    off_t data;
    ssize_t n;

    if (at >= c->window_at && at - c->window_at <= c->window_n
        && size <= c->window_n - (at - c->window_at))
        return c->window + (at - c->window_at);
    data = lseek(c->fd, (off_t)at, SEEK_DATA);
    if (size > WINDOW || (data < 0 ? errno == ENXIO : (uint64_t)data - at >= size))
        return NULL;
    n = pread(c->fd, c->window, WINDOW, (off_t)at);
    c->window_at = at;
    c->window_n = n > 0 ? (size_t)n : 0;
    return size <= c->window_n ? c->window : NULL;
}

static void forget_window(struct carry *c)
{
    c->window_n = 0;
}

/* ---- opening ---- */

static bool own_schema(struct schema *s)
{
    struct strbuf text;
    bool is_good;

    strbuf_init(&text);
    stats_schema_text(&text);
    is_good = schema_parse(s, text.s, text.n);
    strbuf_fini(&text);
    return is_good;
}

static bool read_schema(struct carry *c)
{
    const struct segment_header *h = &c->head;
    bool is_good;
    char *text;

    if (!read_at(c, &c->head, sizeof c->head, 0)
        || memcmp(h->magic, SEGMENT_MAGIC, sizeof h->magic) != 0 || h->layout != SEGMENT_LAYOUT
        || h->byte_order != SEGMENT_BYTE_ORDER || h->schema_size > SCHEMA_MAX
        || h->entry_size < sizeof(struct segment_entry) || h->count > OBJECTS_MAX
        || h->slots > STATS_SLOTS_MAX || h->stride == 0)
        return false;
    text = xmalloc(h->schema_size + 1);
    is_good = read_at(c, text, h->schema_size, h->schema_offset)
              && schema_parse(&c->from, text, h->schema_size);
    free(text);
    return is_good;
}

/* Both are the same sort of number. */
static bool is_alike(const struct field *a, const struct field *b)
{
    if (a->is_shared != b->is_shared)
        return false;
    return a->type == b->type || (field_is_counter(a) && field_is_counter(b)
                                  && (a->type == FIELD_SECONDS) == (b->type == FIELD_SECONDS));
}

static void pair_kind(struct carry *c, size_t i)
{
    const struct kind *from = &c->from.kinds.v[i], *to = schema_kind(&c->to, from->name);
    struct carried_kind *k = &c->kinds[i];

    k->to = to ? (size_t)(to - c->to.kinds.v) : STATS_KINDS;
    for (size_t f = 0; to && f < from->fields.n; f++) {
        const struct field *a = &from->fields.v[f], *b = kind_field(to, a->name);
        struct pair *p;

        if (!b || !is_alike(a, b))
            continue;
        p = a->is_shared ? VEC_PUSH(&k->shared) : VEC_PUSH(&k->slot);
        *p = (struct pair){ a, b };
    }
}

static bool read_objects(struct carry *c)
{
    for (uint64_t i = 0; i < c->head.count; i++) {
        struct segment_entry e;
        struct object *o;

        if (!read_at(c, &e, sizeof e, c->head.directory_offset + i * c->head.entry_size)
            || e.kind >= c->from.kinds.n || !memchr(e.name, '\0', sizeof e.name))
            return false;
        if (c->kinds[e.kind].to == STATS_KINDS)
            continue;
        o = VEC_PUSH(&c->objects);
        o->kind = &c->kinds[e.kind];
        o->shared_size = c->from.kinds.v[e.kind].shared_size;
        o->slot_size = c->from.kinds.v[e.kind].slot_size;
        o->shared_offset = e.shared_offset;
        o->slot_offset = e.slot_offset;
        memcpy(o->name, e.name, sizeof o->name);
    }
    return true;
}

struct carry *carry_open(int fd)
{
    struct carry *c = xcalloc(1, sizeof *c);

    c->fd = fd;
    c->refs = 1;
    c->window = xmalloc(WINDOW);
    if (read_schema(c) && own_schema(&c->to)) {
        c->kinds = xcalloc(c->from.kinds.n, sizeof *c->kinds);
        for (size_t i = 0; i < c->from.kinds.n; i++)
            pair_kind(c, i);
        if (read_objects(c))
            return c;
    }
    carry_unref(&c);
    errno = EPROTO;
    return NULL;
}

struct carry *carry_ref(struct carry *c)
{
    c->refs++;
    return c;
}

void carry_unref(struct carry **cp)
{
    struct carry *c = *cp;

    *cp = NULL;
    if (!c || --c->refs > 0)
        return;
    for (size_t i = 0; c->kinds && i < c->from.kinds.n; i++) {
        VEC_FREE(&c->kinds[i].slot);
        VEC_FREE(&c->kinds[i].shared);
    }
    free(c->kinds);
    VEC_FREE(&c->objects);
    schema_fini(&c->from);
    schema_fini(&c->to);
    fd_close(&c->fd);
    free(c->window);
    free(c);
}

int carry_fd(const struct carry *c)
{
    return c->fd;
}

/* ---- values ---- */

static void carry_buckets(const struct carry *c, const unsigned char *from, struct histogram *to,
                          bool is_added)
{
    bool is_same = c->from.sub == c->to.sub && c->from.buckets == c->to.buckets;

    if (!is_added && !is_same)
        memset(to->bucket, 0, sizeof to->bucket);
    for (size_t i = 0; i < c->from.buckets; i++) {
        uint64_t n = u64_at(from + c->from.bucket_at + i * sizeof n);
        uint64_t width, low = histogram_view_low(c->from.sub, (unsigned)i, &width);
        size_t at = is_same ? i : histogram_bucket(low);

        if (n > 0 || (is_same && !is_added))
            put((unsigned char *)&to->bucket[at], is_added || !is_same ? to->bucket[at] + n : n);
    }
}

static void carry_histogram(const struct carry *c, const unsigned char *from, unsigned char *to,
                            bool is_added)
{
    struct histogram *h = (struct histogram *)(void *)to;
    uint64_t max = u64_at(from + c->from.max_at);

    carry_buckets(c, from, h, is_added);
    put((unsigned char *)&h->count, (is_added ? h->count : 0) + u64_at(from + c->from.count_at));
    put((unsigned char *)&h->sum, (is_added ? h->sum : 0) + u64_at(from + c->from.sum_at));
    if (max > h->max)
        put((unsigned char *)&h->max, max);
}

static void carry_value(const struct carry *c, const struct pair *p, const unsigned char *from,
                        unsigned char *to, enum carry_how how)
{
    uint64_t v;

    from += p->from->offset;
    to += p->to->offset;
    switch (p->to->type) {
    case FIELD_HISTOGRAM:
        carry_histogram(c, from, to, how == CARRY_ADD);
        return;
    case FIELD_COUNTER:
    case FIELD_ERRORS:
    case FIELD_SECONDS:
        v = u64_at(from);
        put(to, how == CARRY_ADD ? u64_at(to) + v : v);
        return;
    case FIELD_GAUGE:
    case FIELD_TIME:
    case FIELD_UNTIL:
    case FIELD_DURATION:
    case FIELD_PERCENT:
    case FIELD_KEPT:
    case FIELD_NUMBER:
    case FIELD_ENUM:
        if (how != CARRY_ADD)
            put(to, how == CARRY_COPY ? u64_at(from) : 0);
        return;
    case FIELD_TEXT:
        return; /* shared only */
    }
}

static void carry_text(const struct pair *p, const unsigned char *from, unsigned char *to)
{
    const char *s = (const char *)from + p->from->offset;
    struct slice text = slice_of(s, strnlen(s, p->from->size));

    if (text.n >= p->to->size)
        text.n = p->to->size - 1;
    (void)slice_copy((char *)to + p->to->offset, p->to->size, text);
}

/* ---- objects ---- */

int carry_objects(struct carry *c, struct segment *to)
{
    for (size_t i = 0; i < c->objects.n; i++) {
        const struct object *o = &c->objects.v[i];

        if (segment_add(to, (enum stats_kind)o->kind->to, o->name) != 0)
            return -1;
    }
    return 0;
}

void carry_slot(struct carry *c, unsigned from, struct segment *to, unsigned slot,
                enum carry_how how)
{
    forget_window(c);
    for (size_t i = 0; i < c->objects.n; i++) {
        const struct object *o = &c->objects.v[i];
        enum stats_kind kind = (enum stats_kind)o->kind->to;
        const unsigned char *record;
        unsigned char *out;

        if (o->slot_offset == 0 || o->slot_size == 0)
            continue;
        record = record_at(c, o->slot_offset + from * c->head.stride, o->slot_size);
        out = record ? segment_slot(to, kind, o->name, slot) : NULL;
        for (size_t f = 0; out && f < o->kind->slot.n; f++)
            carry_value(c, &o->kind->slot.v[f], record, out, how);
    }
}

static unsigned char *shared_of(struct carry *c, const struct object *o)
{
    unsigned char *record;

    if (o->shared_offset == 0 || o->shared_size == 0)
        return NULL;
    record = xcalloc(1, o->shared_size);
    if (read_at(c, record, o->shared_size, o->shared_offset))
        return record;
    free(record);
    return NULL;
}

void carry_shared(struct carry *c, struct segment *to)
{
    for (size_t i = 0; i < c->objects.n; i++) {
        const struct object *o = &c->objects.v[i];
        unsigned char *record = shared_of(c, o);
        unsigned char *out = segment_shared(to, (enum stats_kind)o->kind->to, o->name);

        for (size_t f = 0; record && out && f < o->kind->shared.n; f++) {
            const struct pair *p = &o->kind->shared.v[f];

            if (p->to->type == FIELD_TEXT)
                carry_text(p, record, out);
            else
                put(out + p->to->offset, u64_at(record + p->from->offset));
        }
        free(record);
    }
}

/* Fields of one kind that workers look at. */
static const struct wish {
    enum stats_kind kind;
    const char *field;
} wishes[] = {
    { STATS_server, "admin" }, { STATS_server, "weight" }, { STATS_server, "state" },
    { STATS_canary, "weight" },
    { STATS_backend, "changes" }, /* last: by it they see that the others are to be read */
};

static void send_back(const struct carry *c, const struct object *o, const char *field,
                      const unsigned char *now)
{
    for (size_t f = 0; f < o->kind->shared.n; f++) {
        const struct pair *p = &o->kind->shared.v[f];
        off_t at = (off_t)(o->shared_offset + p->from->offset);
        uint64_t then, v;

        if (strcmp(p->from->name, field) != 0)
            continue;
        v = u64_at(now + p->to->offset);
        if (pread(c->fd, &then, sizeof then, at) == sizeof then && then != v
            && pwrite(c->fd, &v, sizeof v, at) != sizeof v)
            return; /* no room on the file system: it is tried again */
    }
}

void carry_back(struct carry *c, struct segment *to)
{
    for (size_t w = 0; w < sizeof wishes / sizeof *wishes; w++)
        for (size_t i = 0; i < c->objects.n; i++) {
            const struct object *o = &c->objects.v[i];
            const unsigned char *now = NULL;

            if (o->kind->to == wishes[w].kind && o->shared_offset != 0)
                now = segment_shared(to, wishes[w].kind, o->name);
            if (now)
                send_back(c, o, wishes[w].field, now);
        }
}

/* ---- questions ---- */

unsigned carry_slots(const struct carry *c)
{
    return (unsigned)c->head.slots;
}

static const struct object *object_of(const struct carry *c, enum stats_kind kind)
{
    for (size_t i = 0; i < c->objects.n; i++)
        if (c->objects.v[i].kind->to == kind)
            return &c->objects.v[i];
    return NULL;
}

uint64_t carry_rpd(struct carry *c, const char *field)
{
    const struct object *o = object_of(c, STATS_rpd);
    unsigned char *record = o ? shared_of(c, o) : NULL;
    uint64_t v = 0;

    for (size_t f = 0; record && f < o->kind->shared.n; f++) {
        const struct field *from = o->kind->shared.v[f].from;

        if (from->type != FIELD_TEXT && strcmp(from->name, field) == 0)
            v = u64_at(record + from->offset);
    }
    free(record);
    return v;
}

uint64_t carry_pid(struct carry *c, unsigned slot)
{
    const struct object *o = object_of(c, STATS_worker);
    const unsigned char *record;

    forget_window(c);
    record = o ? record_at(c, o->slot_offset + slot * c->head.stride, o->slot_size) : NULL;
    for (size_t f = 0; record && f < o->kind->slot.n; f++)
        if (strcmp(o->kind->slot.v[f].from->name, "pid") == 0)
            return u64_at(record + o->kind->slot.v[f].from->offset);
    return 0;
}
