/* What an operator asks of a canary: canary_command of canary.h. Called by command.c; owns nothing,
 * blocks nowhere. */
#include "master/canary.h"

#include <stdlib.h>
#include "common/base/mem.h"
#include "common/core/units.h"
#include "master/master.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define USAGE "canary NAME start|pause|resume|promote|rollback|weight N"

struct wish {
    struct client *client;
    struct segment *segment;
    const struct conf_canary *canary;
    const struct stats_canary_shared *shared;
    struct slice verb, value;
    enum canary_state state; /* as it is */
    uint64_t weight;
    struct strbuf out;       /* the answer */
};

static const char *state_name(const struct wish *w)
{
    return stats_value_name("canary_state", w->state);
}

/* ---- the answers ---- */

static bool change(struct wish *w, enum canary_event event, enum canary_state state,
                   uint64_t weight)
{
    canary_change(w->segment, w->canary, &(struct canary_change){
        .event = event, .state = state, .weight = weight, .reason = SLICE("asked for"),
        .is_asked = true, .uid = w->client->uid });
    strbuf_printf(&w->out, "%s: %s at ", w->canary->name, stats_value_name("canary_state", state));
    units_print_percent(weight, &w->out);
    strbuf_printf(&w->out, " (was %s at ", state_name(w));
    units_print_percent(w->weight, &w->out);
    strbuf_adds(&w->out, ")\n");
    return true;
}

static bool already(struct wish *w)
{
    strbuf_printf(&w->out, "%s: %s already, at ", w->canary->name, state_name(w));
    units_print_percent(w->weight, &w->out);
    strbuf_addc(&w->out, '\n');
    return true;
}

static bool refuse(struct wish *w, const char *hint)
{
    strbuf_printf(&w->out, "%s is %s: %s\n", w->canary->name, state_name(w), hint);
    return false;
}

/* ---- the wishes ---- */

static bool start(struct wish *w)
{
    switch (w->state) {
    case CANARY_RUNNING:
        return already(w);
    case CANARY_PAUSED:
        return refuse(w, "`resume` goes on");
    case CANARY_PROMOTED:
        return refuse(w, "`rollback` takes it back, then it can start again");
    case CANARY_WAITING:
    case CANARY_ROLLED_BACK:
        break;
    }
    return change(w, CANARY_START, CANARY_RUNNING, w->canary->steps.v[0]);
}

static bool pause_it(struct wish *w)
{
    if (w->state == CANARY_PAUSED)
        return already(w);
    if (w->state != CANARY_RUNNING)
        return refuse(w, "there is nothing to pause");
    return change(w, CANARY_PAUSE, CANARY_PAUSED, w->weight);
}

static bool resume(struct wish *w)
{
    uint64_t first = w->canary->steps.v[0];

    if (w->state == CANARY_RUNNING)
        return already(w);
    if (w->state != CANARY_PAUSED)
        return refuse(w, w->state == CANARY_PROMOTED ? "there is nothing to resume"
                                                     : "`start` begins it");
    return change(w, CANARY_RESUME, CANARY_RUNNING, w->weight > first ? w->weight : first);
}

static bool promote(struct wish *w)
{
    if (w->state == CANARY_PROMOTED)
        return already(w);
    return change(w, CANARY_PROMOTE, CANARY_PROMOTED, CANARY_WHOLE);
}

static bool roll_back(struct wish *w)
{
    if (w->state == CANARY_ROLLED_BACK)
        return already(w);
    return change(w, CANARY_ROLLBACK, CANARY_ROLLED_BACK, 0);
}

/* `30` and `30%` are the same. */
static bool parse_weight(struct wish *w, uint64_t *weight)
{
    struct strbuf text, error;
    bool is_good;

    strbuf_init(&text);
    strbuf_init(&error);
    strbuf_printf(&text, "%.*s%s", SLICE_ARG(w->value),
                  slice_ends(w->value, SLICE("%")) ? "" : "%");
    is_good = w->value.n > 0 && units_percent(strbuf_slice(&text), weight, &error)
              && *weight <= CANARY_WHOLE;
    if (!is_good)
        strbuf_printf(&w->out, "weight: '%.*s' is no share from 0 to 100 %%\n",
                      SLICE_ARG(w->value));
    strbuf_fini(&text);
    strbuf_fini(&error);
    return is_good;
}

static bool weigh(struct wish *w)
{
    uint64_t weight;

    if (!parse_weight(w, &weight))
        return false;
    if (w->state == CANARY_PAUSED && w->weight == weight)
        return already(w);
    return change(w, CANARY_WEIGHT, CANARY_PAUSED, weight);
}

static const struct {
    const char *verb;
    bool (*fn)(struct wish *w);
} wishes[] = {
    { "start", start },       { "pause", pause_it },     { "resume", resume },
    { "promote", promote },   { "rollback", roll_back }, { "weight", weigh },
};

/* ---- mistakes ---- */

static void did_you_mean(struct wish *w, struct slice wrong, const char *const *names, size_t n)
{
    char *text = xstrndup(wrong.p, wrong.n);
    const char *near = report_suggest(text, names, n);

    if (near)
        strbuf_printf(&w->out, " (did you mean '%s'?)", near);
    strbuf_addc(&w->out, '\n');
    free(text);
}

static bool find(struct wish *w, const struct conf *conf, struct slice name)
{
    const char **names = xcalloc(conf->ncanaries + 1, sizeof *names);

    for (size_t i = 0; i < conf->ncanaries; i++) {
        names[i] = conf->canaries[i].name;
        if (slice_eq(name, slice_str(names[i])))
            w->canary = &conf->canaries[i];
    }
    if (!w->canary) {
        strbuf_printf(&w->out, "there is no canary '%.*s'", SLICE_ARG(name));
        did_you_mean(w, name, names, conf->ncanaries);
    }
    free(names);
    return w->canary != NULL;
}

static bool carry_out(struct wish *w)
{
    const char *verbs[COUNT(wishes)];

    for (size_t i = 0; i < COUNT(wishes); i++) {
        verbs[i] = wishes[i].verb;
        if (!slice_eq(w->verb, slice_str(verbs[i])))
            continue;
        if (!w->value.p || wishes[i].fn == weigh)
            return wishes[i].fn(w);
        strbuf_printf(&w->out, "%s takes no value\n", verbs[i]);
        return false;
    }
    if (w->verb.n == 0) {
        strbuf_adds(&w->out, "what of it? " USAGE "\n");
        return false;
    }
    strbuf_printf(&w->out, "'%.*s' is none of start, pause, resume, promote, rollback, weight",
                  SLICE_ARG(w->verb));
    did_you_mean(w, w->verb, verbs, COUNT(verbs));
    return false;
}

void canary_command(struct client *c, struct slice args)
{
    struct master *m = c->master;
    struct wish w = { .client = c, .segment = m->segment };
    struct slice name = slice_cut(&args, '\t');
    bool is_done = false;

    w.verb = slice_cut(&args, '\t');
    w.value = args;
    strbuf_init(&w.out);
    if (name.n == 0)
        strbuf_adds(&w.out, "which canary? " USAGE "\n");
    else if (find(&w, m->generation.conf, name)) {
        w.shared = STATS_SHARED(m->segment, canary, w.canary->name);
        w.state = (enum canary_state)stat_get(&w.shared->state);
        w.weight = stat_get(&w.shared->weight);
        is_done = carry_out(&w);
    }
    control_answer(c, is_done, strbuf_slice(&w.out));
    strbuf_fini(&w.out);
    retirees_follow(m);
    canary_programs_run(m);
}
