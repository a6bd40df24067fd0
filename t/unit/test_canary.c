/* What the configuration makes of canaries: when one begins, goes on, or begins anew, and what is
 * remembered of its changes. */
#include "master/canary.h"

#include <stdio.h>
#include "t/unit/conf_fixture.h"

static struct conf_fixture cf;
static struct segment *seg;

static void begin(void)
{
    fixture_begin(&cf);
    seg = segment_create("stats");
    ck_assert_ptr_nonnull(seg);
    segment_use_slots(seg, 2);
}

static void end(void)
{
    segment_close(&seg);
    fixture_end(&cf);
}

/* Takes a configuration with these lines of its canary. */
static const struct stats_canary_shared *configure(const char *lines, bool was_there)
{
    char text[1024];

    snprintf(text, sizeof text, "[listener l]\nbind = 127.0.0.1:1\n[route r]\ncanary = c\n"
             "[backend old]\nserver = 127.0.0.1:2\n[backend new]\nserver = 127.0.0.1:3\n"
             "[canary c]\nstable = old\ncanary = new\n%s\n", lines);
    fixture_good(&cf, text);
    ck_assert(canary_add(seg, &cf.conf->canaries[0], &cf.report));
    canary_configure(seg, &cf.conf->canaries[0], was_there);
    return STATS_SHARED(seg, canary, "c");
}

static void change(enum canary_event event, enum canary_state state, uint64_t weight)
{
    canary_change(seg, &cf.conf->canaries[0],
                  &(struct canary_change){ .event = event, .state = state, .weight = weight,
                                           .reason = SLICE("why") });
}

static const struct stats_canary_change_shared *remembered(unsigned number)
{
    char name[16];

    snprintf(name, sizeof name, "c/%u", number % CANARY_HISTORY);
    return STATS_SHARED(seg, canary_change, name);
}

START_TEST(test_it_begins_at_the_first_step)
{
    const struct stats_canary_shared *s = configure("steps = 10%, 50%", false);

    ck_assert_uint_eq(s->state, CANARY_RUNNING);
    ck_assert_uint_eq(s->weight, 1000);
    ck_assert_uint_eq(s->step, 1);
    ck_assert_str_eq(s->steps, "10%, 50%");
    ck_assert_str_eq(s->stable_backend, "old");
    ck_assert_str_eq(s->canary_backend, "new");
    ck_assert_uint_eq(s->changes, 1);
    ck_assert_uint_eq(s->begun, 1);
    ck_assert_uint_gt(s->since, 0);
    ck_assert_uint_eq(remembered(1)->event, CANARY_START);
}
END_TEST

START_TEST(test_it_waits_for_a_manual_start)
{
    const struct stats_canary_shared *s = configure("start = manual", false);

    ck_assert_uint_eq(s->state, CANARY_WAITING);
    ck_assert_uint_eq(s->weight, 0);
    ck_assert_uint_eq(s->step, 0);
}
END_TEST

START_TEST(test_the_same_plan_goes_on)
{
    const struct stats_canary_shared *s = configure("", false);

    change(CANARY_STEP, CANARY_RUNNING, 2500);
    (void)configure("step_time = 7s\nmin_requests = 9\nstart = manual", true);
    ck_assert_uint_eq(s->weight, 2500);
    ck_assert_uint_eq(s->step, 2);
    ck_assert_uint_eq(s->changes, 2);
    ck_assert_uint_eq(s->step_time, 7000000);
    ck_assert_uint_eq(s->min_requests, 9);
}
END_TEST

START_TEST(test_another_plan_or_another_canary_begins_anew)
{
    const struct stats_canary_shared *s = configure("", false);

    change(CANARY_PROMOTE, CANARY_PROMOTED, CANARY_WHOLE);
    (void)configure("steps = 1%, 100%", true);
    ck_assert_uint_eq(s->weight, 100);
    ck_assert_uint_eq(s->changes, 3);
    ck_assert_uint_eq(s->begun, 3);
    change(CANARY_PROMOTE, CANARY_PROMOTED, CANARY_WHOLE);
    (void)configure("steps = 1%, 100%", false);
    ck_assert_uint_eq(s->state, CANARY_RUNNING);
    ck_assert_uint_eq(s->weight, 100);
}
END_TEST

START_TEST(test_the_last_changes_are_remembered)
{
    (void)configure("", false);
    for (unsigned i = 2; i <= 20; i++)
        change(CANARY_WEIGHT, CANARY_PAUSED, i);
    for (unsigned i = 13; i <= 20; i++) {
        ck_assert_uint_eq(remembered(i)->number, i);
        ck_assert_uint_eq(remembered(i)->weight, i);
        ck_assert_str_eq(remembered(i)->reason, "why");
    }
}
END_TEST

START_TEST(test_a_change_ends_what_is_counted)
{
    struct stats_canary_side_shared *side;

    (void)configure("", false);
    side = STATS_SHARED(seg, canary_side, "c/canary");
    STATS_SLOT(seg, canary_side, "c/canary", 0)->requests_total = 30;
    STATS_SLOT(seg, canary_side, "c/canary", 1)->requests_total = 12;
    STATS_SLOT(seg, canary_side, "c/canary", 1)->errors_total = 5;
    change(CANARY_STEP, CANARY_RUNNING, 2500);
    ck_assert_uint_eq(remembered(2)->canary_requests, 42);
    ck_assert_uint_eq(remembered(2)->canary_errors, 5);
    ck_assert_uint_eq(side->base_requests, 42);
    ck_assert_uint_eq(side->run_requests, 0);
    change(CANARY_START, CANARY_RUNNING, 500);
    ck_assert_uint_eq(remembered(3)->canary_requests, 0);
    ck_assert_uint_eq(side->run_requests, 42);
    ck_assert_uint_eq(side->run_errors, 5);
}
END_TEST

START_TEST(test_the_next_step_is_the_first_above)
{
    const struct conf_canary *c;

    (void)configure("steps = 10%, 50%", false);
    c = &cf.conf->canaries[0];
    ck_assert_uint_eq(canary_next_step(c, 0), 1000);
    ck_assert_uint_eq(canary_next_step(c, 1000), 5000);
    ck_assert_uint_eq(canary_next_step(c, 3333), 5000);
    ck_assert_uint_eq(canary_next_step(c, 5000), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("canary");
    TCase *tcase = tcase_create("canary");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_test(tcase, test_it_begins_at_the_first_step);
    tcase_add_test(tcase, test_it_waits_for_a_manual_start);
    tcase_add_test(tcase, test_the_same_plan_goes_on);
    tcase_add_test(tcase, test_another_plan_or_another_canary_begins_anew);
    tcase_add_test(tcase, test_the_last_changes_are_remembered);
    tcase_add_test(tcase, test_a_change_ends_what_is_counted);
    tcase_add_test(tcase, test_the_next_step_is_the_first_above);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
