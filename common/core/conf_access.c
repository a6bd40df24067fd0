/* allow and deny: lists of networks, `all`, and files of networks; made into what workers ask
 * (nets.h) once for all routes that say the same. Reached through the rows of the settings table,
 * and conf_settle_access by conf_build. */
#include <string.h>
#include "common/core/conf_impl.h"

#define FILE_ERRORS_MAX 10 /* of one file; the wrong file has one in each line */

/* ---- the settings' values ---- */

static bool names_file(struct slice text)
{
    return text.p[0] == '/' || slice_starts(text, SLICE("./")) ||
           slice_starts(text, SLICE("../")) || slice_starts(text, SLICE("file:"));
}

static void parse_access(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_access_list *list = field;
    struct conf_access item = { .file = { .path = "" }, .origin = c->origin };
    const char *why = "no network";

    if (slice_eq(text, SLICE("all"))) {
        item.is_all = true;
    } else if (names_file(text)) {
        struct slice path = text;

        if (slice_starts(path, SLICE("file:")))
            path = slice_of(path.p + 5, path.n - 5);
        if (path.n == 0) {
            conf_value_error(c, "`file:` needs a path behind it");
            return;
        }
        item.file = conf_file_of(c, path);
    } else if (!net_parse(text, &item.net, &why)) {
        conf_value_error(c, "'%.*s': %s", SLICE_ARG(text), why);
        return;
    }
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = item;
}

static void print_access(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_access_list *list = field;
    const struct conf_access *item = &list->v[i];

    if (item->is_all) {
        strbuf_adds(out, "all");
    } else if (*item->file.path) {
        strbuf_adds(out, "file:");
        conf_print_escaped(out, slice_str(item->file.path));
    } else {
        conf_print_net(&item->net, out);
    }
}

static const struct conf_file *access_file(const void *field, size_t i)
{
    const struct conf_access_list *list = field;

    return &list->v[i].file;
}

COUNT_OF(ACCESS)
LIST_TYPE(ACCESS, .name = "list of networks and files", .parse = parse_access,
          .count = count_ACCESS, .print = print_access, .file = access_file);

/* ---- files of networks ---- */

/* Where a rule is from. */
struct place {
    const char *file;
    const struct conf_origin *origin; /* the setting's */
    unsigned line;                    /* of the file; 0: the setting itself */
};

struct gathering {
    struct conf_builder *b;
    const struct conf_section *section;
    VEC(struct net_rule) rules;
    struct arena arena;     /* of the places */
    struct smap *read;      /* files that were read: their mistakes are told */
};

static void bad_line(struct gathering *g, const struct conf_access *item, unsigned line,
                     struct slice text, const char *why, unsigned nth)
{
    struct strbuf chain;
    struct report_place at;

    if (nth > FILE_ERRORS_MAX)
        return;
    strbuf_init(&chain);
    at = conf_file_place(item->file.path, line, &item->origin, &chain);
    if (nth == FILE_ERRORS_MAX)
        report_error_at(g->b->report, at, "and so on: the file has one network in a line");
    else
        report_error_at(g->b->report, at, "'%.*s': %s", (int)(text.n < 60 ? text.n : 60), text.p,
                        why);
    strbuf_fini(&chain);
}

static void add_rule(struct gathering *g, const struct net *net, bool is_allowed,
                     const struct conf_access *item, unsigned line)
{
    struct place *place = arena_xalloc(&g->arena, sizeof *place);

    *place = (struct place){ *item->file.path ? item->file.path : item->origin.file,
                             &item->origin, line };
    *VEC_PUSH(&g->rules) = (struct net_rule){ *net, is_allowed, place };
}

/* What stands before a comment. */
static struct slice line_text(struct slice line)
{
    line.n = slice_find(line, '#');
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    return slice_trim(line);
}

static const struct net nets_of_all[] = {
    { .family = AF_UNIX },
    { .b = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, .bits = 96, .family = AF_INET },
    { .family = AF_INET6 },
};

static void add_all(struct gathering *g, bool is_allowed, const struct conf_access *item,
                    unsigned line)
{
    for (size_t i = 0; i < sizeof nets_of_all / sizeof *nets_of_all; i++)
        add_rule(g, &nets_of_all[i], is_allowed, item, line);
}

static void add_file(struct gathering *g, bool is_allowed, const struct conf_access *item)
{
    struct slice rest = item->file.content, path = slice_str(item->file.path);
    bool is_told = smap_put(g->read, path, (void *)(uintptr_t)item->file.path) != NULL;
    unsigned line = 0, errors = 0;

    while (rest.p) {
        struct slice text = line_text(slice_cut(&rest, '\n'));
        const char *why = "no network";
        struct net net;

        line++;
        if (text.n == 0)
            continue;
        if (slice_eq(text, SLICE("all")))
            add_all(g, is_allowed, item, line);
        else if (net_parse(text, &net, &why))
            add_rule(g, &net, is_allowed, item, line);
        else if (!is_told)
            bad_line(g, item, line, text, why, errors++);
    }
}

static void add_list(struct gathering *g, const struct conf_access_list *list, bool is_allowed)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct conf_access *item = &list->v[i];

        if (*item->file.path)
            add_file(g, is_allowed, item);
        else if (item->is_all)
            add_all(g, is_allowed, item, 0);
        else
            add_rule(g, &item->net, is_allowed, item, 0);
    }
}

/* ---- settling ---- */

static void complain(struct gathering *g, const struct net_rule *rule)
{
    const struct place *allow = rule[1].origin, *deny = rule[0].origin;
    struct strbuf text;

    strbuf_init(&text);
    conf_print_net(&rule->net, &text);
    report_error_at(g->b->report, conf_place(deny->origin), "[%s%s] deny: %s is denied (%s:%u) "
                    "and allowed (%s:%u): one of them has to go",
                    g->section->is_defaults ? "defaults route" : "route ", g->section->name,
                    text.s, deny->file,
                    deny->line ? deny->line : deny->origin->line, allow->file,
                    allow->line ? allow->line : allow->origin->line);
    strbuf_fini(&text);
}

/* Routes with equal texts have the same table. */
static struct slice key_of(struct conf_builder *b, const struct conf_route *r)
{
    const struct conf_access_list *lists[] = { &r->allow, &r->deny };
    struct strbuf text;
    struct slice key;

    strbuf_init(&text);
    for (size_t k = 0; k < 2; k++) {
        strbuf_addc(&text, '\n');
        for (size_t i = 0; i < lists[k]->n; i++) {
            print_access(lists[k], i, &text);
            strbuf_addc(&text, ',');
        }
    }
    key = conf_dup(b, strbuf_slice(&text));
    strbuf_fini(&text);
    return key;
}

static const struct nets *build(struct conf_builder *b, const struct conf_section *s,
                                const struct conf_route *r, struct smap *read)
{
    struct gathering g = { .b = b, .section = s, .read = read };
    struct nets *nets = conf_alloc(b, sizeof *nets);
    const struct net_rule *bad;

    arena_init(&g.arena, NULL);
    add_list(&g, &r->allow, true);
    add_list(&g, &r->deny, false);
    net_rules_sort(g.rules.v, g.rules.n);
    bad = net_rules_contradiction(g.rules.v, g.rules.n);
    if (bad)
        complain(&g, bad);
    nets_build(nets, g.rules.v, g.rules.n, r->allow.n == 0, &b->conf->memory->arena);
    VEC_FREE(&g.rules);
    arena_reset(&g.arena);
    return nets;
}

void conf_settle_access(struct conf_builder *b)
{
    struct smap tables, read;

    smap_init(&tables, false);
    smap_init(&read, false);
    for (size_t i = 0; i < b->sections.n; i++) {
        const struct conf_section *s = &b->sections.v[i];
        struct conf_route *r = s->is_defaults ? &b->conf->route_defaults : s->target;
        struct slice key;

        if (s->kind != CONF_KIND_route || r->allow.n + r->deny.n == 0 || r->access)
            continue;
        key = key_of(b, r);
        r->access = smap_get(&tables, key);
        if (!r->access) {
            r->access = build(b, s, r, &read);
            (void)smap_put(&tables, key, (void *)(uintptr_t)r->access);
        }
    }
    smap_fini(&tables);
    smap_fini(&read);
}
