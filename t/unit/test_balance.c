/* Picking servers: shares, smoothness, removal, and least connections. */
#include <string.h>
#include "t/unit/unit.h"
#include "worker/up/balance.h"

#define MANY 2000

struct fixture {
    struct balance b;
    struct balance_node nodes[MANY];
};

static struct fixture f;

static void start(bool is_least_conn, size_t n, const uint32_t *weights)
{
    balance_init(&f.b, is_least_conn);
    balance_reserve(&f.b, n);
    for (size_t i = 0; i < n; i++) {
        f.nodes[i] = (struct balance_node){ .weight = weights ? weights[i] : 1 };
        balance_add(&f.b, &f.nodes[i]);
    }
}

static size_t pick(void)
{
    struct balance_node *node = balance_peek(&f.b);

    balance_take(&f.b, node);
    return (size_t)(node - f.nodes);
}

START_TEST(equal_weights_take_turns)
{
    start(false, 3, NULL);
    for (size_t i = 0; i < 30; i++)
        ck_assert_uint_eq(pick(), i % 3);
    balance_fini(&f.b);
}
END_TEST

START_TEST(weights_are_shares)
{
    static const uint32_t weights[] = { 5, 1, 1 };
    size_t got[3] = { 0 };

    start(false, 3, weights);
    for (unsigned i = 0; i < 700; i++)
        got[pick()]++;
    ck_assert_uint_eq(got[0], 500);
    ck_assert_uint_eq(got[1], 100);
    ck_assert_uint_eq(got[2], 100);
    balance_fini(&f.b);
}
END_TEST

START_TEST(turns_of_a_heavy_server_are_spread)
{
    static const uint32_t weights[] = { 3, 3 , 1 };
    size_t last = 99;

    start(false, 3, weights);
    for (unsigned i = 0; i < 70; i++) {
        size_t now = pick();

        ck_assert_uint_ne(now, last); /* no two of seven turns need to be neighbours */
        last = now;
    }
    balance_fini(&f.b);
}
END_TEST

START_TEST(a_server_that_was_away_does_not_catch_up)
{
    size_t got[2] = { 0 };

    start(false, 2, NULL);
    balance_remove(&f.b, &f.nodes[1]);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_uint_eq(pick(), 0);
    balance_add(&f.b, &f.nodes[1]);
    for (unsigned i = 0; i < 100; i++)
        got[pick()]++;
    ck_assert_uint_le(got[1], 51);
    ck_assert_uint_ge(got[1], 49);
    balance_fini(&f.b);
}
END_TEST

START_TEST(least_conn_follows_what_is_active)
{
    start(true, 3, NULL);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(pick(), i);
    balance_release(&f.b, &f.nodes[1]);
    ck_assert_uint_eq(pick(), 1);
    balance_release(&f.b, &f.nodes[2]);
    ck_assert_uint_eq(pick(), 2);
    balance_fini(&f.b);
}
END_TEST

START_TEST(least_conn_weighs)
{
    static const uint32_t weights[] = { 4, 1 };

    start(true, 2, weights);
    for (unsigned i = 0; i < 100; i++)
        pick();
    ck_assert_uint_eq(f.nodes[0].active, 80);
    ck_assert_uint_eq(f.nodes[1].active, 20);
    balance_fini(&f.b);
}
END_TEST

START_TEST(a_server_out_of_the_heap_keeps_its_count)
{
    start(true, 2, NULL);
    pick();
    balance_remove(&f.b, &f.nodes[0]);
    balance_release(&f.b, &f.nodes[0]);
    ck_assert_uint_eq(f.nodes[0].active, 0);
    ck_assert_uint_eq(pick(), 1);
    balance_add(&f.b, &f.nodes[0]);
    ck_assert_uint_eq(pick(), 0);
    balance_fini(&f.b);
}
END_TEST

START_TEST(another_weight_is_another_share_at_once)
{
    size_t got[3] = { 0 };

    start(false, 3, NULL);
    for (unsigned i = 0; i < 31; i++)
        pick();
    balance_weigh(&f.b, &f.nodes[1], 8);
    for (unsigned i = 0; i < 100; i++)
        got[pick()]++;
    ck_assert_uint_eq(got[1], 80);
    ck_assert_uint_eq(got[0], 10);
    /* From a turn a long way off to the next ones. */
    balance_weigh(&f.b, &f.nodes[0], 60000);
    balance_weigh(&f.b, &f.nodes[1], 60000);
    memset(got, 0, sizeof got);
    for (unsigned i = 0; i < 100; i++)
        got[pick()]++;
    ck_assert_uint_le(got[2], 1);
    balance_weigh(&f.b, &f.nodes[2], 60000);
    memset(got, 0, sizeof got);
    for (unsigned i = 0; i < 30; i++)
        got[pick()]++;
    ck_assert_uint_ge(got[2], 9);
    ck_assert_uint_le(got[2], 11);
    balance_fini(&f.b);
}
END_TEST

START_TEST(another_weight_under_least_conn)
{
    start(true, 2, NULL);
    for (unsigned i = 0; i < 20; i++)
        pick();
    balance_weigh(&f.b, &f.nodes[1], 3);
    for (unsigned i = 0; i < 20; i++)
        ck_assert_uint_eq(pick(), 1); /* until it has three times as many */
    balance_remove(&f.b, &f.nodes[1]);
    balance_weigh(&f.b, &f.nodes[1], 9); /* out of the heap as well */
    balance_add(&f.b, &f.nodes[1]);
    for (unsigned i = 0; i < 60; i++)
        ck_assert_uint_eq(pick(), 1);
    balance_fini(&f.b);
}
END_TEST

/* Against the definition: always a smallest key. */
START_TEST(random_changes_keep_the_order)
{
    uint64_t seed = 12345;

    start(true, MANY, NULL);
    for (unsigned i = 0; i < 50000; i++) {
        struct balance_node *n;

        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        n = &f.nodes[(seed >> 33) % MANY];
        if ((seed >> 60) % 4 == 0 && f.b.n > 1 && balance_has(n))
            balance_remove(&f.b, n);
        else if (!balance_has(n))
            balance_add(&f.b, n);
        else if (n->active > 0 && (seed >> 60) % 2)
            balance_release(&f.b, n);
        else
            balance_take(&f.b, n);
        if (i % 500 == 0)
            for (size_t k = 0; k < f.b.n; k++)
                ck_assert_uint_le(balance_peek(&f.b)->key, f.b.heap[k]->key);
    }
    for (size_t k = 0; k < f.b.n; k++)
        ck_assert_uint_eq(f.b.heap[k]->pos, k + 1);
    balance_fini(&f.b);
}
END_TEST

UNIT_MAIN("balance", equal_weights_take_turns, weights_are_shares,
          turns_of_a_heavy_server_are_spread, a_server_that_was_away_does_not_catch_up,
          least_conn_follows_what_is_active, least_conn_weighs,
          a_server_out_of_the_heap_keeps_its_count, another_weight_is_another_share_at_once,
          another_weight_under_least_conn, random_changes_keep_the_order)
