/* Streams out of flight recorders: finding the files, merging what is in them. Called by recent
 * and postmortem; asks no daemon. */
#include "ctl/streams.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- files ---- */

/* PREFIX.N or PREFIX.N.old */
static bool is_ours(const char *name, const char *prefix, bool with_old, long only)
{
    struct slice rest = slice_str(name), number;
    uint64_t n;

    if (!slice_starts(rest, slice_str(prefix)))
        return false;
    rest = slice_of(rest.p + strlen(prefix), rest.n - strlen(prefix));
    if (rest.n == 0 || rest.p[0] != '.')
        return false;
    rest = slice_of(rest.p + 1, rest.n - 1);
    number = slice_cut(&rest, '.');
    if (!slice_u64(number, &n) || (only >= 0 && n != (uint64_t)only))
        return false;
    return !rest.p || (with_old && slice_eq(rest, SLICE("old")));
}

static int by_begin(const void *a, const void *b)
{
    const struct flight_log *x = *(const struct flight_log *const *)a;
    const struct flight_log *y = *(const struct flight_log *const *)b;
    uint64_t at = x->died_us ? x->died_us : x->started_us;
    uint64_t bt = y->died_us ? y->died_us : y->started_us;

    return (at > bt) - (at < bt);
}

/* A file that went away meanwhile is none. */
static bool read_one(struct streams *s, const char *run_dir, const char *name)
{
    struct strbuf path, why;
    struct flight_log *l;
    bool is_there;

    strbuf_init(&path);
    strbuf_init(&why);
    strbuf_printf(&path, "%s/%s", run_dir, name);
    l = flight_log_read(path.s, &why);
    is_there = l || errno != ENOENT;
    if (l)
        *VEC_PUSH(&s->logs) = l;
    else if (is_there) {
        ctl_error("%s", why.s);
        s->is_damaged = true;
    }
    strbuf_fini(&path);
    strbuf_fini(&why);
    return is_there;
}

bool streams_read(struct streams *s, const char *run_dir, const char *prefix, bool with_old,
                  long only)
{
    DIR *dir = opendir(run_dir);
    const struct dirent *e;
    bool is_any = false;

    memset(s, 0, sizeof *s);
    while (dir && (e = readdir(dir)) != NULL)
        if (is_ours(e->d_name, prefix, with_old, only))
            is_any |= read_one(s, run_dir, e->d_name);
    if (dir)
        closedir(dir);
    if (s->logs.n > 0)
        qsort(s->logs.v, s->logs.n, sizeof *s->logs.v, by_begin);
    return is_any;
}

void streams_fini(struct streams *s)
{
    for (size_t i = 0; i < s->logs.n; i++)
        flight_log_free(&s->logs.v[i]);
    VEC_FREE(&s->logs);
    VEC_FREE(&s->rows);
}

/* ---- rows ---- */

static uint64_t sum(uint64_t at, uint64_t us)
{
    return at < STREAM_TIME_MAX_US && us < STREAM_TIME_MAX_US - at ? at + us : STREAM_TIME_MAX_US;
}

void streams_add(struct streams *s, const struct flight_log *l, bool is_open, bool is_ended,
                 uint64_t now_us)
{
    for (size_t i = 0; is_ended && i < l->ended.n; i++) {
        const struct flight_record *r = &l->ended.v[i];

        *VEC_PUSH(&s->rows) = (struct stream_row){ l, r, sum(r->began_us, r->total_us),
                                                   r->total_us };
    }
    for (size_t i = 0; is_open && i < l->open.n; i++) {
        const struct flight_record *r = &l->open.v[i];

        *VEC_PUSH(&s->rows) = (struct stream_row){
            l, r, sum(r->began_us, 0), now_us > r->began_us ? now_us - r->began_us : 0 };
    }
}

bool stream_is_error(const struct stream_row *r)
{
    if (r->record->state != FLIGHT_ENDED)
        return false;
    return r->record->status >= 500
           || !slice_eq(flight_log_reason(r->log, r->record).outcome, SLICE("ok"));
}

static int compare(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int by_time(const void *a, const void *b)
{
    const struct stream_row *x = a, *y = b;
    bool is_open = x->record->state == FLIGHT_IN_PROGRESS;
    int r;

    if (is_open != (y->record->state == FLIGHT_IN_PROGRESS))
        return is_open ? 1 : -1;
    if ((r = compare(x->at_us, y->at_us)) != 0)
        return r;
    if ((r = compare(x->log->started_us, y->log->started_us)) != 0)
        return r;
    return compare(x->record->number, y->record->number);
}

static bool passes(const struct stream_row *r, const struct stream_filter *f)
{
    return (!f->is_errors || stream_is_error(r))
           && (!f->route || slice_eq(flight_log_name(r->log, r->record->route),
                                     slice_str(f->route)));
}

/* The last `most` of rows [from, to), which go to the place `at`; returns where they end. */
static size_t keep_last(struct streams *s, size_t at, size_t from, size_t to, size_t most)
{
    if (most > 0 && to - from > most)
        from = to - most;
    if (to > from)
        memmove(s->rows.v + at, s->rows.v + from, (to - from) * sizeof *s->rows.v);
    return at + (to - from);
}

void streams_select(struct streams *s, const struct stream_filter *f)
{
    size_t n = 0, ended = 0, end;

    for (size_t i = 0; i < s->rows.n; i++)
        if (passes(&s->rows.v[i], f))
            s->rows.v[n++] = s->rows.v[i];
    s->rows.n = n;
    if (n == 0)
        return;
    qsort(s->rows.v, n, sizeof *s->rows.v, by_time);
    while (ended < n && s->rows.v[ended].record->state == FLIGHT_ENDED)
        ended++;
    end = keep_last(s, 0, 0, ended, f->most);
    s->rows.n = keep_last(s, end, ended, n, f->most);
}
