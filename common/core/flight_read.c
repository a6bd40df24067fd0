/* Reads a flight recorder by pread(2): a file that shrinks is a short read, not a signal. Two
 * looks at a record's seq, before and after its bytes, tell whether it was whole. */
#include "common/core/flight_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/fd.h"

#define SECTION_MAX ((size_t)16 << 20)
#define COUNT_MAX UINT32_C(65535)
#define TRIES 8

struct reader {
    int fd;
    uint64_t size; /* of the file */
    struct flight_header head;
    struct flight_log *log;
};

/* A section of things of one size, as the header says, `used` of them. */
struct section {
    uint64_t at;
    size_t size, used;
};

/* ---- bytes ---- */

static bool read_at(const struct reader *r, void *to, size_t n, uint64_t at)
{
    return fd_read_at(r->fd, to, n, at) == n;
}

static uint32_t seq_at(const char *p)
{
    uint32_t seq;

    memcpy(&seq, p, sizeof seq);
    return seq;
}

/* One thing, whole: false when it is being written again and again, or was when its writer died. */
static bool read_one(const struct reader *r, char *to, size_t n, uint64_t at)
{
    char before[sizeof(uint32_t)], after[sizeof(uint32_t)];

    for (int i = 0; i < TRIES; i++)
        if (read_at(r, before, sizeof before, at) && read_at(r, to, n, at)
            && read_at(r, after, sizeof after, at) && seq_at(before) == seq_at(after)
            && seq_at(before) % 2 == 0)
            return true;
    return false;
}

/* Reads all, and calls `take` for each that is whole. */
static void read_section(const struct reader *r, const struct section *s,
                         void (*take)(struct flight_log *l, const char *bytes))
{
    size_t n = s->size * s->used;
    char *before = xmalloc(n + 1), *bytes = xmalloc(n + 1), *after = xmalloc(n + 1);

    if (read_at(r, before, n, s->at) && read_at(r, bytes, n, s->at)
        && read_at(r, after, n, s->at))
        for (size_t i = 0; i < s->used; i++) {
            char *one = bytes + i * s->size;
            uint32_t seq = seq_at(before + i * s->size);

            if ((seq % 2 == 0 && seq_at(after + i * s->size) == seq)
                || read_one(r, one, s->size, s->at + i * s->size))
                take(r->log, one);
        }
    free(before);
    free(bytes);
    free(after);
}

static bool section_is_good(const struct reader *r, uint64_t at, uint64_t size, uint64_t count)
{
    return at >= sizeof(struct flight_header) && count <= COUNT_MAX && at <= r->size
           && size * count <= SECTION_MAX && size * count <= r->size - at;
}

/* ---- the header ---- */

static bool header_is_good(const struct reader *r)
{
    const struct flight_header *h = &r->head;

    return section_is_good(r, h->texts_at, 1, h->texts_max) && h->texts <= h->texts_max
           && section_is_good(r, h->names_at, h->name_size, h->names_max)
           && h->names <= h->names_max && h->name_size > 0
           && section_is_good(r, h->events_at, h->event_size, h->events_max)
           && h->event_size >= sizeof(struct flight_event) && h->events_max > 0
           && section_is_good(r, h->records_at, h->record_size, h->records_max)
           && h->record_size >= sizeof(struct flight_record) && h->records <= h->records_max;
}

/* What is wrong; NULL: nothing. */
static const char *read_header(struct reader *r)
{
    struct stat st;

    if (fstat(r->fd, &st) != 0)
        return strerror(errno);
    r->size = (uint64_t)st.st_size;
    if (!S_ISREG(st.st_mode) || !read_at(r, &r->head, sizeof r->head, 0)
        || memcmp(r->head.magic, FLIGHT_MAGIC, sizeof r->head.magic) != 0)
        return "it is no flight recorder";
    if (r->head.byte_order != FLIGHT_BYTE_ORDER || r->head.layout != FLIGHT_LAYOUT)
        return "it was made by another version of rpd";
    return header_is_good(r) ? NULL : "it is damaged";
}

/* ---- what is in it ---- */

static void take_record(struct flight_log *l, const char *bytes)
{
    struct flight_record r;

    memcpy(&r, bytes, sizeof r);
    if (r.kind != FLIGHT_HTTP && r.kind != FLIGHT_TCP)
        return;
    if (r.state == FLIGHT_IN_PROGRESS)
        *VEC_PUSH(&l->open) = r;
    else if (r.state == FLIGHT_ENDED && r.number > 0)
        *VEC_PUSH(&l->ended) = r;
}

static void take_event(struct flight_log *l, const char *bytes)
{
    struct flight_event e;

    memcpy(&e, bytes, sizeof e);
    e.text[sizeof e.text - 1] = '\0';
    if (e.number > 0)
        *VEC_PUSH(&l->events) = e;
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int by_number(const void *a, const void *b)
{
    return compare(((const struct flight_record *)a)->number,
                   ((const struct flight_record *)b)->number);
}

static int by_begin(const void *a, const void *b)
{
    return compare(((const struct flight_record *)a)->began_us,
                   ((const struct flight_record *)b)->began_us);
}

static int events_by_number(const void *a, const void *b)
{
    return compare(((const struct flight_event *)a)->number,
                   ((const struct flight_event *)b)->number);
}

/* Records that wait to be taken anew lie among those that count: they are the oldest. */
static void drop_oldest(struct flight_log *l, size_t most)
{
    if (l->ended.n <= most)
        return;
    memmove(l->ended.v, l->ended.v + (l->ended.n - most), most * sizeof *l->ended.v);
    l->ended.n = most;
}

static void sort(struct flight_log *l, size_t finished_max)
{
    if (l->ended.n > 0)
        qsort(l->ended.v, l->ended.n, sizeof *l->ended.v, by_number);
    if (l->open.n > 0)
        qsort(l->open.v, l->open.n, sizeof *l->open.v, by_begin);
    if (l->events.n > 0)
        qsort(l->events.v, l->events.n, sizeof *l->events.v, events_by_number);
    drop_oldest(l, finished_max);
}

static void cut_texts(struct flight_log *l, size_t n)
{
    struct slice rest = slice_of(l->texts, n);

    while (rest.n > 0) {
        struct slice line = slice_cut(&rest, '\n');
        struct slice reason = slice_cut(&line, '\t');
        struct flight_reason *one = VEC_PUSH(&l->reasons);

        one->reason = reason;
        one->outcome = line.p ? line : SLICE_NONE;
    }
}

/* Names and texts after all that speaks of them. */
static bool read_words(struct reader *r)
{
    struct flight_log *l = r->log;
    const struct flight_header *h = &r->head;

    if (!read_at(r, &r->head, sizeof r->head, 0) || !header_is_good(r))
        return false;
    l->name_size = h->name_size;
    l->nnames = (size_t)h->names;
    l->names = xmalloc(l->name_size * l->nnames + 1);
    l->texts = xmalloc((size_t)h->texts + 1);
    if (!read_at(r, l->names, l->name_size * l->nnames, h->names_at)
        || !read_at(r, l->texts, (size_t)h->texts, h->texts_at))
        return false;
    cut_texts(l, (size_t)h->texts);
    l->worker = h->worker;
    l->pid = h->pid;
    l->started_us = h->started_us;
    l->died_us = h->died_us;
    l->untracked = h->untracked;
    memcpy(l->died, h->died, sizeof l->died);
    l->died[sizeof l->died - 1] = '\0';
    return true;
}

static const char *read_log(struct reader *r)
{
    const struct flight_header *h = &r->head;
    const char *wrong = read_header(r);
    struct section s;

    if (wrong)
        return wrong;
    s = (struct section){ h->records_at, h->record_size, (size_t)h->records };
    read_section(r, &s, take_record);
    s = (struct section){ h->events_at, h->event_size,
                          h->events < h->events_max ? (size_t)h->events : h->events_max };
    read_section(r, &s, take_event);
    sort(r->log, h->finished_max);
    return read_words(r) ? NULL : "it is damaged";
}

static int open_file(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
}

struct flight_log *flight_log_read(const char *path, struct strbuf *why)
{
    struct reader r = { .fd = open_file(path) };
    const char *wrong;

    if (r.fd < 0) {
        int err = errno;

        strbuf_printf(why, "%s: %s", path, strerror(err));
        errno = err;
        return NULL;
    }
    r.log = xcalloc(1, sizeof *r.log);
    wrong = read_log(&r);
    fd_close(&r.fd);
    if (!wrong)
        return r.log;
    strbuf_printf(why, "%s: %s", path, wrong);
    flight_log_free(&r.log);
    errno = EPROTO;
    return NULL;
}

void flight_log_free(struct flight_log **lp)
{
    struct flight_log *l = *lp;

    *lp = NULL;
    if (!l)
        return;
    VEC_FREE(&l->open);
    VEC_FREE(&l->ended);
    VEC_FREE(&l->events);
    VEC_FREE(&l->reasons);
    free(l->texts);
    free(l->names);
    free(l);
}

uint64_t flight_log_pid(const char *path)
{
    struct reader r = { .fd = open_file(path) };
    bool is_good = r.fd >= 0 && !read_header(&r);

    fd_close(&r.fd);
    return is_good ? r.head.pid : 0;
}

bool flight_log_is_alive(uint64_t pid, unsigned worker)
{
    char path[64], title[64], is[64];
    int fd;
    ssize_t n;

    (void)snprintf(path, sizeof path, "/proc/%llu/cmdline", (unsigned long long)pid);
    (void)snprintf(title, sizeof title, "rpd: worker %u", worker);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, is, sizeof is - 1);
    fd_close(&fd);
    is[n > 0 ? n : 0] = '\0';
    return strcmp(is, title) == 0;
}

/* ---- words ---- */

struct slice flight_log_name(const struct flight_log *l, uint16_t id)
{
    if (id == 0)
        return SLICE_NONE;
    if (id >= l->nnames)
        return SLICE("?");
    return flight_log_text(l->names + id * l->name_size, l->name_size);
}

struct flight_reason flight_log_reason(const struct flight_log *l, const struct flight_record *r)
{
    if (r->end < l->reasons.n)
        return l->reasons.v[r->end];
    return (struct flight_reason){ SLICE("?"), SLICE("?") };
}

struct ip flight_log_client(const struct flight_record *r)
{
    struct ip ip = { .port = r->port, .family = r->family };

    if (r->family != AF_INET && r->family != AF_INET6)
        ip.family = AF_UNIX;
    memcpy(ip.b, r->ip, sizeof ip.b);
    return ip;
}
