/* Picks without connections: for the tests of who is chosen. */
#ifndef RPD_UNIT_UP_PICK_H
#define RPD_UNIT_UP_PICK_H

#include "t/unit/up_fixture.h"

/* NULL: none; `r` says what binds it to one, and what was tried. */
static inline struct server *pick_for(unsigned worker, const struct up_request *r)
{
    bool is_full;

    return backend_pick(backends[worker], r, &is_full);
}

static inline struct server *pick_any(unsigned worker)
{
    return pick_for(worker, &(struct up_request){ .backend = backends[worker] });
}

static inline struct server *pick_hash(unsigned worker, uint64_t hash)
{
    return pick_for(worker, &(struct up_request){ .backend = backends[worker], .hash = hash,
                                                  .has_hash = true });
}

static inline void give(struct server *s)
{
    ck_assert_ptr_nonnull(s);
    server_release(s);
    server_unref(&s);
}

/* Its number: s7 is 7. */
static inline unsigned number_of(const struct server *s)
{
    ck_assert_ptr_nonnull(s);
    return (unsigned)strtoul(s->name + 1, NULL, 10);
}

/* How many of n requests one after another each server gets. */
static inline void count_picks(unsigned *got, unsigned servers, unsigned n)
{
    memset(got, 0, servers * sizeof *got);
    for (unsigned i = 0; i < n; i++) {
        struct server *s = pick_any(0);

        got[number_of(s)]++;
        give(s);
    }
}

/* The backend with `settings` and n servers s0, s1, ... of `options`. */
static inline void apply_many(unsigned n, const char *settings, const char *options)
{
    size_t cap = sizeof ini / 2, used;
    char *text = malloc(cap);

    used = (size_t)snprintf(text, cap, "%s", settings);
    for (unsigned i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, cap - used, "server = 127.0.0.1:%u name=s%u %s\n",
                                 1 + i, i, options);
    ck_assert_uint_lt(used, cap);
    apply(text);
    free(text);
}

#endif
