/* Objects in the segment. Owns nothing. Called by install.c before a generation is handed to
 * workers; writes a server's address, with admin.c its weight and admin state, and all that is
 * known of a certificate; canaries' parts are canary.c's. */
#include "master/objects.h"

#include <errno.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"
#include "common/tls/chain.h"
#include "master/canary.h"

/* "backend/server" */
static void server_name(struct strbuf *out, const struct conf_backend *b,
                        const struct conf_server *s)
{
    strbuf_clear(out);
    strbuf_printf(out, "%s/%s", b->name, s->name);
}

static const struct conf_server *server_of(const struct conf_backend *b, const char *name)
{
    for (size_t i = 0; i < b->server.n; i++)
        if (strcmp(b->server.v[i].name, name) == 0)
            return &b->server.v[i];
    return NULL;
}

static void set_state(struct stats_server_shared *shared, uint64_t state, enum server_why why)
{
    stat_set(&shared->why, why);
    stat_set(&shared->since, clock_wall_us());
    stat_set(&shared->state, state);
}

static void set_resolved(struct stats_server_shared *shared, const struct conf_server *s,
                         bool was_resolved)
{
    bool is_resolved = s->addr.len > 0;

    if (is_resolved == was_resolved)
        return;
    set_state(shared, is_resolved ? SERVER_UNCHECKED : SERVER_DOWN,
              is_resolved ? SERVER_WHY_NAME : SERVER_WHY_NO_NAME);
    stat_set(&shared->last_error, is_resolved ? SERVER_ERROR_NONE : SERVER_ERROR_UNRESOLVED);
    stat_set(&shared->last_error_at, is_resolved ? 0 : clock_wall_us());
}

/* What an operator set (admin.c) stays, until the configuration says something else than before. */
static void configure_weight(struct stats_server_shared *shared, const struct conf_server *s)
{
    stat_set(&shared->weight, s->weight);
    stat_set(&shared->weight_since, 0);
    stat_set(&shared->weight_uid, 0);
}

static void configure_admin(struct stats_server_shared *shared, const struct conf_server *s)
{
    stat_set(&shared->admin, s->is_down ? ADMIN_DOWN : ADMIN_READY);
    stat_set(&shared->admin_since, 0);
    stat_set(&shared->admin_uid, 0);
}

/* Nothing is known of its health. */
static void begin_anew(struct stats_server_shared *shared, enum server_why why)
{
    stat_set(&shared->failures_row, 0);
    stat_set(&shared->ejections_row, 0);
    stat_set(&shared->ewma_us, 0);
    set_state(shared, SERVER_UNCHECKED, why);
}

static void fill_server(struct stats_server_shared *shared, const struct conf_server *s,
                        const struct conf_server *old)
{
    bool is_found = s->is_name && s->addr.len > 0;
    char buf[ADDR_TEXT_MAX];
    struct slice text = slice_str(is_found ? addr_format(&s->addr, buf) : s->text);

    if (text.n >= sizeof shared->address)
        text.n = sizeof shared->address - 1;
    if (!slice_eq(text, slice_str(shared->address)))
        (void)slice_copy(shared->address, sizeof shared->address, text);
    if (!old || old->weight != s->weight)
        configure_weight(shared, s);
    if (!old || old->is_down != s->is_down)
        configure_admin(shared, s);
    /* Behind another address is another machine. */
    if (!old || (is_found && old->addr.len > 0 && !addr_eq(&s->addr, &old->addr)))
        begin_anew(shared, is_found ? SERVER_WHY_NAME : SERVER_WHY_CONFIGURED);
    set_resolved(shared, s, old ? old->addr.len > 0 : true);
}

static void add(struct segment *seg, enum stats_kind kind, const char *what, const char *name,
                struct report *report)
{
    if (segment_add(seg, kind, name) != 0)
        report_error(report, "statistics of %s %s: %s", what, name, strerror(errno));
}

static void apply_server(struct segment *seg, const struct conf_backend *b,
                         const struct conf_server *s, const struct conf_backend *old,
                         bool is_kept, struct report *report)
{
    const struct conf_server *was = old ? server_of(old, s->name) : NULL;
    struct stats_server_shared *shared;
    struct strbuf name;

    strbuf_init(&name);
    server_name(&name, b, s);
    add(seg, STATS_server, "server", name.s, report);
    shared = STATS_SHARED(seg, server, name.s);
    if (shared && !(was && is_kept))
        fill_server(shared, s, was);
    strbuf_fini(&name);
}

/* ---- certificates ---- */

/* As many as there is room for. */
static void set_hosts(char out[STATS_TEXT_MAX], const X509 *leaf)
{
    struct tls_names names;
    struct strbuf text;

    strbuf_init(&text);
    tls_names_of(leaf, &names);
    for (size_t i = 0; i < names.n; i++) {
        if (text.n + strlen(names.v[i]) + sizeof ", ..." >= STATS_TEXT_MAX) {
            strbuf_adds(&text, i > 0 ? ", ..." : "...");
            break;
        }
        strbuf_printf(&text, "%s%s", i > 0 ? ", " : "", names.v[i]);
    }
    (void)slice_copy(out, STATS_TEXT_MAX, strbuf_slice(&text));
    tls_names_fini(&names);
    strbuf_fini(&text);
}

static void fill_certificate(struct stats_certificate_shared *shared,
                             const struct conf_certificate *c)
{
    char why[TLS_WHY_MAX], subject[STATS_TEXT_MAX];
    struct tls_chain chain;

    if (tls_chain_parse(&chain, c->cert.content, why, sizeof why) != 0)
        return; /* the configuration's checks let none of these through */
    stat_set(&shared->not_before, tls_not_before_us(chain.leaf));
    stat_set(&shared->not_after, tls_not_after_us(chain.leaf));
    set_hosts(shared->hosts, chain.leaf);
    (void)slice_copy(shared->subject, sizeof shared->subject,
                     slice_str(tls_subject(chain.leaf, subject, sizeof subject)));
    tls_chain_fini(&chain);
}

static void add_certificates(struct segment *seg, const struct conf *conf, const struct conf *old,
                             bool is_kept, struct report *report)
{
    struct smap olds;

    smap_init(&olds, false);
    for (size_t i = 0; old && i < old->ncertificates; i++)
        (void)smap_put(&olds, slice_str(old->certificates[i].name), &old->certificates[i]);
    for (size_t i = 0; i < conf->ncertificates; i++) {
        const struct conf_certificate *c = &conf->certificates[i];
        const struct conf_certificate *was = smap_get(&olds, slice_str(c->name));
        struct stats_certificate_shared *shared;

        add(seg, STATS_certificate, "certificate", c->name, report);
        shared = STATS_SHARED(seg, certificate, c->name);
        if (!shared || (was && is_kept))
            continue;
        /* To parse thousands that are as they were would take a while. */
        if (!was || !slice_eq(was->cert.content, c->cert.content) ||
            stat_get(&shared->not_after) == 0)
            fill_certificate(shared, c);
    }
    smap_fini(&olds);
}

/* ---- canaries ---- */

static bool has_canary(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->ncanaries; i++)
        if (strcmp(conf->canaries[i].name, name) == 0)
            return true;
    return false;
}

/* Where nothing is known of before, it goes by what stands in the segment. */
static void add_canaries(struct segment *seg, const struct conf *conf, const struct conf *old,
                         bool is_kept, struct report *report)
{
    for (size_t i = 0; i < conf->ncanaries; i++) {
        const struct conf_canary *c = &conf->canaries[i];
        bool was_there = !old || has_canary(old, c->name);

        if (canary_add(seg, c, report) && !(is_kept && was_there && old))
            canary_configure(seg, c, was_there);
    }
}

/* ---- the whole ---- */

static void backends_by_name(const struct conf *conf, struct smap *map)
{
    smap_init(map, false);
    for (size_t i = 0; conf && i < conf->nbackends; i++)
        (void)smap_put(map, slice_str(conf->backends[i].name), &conf->backends[i]);
}

/* `was`: the same in the configuration before, or NULL. */
static void apply_servers(struct segment *seg, const struct names *names,
                          const struct conf_backend *b, const struct conf_backend *was,
                          bool is_kept, struct report *report)
{
    struct names_view view, view_was;
    const struct conf_backend *now = names_view(&view, names, b);
    const struct conf_backend *before = was ? names_view(&view_was, names, was) : NULL;

    for (size_t i = 0; i < now->server.n; i++)
        apply_server(seg, now, &now->server.v[i], before, is_kept, report);
    names_view_fini(&view);
    if (was)
        names_view_fini(&view_was);
}

/* `is_kept`: servers that there are stay as they are. */
static void add_all(struct segment *seg, const struct names *names, const struct conf *conf,
                    const struct conf *old, bool is_kept, struct report *report)
{
    struct smap olds;

    backends_by_name(old, &olds);
    for (size_t i = 0; i < conf->nlisteners; i++)
        add(seg, STATS_listener, "listener", conf->listeners[i].name, report);
    for (size_t i = 0; i < conf->nroutes; i++)
        add(seg, STATS_route, "route", conf->routes[i].name, report);
    for (size_t i = 0; i < conf->nbackends; i++) {
        const struct conf_backend *b = &conf->backends[i];
        const struct conf_backend *was = smap_get(&olds, slice_str(b->name));

        add(seg, STATS_backend, "backend", b->name, report);
        apply_servers(seg, names, b, was, is_kept, report);
    }
    add_certificates(seg, conf, old, is_kept, report);
    add_canaries(seg, conf, old, is_kept, report);
    for (size_t i = 0; i < conf->nlimits; i++)
        add(seg, STATS_limit, "limit", conf->limits[i].name, report);
    smap_fini(&olds);
}

bool objects_apply(struct segment *seg, const struct names *names, const struct conf *conf,
                   const struct conf *old, struct report *report)
{
    unsigned errors = report->errors;

    segment_mark_begin(seg);
    add_all(seg, names, conf, old, false, report);
    segment_mark_end(seg);
    return report->errors == errors;
}

bool objects_add(struct segment *seg, const struct names *names, const struct conf *conf,
                 const struct conf *old, struct report *report)
{
    unsigned errors = report->errors;

    add_all(seg, names, conf, old, true, report);
    return report->errors == errors;
}

/* ---- one backend ---- */

static void drop(struct segment *seg, const struct conf_backend *b, const struct conf_server *s)
{
    struct strbuf name;

    strbuf_init(&name);
    server_name(&name, b, s);
    segment_drop(seg, STATS_server, name.s);
    strbuf_fini(&name);
}

/* Takes those out of the one that the other does not have. */
static unsigned drop_others(struct segment *seg, const struct conf_backend *from,
                            const struct conf_backend *kept)
{
    unsigned n = 0;

    for (size_t i = 0; i < from->server.n; i++) {
        if (server_of(kept, from->server.v[i].name))
            continue;
        drop(seg, from, &from->server.v[i]);
        n++;
    }
    return n;
}

bool objects_change(struct segment *seg, const struct conf_backend *now,
                    const struct conf_backend *was, struct objects_count *count,
                    struct report *report)
{
    unsigned errors = report->errors;

    count->added = 0;
    for (size_t i = 0; i < now->server.n; i++) {
        count->added += !server_of(was, now->server.v[i].name);
        apply_server(seg, now, &now->server.v[i], was, false, report);
    }
    if (report->errors == errors) {
        count->removed = drop_others(seg, was, now);
        return true;
    }
    (void)drop_others(seg, now, was);
    return false;
}
