/* Where a head ends, and which line ends are no line ends: the same for every way to cut it. */
#include "t/unit/unit.h"
#include "worker/http/h1.h"

#define ALL 0 /* DONE at the last byte */

struct row {
    struct slice bytes;
    size_t used;         /* DONE, if less than all */
    uint32_t first_line;
    enum h1_scanned result;
};

#define ROW(text, result, used, first_line) \
    { SLICE_INIT(text), used, first_line, H1_SCAN_##result }

static const struct row rows[] = {
    ROW("GET / HTTP/1.1\r\n\r\n", DONE, ALL, 16),
    ROW("GET / HTTP/1.1\r\nHost: a\r\n\r\n", DONE, ALL, 16),
    ROW("a\r\n\r\n", DONE, ALL, 3),
    ROW("a\r\nX:\r\nY: \t\r\n\r\n", DONE, ALL, 3),
    ROW("a\r\n\r\nGET / HTTP/1.1\r\n", DONE, 5, 3),
    ROW("a\r\n\r\n\n\r\0", DONE, 5, 3),
    ROW("a\r\nX: \xff\t\x01\x7f\r\n\r\n", DONE, ALL, 3),
    ROW("", MORE, ALL, 0),
    ROW("GET / HTTP/1.1", MORE, ALL, 0),
    ROW("GET / HTTP/1.1\r", MORE, ALL, 0),
    ROW("GET / HTTP/1.1\r\n", MORE, ALL, 16),
    ROW("GET / HTTP/1.1\r\nHost", MORE, ALL, 16),
    ROW("GET / HTTP/1.1\r\nHost: a\r\n\r", MORE, ALL, 16),
    ROW("\r", MORE, ALL, 0),
    ROW("\r\n", BAD, ALL, 0),
    ROW("\n", BAD, ALL, 0),
    ROW("a\n", BAD, ALL, 0),
    ROW("a\n\r\n", BAD, ALL, 0),
    ROW("a\r\n\n", BAD, ALL, 0),
    ROW("a\r\nX: 1\n\r\n", BAD, ALL, 0),
    ROW("a\r\nX: 1\nY: 2\r\n\r\n", BAD, ALL, 0),
    ROW("a\rb\r\n\r\n", BAD, ALL, 0),
    ROW("a\r\r\n\r\n", BAD, ALL, 0),
    ROW("a\r\nX: a\rb\r\n\r\n", BAD, ALL, 0),
    ROW("a\r\n\r\r\n", BAD, ALL, 0),
    ROW("a\r\n\rX", BAD, ALL, 0),
    ROW("\r\r\n", BAD, ALL, 0),
    ROW("a\r\nX: a\r\n b\r\n\r\n", BAD, ALL, 0),
    ROW("a\r\nX: a\r\n\tb\r\n\r\n", BAD, ALL, 0),
    ROW("a\r\n X: a\r\n\r\n", BAD, ALL, 0),
    ROW("a\r\n \r\n\r\n", BAD, ALL, 0),
    ROW(" a\r\n\r\n", BAD, ALL, 0),
    ROW("a\0\r\n\r\n", BAD, ALL, 0),
    ROW("a\r\nX: \0\r\n\r\n", BAD, ALL, 0),
    ROW("a\r\nX\0: b\r\n\r\n", BAD, ALL, 0),
    ROW("\0", BAD, ALL, 0),
};
#define ROWS ((int)(sizeof rows / sizeof rows[0]))

/* Scans bytes in pieces that end at cuts[]. The result of the last piece that was scanned. */
static enum h1_scanned scan(struct h1_scan *s, struct slice bytes, const size_t *cuts, size_t n,
                            size_t *used)
{
    enum h1_scanned r = H1_SCAN_MORE;
    size_t at = 0;

    *s = (struct h1_scan){ 0 };
    for (size_t i = 0; i <= n && r == H1_SCAN_MORE; i++) {
        size_t end = i < n ? cuts[i] : bytes.n, part = 0;

        r = h1_scan(s, slice_of(bytes.p + at, end - at), &part);
        if (r == H1_SCAN_MORE)
            ck_assert_uint_eq(part, end - at);
        at += part;
    }
    *used = at;
    return r;
}

static void expect(const struct row *row, const size_t *cuts, size_t n)
{
    struct h1_scan s;
    size_t used;
    enum h1_scanned r = scan(&s, row->bytes, cuts, n, &used);

    ck_assert_msg(r == row->result, "row %td, %zu cuts, first at %zu: %d", row - rows, n,
                  n ? cuts[0] : 0, (int)r);
    if (r == H1_SCAN_BAD)
        return;
    ck_assert_uint_eq(used, row->used ? row->used : row->bytes.n);
    ck_assert_uint_eq(s.seen, used);
    ck_assert_uint_eq(s.first_line, row->first_line);
}

START_TEST(whole)
{
    expect(&rows[_i], NULL, 0);
}
END_TEST

START_TEST(cut_once_and_twice)
{
    const struct row *row = &rows[_i];
    size_t cuts[2];

    for (cuts[0] = 0; cuts[0] <= row->bytes.n; cuts[0]++)
        for (cuts[1] = cuts[0]; cuts[1] <= row->bytes.n; cuts[1]++)
            expect(row, cuts, 2);
}
END_TEST

START_TEST(byte_by_byte)
{
    size_t cuts[64];

    ck_assert_uint_lt(rows[_i].bytes.n, 64);
    for (size_t i = 0; i < rows[_i].bytes.n; i++)
        cuts[i] = i + 1;
    expect(&rows[_i], cuts, rows[_i].bytes.n);
}
END_TEST

/* How the trailer section is scanned: the line before was the last chunk's header. */
START_TEST(after_a_first_line)
{
    struct h1_scan s = { .first_line = 1 };
    size_t used;

    ck_assert_int_eq(h1_scan(&s, SLICE("\r"), &used), H1_SCAN_MORE);
    ck_assert_int_eq(h1_scan(&s, SLICE("\nGET"), &used), H1_SCAN_DONE);
    ck_assert_uint_eq(used, 1);
    s = (struct h1_scan){ .first_line = 1 };
    ck_assert_int_eq(h1_scan(&s, SLICE("X: 1\r\n\r\n"), &used), H1_SCAN_DONE);
    ck_assert_uint_eq(used, 8);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("h1_scan");
    TCase *tcase = tcase_create("h1_scan");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_loop_test(tcase, whole, 0, ROWS);
    tcase_add_loop_test(tcase, cut_once_and_twice, 0, ROWS);
    tcase_add_loop_test(tcase, byte_by_byte, 0, ROWS);
    tcase_add_test(tcase, after_a_first_line);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
