/* Requests that belong to a server: by hash, by cookie, by their source. */
#include <string.h>
#include "t/unit/up_pick.h"

#define KEYS 3000
#define HELD 400

static struct server *held[HELD];
static unsigned owner[KEYS];

static uint64_t key(unsigned i)
{
    return ring_hash(&i, sizeof i);
}

static unsigned owner_of(unsigned worker, unsigned i)
{
    struct server *s = pick_hash(worker, key(i));
    unsigned n = number_of(s);

    give(s);
    return n;
}

static void note_owners(void)
{
    for (unsigned i = 0; i < KEYS; i++)
        owner[i] = owner_of(0, i);
}

START_TEST(a_key_has_the_same_server_everywhere)
{
    apply_many(10, "balance = hash $client_ip\n", "");
    note_owners();
    for (unsigned i = 0; i < KEYS; i++)
        ck_assert_uint_eq(owner_of(1, i), owner[i]);
    apply_again();
    for (unsigned i = 0; i < KEYS; i++)
        ck_assert_uint_eq(owner_of(0, i), owner[i]);
}
END_TEST

START_TEST(only_keys_of_a_server_that_is_out_move_and_come_back)
{
    unsigned moved = 0;

    apply_many(10, "balance = hash $client_ip\n", "");
    note_owners();
    operator_sets(&shared_of("s3")->state, SERVER_DOWN);
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned now = owner_of(0, i);

        ck_assert_uint_ne(now, 3);
        ck_assert(owner[i] == 3 || now == owner[i]);
        moved += now != owner[i];
    }
    ck_assert_uint_gt(moved, 0);
    ck_assert_uint_le(moved, KEYS / 10 * 14 / 10);
    operator_sets(&shared_of("s3")->state, SERVER_UP);
    operator_sets(&shared_of("s4")->weight, 0);
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned now = owner_of(0, i);

        ck_assert(owner[i] == 4 ? now != 4 : now == owner[i]);
    }
    operator_sets(&shared_of("s4")->weight, 1);
    for (unsigned i = 0; i < KEYS; i++)
        ck_assert_uint_eq(owner_of(0, i), owner[i]);
}
END_TEST

/* One key that everybody asks for: nobody gets more than a quarter over the mean. */
START_TEST(load_is_bounded)
{
    apply_many(10, "balance = hash $client_ip\n", "");
    for (unsigned i = 0; i < HELD; i++) {
        stat_inc(&STATS_SLOT(seg, backend, "b", i % 2)->active);
        held[i] = pick_hash(i % 2, key(1));
        ck_assert_uint_le(server_active(held[i]), (i + 1) * 125 / 1000 + 1);
    }
    for (unsigned i = 0; i < HELD; i++) {
        stat_dec(&STATS_SLOT(seg, backend, "b", i % 2)->active);
        give(held[i]);
    }
}
END_TEST

START_TEST(without_a_key_it_is_random)
{
    unsigned got[4];

    apply_many(4, "balance = hash $client_ip\n", "");
    count_picks(got, 4, 4000);
    for (unsigned i = 0; i < 4; i++)
        ck_assert(got[i] > 800 && got[i] < 1200);
}
END_TEST

START_TEST(backups_have_keys_when_all_others_are_out)
{
    apply("balance = hash $uri\nserver = 127.0.0.1:1 name=s0\n"
          "server = 127.0.0.1:2 name=s1 backup\nserver = 127.0.0.1:3 name=s2 backup\n");
    ck_assert_uint_eq(owner_of(0, 1), 0);
    operator_sets(&shared_of("s0")->admin, ADMIN_DRAIN);
    for (unsigned i = 0; i < 100; i++) {
        ck_assert_uint_ne(owner_of(0, i), 0);
        ck_assert_uint_eq(owner_of(0, i), owner_of(1, i));
    }
}
END_TEST

/* ---- sticky ---- */

/* The server that a client with this cookie gets; *cookie: as it is afterwards. */
static unsigned ask_with(uint64_t *cookie, unsigned worker)
{
    struct up_request r = { .backend = backends[worker], .stick = *cookie };
    uint64_t set;
    unsigned n;

    r.server = pick_for(worker, &r);
    n = number_of(r.server);
    set = up_stick(&r);
    if (set)
        *cookie = set;
    give(r.server);
    return n;
}

START_TEST(a_cookie_keeps_its_server)
{
    uint64_t cookie[40] = { 0 }, before;
    unsigned home[40];

    apply_many(4, "sticky = cookie id\n", "");
    for (unsigned i = 0; i < 40; i++) {
        home[i] = ask_with(&cookie[i], 0);
        ck_assert_uint_ne(cookie[i], 0);
        before = cookie[i];
        ck_assert_uint_eq(ask_with(&cookie[i], 1), home[i]);
        ck_assert_uint_eq(cookie[i], before);
    }
    operator_sets(&shared_of("s1")->admin, ADMIN_DRAIN);
    operator_sets(&shared_of("s2")->weight, 0);
    for (unsigned i = 0; i < 40; i++)
        ck_assert_uint_eq(ask_with(&cookie[i], 0), home[i]);
    for (unsigned i = 0; i < 40; i++)
        ck_assert(ask_with(&(uint64_t){ 0 }, 0) % 3 == 0); /* new ones go elsewhere */
    operator_sets(&shared_of("s1")->admin, ADMIN_DOWN);
    for (unsigned i = 0; i < 40; i++) {
        unsigned now = ask_with(&cookie[i], 0);

        ck_assert(home[i] == 1 ? now == 0 || now == 3 : now == home[i]);
        ck_assert_uint_eq(ask_with(&cookie[i], 1), now);
    }
}
END_TEST

START_TEST(a_cookie_of_a_server_that_is_gone_is_replaced)
{
    uint64_t cookie = 12345;
    unsigned n;

    apply_many(4, "sticky = cookie id\nbalance = ewma\n", "");
    n = ask_with(&cookie, 0);
    ck_assert_uint_ne(cookie, 12345);
    ck_assert_uint_eq(ask_with(&cookie, 0), n);
    apply(n == 1 ? "sticky = cookie id\nserver = 127.0.0.1:3 name=s2\n"
                 : "sticky = cookie id\nserver = 127.0.0.1:2 name=s1\n");
    ck_assert_uint_eq(ask_with(&cookie, 0), n == 1 ? 2 : 1);
}
END_TEST

START_TEST(a_full_server_keeps_its_clients_but_for_this_once)
{
    uint64_t cookie = 0, before;
    unsigned n;
    struct server *busy;

    apply_many(2, "sticky = cookie id\n", "max_conns=1");
    n = ask_with(&cookie, 0);
    before = cookie;
    busy = pick_for(1, &(struct up_request){ .backend = backends[1], .stick = cookie });
    ck_assert_uint_eq(number_of(busy), n);
    ck_assert_uint_eq(ask_with(&cookie, 0), 1 - n);
    ck_assert_uint_eq(cookie, before);
    give(busy);
    ck_assert_uint_eq(ask_with(&cookie, 0), n);
}
END_TEST

/* It has failed this client: who tried elsewhere stays there. */
START_TEST(a_retry_moves_the_cookie)
{
    struct up_request r = { .backend = NULL };
    uint64_t cookie = 0;
    unsigned n;

    apply_many(2, "sticky = cookie id\n", "");
    n = ask_with(&cookie, 0);
    r.backend = backends[0];
    r.stick = cookie;
    r.tried[r.ntried++] = backends[0]->primary.members[n]->stick;
    r.server = pick_for(0, &r);
    ck_assert_uint_eq(number_of(r.server), 1 - n);
    ck_assert_uint_eq(up_stick(&r), r.server->stick);
    give(r.server);
}
END_TEST

static unsigned ask_from(unsigned client, unsigned worker)
{
    struct server *s = pick_for(worker, &(struct up_request){ .backend = backends[worker],
                                                              .stick = key(client) });
    unsigned n = number_of(s);

    give(s);
    return n;
}

START_TEST(a_source_keeps_its_server)
{
    unsigned got[5] = { 0 };

    apply_many(5, "sticky = source\nbalance = least_conn\n", "");
    for (unsigned i = 0; i < KEYS; i++)
        got[owner[i] = ask_from(i, 0)]++;
    for (unsigned i = 0; i < 5; i++)
        ck_assert_uint_gt(got[i], KEYS / 10);
    operator_sets(&shared_of("s2")->state, SERVER_DOWN);
    for (unsigned i = 0; i < KEYS; i++) {
        unsigned now = ask_from(i, 1);

        ck_assert(owner[i] == 2 ? now != 2 : now == owner[i]);
    }
    operator_sets(&shared_of("s2")->state, SERVER_UP);
    for (unsigned i = 0; i < HELD; i++) { /* whatever it has to do */
        held[i] = pick_for(0, &(struct up_request){ .backend = backends[0], .stick = key(7) });
        ck_assert_uint_eq(number_of(held[i]), owner[7]);
    }
    for (unsigned i = 0; i < HELD; i++)
        give(held[i]);
}
END_TEST

START_TEST(a_source_has_its_backup_too)
{
    unsigned first;

    apply("sticky = source\nserver = 127.0.0.1:1 name=s0 max_conns=1\n"
          "server = 127.0.0.1:2 name=s1 backup\nserver = 127.0.0.1:3 name=s2 backup\n");
    ck_assert_uint_eq(ask_from(1, 0), 0);
    operator_sets(&shared_of("s0")->state, SERVER_DOWN);
    first = ask_from(1, 0);
    ck_assert_uint_ne(first, 0);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_eq(ask_from(1, i % 2), first);
    operator_sets(&shared_of("s0")->state, SERVER_UP);
    held[0] = pick_any(0);
    ck_assert_uint_eq(number_of(held[0]), 0);
    /* Full is not out. */
    ck_assert_ptr_null(pick_for(0, &(struct up_request){ .backend = backends[0],
                                                         .stick = key(1) }));
    give(held[0]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_key_has_the_same_server_everywhere,
        only_keys_of_a_server_that_is_out_move_and_come_back, load_is_bounded,
        without_a_key_it_is_random, backups_have_keys_when_all_others_are_out,
        a_cookie_keeps_its_server, a_cookie_of_a_server_that_is_gone_is_replaced,
        a_full_server_keeps_its_clients_but_for_this_once, a_retry_moves_the_cookie,
        a_source_keeps_its_server, a_source_has_its_backup_too,
    };

    return run_up_tests("up_affinity", tests, sizeof tests / sizeof tests[0]);
}
