/* The consistent ring: shares, who moves when a member goes, and that it is the same everywhere. */
#include <stdio.h>
#include <string.h>
#include "t/unit/unit.h"
#include "worker/up/ring.h"

#define KEYS 100000
#define MEMBERS_MAX 4000

static char names[MEMBERS_MAX][24];
static struct ring_member members[MEMBERS_MAX];
static uint32_t owner[KEYS];
static unsigned got[MEMBERS_MAX];

static void make(size_t n, uint32_t weight)
{
    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "s%zu", i);
        members[i] = (struct ring_member){ slice_str(names[i]), weight };
    }
}

static uint32_t owner_of(const struct ring *r, unsigned key)
{
    return r->points[ring_find(r, ring_hash(&key, sizeof key))].member;
}

static void note_owners(const struct ring *r)
{
    memset(got, 0, sizeof got);
    for (unsigned i = 0; i < KEYS; i++)
        got[owner[i] = owner_of(r, i)]++;
}

START_TEST(weights_are_shares)
{
    struct ring r = { .points = NULL };

    make(10, 1);
    members[3].weight = 3;
    ring_build(&r, members, 10);
    note_owners(&r);
    for (unsigned i = 0; i < 10; i++) {
        unsigned share = KEYS * members[i].weight / 12;

        ck_assert_uint_ge(got[i], share * 7 / 10);
        ck_assert_uint_le(got[i], share * 13 / 10);
    }
    ring_fini(&r);
}
END_TEST

START_TEST(only_the_keys_of_a_member_that_leaves_move)
{
    struct ring r = { .points = NULL };
    unsigned moved = 0;

    make(10, 1);
    ring_build(&r, members, 10);
    note_owners(&r);
    memmove(&members[4], &members[5], 5 * sizeof members[0]);
    ring_build(&r, members, 9);
    for (unsigned i = 0; i < KEYS; i++) {
        uint32_t now = owner_of(&r, i);

        now += now >= 4; /* its index before */
        moved += now != owner[i];
        ck_assert(now == owner[i] || owner[i] == 4);
    }
    ck_assert_uint_eq(moved, got[4]);
    ck_assert_uint_le(moved, KEYS / 10 * 13 / 10);
    ring_fini(&r);
}
END_TEST

/* Weights that are not equal: the mean changes, but not by so much that others' points do. */
START_TEST(other_weights_move_few_keys)
{
    struct ring r = { .points = NULL };
    unsigned moved = 0;

    make(20, 10);
    members[0].weight = 12;
    ring_build(&r, members, 20);
    note_owners(&r);
    members[0].weight = 15;
    ring_build(&r, members, 20);
    for (unsigned i = 0; i < KEYS; i++) {
        uint32_t now = owner_of(&r, i);

        moved += now != owner[i];
        ck_assert(now == owner[i] || now == 0);
    }
    ck_assert_uint_gt(moved, 0);
    ck_assert_uint_le(moved, KEYS / 20);
    ring_fini(&r);
}
END_TEST

/* Values that another version, or another machine, has to come to as well. */
START_TEST(it_is_the_same_everywhere)
{
    struct ring r = { .points = NULL };
    uint64_t sum = 0;

    make(5, 1);
    ring_build(&r, members, 5);
    for (unsigned i = 0; i < 1000; i++)
        sum = sum * 31 + owner_of(&r, i);
    ck_assert_uint_eq(ring_hash("key", 3), 5949986786652133749u);
    ck_assert_uint_eq(sum, 64054327049528908u);
    ring_fini(&r);
}
END_TEST

START_TEST(points_are_bounded)
{
    struct ring r = { .points = NULL };

    make(MEMBERS_MAX, 1);
    members[1].weight = 65535;
    ring_build(&r, members, MEMBERS_MAX);
    ck_assert_uint_le(r.n, RING_POINTS_MAX);
    note_owners(&r);
    ck_assert_uint_gt(got[1], KEYS * 8 / 10);
    make(2000, 7);
    ring_build(&r, members, 2000);
    ck_assert_uint_le(r.n, RING_POINTS_MAX);
    ck_assert_uint_ge(r.n, 2000 * 16);
    ring_build(&r, members, 1);
    ck_assert_uint_eq(ring_find(&r, UINT64_MAX), 0);
    ck_assert_uint_eq(ring_next(&r, r.n - 1), 0);
    ring_build(&r, members, 0);
    ck_assert_uint_eq(r.n, 0);
    ring_fini(&r);
}
END_TEST

UNIT_MAIN("ring", weights_are_shares, only_the_keys_of_a_member_that_leaves_move,
          other_weights_move_few_keys, it_is_the_same_everywhere, points_are_bounded)
