/* A hundred servers in virtual time, some of them slow or failing, and two workers that choose: who
 * waits how long, and that no server ever has more than its max_conns. */
#include <string.h>
#include "t/unit/up_pick.h"

#define N 100
#define BAD 5
#define REQUESTS 40000
#define GAP_US 100                /* 10,000 requests a second */
#define FAST_US 5000
#define SLOW_US 500000
#define IN_FLIGHT 4096
#define MAX_CONNS 30

struct flight_of {
    uint64_t ends_us;
    struct server *server;
    uint64_t latency_us;
    bool failed;
};

/* A heap by ends_us. */
static struct flight_of heap[IN_FLIGHT];
static size_t in_flight;
static uint64_t latencies[REQUESTS];
static uint64_t seed;

static unsigned dice(unsigned n)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((seed >> 33) % n);
}

static void push(struct flight_of f)
{
    size_t i = in_flight++;

    ck_assert_uint_lt(in_flight, IN_FLIGHT);
    for (; i > 0 && heap[(i - 1) / 2].ends_us > f.ends_us; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = f;
}

static struct flight_of pop(void)
{
    struct flight_of top = heap[0], last = heap[--in_flight];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < in_flight) {
        if (child + 1 < in_flight && heap[child + 1].ends_us < heap[child].ends_us)
            child++;
        if (last.ends_us <= heap[child].ends_us)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return top;
}

/* Ends what ends until then. */
static void pass(uint64_t until_us)
{
    while (in_flight > 0 && heap[0].ends_us <= until_us) {
        struct flight_of f = pop();
        struct up_request r = { .backend = f.server->backend, .server = f.server };

        loop.now_us = f.ends_us;
        if (!f.failed)
            up_answered(&r, f.latency_us);
        server_judge(f.server, f.failed ? END_SERVER_RESET : END_OK, f.failed ? 0 : 200);
        give(f.server);
    }
    loop.now_us = until_us;
}

/* More for each that is there already; a failing one is quick with it, but its client is not:
 * it has to ask again. */
static struct flight_of serve(struct server *s, bool may_fail)
{
    uint64_t us = FAST_US / 2 + dice(FAST_US) + 200 * server_active(s);
    bool is_bad = number_of(s) < BAD, failed = is_bad && may_fail && number_of(s) % 2 == 0;

    if (is_bad && !failed)
        us += SLOW_US;
    return (struct flight_of){ loop.now_us + (failed ? 500 : us), s, failed ? SLOW_US : us,
                               failed };
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* p99 of the clients' waits in microseconds. Who finds every server full is not counted. */
static uint64_t simulate(const char *settings, bool may_fail)
{
    size_t n = 0;

    seed = 1;
    apply_many(N, settings, "max_conns=30");
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct up_request r = { .backend = backends[i % WORKERS], .hash = dice(1 << 30),
                                .has_hash = true };
        struct flight_of f;
        struct server *s;

        pass(loop.now_us + 2 * dice(GAP_US));
        s = pick_for(i % WORKERS, &r);
        if (!s)
            continue;
        ck_assert_uint_le(server_active(s), MAX_CONNS);
        f = serve(s, may_fail);
        push(f);
        if (i >= REQUESTS / 10) /* until then they learn */
            latencies[n++] = f.latency_us;
    }
    pass(loop.now_us + 100ull * SLOW_US);
    ck_assert_uint_eq(in_flight, 0);
    ck_assert_uint_gt(n, REQUESTS * 8 / 10);
    qsort(latencies, n, sizeof latencies[0], by_value);
    return latencies[n * 99 / 100];
}

START_TEST(ewma_halves_the_p99_of_slow_servers)
{
    uint64_t turns = simulate("eject_after = 0\n", false);
    uint64_t ewma = simulate("balance = ewma\neject_after = 0\n", false);

    ck_assert_uint_ge(turns, SLOW_US);
    ck_assert_uint_le(ewma * 2, turns);
    ck_assert_uint_le(ewma, 4 * FAST_US);
}
END_TEST

START_TEST(ewma_halves_the_p99_of_failing_servers)
{
    uint64_t turns = simulate("eject_after = 0\n", true);
    uint64_t ewma = simulate("balance = ewma\neject_after = 0\n", true);

    ck_assert_uint_ge(turns, SLOW_US);
    ck_assert_uint_le(ewma * 2, turns);
}
END_TEST

/* Those that fail are ejected, whatever the algorithm. */
START_TEST(ejection_helps_every_algorithm)
{
    static const char *const how[] = { "round_robin", "least_conn", "random", "ewma",
                                       "hash $client_ip" };
    char text[128];

    for (unsigned i = 0; i < sizeof how / sizeof how[0]; i++) {
        snprintf(text, sizeof text, "balance = %s\n", how[i]);
        simulate(text, true);
        for (unsigned k = 0; k < N; k++) {
            const struct server *s = backends[0]->primary.members[k];
            bool fails = k < BAD && k % 2 == 0;

            ck_assert(fails == (stat_get(&s->shared->ejections) > 0));
        }
    }
}
END_TEST

/* Slow ones fill up, and the limit holds in both workers, while weights and states change. */
START_TEST(max_conns_hold_whatever_changes)
{
    static const char *const how[] = { "round_robin", "least_conn", "random", "ewma",
                                       "hash $client_ip" };
    char text[128];

    for (unsigned i = 0; i < sizeof how / sizeof how[0]; i++) {
        snprintf(text, sizeof text, "balance = %s\nslow_start = 1s\npanic = 20%%\n", how[i]);
        apply_many(20, text, "max_conns=30");
        for (unsigned k = 0; k < 10000; k++) {
            struct up_request r = { .backend = backends[k % WORKERS], .hash = dice(50),
                                    .has_hash = true };
            struct server *s;

            pass(loop.now_us + dice(1000));
            if (dice(50) == 0) {
                s = backends[0]->primary.members[dice(20)];
                operator_sets(dice(2) ? &s->shared->weight : &s->shared->admin, dice(3));
            }
            s = pick_for(k % WORKERS, &r);
            if (!s)
                continue;
            ck_assert_uint_le(server_active(s), MAX_CONNS);
            push((struct flight_of){ loop.now_us + dice(600000), s, 1000, dice(40) == 0 });
        }
        pass(loop.now_us + 1000000);
        for (unsigned k = 0; k < 20; k++) {
            ck_assert_uint_eq(server_active(backends[0]->primary.members[k]), 0);
            operator_sets(&backends[0]->primary.members[k]->shared->admin, ADMIN_READY);
        }
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        ewma_halves_the_p99_of_slow_servers, ewma_halves_the_p99_of_failing_servers,
        ejection_helps_every_algorithm, max_conns_hold_whatever_changes,
    };

    return run_up_tests("balance_sim", tests, sizeof tests / sizeof tests[0]);
}
