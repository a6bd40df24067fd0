/* Who is chosen by each algorithm: shares, over workers, with weights that change, and tried. */
#include <string.h>
#include "t/unit/up_pick.h"

#define WEIGHTED "server = 127.0.0.1:1 name=s0 weight=5\nserver = 127.0.0.1:2 name=s1 weight=3\n" \
                 "server = 127.0.0.1:3 name=s2 weight=2\n"
#define HELD 3000

static struct server *held[HELD];
static unsigned got[2000];
static uint64_t seed = 1;

static unsigned dice(unsigned n)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((seed >> 33) % n);
}

static void give_all(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        give(held[i]);
}

#define CK_NEAR(value, want, by) ck_assert((value) >= (want) - (by) && (value) <= (want) + (by))

START_TEST(round_robin_is_exact)
{
    apply(WEIGHTED);
    count_picks(got, 3, 10000);
    ck_assert_uint_eq(got[0], 5000);
    ck_assert_uint_eq(got[1], 3000);
    ck_assert_uint_eq(got[2], 2000);
}
END_TEST

START_TEST(random_shares_are_by_weight)
{
    apply("balance = random\n" WEIGHTED);
    count_picks(got, 3, 10000);
    CK_NEAR(got[0], 5000, 200);
    CK_NEAR(got[1], 3000, 200);
    CK_NEAR(got[2], 2000, 200);
}
END_TEST

/* Of two, the one with less to do: loads stay close, with requests that last. */
START_TEST(random_evens_out_what_is_held)
{
    unsigned most = 0, least = HELD;

    apply_many(100, "balance = random\n", "");
    for (unsigned i = 0; i < 2000; i++)
        held[i] = pick_any(i % 2);
    for (unsigned i = 0; i < 100; i++) {
        unsigned n = (unsigned)server_active(backends[0]->primary.members[i]);

        most = n > most ? n : most;
        least = n < least ? n : least;
    }
    ck_assert_uint_le(most, 24); /* by one draw alone it would be over 30 */
    ck_assert_uint_ge(least, 14);
    give_all(2000);
}
END_TEST

/* Always one of the smallest (active + 1) / weight over both workers. */
START_TEST(least_conn_is_exact_over_workers)
{
    static const unsigned weights[] = { 5, 3, 2 };
    unsigned n = 0, active[3] = { 0 };

    apply("balance = least_conn\n" WEIGHTED);
    for (unsigned i = 0; i < 20000; i++) {
        if (n == 400 || (n > 0 && dice(100) < 48)) {
            unsigned k = dice(n);

            active[number_of(held[k])]--;
            give(held[k]);
            held[k] = held[--n];
        } else {
            unsigned s = number_of(held[n] = pick_any(dice(2)));

            for (unsigned k = 0; k < 3; k++)
                ck_assert_uint_le((active[s] + 1) * weights[k], (active[k] + 1) * weights[s]);
            active[s]++;
            n++;
        }
    }
    give_all(n);
}
END_TEST

START_TEST(least_conn_of_many_is_close)
{
    apply_many(600, "balance = least_conn\n", "");
    for (unsigned i = 0; i < HELD; i++)
        held[i] = pick_any(dice(2));
    for (unsigned i = 0; i < 600; i++)
        CK_NEAR(server_active(backends[0]->primary.members[i]), 5, 1);
    /* What one worker's requests leave is found by the other. */
    for (unsigned i = 0; i < HELD; i++)
        if (number_of(held[i]) < 100) {
            give(held[i]);
            held[i] = NULL;
        }
    for (unsigned i = 0; i < HELD; i++)
        if (!held[i])
            got[number_of(held[i] = pick_any(1))]++;
    for (unsigned i = 0; i < 600; i++)
        CK_NEAR(server_active(backends[0]->primary.members[i]), 5, 1);
    give_all(HELD);
}
END_TEST

START_TEST(weights_change_at_run_time_with_every_algorithm)
{
    static const char *const how[] = { "round_robin", "random", "ewma", "hash $client_ip",
                                       "least_conn" };
    char text[256];

    for (unsigned i = 0; i < sizeof how / sizeof how[0]; i++) {
        snprintf(text, sizeof text, "balance = %s\n" WEIGHTED, how[i]);
        apply(text);
        operator_sets(&shared_of("s0")->weight, 0);
        count_picks(got, 3, 100);
        ck_assert_uint_eq(got[0], 0);
        operator_sets(&shared_of("s0")->weight, 15);
        operator_sets(&shared_of("s1")->weight, 0);
        operator_sets(&shared_of("s2")->weight, 5);
        count_picks(got, 3, 2000);
        ck_assert_uint_eq(got[1], 0);
        if (i < 4)
            CK_NEAR(got[0], 1500, 100);
        operator_sets(&shared_of("s0")->admin, ADMIN_DRAIN);
        count_picks(got, 3, 10);
        ck_assert_uint_eq(got[2], 10);
        operator_sets(&shared_of("s0")->admin, ADMIN_READY);
    }
}
END_TEST

/* Requests go on over reloads that change the algorithm. */
START_TEST(the_algorithm_may_change_with_requests_in_progress)
{
    static const char *const how[] = { "round_robin", "least_conn", "random", "ewma",
                                       "hash $client_ip" };
    char text[256];

    for (unsigned i = 0; i < 25; i++) {
        snprintf(text, sizeof text, "balance = %s\n" WEIGHTED, how[i * 7 % 5]);
        apply(text);
        for (unsigned k = 0; k < 20; k++) {
            if (held[i * 7 % 20 + k])
                give(held[i * 7 % 20 + k]);
            held[i * 7 % 20 + k] = pick_any(k % 2);
        }
    }
    for (unsigned i = 0; i < 40; i++)
        if (held[i])
            give(held[i]);
}
END_TEST

START_TEST(who_was_tried_is_not_picked)
{
    static const char *const how[] = { "round_robin", "least_conn", "random", "ewma",
                                       "hash $client_ip" };
    char text[256];

    for (unsigned i = 0; i < sizeof how / sizeof how[0]; i++) {
        struct up_request r = { .hash = 99, .has_hash = true };
        unsigned seen = 0;

        snprintf(text, sizeof text, "balance = %s\n" WEIGHTED, how[i]);
        apply(text);
        r.backend = backends[0];
        for (; r.ntried < 3; r.ntried++) {
            struct server *s = pick_for(0, &r);

            seen |= 1u << number_of(s);
            r.tried[r.ntried] = s->stick;
            give(s);
        }
        ck_assert_uint_eq(seen, 7);
        ck_assert_ptr_null(pick_for(0, &r));
        give(pick_any(0));
    }
}
END_TEST

/* Whatever memory they have, a request has been at servers of these names. */
START_TEST(who_was_tried_is_known_over_reloads)
{
    struct up_request r = { .ntried = 1 };

    apply("server = %0 name=s0\nserver = %1 name=s1\n");
    r.backend = backends[0];
    r.tried[0] = backends[0]->primary.members[0]->stick;
    apply("server = %1 name=s1\n");
    for (unsigned i = 0; i < 2; i++) {
        struct server *s = pick_for(0, &r);

        ck_assert_uint_eq(number_of(s), 1);
        give(s);
        apply("server = %0 name=s0\nserver = %1 name=s1\n");
    }
}
END_TEST

START_TEST(ewma_leaves_the_slow_alone)
{
    struct server *s;

    apply_many(4, "balance = ewma\n", "");
    memset(got, 0, sizeof got);
    for (unsigned i = 0; i < 4000; i++) {
        struct up_request r = { .backend = backends[0] };

        s = r.server = pick_any(0);
        got[number_of(s)]++;
        up_answered(&r, number_of(s) == 2 ? 500000 : 5000);
        loop.now_us += 1000;
        give(s);
    }
    ck_assert_uint_le(got[2], 40);
    for (unsigned i = 0; i < 4; i++)
        ck_assert(i == 2 || got[i] > 1000);
}
END_TEST

/* Nothing is known of s0, but it has as much to do as the others soon. */
START_TEST(ewma_forgets_what_a_later_clock_saw)
{
    apply("balance = ewma\nserver = %0 name=s0\nserver = %1 name=s1\n");
    server_timed(backends[0]->primary.members[1], 1000);
    server_failed(backends[0]->primary.members[0]);
    shared_of("s0")->ewma_at += 3600000000;
    shared_of("s1")->ewma_at += 3600000000;
    server_timed(backends[0]->primary.members[1], 1000);
    count_picks(got, 2, 1000);
    ck_assert_uint_gt(got[0], 0);
}
END_TEST

START_TEST(ewma_does_not_pile_on_the_unknown)
{
    apply_many(4, "balance = ewma\n", "");
    for (unsigned i = 1; i < 4; i++)
        server_timed(backends[0]->primary.members[i], 10000);
    for (unsigned i = 0; i < 100; i++)
        held[i] = pick_any(0);
    CK_NEAR(server_active(backends[0]->primary.members[0]), 36, 12);
    give_all(100);
}
END_TEST

START_TEST(a_failure_counts_as_slow)
{
    apply_many(2, "balance = ewma\n", "");
    for (unsigned i = 0; i < 2; i++)
        server_timed(backends[0]->primary.members[i], 10000);
    server_judge(backends[0]->primary.members[1], END_CONNECT_REFUSED, 0);
    count_picks(got, 2, 1000);
    ck_assert_uint_eq(got[1], 0);
    loop.now_us += 60000000; /* the other one's fades as well: by then they are alike */
    server_timed(backends[0]->primary.members[0], 10000);
    count_picks(got, 2, 1000);
    ck_assert_uint_gt(got[1], 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        round_robin_is_exact, random_shares_are_by_weight, random_evens_out_what_is_held,
        least_conn_is_exact_over_workers, least_conn_of_many_is_close,
        weights_change_at_run_time_with_every_algorithm,
        the_algorithm_may_change_with_requests_in_progress, who_was_tried_is_not_picked,
        who_was_tried_is_known_over_reloads, ewma_leaves_the_slow_alone,
        ewma_forgets_what_a_later_clock_saw,
        ewma_does_not_pile_on_the_unknown, a_failure_counts_as_slow,
    };

    return run_up_tests("up_choose", tests, sizeof tests / sizeof tests[0]);
}
