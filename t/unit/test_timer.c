/* The timer wheel, under a clock of the test's own. */
#include "t/unit/unit.h"
#include "worker/io/timer.h"

#define TICK TIMER_TICK_US
#define MANY 10000

struct probe {
    struct timer timer;
    uint64_t due_us, fired_us; /* 0: not */
    unsigned fired;
};

/* The callbacks' world. */
static struct {
    struct timers timers;
    uint64_t now_us;
    struct probe probes[MANY];
    uint64_t seed;
} w;

static void fired(struct timer *t)
{
    struct probe *p = CONTAINER(t, struct probe, timer);

    ck_assert(!timer_is_set(t));
    p->fired++;
    p->fired_us = w.now_us;
}

static void start(uint64_t now_us)
{
    w.now_us = now_us;
    w.seed = 88172645463325252ULL;
    timers_init(&w.timers, now_us);
    for (size_t i = 0; i < MANY; i++) {
        w.probes[i] = (struct probe){ .fired = 0 };
        timer_init(&w.probes[i].timer, fired);
    }
}

static uint64_t rnd(uint64_t below)
{
    w.seed ^= w.seed << 13;
    w.seed ^= w.seed >> 7;
    w.seed ^= w.seed << 17;
    return w.seed % below;
}

static void set(struct probe *p, uint64_t delay_us)
{
    p->due_us = w.now_us + delay_us;
    timer_set(&w.timers, &p->timer, w.now_us, delay_us);
}

static void run_at(uint64_t now_us)
{
    w.now_us = now_us;
    timers_run(&w.timers, now_us);
}

/* As the loop does it: sleeps as long as the wheel says, until `end`. */
static void sleep_until(uint64_t end)
{
    while (w.now_us < end) {
        uint64_t wait = timers_wait_us(&w.timers, w.now_us);
        if (wait > end - w.now_us)
            wait = end - w.now_us;
        run_at(w.now_us + (wait ? wait : 1));
    }
}

START_TEST(test_fires_once_and_not_early)
{
    struct probe *p = &w.probes[0];

    start(1234567);
    set(p, 100000);
    run_at(1234567 + 99999);
    ck_assert_uint_eq(p->fired, 0);
    ck_assert(timer_is_set(&p->timer));
    run_at(1234567 + 100000 + 2 * TICK);
    ck_assert_uint_eq(p->fired, 1);
    ck_assert(!timer_is_set(&p->timer));
    sleep_until(w.now_us + 10000000);
    ck_assert_uint_eq(p->fired, 1);
    ck_assert_uint_eq(w.timers.armed, 0);
    ck_assert(timers_wait_us(&w.timers, w.now_us) == UINT64_MAX);
}
END_TEST

START_TEST(test_zero_and_endless_delays)
{
    start(5000000);
    set(&w.probes[0], 0);
    set(&w.probes[1], UINT64_MAX);
    ck_assert(timers_wait_us(&w.timers, w.now_us) <= TICK);
    run_at(w.now_us + TICK);
    ck_assert_uint_eq(w.probes[0].fired, 1);
    run_at(w.now_us + 1000ULL * 3600 * 1000000);
    ck_assert_uint_eq(w.probes[1].fired, 0);
    ck_assert(timer_is_set(&w.probes[1].timer));
}
END_TEST

/* One timer a delay around every border between levels, from every kind of tick. */
START_TEST(test_cascades_at_borders)
{
    static const uint64_t borders[] = { 1, 63, 64, 65, 4095, 4096, 4097, 262143, 262144, 262145,
                                        16777215, 16777216, 16777217, 40000000 };
    static const uint64_t starts[] = { 0, 1, 63, 64, 4095, 4096, 262143, 16777215, 99999999 };
    size_t n = sizeof borders / sizeof borders[0];

    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++) {
        start(starts[s] * TICK);
        for (size_t i = 0; i < n; i++)
            set(&w.probes[i], borders[i] * TICK);
        sleep_until(w.now_us + 40000001ULL * TICK);
        for (size_t i = 0; i < n; i++) {
            ck_assert_uint_eq(w.probes[i].fired, 1);
            ck_assert_uint_eq(w.probes[i].fired_us, w.probes[i].due_us);
        }
    }
}
END_TEST

/* Random timers set, moved and cleared while time goes on in random steps, against what a list of
 * due times says. */
START_TEST(test_random_against_model)
{
    static const uint64_t spans[] = { 20000, 1000000, 60000000, 4000000000ULL, 200000000000ULL };

    start(rnd(1) + 777777777);
    for (unsigned step = 0; step < 60000; step++) {
        struct probe *p = &w.probes[rnd(MANY)];
        if (rnd(4) == 0) {
            timer_clear(&w.timers, &p->timer);
            p->due_us = 0;
        } else {
            set(p, rnd(spans[rnd(5)]));
        }
        p->fired = 0;
        if (rnd(8) != 0)
            continue;
        run_at(w.now_us + rnd(spans[rnd(3)]) / 50);
        if (rnd(50) != 0)
            continue;
        for (size_t i = 0; i < MANY; i++) {
            p = &w.probes[i];
            bool is_armed = p->due_us && !p->fired;
            ck_assert(timer_is_set(&p->timer) == is_armed);
            if (is_armed)
                ck_assert(w.now_us < p->due_us + 2 * TICK);
        }
    }
    for (size_t i = 0; i < MANY; i++) {
        struct probe *p = &w.probes[i];
        ck_assert_uint_le(p->fired, 1);
        if (p->fired)
            ck_assert(p->fired_us >= p->due_us);
    }
}
END_TEST

START_TEST(test_10000_timers_in_time)
{
    start(42);
    for (size_t i = 0; i < MANY; i++)
        set(&w.probes[i], rnd(300000000));
    sleep_until(w.now_us + 301000000);
    for (size_t i = 0; i < MANY; i++) {
        struct probe *p = &w.probes[i];
        ck_assert_uint_eq(p->fired, 1);
        ck_assert(p->fired_us >= p->due_us && p->fired_us < p->due_us + 2 * TICK);
    }
}
END_TEST

START_TEST(test_move_to_later_only_stores)
{
    struct probe *p = &w.probes[0];

    start(1000000);
    set(p, 1000000);
    struct list *before = p->timer.node.prev;
    for (unsigned i = 0; i < 100; i++) {
        w.now_us += 500000;
        timers_run(&w.timers, w.now_us);
        set(p, 1000000);
        if (i == 0)
            ck_assert_ptr_eq(p->timer.node.prev, before);
        ck_assert_uint_eq(p->fired, 0);
    }
    ck_assert_uint_eq(w.timers.armed, 1);
    sleep_until(w.now_us + 2000000);
    ck_assert_uint_eq(p->fired, 1);
    ck_assert(p->fired_us >= p->due_us && p->fired_us < p->due_us + 2 * TICK);
}
END_TEST

/* Paused, it neither fires nor wakes anybody for long; set again, it fires when it should, be that
 * before or after the slot it was left in. */
START_TEST(test_paused_until_set_again)
{
    static const uint64_t delays[] = { 5 * TICK, 200 * TICK, 3 * TICK, 5000 * TICK, TICK };
    struct probe *p = &w.probes[0];

    start(1000000);
    for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
        set(p, 100 * TICK);
        timer_pause(&p->timer);
        ck_assert(!timer_is_set(&p->timer));
        p->fired = 0;
        set(p, delays[i]);
        while (!p->fired)
            run_at(w.now_us + TICK);
        ck_assert_uint_ge(p->fired_us, p->due_us);
        ck_assert_uint_le(p->fired_us, p->due_us + 2 * TICK);
    }
    set(p, 100 * TICK);
    timer_pause(&p->timer);
    p->fired = 0;
    run_at(w.now_us + 10000 * TICK);
    ck_assert_uint_eq(p->fired, 0);
    ck_assert_uint_eq(w.timers.armed, 0);
    ck_assert_uint_eq(timers_wait_us(&w.timers, w.now_us), UINT64_MAX);
    set(p, 100 * TICK);
    timer_pause(&p->timer);
    timer_clear(&w.timers, &p->timer);
    ck_assert_uint_eq(w.timers.armed, 0);
}
END_TEST

START_TEST(test_move_to_sooner)
{
    struct probe *p = &w.probes[0];

    start(1000000);
    set(p, 60000000);
    set(p, 90000000);
    set(p, 100000);
    sleep_until(w.now_us + 100000 + 2 * TICK);
    ck_assert_uint_eq(p->fired, 1);
    sleep_until(w.now_us + 100000000);
    ck_assert_uint_eq(p->fired, 1);
}
END_TEST

/* The wheel stood still while the loop slept: what is set then must not be early or late. */
START_TEST(test_set_after_long_sleep)
{
    struct probe *p = &w.probes[0];

    start(1000000);
    w.now_us += 7777777777ULL;
    set(p, 50000);
    sleep_until(w.now_us + 1000000);
    ck_assert_uint_eq(p->fired, 1);
    ck_assert(p->fired_us >= p->due_us && p->fired_us < p->due_us + 2 * TICK);
}
END_TEST

static void clears_all(struct timer *t)
{
    fired(t);
    for (size_t i = 0; i < 100; i++)
        timer_clear(&w.timers, &w.probes[i].timer);
}

START_TEST(test_callback_clears_others)
{
    unsigned count = 0;

    start(1000000);
    for (size_t i = 0; i < 100; i++) {
        timer_init(&w.probes[i].timer, clears_all);
        set(&w.probes[i], 10000);
    }
    run_at(2000000);
    for (size_t i = 0; i < 100; i++)
        count += w.probes[i].fired;
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(w.timers.armed, 0);
}
END_TEST

static void sets_itself(struct timer *t)
{
    fired(t);
    timer_set(&w.timers, t, w.now_us, 0);
}

START_TEST(test_callback_sets_itself)
{
    start(1000000);
    timer_init(&w.probes[0].timer, sets_itself);
    set(&w.probes[0], 0);
    for (unsigned i = 1; i <= 10; i++) {
        run_at(w.now_us + 2 * TICK);
        ck_assert_uint_ge(w.probes[0].fired, i);
        ck_assert_uint_le(w.probes[0].fired, 2 * i);
    }
}
END_TEST

UNIT_MAIN("timer", test_fires_once_and_not_early, test_zero_and_endless_delays,
          test_cascades_at_borders, test_random_against_model, test_10000_timers_in_time,
          test_move_to_later_only_stores, test_move_to_sooner, test_paused_until_set_again,
          test_set_after_long_sleep, test_callback_clears_others, test_callback_sets_itself)
