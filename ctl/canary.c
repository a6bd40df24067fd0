/* `rpctl canary`: where each canary stands, with the evidence and what has happened; what an
 * operator wants of one is the master's to do. Called by main. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "ctl/ctl.h"
#include "ctl/grid.h"
#include "ctl/human.h"
#include "ctl/load.h"
#include "ctl/output.h"

#define US_PER_S 1e6
#define DAY_US (UINT64_C(86400) * 1000000)
#define BAR_WIDTH 40
#define WHOLE 10000 /* hundredths of a percent */
#define KIND "canary"
#define SIDE "canary_side"
#define CHANGE "canary_change"

struct shown {
    const struct model *m;
    const struct row *row; /* the canary */
    const struct ctl *ctl;
    struct strbuf *out;
};

/* ---- values ---- */

static struct slice text_of(const struct model *m, const struct row *r, const char *field)
{
    const struct field *f = kind_field(r->kind, field);

    if (!f || (f->type != FIELD_TEXT && f->type != FIELD_ENUM))
        return SLICE("");
    return row_text(m, r, f);
}

static bool is_state(const struct shown *s, const char *state)
{
    return slice_eq(text_of(s->m, s->row, "state"), slice_str(state));
}

static const struct row *child_of(const struct model *m, const struct row *r, const char *kind,
                                  const char *name)
{
    for (size_t i = r->child; i != MODEL_NONE; i = m->rows.v[i].next)
        if (strcmp(m->rows.v[i].kind->name, kind) == 0
            && strcmp(m->rows.v[i].own_name, name) == 0)
            return &m->rows.v[i];
    return NULL;
}

static void put_percent(struct strbuf *out, uint64_t hundredths)
{
    strbuf_printf(out, "%g%%", (double)hundredths / 100);
}

/* `12:03:10`, of another day with that before it; local time. */
static void put_time(struct strbuf *out, const struct model *m, uint64_t at_us)
{
    char text[CLOCK_TEXT_MAX];

    clock_iso8601(text, at_us);
    if (at_us + DAY_US < m->read_us)
        strbuf_printf(out, "%.10s ", text);
    strbuf_printf(out, "%.8s", text + 11);
}

static const char *span_since(const struct shown *s, char buf[HUMAN_MAX])
{
    uint64_t since = row_value_of(s->row, "since"), now = s->m->read_us;

    return human_span(buf, now > since ? (double)(now - since) / US_PER_S : 0);
}

/* ---- the picture ---- */

static void put_styled(const struct shown *s, enum style style, struct slice text)
{
    style_begin(s->out, style, s->ctl->is_colour);
    strbuf_add(s->out, text);
    style_end(s->out, style, s->ctl->is_colour);
}

static size_t count_steps(struct slice steps)
{
    struct slice item;
    size_t n = 0;

    while (slice_next_item(&steps, &item))
        n++;
    return n;
}

/* `running, step 2 of 4: 25% of the clients since 12:03:10, 4m10s of 5m00s` */
static void put_state(const struct shown *s)
{
    struct slice steps = text_of(s->m, s->row, "steps"), state = text_of(s->m, s->row, "state");
    char span[HUMAN_MAX], whole[HUMAN_MAX];

    put_styled(s, style_of_state(state), state);
    if (is_state(s, "running") || is_state(s, "paused"))
        strbuf_printf(s->out, ", step %u of %zu", (unsigned)row_value_of(s->row, "step"),
                      count_steps(steps));
    if (is_state(s, "waiting")) {
        strbuf_printf(s->out, ": `rpctl canary %s start` begins it\n", s->row->name);
        return;
    }
    strbuf_adds(s->out, ": ");
    put_percent(s->out, row_value_of(s->row, "weight"));
    strbuf_adds(s->out, " of the clients since ");
    put_time(s->out, s->m, row_value_of(s->row, "since"));
    strbuf_printf(s->out, ", %s", span_since(s, span));
    if (is_state(s, "running"))
        strbuf_printf(s->out, " of %s",
                      human_span(whole, (double)row_value_of(s->row, "step_time") / US_PER_S));
    strbuf_addc(s->out, '\n');
}

/* `##########..............................  5%, 25%, 50%, 100%` */
static void put_bar(const struct shown *s)
{
    uint64_t n = row_value_of(s->row, "weight") * BAR_WIDTH / WHOLE;

    for (uint64_t i = 0; i < BAR_WIDTH; i++)
        strbuf_addc(s->out, i < n ? '#' : '.');
    strbuf_printf(s->out, "  %.*s\n\n", SLICE_ARG(text_of(s->m, s->row, "steps")));
}

static void put_side(const struct shown *s, struct grid *g, const char *side, const char *backend)
{
    const struct row *r = child_of(s->m, s->row, SIDE, side);
    uint64_t requests = r ? row_value_of(r, "requests") : 0;
    uint64_t errors = r ? row_value_of(r, "errors") : 0;
    struct slice name = text_of(s->m, s->row, backend);
    char buf[HUMAN_MAX], *own = xstrndup(name.p, name.n);

    grid_cell(g, STYLE_PLAIN, side);
    grid_cell(g, STYLE_PLAIN, own);
    grid_cell(g, STYLE_PLAIN, human_count(buf, (double)requests));
    grid_cell(g, errors > 0 ? STYLE_BAD : STYLE_DIM, human_count(buf, (double)errors));
    snprintf(buf, sizeof buf, "%.2f%%", 100 * (double)errors / (double)(requests ? requests : 1));
    grid_cell(g, STYLE_PLAIN, requests ? buf : "-");
    grid_cell(g, STYLE_PLAIN,
              human_latency(buf, r ? (double)row_value_of(r, "p99") / US_PER_S : 0));
    free(own);
}

/* Of the present step, or of the one that decided. */
static void put_evidence(const struct shown *s)
{
    uint64_t testers = row_value_of(s->row, "testers_total");
    struct slice verdict = text_of(s->m, s->row, "verdict");
    char buf[HUMAN_MAX];
    struct grid g;

    grid_init(&g);
    grid_column(&g, "side", true);
    grid_column(&g, "backend", true);
    grid_column(&g, "requests", false);
    grid_column(&g, "errors", false);
    grid_column(&g, "share", false);
    grid_column(&g, "p99", false);
    put_side(s, &g, "stable", "stable_backend");
    put_side(s, &g, "canary", "canary_backend");
    grid_print(s->out, &g, s->ctl->is_colour);
    grid_fini(&g);
    if (testers > 0)
        strbuf_printf(s->out, "testers: %s requests\n", human_count(buf, (double)testers));
    strbuf_addc(s->out, '\n');
    if (verdict.n == 0)
        return;
    put_styled(s, slice_starts(verdict, SLICE("bad")) ? STYLE_BAD : STYLE_PLAIN, verdict);
    strbuf_adds(s->out, "\n\n");
}

/* ---- what has happened ---- */

/* The n-th latest change; NULL: there are fewer. */
static const struct row *change_of(const struct shown *s, uint64_t n)
{
    uint64_t number = row_value_of(s->row, "changes") - n;

    for (size_t i = s->row->child; i != MODEL_NONE; i = s->m->rows.v[i].next) {
        const struct row *r = &s->m->rows.v[i];

        if (strcmp(r->kind->name, CHANGE) == 0 && number > 0
            && row_value_of(r, "number") == number)
            return r;
    }
    return NULL;
}

static void put_who(struct strbuf *out, const struct row *change)
{
    unsigned long uid = (unsigned long)row_value_of(change, "by_uid");
    const struct passwd *pw = getpwuid((uid_t)uid);

    if (pw)
        strbuf_adds(out, pw->pw_name);
    else
        strbuf_printf(out, "%lu", uid);
}

static void put_change(const struct shown *s, struct grid *g, const struct row *change)
{
    struct slice event = text_of(s->m, change, "event"), why = text_of(s->m, change, "reason");
    char *name = xstrndup(event.p, event.n);
    struct strbuf text;

    strbuf_init(&text);
    put_time(&text, s->m, row_value_of(change, "at"));
    grid_cell(g, STYLE_PLAIN, text.s);
    grid_cell(g, STYLE_PLAIN, name);
    strbuf_clear(&text);
    put_percent(&text, row_value_of(change, "weight"));
    grid_cell(g, STYLE_PLAIN, text.s);
    strbuf_clear(&text);
    strbuf_add(&text, why);
    if (row_value_of(change, "is_asked")) {
        strbuf_adds(&text, " by ");
        put_who(&text, change);
    }
    grid_cell(g, slice_starts(why, SLICE("bad")) ? STYLE_BAD : STYLE_PLAIN, text.s);
    strbuf_fini(&text);
    free(name);
}

static void put_history(const struct shown *s)
{
    const struct row *change;
    struct grid g;

    grid_init(&g);
    grid_column(&g, "at", true);
    grid_column(&g, "event", true);
    grid_column(&g, "weight", false);
    grid_column(&g, "why", true);
    for (uint64_t n = 0; (change = change_of(s, n)) != NULL; n++)
        put_change(s, &g, change);
    grid_print(s->out, &g, s->ctl->is_colour);
    grid_fini(&g);
}

static void put_status(const struct shown *s)
{
    put_styled(s, STYLE_HEAD, slice_str(s->row->name));
    strbuf_addc(s->out, ' ');
    put_state(s);
    put_bar(s);
    put_evidence(s);
    put_history(s);
}

/* ---- JSON ---- */

static void json_fields(struct json *j, const struct model *m, const struct row *r)
{
    for (size_t i = 0; i < r->kind->fields.n; i++)
        json_row_field(j, m, r, &r->kind->fields.v[i]);
}

static void json_side(struct json *j, const struct shown *s, const char *side)
{
    const struct row *r = child_of(s->m, s->row, SIDE, side);

    if (!r)
        return;
    json_object(j, side);
    json_fields(j, s->m, r);
    json_object_end(j);
}

static void json_status(struct json *j, const struct shown *s)
{
    const struct row *change;

    json_object(j, NULL);
    json_str(j, "name", slice_str(s->row->name));
    json_fields(j, s->m, s->row);
    json_side(j, s, "stable");
    json_side(j, s, "canary");
    json_array(j, "history");
    for (uint64_t n = 0; (change = change_of(s, n)) != NULL; n++) {
        json_object(j, NULL);
        json_fields(j, s->m, change);
        json_object_end(j);
    }
    json_array_end(j);
    json_object_end(j);
}

/* ---- the command ---- */

static bool is_asked(const struct row *r, const char *name)
{
    return strcmp(r->kind->name, KIND) == 0 && (!name || strcmp(r->name, name) == 0);
}

/* Each canary, or that one; how many there were. An object for one, an array for all. */
static size_t put_all(struct strbuf *out, const struct ctl *ctl, const struct model *m,
                      const char *name)
{
    bool is_json = ctl->format == CTL_JSON;
    struct json j;
    size_t n = 0;

    json_init(&j, out);
    if (is_json && !name)
        json_array(&j, NULL);
    for (size_t i = 0; i < m->rows.n; i++) {
        const struct shown s = { m, &m->rows.v[i], ctl, out };

        if (!is_asked(s.row, name))
            continue;
        if (is_json)
            json_status(&j, &s);
        else {
            strbuf_adds(out, n > 0 ? "\n" : "");
            put_status(&s);
        }
        n++;
    }
    if (is_json && !name)
        json_array_end(&j);
    if (is_json)
        strbuf_addc(out, '\n');
    return n;
}

static enum ctl_exit status(const struct ctl *ctl, const char *name)
{
    enum ctl_exit status;
    struct model *m = ctl_load(ctl, &status);
    struct strbuf out;

    if (!m)
        return status;
    ctl_note_gone(m);
    strbuf_init(&out);
    if (put_all(&out, ctl, m, name) > 0 || (!name && ctl->format == CTL_JSON))
        status = ctl_print(&out);
    else if (name) {
        ctl_error("there is no canary '%s'", name);
        status = CTL_FAILED;
    } else
        ctl_error("no canary is configured");
    strbuf_fini(&out);
    model_free(&m);
    return status;
}

/* What the words say is the master's to judge, but not whether there are enough. */
enum ctl_exit ctl_canary(const struct ctl *ctl, char **args)
{
    size_t n = 0, wanted = 2;

    while (args[n])
        n++;
    if (n >= 2 && strcmp(args[1], "weight") == 0)
        wanted = 3;
    if (n <= 1 || (n == 2 && strcmp(args[1], "status") == 0)) {
        if (ctl->format == CTL_TABLE || ctl->format == CTL_JSON)
            return status(ctl, args[0]);
        ctl_error("canary prints tables and json; `stats canaries` has csv and prometheus");
        return CTL_USAGE;
    }
    if (n != wanted) {
        ctl_error("usage: rpctl canary " CTL_CANARY_USAGE);
        return CTL_USAGE;
    }
    return ctl_act(ctl, "canary", args);
}
