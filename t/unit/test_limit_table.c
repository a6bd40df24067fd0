/* A limit's table: its arithmetic, keys that come and leave, processes that share it and die. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/core/limit_table.h"
#include "t/unit/unit.h"

#define MS 1000000ull
#define SETS 128
#define PLACES 4096
#define PROCESSES 4
#define ASKS 200000u
#define NOW (1000000 * MS)

/* All of it shared, as the file is. */
struct memory {
    uint64_t head[64];
    struct limit_set sets[SETS];
    struct limit_totals totals;
    uint64_t journal[PROCESSES][sizeof(struct limit_journal) / sizeof(uint64_t) + PLACES];
    uint64_t allowed, clock_ns; /* of the hammering */
};

static struct memory *shared;
static struct limit_table table;

static struct limit_journal *journal_of(unsigned i)
{
    return (struct limit_journal *)(void *)shared->journal[i];
}

static void setup(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    table = (struct limit_table){
        .sets = shared->sets, .mask = SETS - 1, .seed = { 1, 2 }, .totals = &shared->totals,
        .journal = journal_of(0), .places = PLACES, .base = (unsigned char *)shared,
    };
}

static enum limit_verdict ask(const struct limit_rule *rule, const char *key, uint64_t now_ns,
                              struct limit_taken *taken)
{
    return limit_ask(&table, rule, slice_str(key), now_ns, taken);
}

static uint64_t holds_of(const struct limit_taken *t)
{
    return limit_holds(__atomic_load_n(&t->set->who[t->way], __ATOMIC_RELAXED));
}

START_TEST(test_rate)
{
    const struct limit_rule rule = { .interval_ns = 100 * MS, .burst = 3 };
    static const struct {
        uint64_t at_ms;
        enum limit_verdict verdict;
        uint32_t left;
        uint64_t wait_ms;
    } rows[] = {
        { 0, LIMIT_ALLOWED, 2, 100 },  { 0, LIMIT_ALLOWED, 1, 200 },
        { 0, LIMIT_ALLOWED, 0, 300 },  { 0, LIMIT_TOO_FAST, 0, 100 },
        { 99, LIMIT_TOO_FAST, 0, 1 },  { 100, LIMIT_ALLOWED, 0, 300 },
        { 100, LIMIT_TOO_FAST, 0, 100 },
        { 90, LIMIT_TOO_FAST, 0, 110 }, /* a worker whose clock is of a moment before */
        { 350, LIMIT_ALLOWED, 1, 150 }, { 350, LIMIT_ALLOWED, 0, 250 },
        { 350, LIMIT_TOO_FAST, 0, 50 }, { 10000, LIMIT_ALLOWED, 2, 100 },
        { 10000, LIMIT_ALLOWED, 1, 200 }, { 10000, LIMIT_ALLOWED, 0, 300 },
        { 10000, LIMIT_TOO_FAST, 0, 100 },
    };

    setup();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct limit_taken t;

        ck_assert_msg(ask(&rule, "k", NOW + rows[i].at_ms * MS, &t) == rows[i].verdict, "row %zu",
                      i);
        ck_assert_msg(t.wait_ns == rows[i].wait_ms * MS, "row %zu: %llu", i,
                      (unsigned long long)t.wait_ns);
        ck_assert_msg(rows[i].verdict != LIMIT_ALLOWED || t.left == rows[i].left, "row %zu", i);
    }
    ck_assert_uint_eq(shared->totals.used, 1);
}
END_TEST

/* A debt made by a rule that was slower is no more than a whole burst of the one that follows. */
START_TEST(test_another_rate)
{
    const struct limit_rule slow = { .interval_ns = 3600000 * MS, .burst = 5 };
    const struct limit_rule quick = { .interval_ns = 100 * MS, .burst = 2 };
    struct limit_taken t;

    setup();
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(ask(&slow, "k", NOW, &t), LIMIT_ALLOWED);
    ck_assert_int_eq(ask(&quick, "k", NOW, &t), LIMIT_TOO_FAST);
    ck_assert_uint_eq(t.wait_ns, 100 * MS);
    ck_assert_int_eq(ask(&quick, "k", NOW + 100 * MS, &t), LIMIT_ALLOWED);
    ck_assert_int_eq(ask(&quick, "k", NOW + 100 * MS, &t), LIMIT_TOO_FAST);
    ck_assert_int_eq(ask(&slow, "k", NOW + 200 * MS, &t), LIMIT_ALLOWED);
}
END_TEST

START_TEST(test_give_back)
{
    const struct limit_rule rule = { .interval_ns = 100 * MS, .burst = 2, .max_holds = 1 };
    struct limit_taken t, u;

    setup();
    for (unsigned i = 0; i < 10; i++) {
        ck_assert_int_eq(ask(&rule, "k", NOW, &t), LIMIT_ALLOWED);
        ck_assert_int_eq(ask(&rule, "k", NOW, &u), LIMIT_TOO_MANY);
        limit_give_back(&table, &u);
        limit_give_back(&table, &t);
        limit_release(&table, &t); /* nothing more */
    }
    ck_assert_int_eq(ask(&rule, "k", NOW, &t), LIMIT_ALLOWED);
    ck_assert_uint_eq(t.set->detail[t.way].allowed, 1);
    ck_assert_uint_eq(t.set->detail[t.way].limited, 10);
    ck_assert_uint_eq(holds_of(&t), 1);
    limit_release(&table, &t);
    limit_release(&table, &t);
    ck_assert_uint_eq(holds_of(&t), 0);
    ck_assert_int_eq(ask(&rule, "k", NOW, &u), LIMIT_ALLOWED);
    limit_release(&table, &u);
    ck_assert_int_eq(ask(&rule, "k", NOW, &u), LIMIT_TOO_FAST);
    ck_assert_msg(holds_of(&t) == 0, "what the rate refuses holds nothing");
}
END_TEST

START_TEST(test_text)
{
    const struct limit_rule rule = { .interval_ns = MS, .burst = 1 };
    struct limit_taken t;
    char key[200];

    setup();
    ask(&rule, "2001:0db8:85a3:0000:0000:8a2e:0370:7334", NOW, &t);
    ck_assert_str_eq(t.set->detail[t.way].text, "2001:0db8:85a3:0000:0000:8a2e:0370:7334");
    memset(key, 'x', sizeof key);
    key[sizeof key - 1] = '\0';
    ask(&rule, key, NOW, &t);
    ck_assert_int_eq(t.set->detail[t.way].text[LIMIT_KEY_MAX - 1], LIMIT_CUT);
    key[150] = 'y'; /* told apart by all of it */
    ck_assert_int_eq(ask(&rule, key, NOW, &t), LIMIT_ALLOWED);
    ck_assert(limit_forget(&table, slice_str(key)));
    ck_assert_int_eq(ask(&rule, key, NOW, &t), LIMIT_ALLOWED);
    ck_assert(!limit_forget(&table, SLICE("nobody")));
}
END_TEST

/* ---- more keys than there is room for ---- */

static void name(char text[32], unsigned i)
{
    (void)snprintf(text, 32, "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
}

START_TEST(test_the_idle_leave_first)
{
    const struct limit_rule rule = { .interval_ns = 100 * MS, .burst = 2 };
    unsigned ousted = 0;
    struct limit_taken t;
    char key[32];

    setup();
    /* One key counts on; a hundred times what there is room for pass by and become idle. */
    for (unsigned i = 0; i < SETS * LIMIT_WAYS * 100; i++) {
        uint64_t now = NOW + i * MS;

        if (i % 40 == 0)
            (void)ask(&rule, "busy", now, &t);
        name(key, i);
        ck_assert_int_eq(ask(&rule, key, now, &t), LIMIT_ALLOWED);
        ousted += t.has_ousted;
        if (i > 1000 && i % 40 == 1)
            ck_assert_int_eq(ask(&rule, "busy", now, &t), LIMIT_TOO_FAST);
    }
    ck_assert_uint_le(shared->totals.used, SETS * LIMIT_WAYS);
    ck_assert_uint_ge(shared->totals.used, SETS * LIMIT_WAYS * 9 / 10);
    ck_assert_msg(ousted == 0, "only some hundred count at a time: %u", ousted);
}
END_TEST

START_TEST(test_a_full_table)
{
    const struct limit_rule rule = { .interval_ns = 3600000 * MS, .burst = 1 };
    const struct limit_rule held = { .max_holds = 2 };
    unsigned uncounted = 0, ousted = 0;
    struct limit_taken t, last = { .set = NULL };
    char key[32];

    setup();
    for (unsigned i = 0; i < SETS * LIMIT_WAYS * 4; i++) {
        name(key, i);
        ck_assert_int_eq(ask(&rule, key, NOW + i, &t), LIMIT_ALLOWED);
        ousted += t.has_ousted;
    }
    ck_assert_msg(ousted > SETS * LIMIT_WAYS * 2, "the oldest make way");
    ck_assert_uint_le(shared->totals.used, SETS * LIMIT_WAYS);
    /* What is held never does. */
    for (unsigned i = 0; i < SETS * LIMIT_WAYS * 2; i++) {
        name(key, 1000000 + i);
        if (ask(&held, key, NOW, &t) == LIMIT_UNCOUNTED)
            uncounted++;
        else
            last = t;
    }
    ck_assert_uint_ge(uncounted, SETS * LIMIT_WAYS);
    ck_assert_msg(uncounted < SETS * LIMIT_WAYS * 5 / 4, "two sets each fill up well: %u",
                  uncounted);
    for (unsigned i = 0; i < 100; i++) {
        name(key, 5000000 + i);
        (void)ask(&rule, key, NOW, &t);
    }
    ck_assert_uint_eq(holds_of(&last), 1);
}
END_TEST

/* ---- processes ---- */

static void join(unsigned i)
{
    table.journal = journal_of(i);
}

static uint64_t undo(unsigned i)
{
    return limit_journal_undo(journal_of(i), PLACES, (unsigned char *)shared,
                              sizeof *shared);
}

/* Time goes on with the asking, so that it is as much on a machine that is busy. */
static _Noreturn void hammer(const struct limit_rule *rule)
{
    uint64_t allowed = 0;

    for (unsigned i = 0; i < ASKS; i++) {
        uint64_t now = NOW + __atomic_fetch_add(&shared->clock_ns, 1000, __ATOMIC_RELAXED);
        struct limit_taken t;

        allowed += ask(rule, "one", now, &t) == LIMIT_ALLOWED;
    }
    __atomic_fetch_add(&shared->allowed, allowed, __ATOMIC_RELAXED);
    _exit(0);
}

static void wait_all(const pid_t *pids)
{
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status;

        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_int_eq(status, 0);
    }
}

START_TEST(test_exact_over_processes)
{
    const struct limit_rule rule = { .interval_ns = 20000, .burst = 100 };
    const uint64_t want = rule.burst + PROCESSES * ASKS / 20;
    pid_t pids[PROCESSES];

    setup();
    for (unsigned i = 0; i < PROCESSES; i++)
        if ((pids[i] = fork()) == 0)
            hammer(&rule);
    wait_all(pids);
    ck_assert_msg(shared->allowed <= want + 1 && shared->allowed + want / 100 >= want,
                  "%llu of %llu", (unsigned long long)shared->allowed, (unsigned long long)want);
}
END_TEST

/* Holds and lets go of a few keys, and knows that no key ever has too many. */
static _Noreturn void churn(const struct limit_rule *rule, unsigned i, unsigned rounds)
{
    struct limit_taken held[8] = { { .set = NULL } };
    uint64_t random = i * 7919 + 1;

    join(i);
    for (unsigned n = 0; n < rounds; n++) {
        char key[32];
        unsigned at;

        random = random * 6364136223846793005ull + 1442695040888963407ull;
        at = random >> 60 & 7;
        limit_release(&table, &held[at]);
        name(key, random >> 40 & 1023);
        if (n % 3)
            snprintf(key, sizeof key, "hot");
        if (ask(rule, key, clock_mono_us() * 1000, &held[at]) == LIMIT_ALLOWED &&
            held[at].is_held && holds_of(&held[at]) > rule->max_holds)
            _exit(1);
    }
    for (unsigned n = 0; n < 8; n++)
        limit_release(&table, &held[n]);
    _exit(0);
}

static uint64_t all_holds(void)
{
    uint64_t n = 0;

    for (unsigned s = 0; s < SETS; s++)
        for (unsigned w = 0; w < LIMIT_WAYS; w++)
            n += limit_holds(shared->sets[s].who[w]);
    return n;
}

static unsigned twice(void)
{
    unsigned n = 0;

    for (unsigned s = 0; s < SETS; s++)
        for (unsigned a = 0; a < LIMIT_WAYS; a++)
            for (unsigned b = 0; b < a; b++)
                n += shared->sets[s].who[a] != 0 && shared->sets[s].who[a] >> LIMIT_HOLD_BITS ==
                                                        shared->sets[s].who[b] >> LIMIT_HOLD_BITS;
    return n;
}

START_TEST(test_holds_over_processes)
{
    const struct limit_rule rule = { .interval_ns = 1000, .burst = 1000, .max_holds = 3 };
    pid_t pids[PROCESSES];

    setup();
    for (unsigned i = 0; i < PROCESSES; i++)
        if ((pids[i] = fork()) == 0)
            churn(&rule, i, 60000);
    wait_all(pids);
    ck_assert_uint_eq(all_holds(), 0);
    ck_assert_uint_eq(twice(), 0);
}
END_TEST

START_TEST(test_killed_at_any_instant)
{
    const struct limit_rule rule = { .interval_ns = 1000, .burst = 1000, .max_holds = 3 };
    uint64_t random = 12345;

    setup();
    for (unsigned n = 0; n < 150; n++) {
        unsigned i = n % PROCESSES;
        pid_t pid = fork();
        int status;

        if (pid == 0)
            churn(&rule, i, UINT32_MAX);
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        while (__atomic_load_n(&journal_of(i)->high, __ATOMIC_RELAXED) == 0)
            ;
        for (unsigned spin = 0; spin < (random >> 44); spin++)
            __atomic_signal_fence(__ATOMIC_SEQ_CST);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_uint_le(undo(i), 9);
        ck_assert_uint_eq(journal_of(i)->high, 0);
        ck_assert_msg(all_holds() == 0, "after %u", n);
    }
    ck_assert_uint_eq(twice(), 0);
}
END_TEST

START_TEST(test_a_journal_of_nonsense)
{
    struct limit_journal *j;

    setup();
    j = journal_of(1);
    j->high = UINT64_MAX;
    for (unsigned i = 0; i < PLACES; i++)
        j->place[i] = (uint64_t)i * 0x123456789abcdull;
    (void)undo(1);
    ck_assert_uint_eq(j->high, 0);
}
END_TEST

START_TEST(test_a_full_journal)
{
    const struct limit_rule rule = { .max_holds = LIMIT_HOLDS_MAX };
    struct limit_taken t[PLACES + 10];

    setup();
    for (unsigned i = 0; i < PLACES + 10; i++)
        ck_assert_int_eq(ask(&rule, "k", NOW, &t[i]), LIMIT_ALLOWED);
    ck_assert_uint_eq(holds_of(&t[0]), PLACES + 10);
    for (unsigned i = 0; i < PLACES + 10; i++)
        limit_release(&table, &t[i]);
    ck_assert_uint_eq(holds_of(&t[0]), 0);
    for (unsigned i = 0; i < 100; i++)
        (void)ask(&rule, "k", NOW, &t[i]);
    ck_assert_msg(table.journal->high < PLACES, "places are used again");
    ck_assert_uint_eq(undo(0), 100);
    ck_assert_uint_eq(holds_of(&t[0]), 0);
}
END_TEST

UNIT_MAIN("limit_table", test_rate, test_another_rate, test_give_back, test_text,
          test_the_idle_leave_first, test_a_full_table, test_exact_over_processes,
          test_holds_over_processes, test_killed_at_any_instant, test_a_journal_of_nonsense,
          test_a_full_journal)
