/* Writing the flight recorder. Called by the worker; the master formats the file. */
#include "common/core/flight.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "common/base/clock.h"

#define TEXTS_AT 4096
#define NAMES_AT 16384
#define EVENTS_AT (NAMES_AT + FLIGHT_NAMES * FLIGHT_NAME_SIZE)
#define RECORDS_AT (EVENTS_AT + 32768)
#define RECORDS_STEP 256 /* backed with memory at a time */
#define PAGE 4096
#define NAME_LOST UINT16_MAX

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* linux/mman.h */
#endif

static_assert(sizeof(struct flight_header) <= TEXTS_AT, "header before texts");
static_assert(offsetof(struct flight_header, texts) % 64 == 0, "on its own cache lines");
static_assert(sizeof(struct flight_record) == 256, "whole cache lines");
static_assert(sizeof(struct flight_event) * FLIGHT_EVENTS <= RECORDS_AT - EVENTS_AT, "events");
static_assert(RECORDS_AT % 4096 == 0, "records begin a page");

size_t flight_size(void)
{
    return RECORDS_AT + FLIGHT_RECORDS * sizeof(struct flight_record);
}

void flight_format(struct flight_header *h, unsigned worker, uint64_t now_us)
{
    *h = (struct flight_header){
        .layout = FLIGHT_LAYOUT,
        .byte_order = FLIGHT_BYTE_ORDER,
        .texts_at = TEXTS_AT,
        .texts_max = NAMES_AT - TEXTS_AT,
        .names_at = NAMES_AT,
        .name_size = FLIGHT_NAME_SIZE,
        .names_max = FLIGHT_NAMES,
        .events_at = EVENTS_AT,
        .event_size = sizeof(struct flight_event),
        .events_max = FLIGHT_EVENTS,
        .records_at = RECORDS_AT,
        .record_size = sizeof(struct flight_record),
        .records_max = FLIGHT_RECORDS,
        .finished_max = FLIGHT_FINISHED,
        .worker = worker,
        .started_us = now_us,
        .names = 1,
    };
    memcpy(h->magic, FLIGHT_MAGIC, sizeof h->magic);
}

/* ---- the worker ---- */

static char *at(const struct flight *f, size_t offset)
{
    return (char *)(void *)f->head + offset;
}

/* Writing to a hole for which the file system has no room would be a SIGBUS; this is an error
 * instead. A kernel before 5.14 cannot tell. */
static bool back(const struct flight *f, size_t offset, size_t n)
{
    return madvise(at(f, offset), n, MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
}

/* Memory for some more; once there is none, those there are have to do. */
static bool back_more(struct flight *f)
{
    if (f->is_short || f->used == FLIGHT_RECORDS)
        return false;
    f->is_short = !back(f, RECORDS_AT + f->backed * sizeof *f->records,
                        RECORDS_STEP * sizeof *f->records);
    if (f->is_short)
        return false;
    f->backed += RECORDS_STEP;
    return true;
}

void flight_open(struct flight *f, void *base)
{
    memset(f, 0, sizeof *f);
    smap_init(&f->names, false);
    f->head = base;
    if (base)
        f->records = (struct flight_record *)(void *)at(f, RECORDS_AT);
    if (base && (!back(f, 0, NAMES_AT + PAGE) || !back(f, EVENTS_AT, RECORDS_AT - EVENTS_AT)
                 || !back_more(f)))
        f->head = NULL;
    flight_clock(f);
}

void flight_close(struct flight *f)
{
    smap_fini(&f->names);
    f->head = NULL;
    f->records = NULL;
}

void flight_clock(struct flight *f)
{
    f->wall_us = clock_wall_us() - clock_mono_us();
}

void flight_reason(struct flight *f, const char *reason, const char *outcome)
{
    size_t room = NAMES_AT - TEXTS_AT, n;

    if (!f->head)
        return;
    n = (size_t)snprintf(at(f, TEXTS_AT + f->head->texts), room - f->head->texts, "%s\t%s\n",
                         reason, outcome);
    assert(n < room - f->head->texts);
    __atomic_store_n(&f->head->texts, f->head->texts + n, __ATOMIC_RELEASE);
}

uint16_t flight_name(struct flight *f, const char *name)
{
    char text[FLIGHT_NAME_SIZE];
    uint64_t n;
    char *to;

    if (!f || !f->head || !*name)
        return 0;
    (void)snprintf(text, sizeof text, "%s", name);
    to = smap_get(&f->names, slice_str(text));
    if (to)
        return (uint16_t)((size_t)(to - at(f, NAMES_AT)) / FLIGHT_NAME_SIZE);
    n = f->head->names;
    if (n >= FLIGHT_NAMES)
        return NAME_LOST;
    to = at(f, NAMES_AT + n * FLIGHT_NAME_SIZE);
    if (n * FLIGHT_NAME_SIZE % PAGE == 0 && !back(f, NAMES_AT + n * FLIGHT_NAME_SIZE, PAGE))
        return NAME_LOST;
    memcpy(to, text, sizeof text);
    smap_put(&f->names, slice_str(to), to);
    __atomic_store_n(&f->head->names, n + 1, __ATOMIC_RELEASE);
    return (uint16_t)n;
}

void flight_event(struct flight *f, const char *fmt, ...)
{
    struct flight_event *e;
    va_list ap;

    if (!f->head)
        return;
    e = (struct flight_event *)(void *)at(f, EVENTS_AT) + f->head->events % FLIGHT_EVENTS;
    __atomic_store_n(&e->seq, e->seq | 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    e->number = f->head->events + 1;
    e->at_us = clock_wall_us();
    va_start(ap, fmt);
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    __atomic_store_n(&e->seq, e->seq + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&f->head->events, f->head->events + 1, __ATOMIC_RELEASE);
}

/* ---- records ---- */

static struct flight_record *take_new(struct flight *f)
{
    struct flight_record *r;

    if (f->used == f->backed && !back_more(f))
        return NULL;
    r = &f->records[f->used++];
    __atomic_store_n(&f->head->records, f->used, __ATOMIC_RELEASE);
    flight_write(r);
    return r;
}

static struct flight_record *take_free(struct flight *f)
{
    struct flight_record *r = &f->records[f->free[--f->nfree]];

    flight_write(r);
    return r;
}

static void give_up_oldest(struct flight *f)
{
    f->free[f->nfree++] = f->ring[f->oldest++ % FLIGHT_FINISHED];
}

struct flight_record *flight_take(struct flight *f)
{
    uint64_t kept = f->finished - f->oldest;
    struct flight_record *r = NULL;

    if (f->nfree > 0)
        return take_free(f);
    if (!f->head)
        return NULL;
    if (f->used - kept < FLIGHT_OPEN) {
        r = take_new(f);
        if (!r && kept > 0) {
            give_up_oldest(f);
            r = take_free(f);
        }
    }
    if (!r)
        flight_set(&f->head->untracked, f->head->untracked + 1);
    return r;
}

struct flight_record *flight_take_at_end(struct flight *f)
{
    struct flight_record *r;

    if (!f->head)
        return NULL;
    if (f->nfree == 0 && (r = take_new(f)) != NULL)
        return r;
    if (f->nfree == 0 && f->finished > f->oldest)
        give_up_oldest(f);
    return f->nfree > 0 ? take_free(f) : NULL;
}

void flight_finish(struct flight *f, struct flight_record *r)
{
    if (f->finished - f->oldest == FLIGHT_FINISHED)
        give_up_oldest(f);
    f->ring[f->finished++ % FLIGHT_FINISHED] = (uint16_t)(r - f->records);
    r->number = f->finished;
    r->state = FLIGHT_ENDED;
}
