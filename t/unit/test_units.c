/* Units: durations, sizes and counts. */
#include "common/core/units.h"
#include "t/unit/unit.h"

typedef bool parser(struct slice text, uint64_t *value, struct strbuf *error);

static void expect(parser *parse, const char *text, uint64_t want)
{
    struct strbuf error;
    uint64_t value = 12345;

    strbuf_init(&error);
    ck_assert_msg(parse(slice_str(text), &value, &error), "%s: %s", text, error.s);
    ck_assert_msg(value == want, "%s", text);
    strbuf_fini(&error);
}

static void expect_error(parser *parse, const char *text, const char *message)
{
    struct strbuf error;
    uint64_t value;

    strbuf_init(&error);
    ck_assert_msg(!parse(slice_str(text), &value, &error), "%s", text);
    ck_assert_str_eq(error.s, message);
    strbuf_fini(&error);
}

START_TEST(test_durations)
{
    expect(units_duration, "500ms", 500);
    expect(units_duration, "10s", 10000);
    expect(units_duration, "5m", 300000);
    expect(units_duration, "1m30s", 90000);
    expect(units_duration, "1h", 3600000);
    expect(units_duration, "1d", 86400000);
    expect(units_duration, "1d2h3m4s5ms", 93784005);
    expect(units_duration, "0", 0);
    expect(units_duration, "0s", 0);
}
END_TEST

START_TEST(test_duration_without_unit_names_both_readings)
{
    expect_error(units_duration, "30", "'30' has no unit: did you mean 30s or 30ms?");
    expect_error(units_duration, "00", "'00' has no unit: did you mean 00s or 00ms?");
}
END_TEST

START_TEST(test_bad_durations)
{
    static const char *const bad[] = { "", "s", "10 s", "10x", "30s1m", "1s1s", "-1s", "1.5s",
                                       "1m30", "10S" };
    struct strbuf want;

    strbuf_init(&want);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        strbuf_clear(&want);
        strbuf_printf(&want, "'%s' is no duration: write 500ms, 10s, 5m, 1m30s, 1h or 1d",
                      bad[i]);
        expect_error(units_duration, bad[i], want.s);
    }
    strbuf_fini(&want);
    expect_error(units_duration, "99999999999999999999s", "'99999999999999999999s' is too long");
    expect_error(units_duration, "18446744073709551615d", "'18446744073709551615d' is too long");
}
END_TEST

START_TEST(test_sizes)
{
    expect(units_size, "0", 0);
    expect(units_size, "512", 512);
    expect(units_size, "8k", 8192);
    expect(units_size, "8K", 8192);
    expect(units_size, "16m", 16777216);
    expect(units_size, "3g", 3221225472u);
    expect_error(units_size, "8kb", "'8kb' is no size: write bytes, or 8k, 16m, 1g");
    expect_error(units_size, "k", "'k' is no size: write bytes, or 8k, 16m, 1g");
    expect_error(units_size, "", "'' is no size: write bytes, or 8k, 16m, 1g");
    expect_error(units_size, "18446744073709551615k", "'18446744073709551615k' is too large");
}
END_TEST

START_TEST(test_counts)
{
    expect(units_count, "0", 0);
    expect(units_count, "18446744073709551615", UINT64_MAX);
    expect_error(units_count, "18446744073709551616",
                 "'18446744073709551616' is no whole number");
    expect_error(units_count, "5k", "'5k' is no whole number");
    expect_error(units_count, "-1", "'-1' is no whole number");
}
END_TEST

START_TEST(test_printed_is_parsed_again)
{
    static const uint64_t values[] = { 0,    1,       999,        1000,       1001,
                                       1024, 90000,   93784005,   86400000,   1u << 20,
                                       1536, 4097000, 1073741824, 1610612736, 1073741825 };
    struct strbuf text;

    strbuf_init(&text);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        strbuf_clear(&text);
        units_print_duration(values[i], &text);
        expect(units_duration, text.s, values[i]);
        strbuf_clear(&text);
        units_print_size(values[i], &text);
        expect(units_size, text.s, values[i]);
    }
    strbuf_clear(&text);
    units_print_duration(90000, &text);
    ck_assert_str_eq(text.s, "1m30s");
    strbuf_clear(&text);
    units_print_size(32768, &text);
    ck_assert_str_eq(text.s, "32k");
    strbuf_fini(&text);
}
END_TEST

UNIT_MAIN("units", test_durations, test_duration_without_unit_names_both_readings,
          test_bad_durations, test_sizes, test_counts, test_printed_is_parsed_again)
