/* Called by master/config.c, in a process that may block. */
#include "common/net/resolve.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include "common/net/lookup.h"

struct wanted {
    struct lookup lookup;
    struct resolver *resolver;
    char *name;
    const char *why; /* it does not resolve; NULL: it does, or has been told of */
};

struct resolver {
    struct conf_text *text;
    const struct names *known;
    VEC(struct wanted *) wanted;
    struct smap asked; /* -> struct wanted */
    struct smap settled; /* names that are not to be asked for */
    size_t begun, running;
};

/* ---- what is wanted ---- */

static void keep(struct resolver *r, const char *name, const struct conf_addresses *found)
{
    static const struct conf_address none = { .host = "" };
    size_t n = found->n > 0 ? found->n : 1;

    for (size_t i = 0; i < n; i++) {
        struct conf_resolved *record = VEC_PUSH(&r->text->resolved);

        *record = (struct conf_resolved){ name, found->n > 0 ? found->v[i] : none };
        record->found.host = xstrdup(record->found.host);
        *VEC_PUSH(&r->text->memory) = (char *)(uintptr_t)record->found.host;
    }
}

static void want(struct resolver *r, const char *text)
{
    const struct conf_addresses *known;
    struct wanted *w;
    char *name;

    if (smap_get(&r->settled, slice_str(text)) || smap_get(&r->asked, slice_str(text)))
        return;
    name = xstrdup(text);
    *VEC_PUSH(&r->text->memory) = name;
    known = r->known ? names_get(r->known, slice_str(text)) : NULL;
    if (known) {
        (void)smap_put(&r->settled, slice_str(name), name);
        keep(r, name, known);
        return;
    }
    w = xcalloc(1, sizeof *w);
    w->resolver = r;
    w->name = name;
    *VEC_PUSH(&r->wanted) = w;
    (void)smap_put(&r->asked, slice_str(name), w);
}

static void want_all(struct resolver *r, const struct conf *conf)
{
    for (size_t i = 0; i < conf->nlisteners; i++)
        for (size_t k = 0; k < conf->listeners[i].bind.n; k++)
            if (conf->listeners[i].bind.v[k].addr.len == 0)
                want(r, conf->listeners[i].bind.v[k].text);
    for (size_t i = 0; i < conf->nbackends; i++)
        for (size_t k = 0; k < conf->backends[i].server.n; k++)
            if (conf->backends[i].server.v[k].is_name)
                want(r, conf->backends[i].server.v[k].text);
}

/* ---- asking ---- */

static void on_done(struct lookup *k)
{
    struct wanted *w = CONTAINER(k, struct wanted, lookup);

    w->resolver->running--;
    if (k->outcome != LOOKUP_FOUND)
        w->why = k->why;
}

static void ask_all(struct resolver *r, struct lookups *l)
{
    while (r->begun < r->wanted.n || r->running > 0) {
        struct pollfd fd = { .fd = lookups_fd(l), .events = POLLIN };

        while (r->begun < r->wanted.n && r->running < LOOKUPS_AT_ONCE) {
            struct wanted *w = r->wanted.v[r->begun++];

            w->lookup.done = on_done;
            r->running++;
            lookup_begin(l, &w->lookup, w->name);
        }
        if (r->running > 0 && poll(&fd, 1, lookups_wait_ms(l)) >= 0)
            lookups_process(l);
    }
}

static void ask(struct resolver *r, const struct conf *conf)
{
    const char *why = NULL;
    struct lookups *l;

    if (r->wanted.n == 0)
        return;
    l = lookups_new(&conf->global.nameserver, &why);
    if (l)
        ask_all(r, l);
    for (size_t i = 0; i < r->wanted.n; i++) {
        struct wanted *w = r->wanted.v[i];

        if (!l)
            w->why = why;
        keep(r, w->name, &w->lookup.found);
        lookup_fini(&w->lookup);
    }
    lookups_free(&l);
}

/* ---- what is said ---- */

/* Why a name that was asked for does not resolve, once; NULL: it does, or that was said. */
static const char *complaint(struct resolver *r, const char *text)
{
    struct wanted *w = smap_get(&r->asked, slice_str(text));
    const char *why = w ? w->why : NULL;

    if (w)
        w->why = NULL;
    return why;
}

static void tell_listeners(struct resolver *r, const struct conf *conf, struct report *report)
{
    for (size_t i = 0; i < conf->nlisteners; i++)
        for (size_t k = 0; k < conf->listeners[i].bind.n; k++) {
            const struct conf_bind *bind = &conf->listeners[i].bind.v[k];
            const char *why = bind->addr.len == 0 ? complaint(r, bind->text) : NULL;

            if (why)
                report_error_at(report, conf_place(&bind->origin), "[listener %s] bind: '%s' does "
                                "not resolve: %s", conf->listeners[i].name, bind->text, why);
        }
}

static void tell_server(struct resolver *r, const struct conf *conf,
                        const struct conf_backend *b, const struct conf_server *s,
                        struct report *report)
{
    const char *why = s->is_name ? complaint(r, s->text) : NULL;

    if (why && conf->global.strict)
        report_error_at(report, conf_place(&s->origin), "[backend %s] server: '%s' does not "
                        "resolve: %s", b->name, s->text, why);
    else if (why)
        report_warning_at(report, conf_place(&s->origin), "[backend %s] server: '%s' does not "
                          "resolve and is down: %s", b->name, s->text, why);
}

void conf_resolve(struct conf_text *text, const struct conf *conf, const struct names *known,
                  struct report *report)
{
    struct resolver r = { .text = text, .known = known };

    smap_init(&r.asked, false);
    smap_init(&r.settled, false);
    for (size_t i = 0; i < text->resolved.n; i++)
        (void)smap_put(&r.settled, slice_str(text->resolved.v[i].name),
                       (void *)(uintptr_t)text->resolved.v[i].name);
    want_all(&r, conf);
    ask(&r, conf);
    tell_listeners(&r, conf, report);
    for (size_t i = 0; i < conf->nbackends; i++)
        for (size_t k = 0; k < conf->backends[i].server.n; k++)
            tell_server(&r, conf, &conf->backends[i], &conf->backends[i].server.v[k], report);
    for (size_t i = 0; i < r.wanted.n; i++)
        free(r.wanted.v[i]);
    VEC_FREE(&r.wanted);
    smap_fini(&r.asked);
    smap_fini(&r.settled);
}
