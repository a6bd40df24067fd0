/* When to ask for which name. Owns what is asked; answers are the table's of whoever has it. How
 * a name is asked for is common/net/lookup.h's. */
#include "helper/resolver.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/log.h"
#include "common/net/lookup.h"

#define SECOND_US 1000000ull
#define TTL_MIN_S 1
#define TTL_MAX_S 300
#define BACKOFF_MAX_S 30

struct asked {
    struct resolver *resolver;
    struct list link; /* in resolver->all */
    struct list due;  /* in resolver->due */
    struct timer timer;
    struct lookup lookup;
    char *name;
    bool is_running, is_wanted;
    bool is_good;        /* its last answer was one, and whole */
    bool was_cut;
    uint32_t backoff_s;  /* after the last failure; 0: there was none */
    const char *problem; /* that the log was told of; NULL: none */
    enum lookup_outcome outcome; /* the same */
};

/* ---- time ---- */

/* Up to a tenth more: names that were asked for together are not for ever. */
static uint64_t with_jitter(struct resolver *r, uint64_t us)
{
    r->drawn++;
    return us + hash_bytes(&r->drawn, sizeof r->drawn) % (us / 10 + 1);
}

static void make_due(struct asked *a)
{
    struct resolver *r = a->resolver;

    timer_pause(&a->timer);
    if (list_empty(&a->due))
        list_push(&r->due, &a->due);
    loop_soon(r->loop, &r->start);
}

static void on_time(struct timer *t)
{
    make_due(CONTAINER(t, struct asked, timer));
}

static void again_in(struct asked *a, uint64_t seconds)
{
    struct resolver *r = a->resolver;

    timer_set(&r->loop->timers, &a->timer, r->loop->now_us,
              with_jitter(r, seconds * SECOND_US));
}

static uint32_t backed_off(struct asked *a)
{
    a->backoff_s = a->backoff_s == 0 ? 1 : a->backoff_s * 2;
    if (a->backoff_s > BACKOFF_MAX_S)
        a->backoff_s = BACKOFF_MAX_S;
    return a->backoff_s;
}

/* ---- answers ---- */

static bool is_same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Once for each change of how it goes. */
static void tell(struct asked *a, const struct lookup *k)
{
    const char *problem = k->outcome == LOOKUP_FOUND && !k->is_partial ? NULL : k->why;
    bool has_some = names_get(a->resolver->names, slice_str(a->name)) != NULL;
    bool is_said = !a->problem && !has_some; /* when the configuration was read */

    if (k->is_cut && !a->was_cut)
        log_warnx("%s: has more than %d addresses: the others are left out", a->name,
                  CONF_ADDRESSES_MAX);
    a->was_cut = k->is_cut;
    if (k->outcome == a->outcome && is_same_text(problem, a->problem))
        return;
    a->problem = problem;
    a->outcome = k->outcome;
    if (!problem)
        log_notice("%s: resolves now", a->name);
    else if (k->outcome == LOOKUP_FOUND)
        log_warnx("%s: was not answered in all: %s", a->name, problem);
    else if (!is_said)
        log_warnx("%s: does not resolve: %s%s", a->name, problem,
                  has_some ? ": the last answer stays" : "");
}

static bool is_new(const struct asked *a, const struct conf_addresses *found)
{
    struct names one;
    const struct conf_addresses *known = names_get(a->resolver->names, slice_str(a->name));
    bool is_other;

    if (!known)
        return true;
    names_init(&one);
    (void)names_set(&one, slice_str(a->name), known);
    is_other = names_set(&one, slice_str(a->name), found);
    names_fini(&one);
    return is_other;
}

static void take(struct asked *a, const struct lookup *k)
{
    struct resolver *r = a->resolver;
    uint32_t ttl_s = k->ttl_s;
    bool is_taken = true;

    if (k->outcome == LOOKUP_FOUND && is_new(a, &k->found))
        is_taken = r->on_answer(r, a->name, &k->found);
    a->is_good = k->outcome == LOOKUP_FOUND && !k->is_partial && is_taken;
    if (!a->is_good) {
        again_in(a, backed_off(a));
        return;
    }
    a->backoff_s = 0;
    if (ttl_s < TTL_MIN_S)
        ttl_s = TTL_MIN_S;
    again_in(a, ttl_s > TTL_MAX_S ? TTL_MAX_S : ttl_s);
}

static void on_done(struct lookup *k)
{
    struct asked *a = CONTAINER(k, struct asked, lookup);

    a->is_running = false;
    a->resolver->running--;
    tell(a, k);
    take(a, k);
    lookup_fini(k);
    loop_soon(a->resolver->loop, &a->resolver->start);
}

/* ---- asking ---- */

static void set_tick(struct resolver *r)
{
    int wait_ms = r->lookups ? lookups_wait_ms(r->lookups) : -1;

    if (wait_ms < 0)
        timer_pause(&r->tick);
    else
        timer_set(&r->loop->timers, &r->tick, r->loop->now_us, (uint64_t)wait_ms * 1000);
}

static void on_start(struct task *t)
{
    struct resolver *r = CONTAINER(t, struct resolver, start);
    struct list *it;

    while (r->lookups && r->running < LOOKUPS_AT_ONCE && (it = list_shift(&r->due)) != NULL) {
        struct asked *a = CONTAINER(it, struct asked, due);

        assert(!a->is_running);
        a->is_running = true;
        r->running++;
        a->lookup = (struct lookup){ .done = on_done, .known = r->names };
        lookup_begin(r->lookups, &a->lookup, a->name);
    }
    set_tick(r);
}

static void go_on(struct resolver *r)
{
    if (r->lookups)
        lookups_process(r->lookups);
    set_tick(r);
}

static void on_input(struct watch *w, uint32_t events)
{
    (void)events;
    go_on(CONTAINER(w, struct resolver, watch));
}

static void on_tick(struct timer *t)
{
    go_on(CONTAINER(t, struct resolver, tick));
}

/* ---- which names ---- */

static struct asked *asked_new(struct resolver *r, const char *name)
{
    struct asked *a = xcalloc(1, sizeof *a);

    a->resolver = r;
    a->name = xstrdup(name);
    list_init(&a->due);
    timer_init(&a->timer, on_time);
    list_push(&r->all, &a->link);
    (void)smap_put(&r->map, slice_str(a->name), a);
    make_due(a);
    return a;
}

static void asked_free(struct asked *a)
{
    struct resolver *r = a->resolver;

    assert(!a->is_running);
    (void)smap_remove(&r->map, slice_str(a->name));
    list_remove(&a->link);
    list_remove(&a->due);
    timer_clear(&r->loop->timers, &a->timer);
    free(a->name);
    free(a);
}

/* What was under way is due anew. */
static void stop_lookups(struct resolver *r)
{
    lookups_free(&r->lookups);
    LIST_EACH(it, &r->all) {
        struct asked *a = CONTAINER(it, struct asked, link);

        if (!a->is_running)
            continue;
        a->is_running = false;
        lookup_fini(&a->lookup);
        make_due(a);
    }
    r->running = 0;
}

static void start_lookups(struct resolver *r)
{
    const char *why = "";

    if (list_empty(&r->all))
        return;
    r->lookups = lookups_new(&r->servers, &why);
    r->watch.fn = on_input;
    if (!r->lookups)
        log_errorx("names cannot be asked for: %s", why);
    else if (loop_add_input(r->loop, lookups_fd(r->lookups), &r->watch) < 0) {
        log_error("names cannot be asked for");
        lookups_free(&r->lookups);
    }
    loop_soon(r->loop, &r->start);
}

/* Whether they are others than before. */
static bool use_servers(struct resolver *r, const struct conf_nameservers *servers)
{
    bool is_same = r->servers.n == servers->n;

    for (size_t i = 0; is_same && i < servers->n; i++)
        is_same = addr_eq(&r->servers.v[i], &servers->v[i]);
    if (is_same)
        return false;
    free(r->servers.v);
    r->servers = (struct conf_nameservers){ xcalloc(servers->n + 1, sizeof *servers->v),
                                            servers->n };
    for (size_t i = 0; i < servers->n; i++)
        r->servers.v[i] = servers->v[i];
    return true;
}

static void want(struct resolver *r, const char *name)
{
    struct asked *a = smap_get(&r->map, slice_str(name));

    if (!a)
        a = asked_new(r, name);
    a->is_wanted = true;
}

void resolver_follow(struct resolver *r, const struct conf *conf)
{
    bool is_other = use_servers(r, &conf->global.nameserver);

    stop_lookups(r);
    LIST_EACH(it, &r->all)
        CONTAINER(it, struct asked, link)->is_wanted = false;
    for (size_t i = 0; i < conf->nbackends; i++)
        for (size_t k = 0; k < conf->backends[i].server.n; k++)
            if (conf->backends[i].server.v[k].is_name)
                want(r, conf->backends[i].server.v[k].text);
    LIST_EACH(it, &r->all) {
        struct asked *a = CONTAINER(it, struct asked, link);

        if (!a->is_wanted)
            asked_free(a);
        else if (is_other || !a->is_good)
            make_due(a);
    }
    start_lookups(r);
}

/* ---- life ---- */

void resolver_init(struct resolver *r, struct loop *loop, const struct names *names,
                   resolver_fn *on_answer)
{
    *r = (struct resolver){ .loop = loop, .names = names, .on_answer = on_answer };
    smap_init(&r->map, false);
    list_init(&r->all);
    list_init(&r->due);
    timer_init(&r->tick, on_tick);
    task_init(&r->start, on_start);
}

void resolver_fini(struct resolver *r)
{
    stop_lookups(r);
    LIST_EACH(it, &r->all)
        asked_free(CONTAINER(it, struct asked, link));
    timer_clear(&r->loop->timers, &r->tick);
    task_cancel(&r->start);
    smap_fini(&r->map);
    free(r->servers.v);
}
