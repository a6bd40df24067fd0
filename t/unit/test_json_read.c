/* JSON read strictly: what is none, how deep it goes, what strings and numbers mean; and base64. */
#include <stdio.h>
#include <stdlib.h>
#include "common/base/base64.h"
#include "common/base/json_read.h"
#include "t/unit/unit.h"

static const char *const good[] = {
    "1", " 1 ", "-0", "0.5", "-1.25e+10", "1E5", "true", "false", "null", "\"\"", "\"a\"", "[]",
    "{}",
    "[ ]", "{ }", "[1]", "[1,2 , 3]", "{\"a\":1}", "{ \"a\" : [ { } ] , \"b\":null }",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u0041\\ud83d\\ude00\"", "\"\xc3\xa9\xe2\x82\xac\"",
    "\t\r\n1\n", "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
};
static const char *const bad[] = {
    "", " ", "01", "1.", ".5", "-", "+1", "1e", "1e+", "0x1", "NaN", "tru", "truex", "True", "nul",
    "\"", "\"a", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"",
    "\"\\ud800\\u0041\"",
    "\"\\udc00\"", "\"\\ud800\\ud800\"", "\"a\nb\"", "\"\x01\"", "\"\xff\"", "\"\xc3\"",
    "\"\xed\xa0\x80\"", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{", "}", "{\"a\"}",
    "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "1 2", "1,",
    "[]]",
    "[1}", "{\"a\":1]", "'a'", "[1]//", "\xef\xbb\xbf[1]", "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]",
};

START_TEST(what_is_json_and_what_is_not)
{
    struct json_value v;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(json_read(slice_str(good[i]), &v), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!json_read(slice_str(bad[i]), &v), "%s", bad[i]);
    ck_assert(!json_read(SLICE("\0"), &v));
    ck_assert(!json_read(SLICE("\"a\0\""), &v));
}
END_TEST

/* Cut anywhere it is none, and is not read behind its end. */
START_TEST(a_text_cut_short)
{
    static const struct slice text =
        SLICE_INIT("{\"a\":[1.5,\"x\\u00e9\\ud83d\\ude00\",{\"b\":true}],\"c\":null}");
    struct json_value v;

    for (size_t n = 0; n < text.n; n++) {
        char *copy = malloc(n ? n : 1);

        memcpy(copy, text.p, n);
        ck_assert(!json_read(slice_of(copy, n), &v));
        free(copy);
    }
    ck_assert(json_read(text, &v));
}
END_TEST

START_TEST(members_and_items)
{
    struct json_value all, value;
    struct slice rest, name;
    char text[64] = "";
    size_t n = 0;

    ck_assert(json_read(SLICE(" { \"a\" : 1 , \"b\":[ 2,\"x\" ,[3]] ,\"c\":{\"d\":4}} "), &all));
    ck_assert_int_eq(all.kind, JSON_OBJECT);
    for (rest = all.text; json_next_member(&rest, &name, &value);)
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s=%.*s;", SLICE_ARG(name),
                              SLICE_ARG(value.text));
    ck_assert_str_eq(text, "a=1;b=[ 2,\"x\" ,[3]];c={\"d\":4};");
    n = 0;
    ck_assert(json_read(SLICE("[ 2,\"x\" ,[3], [] ,{}]"), &all));
    for (rest = all.text; json_next_item(&rest, &value);)
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s;", SLICE_ARG(value.text));
    ck_assert_str_eq(text, "2;x;[3];[];{};");
    rest = SLICE("{}");
    ck_assert(!json_next_member(&rest, &name, &value));
    rest = SLICE("[ ]");
    ck_assert(!json_next_item(&rest, &value));
}
END_TEST

START_TEST(strings)
{
    static const struct {
        struct slice text, bytes;
    } rows[] = {
        { SLICE_INIT(""), SLICE_INIT("") },
        { SLICE_INIT("abc"), SLICE_INIT("abc") },
        { SLICE_INIT("\\\"\\\\\\/\\b\\f\\n\\r\\t"), SLICE_INIT("\"\\/\b\f\n\r\t") },
        { SLICE_INIT("\\u0041\\u00E9\\u20ac\\ud83d\\ude00"),
          SLICE_INIT("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") },
        { SLICE_INIT("\\u0000"), SLICE_INIT("\0") },
    };
    char out[64];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = json_unescape(rows[i].text, out);

        ck_assert(slice_eq(slice_of(out, n), rows[i].bytes));
        ck_assert(json_name_is(rows[i].text, rows[i].bytes));
        ck_assert(!json_name_is(rows[i].text, SLICE("abcd")));
    }
    ck_assert(!json_name_is(SLICE("abc"), SLICE("ab")));
    ck_assert(json_name_is(SLICE("\\u0061lg"), SLICE("alg")));
}
END_TEST

START_TEST(whole_numbers)
{
    static const struct {
        const char *text;
        bool is_whole;
        int64_t value;
    } rows[] = {
        { "0", true, 0 },
        { "-5", true, -5 },
        { "1700000000", true, 1700000000 },
        { "1700000000.9", true, 1700000000 },
        { "9223372036854775807", true, INT64_MAX },
        { "9223372036854775808", false, 0 },
        { "99999999999999999999999", false, 0 },
        { "1e9", false, 0 },
        { "\"1\"", false, 0 },
        { "null", false, 0 },
    };
    struct json_value v;
    int64_t n;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_assert(json_read(slice_str(rows[i].text), &v));
        ck_assert_msg(json_whole(&v, &n) == rows[i].is_whole, "%s", rows[i].text);
        if (rows[i].is_whole)
            ck_assert_int_eq(n, rows[i].value);
    }
}
END_TEST

START_TEST(base64)
{
    static const struct {
        enum base64_kind kind;
        const char *text, *bytes; /* NULL: refused */
    } rows[] = {
        { BASE64_URL, "", "" },
        { BASE64_URL, "Zg", "f" },
        { BASE64_URL, "Zm8", "fo" },
        { BASE64_URL, "Zm9v", "foo" },
        { BASE64_URL, "Zm9vYmFy", "foobar" },
        { BASE64_URL, "_-8", "\xff\xef" },
        { BASE64_URL, "/+8", NULL },
        { BASE64_URL, "Zg==", NULL },
        { BASE64_URL, "Zh", NULL },
        { BASE64_URL, "Zm9", NULL },
        { BASE64_URL, "Z", NULL },
        { BASE64_URL, "Zm9vY", NULL },
        { BASE64_URL, "Zm 9v", NULL },
        { BASE64_PADDED, "", "" },
        { BASE64_PADDED, "Zg==", "f" },
        { BASE64_PADDED, "Zm8=", "fo" },
        { BASE64_PADDED, "Zm9v", "foo" },
        { BASE64_PADDED, "/+8=", "\xff\xef" },
        { BASE64_PADDED, "Zg", NULL },
        { BASE64_PADDED, "Zg=", NULL },
        { BASE64_PADDED, "Z===", NULL },
        { BASE64_PADDED, "====", NULL },
        { BASE64_PADDED, "Zg==Zg==", NULL },
        { BASE64_PADDED, "_-8=", NULL },
        { BASE64_PADDED, "Zh==", NULL },
    };
    unsigned char out[64];
    size_t n;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool is_good = base64_read(rows[i].kind, slice_str(rows[i].text), out, &n);

        ck_assert_msg(is_good == (rows[i].bytes != NULL), "%s", rows[i].text);
        if (is_good)
            ck_assert(slice_eq(slice_of((char *)out, n), slice_str(rows[i].bytes)));
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        what_is_json_and_what_is_not, a_text_cut_short, members_and_items, strings, whole_numbers,
        base64,
    };
    Suite *suite = suite_create("json_read");
    TCase *tcase = tcase_create("json_read");

    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
