/* `rpctl limit NAME top [N]`: the keys of a limit that ask most, out of the memory in which workers
 * count them (common/core/limits.h). Called by main; asks no daemon. What clients sent as keys is
 * in it: nothing unprintable gets out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/core/limits.h"
#include "ctl/ctl.h"
#include "ctl/human.h"
#include "ctl/load.h"
#include "ctl/output.h"
#include "ctl/streams.h"

#define ROWS_DEFAULT 20
#define BETWEEN_MS 500 /* two readings, whose difference is the rate */
#define NS_PER_S 1e9

struct key_row {
    struct slice text;
    bool is_cut;
    double rate; /* requests a second, refused ones too */
    uint64_t active, left, allowed, limited;
    struct limit_detail detail; /* what text points into */
};

struct keys {
    VEC(struct key_row) rows;
    const struct limits_entry *entry;
    const struct limit_set *sets;
};

/* A place as it was at the first reading. */
struct seen {
    uint64_t finger;
    uint32_t asked;
};

/* ---- reading ---- */

static struct limit_detail detail_at(const struct limit_set *set, uint32_t way)
{
    const struct limit_detail *d = &set->detail[way];
    struct limit_detail copy = *d;

    copy.allowed = __atomic_load_n(&d->allowed, __ATOMIC_RELAXED);
    copy.limited = __atomic_load_n(&d->limited, __ATOMIC_RELAXED);
    return copy;
}

static struct seen see(const struct limit_set *set, uint32_t way)
{
    struct limit_detail d = detail_at(set, way);

    return (struct seen){ __atomic_load_n(&set->who[way], __ATOMIC_ACQUIRE) >> LIMIT_HOLD_BITS,
                          d.allowed + d.limited };
}

static struct seen *see_all(const struct keys *k)
{
    struct seen *all = xcalloc(k->entry->sets * LIMIT_WAYS, sizeof *all);

    for (uint64_t i = 0; i < k->entry->sets * LIMIT_WAYS; i++)
        all[i] = see(&k->sets[i / LIMIT_WAYS], i % LIMIT_WAYS);
    return all;
}

/* How many requests would be let in now. */
static uint64_t left_of(const struct limits_entry *e, uint64_t tat_ns, uint64_t now_ns)
{
    uint64_t most = e->interval_ns * e->burst, debt = tat_ns > now_ns ? tat_ns - now_ns : 0;

    return e->interval_ns == 0 || debt > most ? 0 : (most - debt) / e->interval_ns;
}

static void add_row(struct keys *k, const struct limit_set *set, uint32_t way,
                    const struct seen *before, uint64_t now_ns, double passed)
{
    uint64_t who = __atomic_load_n(&set->who[way], __ATOMIC_ACQUIRE);
    struct key_row *r = VEC_PUSH(&k->rows);
    uint32_t asked;

    r->detail = detail_at(set, way);
    r->active = limit_holds(who);
    r->allowed = r->detail.allowed;
    r->limited = r->detail.limited;
    r->left = left_of(k->entry, __atomic_load_n(&set->tat_ns[way], __ATOMIC_RELAXED), now_ns);
    asked = r->detail.allowed + r->detail.limited;
    if (who >> LIMIT_HOLD_BITS == before->finger)
        asked -= before->asked;
    r->rate = asked <= INT32_MAX ? asked / passed : 0; /* what is given back may exceed the rest */
    r->is_cut = r->detail.text[LIMIT_KEY_MAX - 1] == LIMIT_CUT;
}

static int heavier(const void *a, const void *b)
{
    const struct key_row *x = a, *y = b;

    if (x->rate != y->rate)
        return x->rate > y->rate ? -1 : 1;
    if (x->active != y->active)
        return x->active > y->active ? -1 : 1;
    if (x->left != y->left)
        return x->left < y->left ? -1 : 1;
    if (x->limited != y->limited)
        return x->limited > y->limited ? -1 : 1;
    return strncmp(x->detail.text, y->detail.text, sizeof x->detail.text);
}

/* Twice, with a while between; the `most` that ask most. */
static void read_keys(struct keys *k, size_t most)
{
    const struct timespec while_ = { .tv_nsec = BETWEEN_MS * 1000000L };
    struct seen *before = see_all(k);
    uint64_t began_us = clock_mono_us(), now_us;

    (void)nanosleep(&while_, NULL);
    now_us = clock_mono_us();
    for (uint64_t i = 0; i < k->entry->sets * LIMIT_WAYS; i++) {
        const struct limit_set *set = &k->sets[i / LIMIT_WAYS];

        if (__atomic_load_n(&set->who[i % LIMIT_WAYS], __ATOMIC_RELAXED) != 0)
            add_row(k, set, i % LIMIT_WAYS, &before[i], now_us * 1000,
                    (double)(now_us - began_us + 1) / 1e6);
    }
    free(before);
    if (k->rows.n > 0)
        qsort(k->rows.v, k->rows.n, sizeof *k->rows.v, heavier);
    if (k->rows.n > most)
        k->rows.n = most;
    for (size_t i = 0; i < k->rows.n; i++) {
        const char *text = k->rows.v[i].detail.text;

        k->rows.v[i].text = slice_of(text, strnlen(text, LIMIT_KEY_MAX - 1));
    }
}

/* ---- printing ---- */

static void put_count(struct grid *g, enum style style, uint64_t n)
{
    char buf[HUMAN_MAX];

    grid_cell(g, n ? style : STYLE_DIM, human_count(buf, (double)n));
}

static void put_row(struct grid *g, const struct key_row *r, const struct limits_entry *e)
{
    char buf[HUMAN_MAX];
    struct strbuf text;

    strbuf_init(&text);
    stream_put_text(&text, r->text);
    if (r->is_cut)
        strbuf_adds(&text, "...");
    grid_cell(g, STYLE_PLAIN, text.s);
    strbuf_fini(&text);
    grid_cell(g, r->rate > 0 ? STYLE_PLAIN : STYLE_DIM, human_rate(buf, r->rate));
    put_count(g, STYLE_PLAIN, r->active);
    if (e->interval_ns)
        grid_cell(g, r->left ? STYLE_PLAIN : STYLE_BAD, human_count(buf, (double)r->left));
    else
        grid_cell(g, STYLE_DIM, "-");
    put_count(g, STYLE_PLAIN, r->allowed);
    put_count(g, STYLE_WARN, r->limited);
}

static void put_table(struct strbuf *out, const struct keys *k, bool is_colour)
{
    static const char *const columns[] = { "key", "rate", "active", "left", "allowed", "limited" };
    struct grid g;

    grid_init(&g);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        grid_column(&g, columns[i], i == 0);
    for (size_t i = 0; i < k->rows.n; i++)
        put_row(&g, &k->rows.v[i], k->entry);
    grid_print(out, &g, is_colour);
    grid_fini(&g);
}

static void put_json(struct strbuf *out, const struct keys *k)
{
    const struct limits_entry *e = k->entry;
    struct json j;

    json_init(&j, out);
    json_object(&j, NULL);
    json_str(&j, "limit", slice_str(e->name));
    json_double(&j, "rate", e->interval_ns ? NS_PER_S / (double)e->interval_ns : 0);
    json_u64(&j, "burst", e->burst);
    json_u64(&j, "max_conns", e->max_conns);
    json_array(&j, "keys");
    for (size_t i = 0; i < k->rows.n; i++) {
        const struct key_row *r = &k->rows.v[i];

        json_object(&j, NULL);
        json_str(&j, "key", r->text);
        json_bool(&j, "is_cut", r->is_cut);
        json_double(&j, "rate", r->rate);
        json_u64(&j, "active", r->active);
        if (e->interval_ns)
            json_u64(&j, "left", r->left);
        else
            json_null(&j, "left");
        json_u64(&j, "allowed", r->allowed);
        json_u64(&j, "limited", r->limited);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
    strbuf_addc(out, '\n');
}

static void put_csv(struct strbuf *out, const struct keys *k)
{
    strbuf_adds(out, "key,rate,active,left,allowed,limited\n");
    for (size_t i = 0; i < k->rows.n; i++) {
        const struct key_row *r = &k->rows.v[i];
        struct strbuf text;

        strbuf_init(&text);
        stream_put_text(&text, r->text);
        csv_value(out, strbuf_slice(&text));
        strbuf_fini(&text);
        strbuf_printf(out, ",%.3f,%llu,", r->rate, (unsigned long long)r->active);
        if (k->entry->interval_ns)
            strbuf_printf(out, "%llu", (unsigned long long)r->left);
        strbuf_printf(out, ",%llu,%llu\n", (unsigned long long)r->allowed,
                      (unsigned long long)r->limited);
    }
}

static enum ctl_exit print(const struct ctl *ctl, const struct keys *k)
{
    enum ctl_exit status;
    struct strbuf out;

    strbuf_init(&out);
    if (ctl->format == CTL_JSON)
        put_json(&out, k);
    else if (ctl->format == CTL_CSV)
        put_csv(&out, k);
    else
        put_table(&out, k, ctl->is_colour);
    status = ctl_print(&out);
    strbuf_fini(&out);
    return status;
}

/* ---- the command ---- */

static bool take_arguments(char **args, size_t *most)
{
    uint64_t n = ROWS_DEFAULT;

    if (!args[0] || !args[1] || strcmp(args[1], "top") != 0 || (args[2] && args[3])) {
        ctl_error("usage: rpctl limit " CTL_LIMIT_USAGE);
        return false;
    }
    if (args[2] && (!slice_u64(slice_str(args[2]), &n) || n == 0 || n > UINT32_MAX)) {
        ctl_error("limit: top needs a number from 1, not '%s'", args[2]);
        return false;
    }
    *most = (size_t)n;
    return true;
}

static struct limits *open_limits(const struct ctl *ctl, enum ctl_exit *status)
{
    struct limits *l;
    struct strbuf path;

    strbuf_init(&path);
    strbuf_printf(&path, "%s/limits", ctl->run_dir);
    l = limits_open(path.s);
    *status = CTL_FAILED;
    if (!l && (errno == ENOENT || errno == ENOTDIR)) {
        ctl_error("no rpd runs in %s", ctl->run_dir);
        *status = CTL_NO_DAEMON;
    } else if (!l) {
        ctl_error("%s: %s", path.s,
                  errno == EPROTO ? "of another version or boot" : strerror(errno));
    }
    strbuf_fini(&path);
    return l;
}

static bool find_entry(const struct limits *l, const char *name, struct keys *k)
{
    for (size_t i = 0; i < limits_count(l) && !k->sets; i++) {
        k->entry = limits_at(l, i);
        if (k->entry->is_used &&
            strncmp(k->entry->name, name, sizeof k->entry->name) == 0)
            k->sets = limits_sets(l, k->entry);
    }
    if (!k->sets)
        ctl_error("there is no limit '%s'", name);
    return k->sets != NULL;
}

enum ctl_exit ctl_limit(const struct ctl *ctl, char **args)
{
    struct keys k = { .sets = NULL };
    enum ctl_exit status;
    struct limits *l;
    size_t most;

    if (ctl->format == CTL_PROMETHEUS) {
        ctl_error("limit does not go with -o prometheus");
        return CTL_USAGE;
    }
    if (!take_arguments(args, &most))
        return CTL_USAGE;
    l = open_limits(ctl, &status);
    if (l && find_entry(l, args[0], &k)) {
        read_keys(&k, most);
        status = print(ctl, &k);
    }
    VEC_FREE(&k.rows);
    limits_close(&l);
    return status;
}
