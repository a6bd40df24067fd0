/* The growing string. */
#include "common/base/strbuf.h"

#include "t/unit/unit.h"

START_TEST(empty_is_a_string)
{
    struct strbuf b;
    char *s;

    strbuf_init(&b);
    ck_assert_str_eq(b.s, "");
    strbuf_clear(&b);
    strbuf_add(&b, SLICE_NONE);
    strbuf_adds(&b, "");
    ck_assert_str_eq(b.s, "");
    ck_assert_uint_eq(strbuf_slice(&b).n, 0);
    s = strbuf_take(&b);
    ck_assert_str_eq(s, "");
    free(s);
    strbuf_fini(&b);
    strbuf_fini(&b);
}
END_TEST

START_TEST(adds_of_every_kind)
{
    struct strbuf b;

    strbuf_init(&b);
    strbuf_adds(&b, "ab");
    strbuf_addc(&b, 'c');
    strbuf_add(&b, slice_of("defg", 2));
    strbuf_printf(&b, "%d-%s", 12, "x");
    ck_assert_str_eq(b.s, "abcde12-x");
    ck_assert_uint_eq(b.n, 9);
    strbuf_cut(&b, 3);
    ck_assert_str_eq(b.s, "abc");
    strbuf_clear(&b);
    ck_assert_str_eq(b.s, "");
    strbuf_fini(&b);
}
END_TEST

START_TEST(grows_and_stays_terminated)
{
    struct strbuf b;

    strbuf_init(&b);
    for (size_t i = 1; i <= 5000; i++) {
        strbuf_addc(&b, (char)('a' + i % 26));
        ck_assert_uint_eq(b.n, i);
        ck_assert_int_eq(b.s[i], '\0');
        ck_assert_uint_lt(b.n, b.cap);
    }
    for (size_t i = 1; i <= 5000; i++)
        ck_assert_int_eq(b.s[i - 1], (char)('a' + i % 26));
    strbuf_fini(&b);
}
END_TEST

/* printf of each length where the buffer is exactly full, one short, and so on. */
START_TEST(printf_at_the_buffers_end)
{
    for (int n = 0; n < 200; n++) {
        struct strbuf b;

        strbuf_init(&b);
        strbuf_printf(&b, "%*s", n, n ? "x" : "");
        strbuf_printf(&b, "%*s", n, n ? "y" : "");
        ck_assert_uint_eq(b.n, (size_t)n * 2);
        ck_assert_uint_eq(strlen(b.s), b.n);
        strbuf_fini(&b);
    }
}
END_TEST

START_TEST(bytes_of_any_value)
{
    struct strbuf b;

    strbuf_init(&b);
    strbuf_add(&b, SLICE("a\0b"));
    ck_assert_uint_eq(b.n, 3);
    ck_assert_mem_eq(b.s, "a\0b", 4);
    strbuf_fini(&b);
}
END_TEST

START_TEST(take_hands_over)
{
    struct strbuf b;
    char *s;

    strbuf_init(&b);
    strbuf_adds(&b, "mine");
    s = strbuf_take(&b);
    ck_assert_str_eq(s, "mine");
    ck_assert_str_eq(b.s, "");
    strbuf_adds(&b, "new");
    ck_assert_str_eq(s, "mine");
    free(s);
    strbuf_fini(&b);
}
END_TEST

UNIT_MAIN("strbuf", empty_is_a_string, adds_of_every_kind, grows_and_stays_terminated,
          printf_at_the_buffers_end, bytes_of_any_value, take_hands_over)
