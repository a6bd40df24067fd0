/* `rpctl stats` and `rpctl workers`: what is asked for, in which form, once or again and again.
 * Called by main; reads the segment alone. */
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/core/units.h"
#include "ctl/ctl.h"
#include "ctl/load.h"
#include "ctl/output.h"
#include "ctl/screen.h"
#include "ctl/human.h"

#define WATCH_DEFAULT_MS 1000
#define WATCH_MAX_MS 86400000

struct request {
    const char *kind; /* NULL: all */
    char **names;     /* ends in NULL */
    uint64_t watch_ms; /* 0: once */
    bool is_since_start;
};

/* ---- what is asked ---- */

static bool take_interval(struct request *q, const char *text)
{
    struct strbuf why;
    bool is_good;

    strbuf_init(&why);
    is_good = units_duration(slice_str(text), &q->watch_ms, &why);
    if (!is_good)
        ctl_error("--watch: %s", why.s);
    else if (q->watch_ms == 0 || q->watch_ms > WATCH_MAX_MS) {
        ctl_error("--watch %s: from 1ms to 1d", text);
        is_good = false;
    }
    strbuf_fini(&why);
    return is_good;
}

/* Options out of args; what is left is [KIND [NAME...]]. */
static bool take_options(struct request *q, char **args)
{
    char **kept = args;

    for (; *args; args++) {
        if (strcmp(*args, "--since-start") == 0)
            q->is_since_start = true;
        else if (strcmp(*args, "--watch") == 0) {
            q->watch_ms = WATCH_DEFAULT_MS;
            if (args[1] && args[1][0] >= '0' && args[1][0] <= '9')
                args++;
            else
                continue;
            if (!take_interval(q, *args))
                return false;
        } else if ((*args)[0] == '-' && (*args)[1]) {
            ctl_error("stats has no option %s; see rpctl -h", *args);
            return false;
        } else
            *kept++ = *args;
    }
    *kept = NULL;
    return true;
}

static enum ctl_exit select_rows(struct model *m, const struct request *q,
                                 const struct kind **kind)
{
    const char *missing;

    *kind = NULL;
    if (q->kind && !(*kind = schema_kind(&m->schema, q->kind))) {
        struct strbuf kinds;

        strbuf_init(&kinds);
        for (size_t i = 0; i < m->schema.kinds.n; i++)
            strbuf_printf(&kinds, " %s", m->schema.kinds.v[i].json);
        ctl_error("there are no statistics of '%s'; there are%s", q->kind, kinds.s);
        strbuf_fini(&kinds);
        return CTL_USAGE;
    }
    missing = model_select(m, *kind, q->names);
    if (missing) {
        ctl_error("there is no %s '%s'", (*kind)->name, missing);
        return CTL_FAILED;
    }
    return CTL_DONE;
}

/* ---- printing ---- */

static void put_title(struct strbuf *out, const struct model *m, const struct model *before,
                      const struct ctl *ctl)
{
    char now[CLOCK_TEXT_MAX], span[HUMAN_MAX];

    clock_iso8601(now, m->read_us);
    strbuf_printf(out, "%s  %s  ", now, ctl->run_dir);
    if (before)
        strbuf_printf(out, "over %.1fs", (double)(m->read_mono_us - before->read_mono_us) / 1e6);
    else
        strbuf_printf(out, "since the start, %s ago",
                      human_span(span, (double)(m->read_us - m->created_us) / 1e6));
    if (!m->is_running)
        strbuf_adds(out, "  (the master is not running)");
    strbuf_adds(out, "\n\n");
}

static void put_model(struct strbuf *out, const struct ctl *ctl, const struct model *m,
                      const struct model *before, const struct kind *kind, bool is_first,
                      bool is_watch)
{
    switch (ctl->format) {
    case CTL_TABLE:
        if (is_watch)
            put_title(out, m, before, ctl);
        table_model(out, m, before, kind, ctl->is_colour);
        return;
    case CTL_JSON:
        json_model(out, m, kind);
        return;
    case CTL_CSV:
        csv_model(out, m, kind, is_first, is_watch);
        return;
    case CTL_PROMETHEUS:
        prometheus_model(out, m, kind);
        return;
    }
}

static enum ctl_exit once(const struct ctl *ctl, const struct request *q)
{
    const struct kind *kind;
    struct strbuf out;
    enum ctl_exit status;
    struct model *m = ctl_load(ctl, &status);

    if (!m)
        return status;
    status = select_rows(m, q, &kind);
    if (status == CTL_DONE) {
        ctl_note_gone(m);
        strbuf_init(&out);
        put_model(&out, ctl, m, NULL, kind, true, false);
        status = ctl_print(&out);
        strbuf_fini(&out);
    }
    model_free(&m);
    return status;
}

/* ---- again and again ---- */

struct watch {
    const struct ctl *ctl;
    const struct request *q;
    struct model *before;
    bool is_first;
};

static enum ctl_exit watch_print(struct watch *w, struct model *m, const struct kind *kind)
{
    const struct model *before = w->q->is_since_start ? NULL : w->before;
    enum ctl_exit status = CTL_DONE;
    struct strbuf out;

    strbuf_init(&out);
    if (!w->is_first && !w->ctl->is_terminal && w->ctl->format == CTL_TABLE)
        strbuf_addc(&out, '\n');
    put_model(&out, w->ctl, m, before, kind, w->is_first, true);
    if (w->ctl->is_terminal && w->ctl->format == CTL_TABLE)
        screen_draw(strbuf_slice(&out));
    else
        status = ctl_print(&out);
    strbuf_fini(&out);
    return status;
}

/* One reading; what was selected may have gone with a reload. */
static enum ctl_exit watch_turn(struct watch *w)
{
    const struct kind *kind;
    enum ctl_exit status;
    struct model *m = ctl_load(w->ctl, &status);

    if (!m)
        return status;
    if (w->is_first) {
        status = select_rows(m, w->q, &kind);
    } else {
        kind = w->q->kind ? schema_kind(&m->schema, w->q->kind) : NULL;
        (void)model_select(m, kind, w->q->names);
    }
    if (status == CTL_DONE)
        status = watch_print(w, m, kind);
    model_free(&w->before);
    w->before = m;
    w->is_first = false;
    return status;
}

static enum ctl_exit watch(const struct ctl *ctl, const struct request *q)
{
    struct watch w = { .ctl = ctl, .q = q, .is_first = true };
    uint64_t next = clock_mono_us();
    enum screen_event event = SCREEN_TICK;
    enum ctl_exit status = CTL_DONE;
    char key;

    screen_open(false);
    while (event != SCREEN_END && status == CTL_DONE) {
        if (event == SCREEN_TICK) {
            status = watch_turn(&w);
            next += q->watch_ms * 1000;
        }
        if (next < clock_mono_us()) /* stopped or slow: no turns to make up for */
            next = clock_mono_us();
        if (status == CTL_DONE)
            event = screen_wait(next, &key);
    }
    screen_close();
    model_free(&w.before);
    return status;
}

enum ctl_exit ctl_stats(const struct ctl *ctl, char **args)
{
    struct request q = { 0 };

    if (!take_options(&q, args))
        return CTL_USAGE;
    if (args[0]) {
        q.kind = args[0];
        q.names = args + 1;
    }
    if (q.watch_ms == 0)
        return once(ctl, &q);
    if (ctl->format == CTL_PROMETHEUS) {
        ctl_error("--watch does not go with -o prometheus");
        return CTL_USAGE;
    }
    return watch(ctl, &q);
}

enum ctl_exit ctl_workers(const struct ctl *ctl, char **args)
{
    struct request q = { .kind = "workers" };

    if (args[0]) {
        ctl_error("workers takes no arguments");
        return CTL_USAGE;
    }
    return once(ctl, &q);
}
