/* Clocks and written times, held against libc. */
#include "common/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include "t/unit/unit.h"

#define US 1000000ULL

static void use_zone(const char *zone)
{
    (void)setenv("TZ", zone, 1);
    tzset();
}

START_TEST(the_examples)
{
    char buf[CLOCK_TEXT_MAX];

    use_zone("CET-1CEST,M3.5.0,M10.5.0/3");
    ck_assert_uint_eq(clock_http_date(buf, 784111777 * US), 29);
    ck_assert_str_eq(buf, "Sun, 06 Nov 1994 08:49:37 GMT");
    ck_assert_uint_eq(clock_iso8601(buf, 1795458021 * US + 123999), 29);
    ck_assert_str_eq(buf, "2026-11-23T19:20:21.123+01:00");
    ck_assert_uint_eq(clock_iso8601_utc(buf, 1795458021 * US + 123999), 24);
    ck_assert_str_eq(buf, "2026-11-23T18:20:21.123Z");
    ck_assert_uint_eq(clock_local(buf, 1795458021 * US), 26);
    ck_assert_str_eq(buf, "23/Nov/2026:19:20:21 +0100");
}
END_TEST

START_TEST(zones_west_and_by_half_hours)
{
    char buf[CLOCK_TEXT_MAX];

    use_zone("XXX3:30");
    (void)clock_iso8601(buf, 0);
    ck_assert_str_eq(buf, "1969-12-31T20:30:00.000-03:30");
    (void)clock_local(buf, 0);
    ck_assert_str_eq(buf, "31/Dec/1969:20:30:00 -0330");
    use_zone("UTC0");
    (void)clock_iso8601(buf, 0);
    ck_assert_str_eq(buf, "1970-01-01T00:00:00.000+00:00");
}
END_TEST

/* Every day to 2400, then steps to the end of 9999. */
START_TEST(dates_are_libcs)
{
    for (uint64_t day = 0; day < 2932897; day += day < 157054 ? 1 : 97) {
        uint64_t s = day * 86400 + day * 7919 % 86400;
        time_t t = (time_t)s;
        struct tm tm;
        char mine[CLOCK_TEXT_MAX], libcs[CLOCK_TEXT_MAX];
        size_t n = clock_http_date(mine, s * US);

        (void)gmtime_r(&t, &tm);
        (void)strftime(libcs, sizeof libcs, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        if (n != strlen(libcs) || memcmp(mine, libcs, n + 1) != 0)
            ck_abort_msg("%s, not %s", mine, libcs);
    }
}
END_TEST

START_TEST(clocks_go_forward)
{
    uint64_t a = clock_mono_us(), b = clock_mono_us();
    uint64_t wall = clock_wall_us() / US, libcs = (uint64_t)time(NULL);

    ck_assert_uint_le(a, b);
    ck_assert_uint_le(libcs - wall + 1, 2);
}
END_TEST

UNIT_MAIN("clock", the_examples, zones_west_and_by_half_hours, dates_are_libcs, clocks_go_forward)
