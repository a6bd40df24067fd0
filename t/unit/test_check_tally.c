/* What results in a row make of a server, and when the next check is due. */
#include "helper/check_tally.h"
#include "t/unit/unit.h"

static const struct check_rules rules = { .rise = 2, .fall = 3, .interval_us = 2000000 };

static enum check_turn one(struct check_tally *t, bool is_good, enum server_state state)
{
    return check_tally_count(t, &rules, is_good, state, true);
}

START_TEST(test_the_first_result_decides)
{
    struct check_tally t = { 0, 0 };

    ck_assert_int_eq(one(&t, true, SERVER_UNCHECKED), CHECK_TURNS_UP);
    t = (struct check_tally){ 0, 0 };
    ck_assert_int_eq(one(&t, false, SERVER_UNCHECKED), CHECK_TURNS_DOWN);
}
END_TEST

START_TEST(test_fall_in_a_row)
{
    for (int starting = 0; starting < 2; starting++) {
        enum server_state state = starting ? SERVER_STARTING : SERVER_UP;
        struct check_tally t = { 0, 0 };

        ck_assert_int_eq(one(&t, false, state), CHECK_STAYS);
        ck_assert_int_eq(one(&t, false, state), CHECK_STAYS);
        ck_assert_int_eq(one(&t, true, state), CHECK_STAYS); /* the row is broken */
        ck_assert_int_eq(one(&t, false, state), CHECK_STAYS);
        ck_assert_int_eq(one(&t, false, state), CHECK_STAYS);
        ck_assert_int_eq(one(&t, false, state), CHECK_TURNS_DOWN);
    }
}
END_TEST

START_TEST(test_rise_in_a_row)
{
    struct check_tally t = { 0, 0 };

    ck_assert_int_eq(one(&t, true, SERVER_DOWN), CHECK_STAYS);
    ck_assert_int_eq(one(&t, false, SERVER_DOWN), CHECK_STAYS);
    ck_assert_int_eq(one(&t, true, SERVER_DOWN), CHECK_STAYS);
    ck_assert_int_eq(one(&t, true, SERVER_DOWN), CHECK_TURNS_UP);
}
END_TEST

START_TEST(test_an_ejected_one_returns_in_its_time)
{
    struct check_tally t = { 0, 0 };

    for (int i = 0; i < 9; i++)
        ck_assert_int_eq(check_tally_count(&t, &rules, true, SERVER_EJECTED, false),
                         CHECK_STAYS);
    ck_assert_int_eq(one(&t, true, SERVER_EJECTED), CHECK_TURNS_UP);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(one(&t, false, SERVER_EJECTED), CHECK_STAYS);
    ck_assert_int_eq(one(&t, false, SERVER_EJECTED), CHECK_TURNS_DOWN);
}
END_TEST

START_TEST(test_what_changes_is_checked_more_often)
{
    const struct check_tally good = { 1, 0 }, bad = { 0, 1 };

    ck_assert(check_tally_is_changing(&bad, SERVER_UP));
    ck_assert(check_tally_is_changing(&bad, SERVER_STARTING));
    ck_assert(check_tally_is_changing(&good, SERVER_DOWN));
    ck_assert(!check_tally_is_changing(&good, SERVER_UP));
    ck_assert(!check_tally_is_changing(&bad, SERVER_DOWN));
    ck_assert(!check_tally_is_changing(&good, SERVER_EJECTED));
    ck_assert(!check_tally_is_changing(&good, SERVER_UNCHECKED));
}
END_TEST

START_TEST(test_interval_is_kept_but_for_a_tenth)
{
    uint64_t least = UINT64_MAX, most = 0;

    for (uint64_t draw = 0; draw < 1000000; draw += 7) {
        uint64_t us = check_delay_us(1000000, 0, draw * 2654435761u);

        least = us < least ? us : least;
        most = us > most ? us : most;
    }
    ck_assert_uint_ge(least, 900000);
    ck_assert_uint_le(least, 901000);
    ck_assert_uint_le(most, 1100000);
    ck_assert_uint_ge(most, 1099000);
    /* From begin to begin, and time to breathe for one that took longer. */
    ck_assert_uint_eq(check_delay_us(1000000, 300000, 100000), 700000);
    ck_assert_uint_eq(check_delay_us(1000000, 5000000, 100000), 250000);
    ck_assert_uint_eq(check_delay_us(0, 0, 5), 0);
}
END_TEST

UNIT_MAIN("check_tally", test_the_first_result_decides, test_fall_in_a_row, test_rise_in_a_row,
          test_an_ejected_one_returns_in_its_time, test_what_changes_is_checked_more_often,
          test_interval_is_kept_but_for_a_tenth)
