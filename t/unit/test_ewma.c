/* The peak-sensitive mean: up at once, down slowly, however often it is told. */
#include "t/unit/unit.h"
#include "worker/up/ewma.h"

START_TEST(a_peak_takes_over)
{
    uint64_t ewma = 0;

    ck_assert(ewma_add(&ewma, 0, 5000));
    ck_assert_uint_eq(ewma, 5000);
    ck_assert(ewma_add(&ewma, 1000, 900000));
    ck_assert_uint_eq(ewma, 900000);
    ck_assert(ewma_add(&ewma, EWMA_TIME_US, 0));
    ck_assert_uint_ge(ewma, 900000 * 35 / 100); /* 1/e of it, and the new one's part */
    ck_assert_uint_le(ewma, 900000 * 38 / 100);
}
END_TEST

/* A request each 10 us or each second: the same fall in the same time. */
START_TEST(its_fall_is_a_matter_of_time)
{
    static const uint64_t steps[] = { 10, 1000, 1000000 };

    for (unsigned i = 0; i < 3; i++) {
        uint64_t ewma = 100000, at = 0;

        for (uint64_t now = 0; now <= EWMA_TIME_US; now += steps[i])
            if (ewma_add(&ewma, now - at, 1000))
                at = now;
        ck_assert_uint_ge(ewma, 35000);
        ck_assert_uint_le(ewma, 40000);
    }
}
END_TEST

START_TEST(time_alone_draws_it_down)
{
    ck_assert_uint_eq(ewma_now(0, 5), 0);
    ck_assert_uint_eq(ewma_now(1000, 0), 1000);
    ck_assert_uint_ge(ewma_now(1000000, EWMA_TIME_US), 360000);
    ck_assert_uint_le(ewma_now(1000000, EWMA_TIME_US), 376000);
    ck_assert_uint_le(ewma_now(1000000, 5 * EWMA_TIME_US), 8000);
    ck_assert_uint_eq(ewma_now(1000000, UINT64_MAX), 1);
}
END_TEST

START_TEST(failures_cost_seconds)
{
    ck_assert_uint_eq(ewma_penalty(0), 1000000);
    ck_assert_uint_eq(ewma_penalty(1000000), 2000000);
    ck_assert_uint_eq(ewma_penalty(50000000), 60000000);
    ck_assert_uint_eq(ewma_penalty(UINT64_MAX), 60000000);
}
END_TEST

UNIT_MAIN("ewma", a_peak_takes_over, its_fall_is_a_matter_of_time, time_alone_draws_it_down,
          failures_cost_seconds)
