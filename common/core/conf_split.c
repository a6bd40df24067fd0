/* A route's `backend`: one backend, or a split over several by weight. Reached through the rows of
 * the settings table, but for conf_settle_splits, a step of conf_build. */
#include <inttypes.h>
#include "common/core/conf_impl.h"

#define SHARE_MAX 1000000

/* The number behind the name; false when reported. A `%` may follow it: shares are of the sum. */
static bool parse_weight(struct conf_cursor *c, struct slice backend, struct slice text,
                         uint32_t *weight)
{
    uint64_t value;

    if (slice_ends(text, SLICE("%")))
        text = slice_trim(slice_of(text.p, text.n - 1));
    if (slice_find(text, ' ') < text.n) {
        conf_value_error(c, "'%.*s' behind '%.*s': a split is written `stable 95, canary 5`, "
                         "with a comma between", SLICE_ARG(text), SLICE_ARG(backend));
        return false;
    }
    if (!slice_u64(text, &value) || value > SHARE_MAX) {
        conf_value_error(c, "'%.*s', the weight of '%.*s', is no whole number from 0 to %d",
                         SLICE_ARG(text), SLICE_ARG(backend), SHARE_MAX);
        return false;
    }
    *weight = (uint32_t)value;
    return true;
}

static bool parse_share(struct conf_cursor *c, struct slice item, bool is_split,
                        struct conf_share *share)
{
    struct slice rest = item, name = conf_cut_word(&rest);
    struct conf_section *s = conf_find_section(c, CONF_KIND_backend, name);

    share->weight = 1;
    if (!s)
        return false;
    share->backend = s->target;
    if (rest.n > 0)
        return parse_weight(c, name, rest, &share->weight);
    if (is_split)
        conf_value_error(c, "'%.*s' has no weight: a split is written `stable 95, canary 5`",
                         SLICE_ARG(name));
    return !is_split;
}

static bool is_named_before(const struct conf_split *split, const struct conf_backend *b)
{
    for (size_t i = 0; i < split->n; i++)
        if (split->v[i].backend == b)
            return true;
    return false;
}

static void parse_split(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_split *out = field, split = { NULL, 0 };
    struct slice rest = text, item;
    bool is_split = slice_find(text, ',') < text.n, is_good = true;
    uint64_t sum = 0;

    while (slice_next_item(&rest, &item)) {
        struct conf_share share = { NULL, 0, 0 };

        if (!parse_share(c, item, is_split, &share)) {
            is_good = false;
            continue;
        }
        if (is_named_before(&split, share.backend)) {
            conf_value_error(c, "'%s' is there twice", share.backend->name);
            is_good = false;
        }
        sum += share.weight;
        share.below = (uint32_t)sum;
        c->is_fresh = split.n == 0;
        split.v = conf_grow(c, split.v, split.n, sizeof *split.v);
        split.v[split.n++] = share;
    }
    if (is_good && split.n == 0)
        conf_value_error(c, "needs a backend");
    else if (is_good && (sum == 0 || sum > UINT32_MAX))
        conf_value_error(c, sum == 0 ? "every weight is 0: nobody would get a request"
                                     : "the weights are too large");
    else if (is_good)
        *out = split;
}

static size_t count_split(const void *field)
{
    const struct conf_split *split = field;

    return split->n > 0;
}

static void print_split(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_split *split = field;

    (void)i;
    for (size_t k = 0; k < split->n; k++) {
        strbuf_printf(out, "%s%s", k > 0 ? ", " : "", split->v[k].backend->name);
        if (split->n > 1)
            strbuf_printf(out, " %" PRIu32, split->v[k].weight);
    }
}

TYPE(SPLIT, .name = "backend, or backends with weights", .takes_empty = true,
     .parse = parse_split, .count = count_split, .print = print_split);

/* ---- what routes lead to ---- */

size_t conf_route_nbackends(const struct conf_route *r)
{
    if (r->canary)
        return r->canary->stable && r->canary->canary ? 2 : 0; /* else reported */
    return r->split.n;
}

const struct conf_backend *conf_route_backend(const struct conf_route *r, size_t i)
{
    if (r->canary)
        return i == 0 ? r->canary->stable : r->canary->canary;
    return r->split.v[i].backend;
}

void conf_settle_splits(struct conf *conf)
{
    for (size_t i = 0; i < conf->nroutes; i++) {
        struct conf_route *r = &conf->routes[i];

        r->backend = conf_route_nbackends(r) > 0 ? conf_route_backend(r, 0) : NULL;
    }
}
