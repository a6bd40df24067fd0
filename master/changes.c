/* Compares two configurations by their printed forms: defaults are filled in there and every value
 * has one spelling, so that sections differ exactly where the text does. Pure. Called by
 * reload.c. */
#include "master/changes.h"

#include <stdio.h>
#include <string.h>
#include "common/base/hash.h"
#include "common/base/vec.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

struct section {
    struct slice head; /* "[route all]", or "server pool/one" for a line of it */
    struct slice body;
};

struct sections {
    struct strbuf text; /* what the slices of sections lead into */
    VEC(struct section) v;
    struct strbuf names; /* of servers */
    struct smap map;
};

struct tally {
    const char *what, *prefix;
    unsigned added, removed, altered;
};

static bool next_line(struct slice *rest, struct slice *line)
{
    *line = slice_cut(rest, '\n');
    return line->p != NULL && (rest->p != NULL || line->n > 0);
}

/* Sections as they stand in the text. */
static void split(struct sections *s)
{
    struct slice rest = strbuf_slice(&s->text), line;
    struct section *current = NULL;

    while (next_line(&rest, &line)) {
        if (line.n > 0 && line.p[0] == '[') {
            current = VEC_PUSH(&s->v);
            current->head = line;
            current->body = slice_of(line.p + line.n, 0);
        } else if (current && line.n > 0 && line.p[0] != ';' && line.p[0] != '#')
            current->body.n = (size_t)(line.p + line.n - current->body.p);
    }
}

static void put_server(struct strbuf *out, const struct conf_backend *b,
                       const struct conf_server *s)
{
    char addr[ADDR_TEXT_MAX] = "";

    strbuf_printf(out, "server %s/%s\n%s %s %u %u %d %d\n", b->name, s->name, s->text,
                  s->addr.len > 0 ? addr_format(&s->addr, addr) : "?", s->weight, s->max_conns,
                  s->is_backup, s->is_down);
}

/* Servers as sections of their own: two lines each. */
static void add_servers(struct sections *s, const struct conf *conf)
{
    struct slice rest, head;

    for (size_t i = 0; i < conf->nbackends; i++)
        for (size_t k = 0; k < conf->backends[i].server.n; k++)
            put_server(&s->names, &conf->backends[i], &conf->backends[i].server.v[k]);
    rest = strbuf_slice(&s->names);
    while (next_line(&rest, &head)) {
        struct section *one = VEC_PUSH(&s->v);

        one->head = head;
        (void)next_line(&rest, &one->body);
    }
}

static void sections_init(struct sections *s, const struct conf *conf)
{
    memset(s, 0, sizeof *s);
    strbuf_init(&s->text);
    strbuf_init(&s->names);
    smap_init(&s->map, false);
    conf_print(conf, &s->text);
    split(s);
    add_servers(s, conf);
    for (size_t i = 0; i < s->v.n; i++)
        (void)smap_put(&s->map, s->v.v[i].head, &s->v.v[i]);
}

static void sections_fini(struct sections *s)
{
    smap_fini(&s->map);
    VEC_FREE(&s->v);
    strbuf_fini(&s->names);
    strbuf_fini(&s->text);
}

static struct tally *tally_of(struct tally *t, size_t n, struct slice head)
{
    for (size_t i = 0; i < n; i++)
        if (slice_starts(head, slice_str(t[i].prefix)))
            return &t[i];
    return NULL;
}

static void count(struct tally *tallies, size_t n, const struct sections *old,
                  const struct sections *new)
{
    for (size_t i = 0; i < new->v.n; i++) {
        const struct section *is = &new->v.v[i];
        const struct section *was = smap_get(&old->map, is->head);
        struct tally *t = tally_of(tallies, n, is->head);

        if (t && !was)
            t->added++;
        else if (t && !slice_eq(was->body, is->body))
            t->altered++;
    }
    for (size_t i = 0; i < old->v.n; i++) {
        struct tally *t = tally_of(tallies, n, old->v.v[i].head);

        if (t && !smap_get(&new->map, old->v.v[i].head))
            t->removed++;
    }
}

static void put_count(struct strbuf *out, char sign, unsigned n)
{
    if (n > 0)
        strbuf_printf(out, " %c%u", sign, n);
}

void changes_describe(const struct conf *old, const struct conf *new, struct strbuf *out)
{
    struct tally tallies[] = {
        { .what = "global", .prefix = "[global" },
        { .what = "listeners", .prefix = "[listener " },
        { .what = "routes", .prefix = "[route " },
        { .what = "backends", .prefix = "[backend " },
        { .what = "servers", .prefix = "server " },
    };
    struct sections was, is;
    bool is_first = true;

    sections_init(&was, old);
    sections_init(&is, new);
    count(tallies, COUNT(tallies), &was, &is);
    for (size_t i = 0; i < COUNT(tallies); i++) {
        const struct tally *t = &tallies[i];

        if (t->added + t->removed + t->altered == 0)
            continue;
        strbuf_adds(out, is_first ? "" : ", ");
        strbuf_adds(out, t->what);
        put_count(out, '+', t->added);
        put_count(out, '-', t->removed);
        if (i > 0)
            put_count(out, '~', t->altered);
        is_first = false;
    }
    if (is_first)
        strbuf_adds(out, "nothing changed");
    sections_fini(&was);
    sections_fini(&is);
}
