/* Slices: comparing, cutting, reading. The fast paths are held against byte-wise ones. */
#include "common/base/slice.h"

#include <stdlib.h>
#include "t/unit/unit.h"

static bool ieq_slow(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ascii_lower(a[i]) != ascii_lower(b[i]))
            return false;
    return true;
}

static void assert_slice(struct slice s, const char *expected)
{
    ck_assert_uint_eq(s.n, strlen(expected));
    ck_assert_mem_eq(s.p, expected, s.n);
}

START_TEST(lower8_folds_letters_only_in_every_place)
{
    for (unsigned c = 0; c < 256; c++) {
        for (int place = 0; place < 8; place++) {
            char in[8], out[8];
            uint64_t w;

            memset(in, (int)(255 - c), sizeof in);
            in[place] = (char)c;
            memcpy(&w, in, 8);
            w = ascii_lower8(w);
            memcpy(out, &w, 8);
            for (int i = 0; i < 8; i++)
                ck_assert_int_eq(out[i], ascii_lower(in[i]));
        }
    }
}
END_TEST

/* Each length, each place, each byte against a few others: exact-size heap copies, so that
 * reading behind the end shows under ASan. */
START_TEST(ieq_is_bytewise_at_every_length)
{
    static const unsigned char others[] = { 0, 'a', 'A', 'z', 'Z', '@', '[', '`', '{', 0xc1, 0xe1 };

    for (size_t n = 1; n <= 34; n++) {
        char *a = malloc(n), *b = malloc(n);

        for (size_t place = 0; place < n; place++) {
            memset(a, 'Q', n);
            memset(b, 'q', n);
            for (unsigned c = 0; c < 256; c++) {
                for (size_t k = 0; k < sizeof others; k++) {
                    a[place] = (char)c;
                    b[place] = (char)others[k];
                    ck_assert(slice_ieq(slice_of(a, n), slice_of(b, n)) == ieq_slow(a, b, n));
                }
            }
        }
        free(a);
        free(b);
    }
}
END_TEST

START_TEST(ieq_minds_length_and_nothing)
{
    ck_assert(slice_ieq(SLICE_NONE, SLICE("")));
    ck_assert(!slice_ieq(SLICE("Host"), SLICE("Hosts")));
    ck_assert(slice_ieq(SLICE("Content-Length"), SLICE("content-LENGTH")));
    ck_assert(slice_eq(SLICE_NONE, SLICE("")));
    ck_assert(!slice_eq(SLICE("a"), SLICE("A")));
}
END_TEST

START_TEST(starts_and_ends)
{
    ck_assert(slice_starts(SLICE("unix:/x"), SLICE("unix:")));
    ck_assert(!slice_starts(SLICE("uni"), SLICE("unix:")));
    ck_assert(slice_starts(SLICE_NONE, SLICE_NONE));
    ck_assert(slice_istarts(SLICE("BEARER x"), SLICE("bearer ")));
    ck_assert(!slice_istarts(SLICE("bear"), SLICE("bearer ")));
    ck_assert(slice_ends(SLICE("a.example"), SLICE(".example")));
    ck_assert(!slice_ends(SLICE("example"), SLICE(".example")));
    ck_assert(slice_ends(SLICE_NONE, SLICE("")));
}
END_TEST

START_TEST(cmp_orders_shorter_first)
{
    ck_assert_int_lt(slice_cmp(SLICE("a"), SLICE("b")), 0);
    ck_assert_int_lt(slice_cmp(SLICE("a"), SLICE("aa")), 0);
    ck_assert_int_gt(slice_cmp(SLICE("\xff"), SLICE("a")), 0);
    ck_assert_int_eq(slice_cmp(SLICE("ab"), SLICE("ab")), 0);
    ck_assert_int_eq(slice_cmp(SLICE_NONE, SLICE("")), 0);
    ck_assert_int_lt(slice_cmp(SLICE_NONE, SLICE("a")), 0);
}
END_TEST

START_TEST(trim_and_find)
{
    assert_slice(slice_trim(SLICE(" \t a b\t ")), "a b");
    assert_slice(slice_trim(SLICE(" \t ")), "");
    assert_slice(slice_trim(SLICE("\r\na")), "\r\na"); /* only OWS */
    ck_assert_uint_eq(slice_trim(SLICE_NONE).n, 0);
    ck_assert_uint_eq(slice_find(SLICE("abcb"), 'b'), 1);
    ck_assert_uint_eq(slice_find(SLICE("abc"), 'x'), 3);
    ck_assert_uint_eq(slice_find(SLICE_NONE, 'x'), 0);
}
END_TEST

START_TEST(cut_gives_each_part_once)
{
    struct slice rest = SLICE("a::b:");

    assert_slice(slice_cut(&rest, ':'), "a");
    assert_slice(slice_cut(&rest, ':'), "");
    assert_slice(slice_cut(&rest, ':'), "b");
    ck_assert_ptr_nonnull(rest.p);
    assert_slice(slice_cut(&rest, ':'), "");
    ck_assert_ptr_null(rest.p);
    ck_assert_ptr_null(slice_cut(&rest, ':').p);
}
END_TEST

START_TEST(next_item_skips_empty_ones)
{
    struct slice rest = SLICE(", a ,, b\t,,c"), item;

    ck_assert(slice_next_item(&rest, &item));
    assert_slice(item, "a");
    ck_assert(slice_next_item(&rest, &item));
    assert_slice(item, "b");
    ck_assert(slice_next_item(&rest, &item));
    assert_slice(item, "c");
    ck_assert(!slice_next_item(&rest, &item));
    ck_assert(!slice_next_item(&rest, &item));
    rest = SLICE(" , ,");
    ck_assert(!slice_next_item(&rest, &item));
}
END_TEST

START_TEST(u64_takes_digits_alone)
{
    static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "0x1", "1a", "\xff", "/", ":",
                                       "18446744073709551616", "18446744073709551620",
                                       "99999999999999999999", "184467440737095516150" };
    uint64_t v = 7;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!slice_u64(slice_str(bad[i]), &v), "%s", bad[i]);
    ck_assert_uint_eq(v, 7);
    ck_assert(slice_u64(SLICE("0"), &v) && v == 0);
    ck_assert(slice_u64(SLICE("007"), &v) && v == 7);
    ck_assert(slice_u64(SLICE("18446744073709551615"), &v) && v == UINT64_MAX);
    ck_assert(slice_u64(slice_of("123", 2), &v) && v == 12);
}
END_TEST

START_TEST(copy_fits_or_is_empty)
{
    char dst[4] = "zzz";

    ck_assert(slice_copy(dst, sizeof dst, SLICE("abc")));
    ck_assert_str_eq(dst, "abc");
    ck_assert(!slice_copy(dst, sizeof dst, SLICE("abcd")));
    ck_assert_str_eq(dst, "");
    ck_assert(slice_copy(dst, sizeof dst, SLICE_NONE));
    ck_assert(!slice_copy(dst, 0, SLICE_NONE));
}
END_TEST

START_TEST(token_is_tchars)
{
    static const char tchars[] = "!#$%&'*+-.^_`|~0123456789"
                                 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    ck_assert(slice_is_token(SLICE(tchars)));
    ck_assert(!slice_is_token(SLICE_NONE));
    for (int c = 0; c < 256; c++) {
        char one = (char)c;
        bool expected = c != 0 && strchr(tchars, c) != NULL;

        ck_assert_msg(slice_is_token(slice_of(&one, 1)) == expected, "byte %d", c);
    }
}
END_TEST

/* Bounds of RFC 3629: overlong forms, surrogates, above U+10FFFF, cut sequences. */
START_TEST(utf8_takes_well_formed_alone)
{
    static const char *const bad[] = { "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41",
                                       "\xe0\x80\x80", "\xe0\x9f\xbf", "\xe2\x82", "\xed\xa0\x80",
                                       "\xed\xbf\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
                                       "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
                                       "\xf1\x80\x80\x41" };

    ck_assert_uint_eq(slice_utf8(SLICE_NONE), 0);
    ck_assert_uint_eq(slice_utf8(SLICE("a")), 1);
    ck_assert_uint_eq(slice_utf8(SLICE("\0")), 1);
    ck_assert_uint_eq(slice_utf8(SLICE("\xc2\x80")), 2);
    ck_assert_uint_eq(slice_utf8(SLICE("\xe2\x82\xac!")), 3);
    ck_assert_uint_eq(slice_utf8(SLICE("\xed\x9f\xbf")), 3);
    ck_assert_uint_eq(slice_utf8(SLICE("\xf4\x8f\xbf\xbf")), 4);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(slice_utf8(slice_str(bad[i])) == 0, "number %zu", i);
}
END_TEST

UNIT_MAIN("slice", lower8_folds_letters_only_in_every_place, ieq_is_bytewise_at_every_length,
          ieq_minds_length_and_nothing, starts_and_ends, cmp_orders_shorter_first, trim_and_find,
          cut_gives_each_part_once, next_item_skips_empty_ones, u64_takes_digits_alone,
          copy_fits_or_is_empty, token_is_tchars, utf8_takes_well_formed_alone)
