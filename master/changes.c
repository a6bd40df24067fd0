/* Compares two configurations by their printed forms: defaults are filled in there and every value
 * has one spelling, so that sections differ exactly where the text does. Pure. Called by reload.c
 * and apply.c. */
#include "master/changes.h"

#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/vec.h"
#include "common/tls/chain.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define LINES_MAX 40
#define VALUE_MAX 60 /* bytes of a value that are shown */

struct section {
    struct slice head; /* "[route all]", or "server pool/one" for a line of it */
    struct slice body; /* lines `key = value` */
};

struct sections {
    const struct conf *conf;
    struct strbuf text; /* what the slices of sections lead into */
    VEC(struct section) v;
    struct strbuf servers;
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

/* A server as the text of a section of its own. */
static void put_server(struct strbuf *out, const struct conf_backend *b,
                       const struct conf_server *s)
{
    strbuf_printf(out, "server %s/%s\naddress = %s\nweight = %u\n"
                  "max_conns = %u\nbackup = %s\ndown = %s\n", b->name, s->name, s->text,
                  s->weight, s->max_conns, s->is_backup ? "on" : "off",
                  s->is_down ? "on" : "off");
}

static void add_servers(struct sections *s, const struct conf *conf)
{
    struct slice rest, line;

    for (size_t i = 0; i < conf->nbackends; i++)
        for (size_t k = 0; k < conf->backends[i].server.n; k++)
            put_server(&s->servers, &conf->backends[i], &conf->backends[i].server.v[k]);
    rest = strbuf_slice(&s->servers);
    while (next_line(&rest, &line)) {
        struct section *one;

        if (slice_starts(line, SLICE("server "))) {
            one = VEC_PUSH(&s->v);
            one->head = line;
            one->body = slice_of(line.p + line.n, 0);
        } else {
            one = &s->v.v[s->v.n - 1];
            one->body.n = (size_t)(line.p + line.n - one->body.p);
        }
    }
}

static void sections_init(struct sections *s, const struct conf *conf)
{
    memset(s, 0, sizeof *s);
    s->conf = conf;
    strbuf_init(&s->text);
    strbuf_init(&s->servers);
    smap_init(&s->map, false);
    conf_print_contents(conf, &s->text);
    split(s);
    add_servers(s, conf);
    for (size_t i = 0; i < s->v.n; i++)
        (void)smap_put(&s->map, s->v.v[i].head, &s->v.v[i]);
}

static void sections_fini(struct sections *s)
{
    smap_fini(&s->map);
    VEC_FREE(&s->v);
    strbuf_fini(&s->servers);
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

static void put_counts(const struct tally *tallies, size_t n, struct strbuf *out)
{
    bool is_first = true;

    for (size_t i = 0; i < n; i++) {
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
}

/* ---- by name ---- */

/* `key = value`, and an empty value's line has no blank behind the sign. */
static struct slice key_of(struct slice line, struct slice *value)
{
    struct slice rest = line, key = slice_cut(&rest, '=');

    *value = slice_trim(rest);
    return slice_trim(key);
}

/* All values of the key, with commas; false: it has none, or is not there. */
static bool values_of(struct slice body, struct slice key, struct strbuf *out)
{
    struct slice rest = body, line, value;
    bool is_first = true;

    while (next_line(&rest, &line))
        if (slice_eq(key_of(line, &value), key) && value.n > 0) {
            strbuf_adds(out, is_first ? "" : ", ");
            strbuf_add(out, value);
            is_first = false;
        }
    return !is_first;
}

static void put_value(struct strbuf *out, const struct strbuf *value)
{
    size_t n = value->n;

    if (n == 0)
        strbuf_adds(out, "(none)");
    else if (n <= VALUE_MAX)
        strbuf_add(out, strbuf_slice(value));
    else {
        for (n = VALUE_MAX; n > 0 && ((unsigned char)value->s[n] & 0xc0) == 0x80; n--)
            ; /* not within a character */
        strbuf_printf(out, "%.*s...", (int)n, value->s);
    }
}

static bool is_in(struct slice body, struct slice key, const char *before)
{
    struct slice rest = body, line, value;

    while (next_line(&rest, &line) && line.p != before)
        if (slice_eq(key_of(line, &value), key))
            return true;
    return false;
}

/* `timeout_idle 60s -> 30s`, where the key's values are others. */
static void put_key(struct strbuf *out, struct slice key, struct slice old, struct slice new,
                    bool *is_first)
{
    struct strbuf was, is;

    strbuf_init(&was);
    strbuf_init(&is);
    (void)values_of(old, key, &was);
    (void)values_of(new, key, &is);
    if (!slice_eq(strbuf_slice(&was), strbuf_slice(&is))) {
        strbuf_printf(out, "%s %.*s ", *is_first ? ":" : ",", SLICE_ARG(key));
        put_value(out, &was);
        strbuf_adds(out, " -> ");
        put_value(out, &is);
        *is_first = false;
    }
    strbuf_fini(&was);
    strbuf_fini(&is);
}

/* Keys in the new one's order, then those that only the old one has. A backend's servers are lines
 * of their own. */
static void put_keys(struct strbuf *out, const struct section *old, const struct section *new)
{
    bool is_first = true, is_backend = slice_starts(new->head, SLICE("[backend "));
    const struct slice bodies[] = { new->body, old->body };

    for (size_t i = 0; i < COUNT(bodies); i++) {
        struct slice rest = bodies[i], line, value;

        while (next_line(&rest, &line)) {
            struct slice key = key_of(line, &value);

            if (key.n == 0 || (is_backend && slice_eq(key, SLICE("server")))
                || is_in(bodies[i], key, line.p) || (i > 0 && is_in(new->body, key, NULL)))
                continue;
            put_key(out, key, old->body, new->body, &is_first);
        }
    }
    if (is_first)
        strbuf_adds(out, is_backend ? ": its servers" : ": in order");
}

static const struct conf_certificate *certificate_of(const struct conf *conf, struct slice head)
{
    size_t begin = sizeof "[certificate " - 1;
    struct slice name = slice_of(head.p + begin, head.n - begin - 1);

    for (size_t i = 0; i < conf->ncertificates; i++)
        if (slice_eq(slice_str(conf->certificates[i].name), name))
            return &conf->certificates[i];
    return NULL;
}

/* `2026-12-03`; false: it cannot be read. */
static bool last_day(const struct conf_certificate *c, char buf[CLOCK_TEXT_MAX])
{
    struct tls_chain chain;
    char why[TLS_WHY_MAX];

    if (!c || !c->cert.content.p
        || tls_chain_parse(&chain, c->cert.content, why, sizeof why) != 0)
        return false;
    (void)clock_iso8601(buf, tls_not_after_us(chain.leaf));
    buf[sizeof "2026-12-03" - 1] = '\0';
    tls_chain_fini(&chain);
    return true;
}

/* `, valid until 2026-12-03 -> 2027-03-03`, where a file has another certificate now. */
static void put_dates(struct strbuf *out, const struct conf_certificate *old,
                      const struct conf_certificate *new)
{
    char was[CLOCK_TEXT_MAX], is[CLOCK_TEXT_MAX];

    if (old && new && !slice_eq(old->cert.content, new->cert.content) && last_day(old, was)
        && last_day(new, is))
        strbuf_printf(out, ", valid until %s -> %s", was, is);
}

static void put_name(struct strbuf *out, char sign, struct slice head)
{
    if (head.p[0] == '[')
        head = slice_of(head.p + 1, head.n - 2);
    strbuf_printf(out, "  %c %.*s", sign, SLICE_ARG(head));
}

static bool has_room(unsigned *lines)
{
    return ++*lines <= LINES_MAX;
}

static void put_lines(struct strbuf *out, const struct sections *old, const struct sections *new)
{
    unsigned n = 0;

    for (size_t i = 0; i < new->v.n; i++) {
        const struct section *is = &new->v.v[i];
        const struct section *was = smap_get(&old->map, is->head);

        if ((was && slice_eq(was->body, is->body)) || !has_room(&n))
            continue;
        put_name(out, was ? '~' : '+', is->head);
        if (was)
            put_keys(out, was, is);
        if (was && slice_starts(is->head, SLICE("[certificate ")))
            put_dates(out, certificate_of(old->conf, is->head),
                      certificate_of(new->conf, is->head));
        strbuf_addc(out, '\n');
    }
    for (size_t i = 0; i < old->v.n; i++) {
        if (smap_get(&new->map, old->v.v[i].head) || !has_room(&n))
            continue;
        put_name(out, '-', old->v.v[i].head);
        strbuf_addc(out, '\n');
    }
    if (n > LINES_MAX)
        strbuf_printf(out, "  and %u more\n", n - LINES_MAX);
}

bool changes_describe(const struct conf *old, const struct conf *new, struct strbuf *counts,
                      struct strbuf *lines)
{
    struct tally tallies[] = {
        { .what = "global", .prefix = "[global" },
        { .what = "listeners", .prefix = "[listener " },
        { .what = "routes", .prefix = "[route " },
        { .what = "backends", .prefix = "[backend " },
        { .what = "servers", .prefix = "server " },
        { .what = "certificates", .prefix = "[certificate " },
    };
    struct sections was, is;
    size_t before = lines->n;

    sections_init(&was, old);
    sections_init(&is, new);
    count(tallies, COUNT(tallies), &was, &is);
    put_counts(tallies, COUNT(tallies), counts);
    put_lines(lines, &was, &is);
    sections_fini(&was);
    sections_fini(&is);
    return lines->n > before;
}
