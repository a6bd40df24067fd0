/* Hand-off records: what was written is read, and what is not known is passed over. */
#include "common/core/handoff.h"
#include "t/unit/unit.h"

static struct strbuf text, value;

static void setup(void)
{
    strbuf_init(&text);
    strbuf_init(&value);
}

static void teardown(void)
{
    strbuf_fini(&text);
    strbuf_fini(&value);
}

START_TEST(lines_are_read_as_written)
{
    struct slice rest, kind, words;
    uint64_t n = 0;

    handoff_begin(&text);
    handoff_kind(&text, "socket");
    handoff_number(&text, "fd", 9);
    handoff_text(&text, "key", SLICE("unix:/a b=c"));
    handoff_end(&text);
    handoff_kind(&text, "worker");
    handoff_number(&text, "pid", UINT64_MAX);
    handoff_end(&text);
    rest = strbuf_slice(&text);
    ck_assert(handoff_is_one(&rest));
    ck_assert(handoff_next(&rest, &kind, &words));
    ck_assert(slice_eq(kind, SLICE("socket")));
    ck_assert(handoff_get(words, "fd", &n));
    ck_assert_uint_eq(n, 9);
    ck_assert(handoff_get_text(words, "key", &value));
    ck_assert_str_eq(value.s, "unix:/a b=c");
    ck_assert(handoff_next(&rest, &kind, &words));
    ck_assert(slice_eq(kind, SLICE("worker")));
    ck_assert(handoff_get(words, "pid", &n));
    ck_assert(n == UINT64_MAX);
    ck_assert(!handoff_next(&rest, &kind, &words));
}
END_TEST

START_TEST(any_byte_survives)
{
    char all[256];
    struct slice rest, kind, words;

    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    handoff_kind(&text, "x");
    handoff_text(&text, "all", slice_of(all, sizeof all));
    handoff_text(&text, "odd", SLICE("%%2 %zz %"));
    handoff_end(&text);
    rest = strbuf_slice(&text);
    ck_assert(handoff_next(&rest, &kind, &words));
    ck_assert(handoff_get_text(words, "all", &value));
    ck_assert(slice_eq(strbuf_slice(&value), slice_of(all, sizeof all)));
    strbuf_clear(&value);
    ck_assert(handoff_get_text(words, "odd", &value));
    ck_assert_str_eq(value.s, "%%2 %zz %");
}
END_TEST

START_TEST(what_is_not_there_is_said)
{
    struct slice rest = SLICE("rpd-handoff\nfoo\tnumber=x\tn=1x\tempty=\tfdx=3\n"), kind, words;
    uint64_t n = 77;

    ck_assert(handoff_is_one(&rest));
    ck_assert(handoff_next(&rest, &kind, &words));
    ck_assert(!handoff_get(words, "number", &n));
    ck_assert(!handoff_get(words, "n", &n));
    ck_assert(!handoff_get(words, "fd", &n));
    ck_assert(!handoff_get(words, "empty", &n));
    ck_assert_uint_eq(n, 77);
    ck_assert(!handoff_get_text(words, "key", &value));
    ck_assert(handoff_get_text(words, "empty", &value));
    ck_assert_uint_eq(value.n, 0);
    rest = SLICE("something else\n");
    ck_assert(!handoff_is_one(&rest));
    rest = SLICE("");
    ck_assert(!handoff_is_one(&rest));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        lines_are_read_as_written, any_byte_survives, what_is_not_there_is_said,
    };
    Suite *suite = suite_create("handoff");
    TCase *tcase = tcase_create("handoff");

    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
