/* An operator's changes of servers, kept in the segment's shared records: workers look there at
 * each pick, and they outlive reloads and workers. Called by command.c; with objects.c the only
 * writer of a server's admin state and weight. Who asked is kept as a number: names are looked up
 * by who shows them. Owns nothing, blocks nowhere. */
#include "master/admin.h"

#include <inttypes.h>
#include <stdlib.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"
#include "master/master.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define WEIGHT_MAX 65535 /* as of the configuration's weight= */
#define USAGE "server BACKEND/NAME drain|ready|down|weight N"

/* By the values of ADMIN_*. */
static const char *const states[] = { "ready", "drain", "down" };
static const char *const verbs[] = { "ready", "drain", "down", "weight" };

struct change {
    struct client *client;
    struct slice verb, value;
    const struct conf_backend *backend;
    const struct conf_server *server;
    struct names_view view; /* of the backend: with the servers that names have at the moment */
    struct strbuf object; /* "backend/server" */
    struct stats_server_shared *shared;
    struct strbuf out;    /* the answer */
};

/* ---- mistakes ---- */

/* With `names` on the heap; ends the line. */
static void did_you_mean(struct strbuf *out, struct slice wrong, const char *const *names, size_t n)
{
    char *text = xstrndup(wrong.p, wrong.n);
    const char *near = report_suggest(text, names, n);

    if (near)
        strbuf_printf(out, " (did you mean '%s'?)", near);
    strbuf_addc(out, '\n');
    free(text);
}

static void no_backend(struct change *ch, const struct conf *conf, struct slice name)
{
    const char **names = xcalloc(conf->nbackends + 1, sizeof *names);

    for (size_t i = 0; i < conf->nbackends; i++)
        names[i] = conf->backends[i].name;
    strbuf_printf(&ch->out, "there is no backend '%.*s'", SLICE_ARG(name));
    did_you_mean(&ch->out, name, names, conf->nbackends);
    free(names);
}

static void no_server(struct change *ch, const struct conf_backend *b, struct slice name)
{
    const char **names = xcalloc(b->server.n + 1, sizeof *names);

    for (size_t i = 0; i < b->server.n; i++)
        names[i] = b->server.v[i].name;
    if (name.n == 0) {
        strbuf_printf(&ch->out, "which server of %s? There are", b->name);
        for (size_t i = 0; i < b->server.n; i++)
            strbuf_printf(&ch->out, " %s/%s", b->name, names[i]);
        strbuf_addc(&ch->out, '\n');
    } else {
        strbuf_printf(&ch->out, "backend %s has no server '%.*s'", b->name, SLICE_ARG(name));
        did_you_mean(&ch->out, name, names, b->server.n);
    }
    free(names);
}

static bool no_verb(struct change *ch)
{
    if (ch->verb.n == 0) {
        strbuf_adds(&ch->out, "what of it? " USAGE "\n");
    } else {
        strbuf_printf(&ch->out, "'%.*s' is none of ready, drain, down, weight",
                      SLICE_ARG(ch->verb));
        did_you_mean(&ch->out, ch->verb, verbs, COUNT(verbs));
    }
    return false;
}

/* ---- which server ---- */

/* Of "backend/server"; a server named for its address may have slashes of its own. */
static bool find(struct change *ch, const struct conf *conf, struct slice name)
{
    struct slice backend = slice_cut(&name, '/');

    for (size_t i = 0; i < conf->nbackends && !ch->backend; i++)
        if (slice_eq(backend, slice_str(conf->backends[i].name)))
            ch->backend = &conf->backends[i];
    if (!ch->backend) {
        no_backend(ch, conf, backend);
        return false;
    }
    ch->backend = names_view(&ch->view, &ch->client->master->names, ch->backend);
    for (size_t i = 0; i < ch->backend->server.n && !ch->server; i++)
        if (slice_eq(name, slice_str(ch->backend->server.v[i].name)))
            ch->server = &ch->backend->server.v[i];
    if (!ch->server) {
        no_server(ch, ch->backend, name);
        return false;
    }
    strbuf_printf(&ch->object, "%s/%s", ch->backend->name, ch->server->name);
    ch->shared = STATS_SHARED(ch->client->master->segment, server, ch->object.s);
    if (!ch->shared)
        strbuf_printf(&ch->out, "%s is not in the statistics segment\n", ch->object.s);
    return ch->shared != NULL;
}

/* ---- changes ---- */

static uint64_t active(const struct change *ch)
{
    struct segment *seg = ch->client->master->segment;
    uint64_t sum = 0;

    for (unsigned i = 0; i < segment_slots(seg); i++)
        sum += stat_get(&STATS_SLOT(seg, server, ch->object.s, i)->active);
    return sum;
}

static void tell_active(struct change *ch)
{
    uint64_t n = active(ch);

    strbuf_printf(&ch->out, "; %" PRIu64 " request%s in progress\n", n, n == 1 ? "" : "s");
}

/* After all that workers are to see. */
static void publish(struct change *ch)
{
    struct segment *seg = ch->client->master->segment;

    stat_publish(&STATS_SHARED(seg, backend, ch->backend->name)->changes);
    retirees_follow(ch->client->master);
}

/* What is so already stays as it is, with who made it so. */
static bool set_admin(struct change *ch, unsigned admin)
{
    struct stats_server_shared *s = ch->shared;
    uint64_t old = stat_get(&s->admin);

    if (ch->value.p) {
        strbuf_printf(&ch->out, "%s takes no value\n", states[admin]);
        return false;
    }
    if (old == admin) {
        strbuf_printf(&ch->out, "%s: %s already", ch->object.s, states[admin]);
        tell_active(ch);
        return true;
    }
    stat_set(&s->admin_uid, ch->client->uid);
    stat_set(&s->admin_since, clock_wall_us());
    stat_set(&s->admin, admin);
    publish(ch);
    log_notice("server %s: %s (was %s), by uid %lu", ch->object.s, states[admin], states[old],
               (unsigned long)ch->client->uid);
    strbuf_printf(&ch->out, "%s: %s (was %s)", ch->object.s, states[admin], states[old]);
    tell_active(ch);
    return true;
}

static bool set_weight(struct change *ch)
{
    struct stats_server_shared *s = ch->shared;
    uint64_t old = stat_get(&s->weight), weight;

    if (!slice_u64(ch->value, &weight) || weight > WEIGHT_MAX) {
        strbuf_printf(&ch->out, "weight: '%.*s' is no number from 0 to %d\n",
                      SLICE_ARG(ch->value), WEIGHT_MAX);
        return false;
    }
    if (old == weight) {
        strbuf_printf(&ch->out, "%s: weight %" PRIu64 " already", ch->object.s, weight);
        tell_active(ch);
        return true;
    }
    stat_set(&s->weight_uid, ch->client->uid);
    stat_set(&s->weight_since, clock_wall_us());
    stat_set(&s->weight, weight);
    publish(ch);
    log_notice("server %s: weight %" PRIu64 " (was %" PRIu64 "), by uid %lu", ch->object.s, weight,
               old, (unsigned long)ch->client->uid);
    strbuf_printf(&ch->out, "%s: weight %" PRIu64 " (was %" PRIu64 ")", ch->object.s, weight, old);
    tell_active(ch);
    return true;
}

static bool carry_out(struct change *ch)
{
    if (slice_eq(ch->verb, SLICE("weight")))
        return set_weight(ch);
    for (unsigned i = 0; i < COUNT(states); i++)
        if (slice_eq(ch->verb, slice_str(states[i])))
            return set_admin(ch, i);
    return no_verb(ch);
}

void admin_server(struct client *c, struct slice args)
{
    const struct conf *conf = c->master->generation.conf;
    struct change ch = { .client = c };
    struct slice name = slice_cut(&args, '\t');
    bool is_done;

    ch.verb = slice_cut(&args, '\t');
    ch.value = args;
    strbuf_init(&ch.object);
    strbuf_init(&ch.out);
    if (name.n == 0)
        strbuf_adds(&ch.out, "which server? " USAGE "\n");
    is_done = name.n > 0 && find(&ch, conf, name) && carry_out(&ch);
    control_answer(c, is_done, strbuf_slice(&ch.out));
    if (ch.backend)
        names_view_fini(&ch.view);
    strbuf_fini(&ch.object);
    strbuf_fini(&ch.out);
}
