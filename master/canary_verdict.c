/* What the helper made of a canary's evidence, carried out: canary_judged of canary.h. Called by
 * helper.c; owns nothing. */
#include "master/canary.h"

#include "master/master.h"

static void step_on(struct segment *seg, const struct conf_canary *c, uint64_t weight,
                    struct slice reason)
{
    uint64_t next = canary_next_step(c, weight);
    struct canary_change change = { .event = CANARY_STEP, .state = CANARY_RUNNING, .weight = next,
                                    .reason = reason };

    if (next == 0) {
        change.event = CANARY_PROMOTE;
        change.state = CANARY_PROMOTED;
        change.weight = CANARY_WHOLE;
    }
    canary_change(seg, c, &change);
}

static const struct conf_canary *find(const struct conf *conf, struct slice name)
{
    for (size_t i = 0; i < conf->ncanaries; i++)
        if (slice_eq(name, slice_str(conf->canaries[i].name)))
            return &conf->canaries[i];
    return NULL;
}

void canary_judged(struct master *m, const struct ipc_msg *msg)
{
    struct slice reason = slice_of(msg->data, msg->size), name = slice_cut(&reason, '\t');
    const struct conf_canary *c = find(m->generation.conf, name);
    const struct stats_canary_shared *s = c ? STATS_SHARED(m->segment, canary, c->name) : NULL;
    uint64_t state;

    if (!s || stat_get(&s->changes) != msg->number)
        return;
    state = stat_get(&s->state);
    if (msg->count == CANARY_ROLLBACK && (state == CANARY_RUNNING || state == CANARY_PAUSED))
        canary_change(m->segment, c, &(struct canary_change){ .event = CANARY_ROLLBACK,
            .state = CANARY_ROLLED_BACK, .reason = reason });
    else if (msg->count == CANARY_STEP && state == CANARY_RUNNING)
        step_on(m->segment, c, stat_get(&s->weight), reason);
    canary_programs_run(m);
}
