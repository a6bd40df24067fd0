/* `rpctl postmortem`: what workers that crashed did last, out of the flight recorders that the
 * master kept. Called by main; works without a daemon. */
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/core/stats.h"
#include "ctl/ctl.h"
#include "ctl/human.h"
#include "ctl/load.h"
#include "ctl/output.h"
#include "ctl/streams.h"

#define US_PER_S 1e6

/* ---- a table ---- */

static void put_streams(struct strbuf *out, const struct streams *all, bool is_colour,
                        const char *title)
{
    style_begin(out, STYLE_HEAD, is_colour);
    strbuf_printf(out, "\n%s: %zu\n", title, all->rows.n);
    style_end(out, STYLE_HEAD, is_colour);
    if (all->rows.n > 0)
        streams_table(out, all, is_colour);
}

static void put_part(struct strbuf *out, const struct flight_log *l, bool is_open, bool is_colour,
                     const char *title)
{
    const struct stream_filter any = { .is_errors = false };
    struct streams part = { .is_damaged = false };

    streams_add(&part, l, is_open, !is_open, l->died_us);
    streams_select(&part, &any);
    put_streams(out, &part, is_colour, title);
    VEC_FREE(&part.rows);
}

static void put_events(struct strbuf *out, const struct flight_log *l, bool is_colour)
{
    char buf[STREAM_TIME_MAX];

    style_begin(out, STYLE_HEAD, is_colour);
    strbuf_printf(out, "\nevents: %zu\n", l->events.n);
    style_end(out, STYLE_HEAD, is_colour);
    for (size_t i = 0; i < l->events.n; i++) {
        strbuf_printf(out, "%s  ", stream_time(buf, l->events.v[i].at_us));
        stream_put_text(out, slice_str(l->events.v[i].text));
        strbuf_addc(out, '\n');
    }
}

static void put_title(struct strbuf *out, const struct flight_log *l, bool is_colour)
{
    char buf[STREAM_TIME_MAX], span[HUMAN_MAX];

    style_begin(out, STYLE_BAD, is_colour);
    strbuf_printf(out, "worker %u (pid %llu) ", l->worker, (unsigned long long)l->pid);
    if (l->died_us) {
        strbuf_printf(out, "died at %s: ", stream_time(buf, l->died_us));
        stream_put_text(out, slice_str(l->died));
    } else {
        strbuf_adds(out, "died, it is not known how");
    }
    style_end(out, STYLE_BAD, is_colour);
    strbuf_printf(out, "\nit had run since %s", stream_time(buf, l->started_us));
    if (l->died_us > l->started_us)
        strbuf_printf(out, ", for %s",
                      human_span(span, (double)(l->died_us - l->started_us) / US_PER_S));
    if (l->untracked)
        strbuf_printf(out, "; %llu streams had no place among those in progress",
                      (unsigned long long)l->untracked);
    strbuf_addc(out, '\n');
}

static void put_table(struct strbuf *out, const struct streams *s, bool is_colour)
{
    for (size_t i = 0; i < s->logs.n; i++) {
        const struct flight_log *l = s->logs.v[i];

        if (i > 0)
            strbuf_addc(out, '\n');
        put_title(out, l, is_colour);
        put_part(out, l, true, is_colour, "streams in progress");
        put_part(out, l, false, is_colour, "streams that had ended");
        put_events(out, l, is_colour);
    }
}

/* ---- the other forms ---- */

/* Those in progress first. */
static void add_in_order(struct streams *part, const struct flight_log *l)
{
    streams_add(part, l, true, false, l->died_us);
    streams_add(part, l, false, true, l->died_us);
}

static void json_log(struct json *j, const struct flight_log *l)
{
    struct streams part = { .is_damaged = false };

    add_in_order(&part, l);
    json_object(j, NULL);
    json_u64(j, "worker", l->worker);
    json_u64(j, "pid", l->pid);
    json_double(j, "started", (double)l->started_us / US_PER_S);
    json_double(j, "died", (double)l->died_us / US_PER_S);
    json_str(j, "how", slice_str(l->died));
    json_u64(j, "untracked", l->untracked);
    streams_json(j, "streams", &part);
    json_array(j, "events");
    for (size_t i = 0; i < l->events.n; i++) {
        json_object(j, NULL);
        json_double(j, "time", (double)l->events.v[i].at_us / US_PER_S);
        json_str(j, "text", slice_str(l->events.v[i].text));
        json_object_end(j);
    }
    json_array_end(j);
    json_object_end(j);
    VEC_FREE(&part.rows);
}

static void put_json(struct strbuf *out, const struct streams *s)
{
    struct json j;

    json_init(&j, out);
    json_array(&j, NULL);
    for (size_t i = 0; i < s->logs.n; i++)
        json_log(&j, s->logs.v[i]);
    json_array_end(&j);
    strbuf_addc(out, '\n');
}

static void put_csv(struct strbuf *out, const struct streams *s)
{
    struct streams all = { .is_damaged = false };

    for (size_t i = 0; i < s->logs.n; i++)
        add_in_order(&all, s->logs.v[i]);
    streams_csv(out, &all);
    VEC_FREE(&all.rows);
}

/* ---- the command ---- */

static enum ctl_exit print(const struct ctl *ctl, const struct streams *s)
{
    enum ctl_exit status;
    struct strbuf out;

    strbuf_init(&out);
    if (ctl->format == CTL_JSON)
        put_json(&out, s);
    else if (ctl->format == CTL_CSV)
        put_csv(&out, s);
    else
        put_table(&out, s, ctl->is_colour);
    status = ctl_print(&out);
    strbuf_fini(&out);
    return status;
}

/* The one argument: a worker's index; -1 for all, -2, said, for nonsense. */
static long which(char **args)
{
    uint64_t n;

    if (!args[0])
        return -1;
    if (!args[1] && slice_u64(slice_str(args[0]), &n) && n < STATS_WORKERS_MAX)
        return (long)n;
    ctl_error("postmortem takes at most one worker's index");
    return -2;
}

enum ctl_exit ctl_postmortem(const struct ctl *ctl, char **args)
{
    long only = which(args);
    enum ctl_exit status = CTL_FAILED;
    struct streams s;

    if (ctl->format == CTL_PROMETHEUS)
        ctl_error("postmortem does not go with -o prometheus");
    if (only == -2 || ctl->format == CTL_PROMETHEUS)
        return CTL_USAGE;
    if (!streams_read(&s, ctl->run_dir, "postmortem", false, only))
        ctl_error(only < 0 ? "no worker has crashed: there is no postmortem in %s"
                           : "there is no postmortem of that worker in %s", ctl->run_dir);
    else if (s.logs.n > 0)
        status = print(ctl, &s);
    if (s.is_damaged)
        status = CTL_FAILED;
    streams_fini(&s);
    return status;
}
