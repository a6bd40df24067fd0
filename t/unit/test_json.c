/* JSON as it is written. */
#include "common/base/json.h"

#include <math.h>
#include "t/unit/unit.h"

static void assert_double(double v, const char *expected)
{
    struct strbuf b;
    struct json j;

    strbuf_init(&b);
    json_init(&j, &b);
    json_double(&j, NULL, v);
    ck_assert_str_eq(b.s, expected);
    strbuf_fini(&b);
}

static void assert_escape(struct slice in, const char *expected)
{
    char dst[256];
    size_t n = json_escape(dst, sizeof dst, in);

    ck_assert_uint_eq(n, strlen(expected));
    ck_assert_mem_eq(dst, expected, n);
}

START_TEST(structure_has_its_commas)
{
    struct strbuf b;
    struct json j;

    strbuf_init(&b);
    json_init(&j, &b);
    json_object(&j, NULL);
    json_u64(&j, "max", UINT64_MAX);
    json_i64(&j, "min", INT64_MIN);
    json_array(&j, "list");
    json_array_end(&j);
    json_array(&j, "more");
    json_object(&j, NULL);
    json_object_end(&j);
    json_object(&j, NULL);
    json_bool(&j, "yes", true);
    json_bool(&j, "no", false);
    json_object_end(&j);
    json_str(&j, NULL, SLICE("s"));
    json_array_end(&j);
    json_double(&j, "d", 1.5);
    json_object_end(&j);
    ck_assert_str_eq(b.s, "{\"max\":18446744073709551615,\"min\":-9223372036854775808,"
                          "\"list\":[],\"more\":[{},{\"yes\":true,\"no\":false},\"s\"],"
                          "\"d\":1.5}");
    strbuf_fini(&b);
}
END_TEST

START_TEST(doubles_have_no_exponent)
{
    assert_double(0, "0");
    assert_double(-0.0, "0");
    assert_double(-0.0000001, "0");
    assert_double(3, "3");
    assert_double(100, "100");
    assert_double(0.000123, "0.000123");
    assert_double(1.0 / 3, "0.333333");
    assert_double(-2.50, "-2.5");
    assert_double(1e15, "1000000000000000");
    assert_double((double)NAN, "0");
    assert_double((double)INFINITY, "0");
    assert_double(1e22, "10000000000000000000000");
}
END_TEST

START_TEST(strings_are_escaped_in_keys_too)
{
    struct strbuf b;
    struct json j;

    strbuf_init(&b);
    json_init(&j, &b);
    json_str(&j, "a\"b", SLICE("plain\\ \n\x01\x7f\xc3\xa9\xff end"));
    ck_assert_str_eq(b.s, "\"a\\\"b\":\"plain\\\\ \\n\\u0001\\u007f\xc3\xa9\\u00ff end\"");
    strbuf_fini(&b);
}
END_TEST

START_TEST(escape_of_every_kind)
{
    assert_escape(SLICE("plain text /~"), "plain text /~");
    assert_escape(SLICE("\b\f\n\r\t\"\\"), "\\b\\f\\n\\r\\t\\\"\\\\");
    assert_escape(SLICE("a\0b\x1f"), "a\\u0000b\\u001f");
    assert_escape(SLICE("\xe2\x82\xac\xf0\x9f\x98\x80"), "\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_escape(SLICE("\xe2\x82"), "\\u00e2\\u0082");
    assert_escape(SLICE("\xc0\xaf"), "\\u00c0\\u00af");
    assert_escape(SLICE("\xed\xa0\x80"), "\\u00ed\\u00a0\\u0080");
}
END_TEST

/* Every cap below the need gives 0; the exact one is enough. */
START_TEST(escape_fits_or_gives_nothing)
{
    static const char expected[] = "ab\\n\\u0001\xc3\xa9z";
    const struct slice in = SLICE("ab\n\x01\xc3\xa9z");
    const size_t need = sizeof expected - 1;

    for (size_t cap = 0; cap <= need; cap++) {
        char *dst = malloc(cap + 1);

        dst[cap] = '#';
        ck_assert_uint_eq(json_escape(dst, cap, in), cap == need ? need : 0);
        ck_assert_int_eq(dst[cap], '#');
        if (cap == need)
            ck_assert_mem_eq(dst, expected, need);
        free(dst);
    }
}
END_TEST

UNIT_MAIN("json", structure_has_its_commas, doubles_have_no_exponent,
          strings_are_escaped_in_keys_too, escape_of_every_kind, escape_fits_or_gives_nothing)
