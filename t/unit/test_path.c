/* Paths: their normal form, the tricks by which they try to leave their root, and the scan that
 * tells those that are normal already. */
#include "common/base/path.h"

#include <stdlib.h>
#include "t/unit/unit.h"

/* In memory of their own size, that a sanitizer sees what is read or written beside it. */
static enum path_verdict normalise(const char *path, size_t n, char *text)
{
    char *in = malloc(n), *out = malloc(n);
    size_t end = n;
    enum path_verdict v;

    memcpy(in, path, n);
    v = path_normalise(slice_of(in, n), out, &end);
    ck_assert_uint_le(end, n);
    memcpy(text, out, end);
    text[v == PATH_GOOD ? end : 0] = '\0';
    free(in);
    free(out);
    return v;
}

static bool scan(const char *target, size_t n, size_t *end)
{
    char *in = malloc(n);
    bool is_normal;

    memcpy(in, target, n);
    is_normal = path_scan(slice_of(in, n), end);
    free(in);
    return is_normal;
}

static const struct row {
    const char *path, *normal; /* NULL: it climbs */
} rows[] = {
    /* nothing to do */
    { "/", "/" },
    { "/a", "/a" },
    { "/a/", "/a/" },
    { "/a/b.c/d-e_f~g", "/a/b.c/d-e_f~g" },
    { "/a;p=1/b", "/a;p=1/b" },
    { "/:@!$&'()*+,;=", "/:@!$&'()*+,;=" },
    { "/.well-known/x", "/.well-known/x" },
    { "/...", "/..." },
    { "/.../a", "/.../a" },
    { "/a/..b/c", "/a/..b/c" },
    { "/a/b..", "/a/b.." },
    { "/a/.b/c.", "/a/.b/c." },
    /* escapes: unreserved decoded, others in upper case, once */
    { "/%61%62c", "/abc" },
    { "/%41%5a%30%39", "/AZ09" },
    { "/%2d%2E%5f%7E", "/-._~" },
    { "/%2d%5f%7e.html", "/-_~.html" },
    { "/a%20b", "/a%20b" },
    { "/caf%c3%a9", "/caf%C3%A9" },
    { "/a%3fb", "/a%3Fb" },
    { "/a%23b", "/a%23b" },
    { "/a%25b", "/a%25b" },
    { "/%2561", "/%2561" },
    { "/%252e%252e/a", "/%252e%252e/a" },
    { "/a%0d%0ab", "/a%0D%0Ab" },
    { "/%7f", "/%7F" },
    { "/a%2fb", "/a%2Fb" },
    { "/a%2Fb/c", "/a%2Fb/c" },
    { "/%2F", "/%2F" },
    { "/a/%2f%2f/b", "/a/%2F%2F/b" },
    /* slashes */
    { "//", "/" },
    { "///a", "/a" },
    { "/a//b///c//", "/a/b/c/" },
    { "//host/a", "/host/a" },
    /* dot segments */
    { "/.", "/" },
    { "/./", "/" },
    { "/./a", "/a" },
    { "/a/.", "/a/" },
    { "/a/./b", "/a/b" },
    { "/a/././b/./", "/a/b/" },
    { "/a/..", "/" },
    { "/a/../", "/" },
    { "/a/../b", "/b" },
    { "/a/b/../c", "/a/c" },
    { "/a/b/..", "/a/" },
    { "/a/b/../..", "/" },
    { "/a/b/../../", "/" },
    { "/a/b/c/../../d/../e", "/a/e" },
    { "/a/./../b", "/b" },
    { "/a//../b", "/b" },
    { "/a/b//..//../c", "/c" },
    { "/%2e", "/" },
    { "/a/%2E/b", "/a/b" },
    { "/a/%2e%2E/b", "/b" },
    { "/a/.%2e/b", "/b" },
    { "/a/%2e./b", "/b" },
    { "/a/b/%2e%2e", "/a/" },
    { "/a%2Fb/../c", "/c" },
    { "/a/%2e%2e%2e", "/a/..." },
    /* backslashes and parameters stay what they are */
    { "/a\\b", "/a\\b" },
    { "/a%5cb", "/a%5Cb" },
    { "/x;..", "/x;.." },
    { "/x/..a;y", "/x/..a;y" },
    { "/x/...%2fy", "/x/...%2Fy" },
    /* climbing */
    { "/..", NULL },
    { "/../", NULL },
    { "/../a", NULL },
    { "/../../../etc/passwd", NULL },
    { "/a/../..", NULL },
    { "/a/../../b", NULL },
    { "/a/../b/../../c", NULL },
    { "/a/b/../../../c/d", NULL },
    { "/./../a", NULL },
    { "/.//../a", NULL },
    { "//..", NULL },
    { "///../a", NULL },
    { "/a//../../b", NULL },
    { "/%2e%2e", NULL },
    { "/%2E%2E/a", NULL },
    { "/.%2e/a", NULL },
    { "/%2e./a", NULL },
    { "/a/%2e%2e/%2e%2e/b", NULL },
    { "/%2e%2e%2f%2e%2e%2fetc", NULL },
    { "/..%2f", NULL },
    { "/..%2Fetc/passwd", NULL },
    { "/a/..%2f..%2fb", NULL },
    { "/a/..%2f../b", NULL },
    { "/%2f../b", NULL },
    { "/%2f..%2fb", NULL },
    { "/a%2f../../b", NULL },
    { "/..\\a", NULL },
    { "/\\..\\a", NULL },
    { "/\\..", NULL },
    { "/..%5ca", NULL },
    { "/..%5Ca", NULL },
    { "/%5c..%5ca", NULL },
    { "/%5C../a", NULL },
    { "/a/..\\..\\b", NULL },
    { "/a\\..\\..\\b", NULL },
    { "/a\\../../b", NULL },
    { "/%2e%2e\\b", NULL },
    { "/%2e%2e%5cb", NULL },
    { "/..;", NULL },
    { "/..;/a", NULL },
    { "/..;x=1/a", NULL },
    { "/a/..;/..;/b", NULL },
    { "/..%3b/a", NULL },
    { "/..%3Bx/a", NULL },
    { "/.%2e;/a", NULL },
    { "/%2e%2e;/a", NULL },
    { "/a;x/../..;y/b", NULL },
    { "/;/../a", NULL },
    { "/;x/..;/a", NULL },
    { "/.;/../a", NULL },
    { "/..;%2fa", NULL },
    { "/a%2fb\\..\\..\\c", NULL }, /* one name to who knows only backslashes */
};

START_TEST(every_path_has_its_normal_form)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        char text[256], again[256];
        enum path_verdict v = normalise(r->path, strlen(r->path), text);

        ck_assert_msg(r->normal ? v == PATH_GOOD : v == PATH_CLIMBS || v == PATH_HIDES, "%s: %d",
                      r->path, (int)v);
        if (!r->normal)
            continue;
        ck_assert_msg(strcmp(text, r->normal) == 0, "%s: %s", r->path, text);
        ck_assert_int_eq(normalise(text, strlen(text), again), PATH_GOOD);
        ck_assert_str_eq(again, text);
    }
}
END_TEST

/* Within the root for every reader, but not at the same place. */
START_TEST(what_readers_see_differently_is_refused)
{
    static const char *const paths[] = {
        "/a\\..\\b", "/a/b\\..", "/x/..;/y", "/x/..;a=b/y", "/x/..%3b/y", "/a/b/..%2f",
        "/a/..%2Fb", "/a%2f..", "/a%2F../b", "/a/b/..%5cc", "/public/%2e%2e;/admin",
        "/public/%2e.%2fadmin",
    };
    char text[256];

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        ck_assert_msg(normalise(paths[i], strlen(paths[i]), text) == PATH_HIDES, "%s", paths[i]);
}
END_TEST

START_TEST(what_is_no_escape_is_refused)
{
    static const char *const bad[] = {
        "/%", "/a%", "/%4", "/a/%f", "/%zz", "/%4g", "/%g4", "/%%41", "/% 41", "/%-1", "/%u002e",
        "/a/%2/../b", "/%/..",
    };
    char text[64];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(normalise(bad[i], strlen(bad[i]), text) == PATH_BAD_ESCAPE, "%s", bad[i]);
    ck_assert_int_eq(normalise("/%00", 4, text), PATH_NUL);
    ck_assert_int_eq(normalise("/a%00.html", 10, text), PATH_NUL);
    ck_assert_int_eq(normalise("/..%00/", 7, text), PATH_NUL);
    ck_assert_int_eq(normalise("/a\0b", 4, text), PATH_NUL);
}
END_TEST

/* A scan that says normal is right, and one that says no is so of a path that is not plain. */
START_TEST(the_scan_passes_what_is_plain_and_nothing_else)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path = rows[i].path;
        bool is_plain = !strchr(path, '%') && !strchr(path, '\\') && !strstr(path, "//") &&
                        !strstr(path, "/.");
        size_t end, n = strlen(path);

        ck_assert_msg(scan(path, n, &end) == is_plain, "%s", path);
        ck_assert_uint_eq(end, n);
        if (is_plain)
            ck_assert_str_eq(path, rows[i].normal);
    }
}
END_TEST

START_TEST(the_scan_sees_each_byte_of_every_length)
{
    static const char *const odd[] = { "%", "\\", "//", "/.", "/./", "//x", "/..." };
    char target[64];
    size_t end;

    for (size_t n = 1; n <= 40; n++) {
        for (size_t place = 1; place < n; place++) {
            for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
                size_t m = strlen(odd[i]);

                if (place + m > n)
                    continue;
                memset(target, 'a', sizeof target);
                target[0] = '/';
                memcpy(target + place, odd[i], m);
                ck_assert(!scan(target, n, &end));
                ck_assert_uint_eq(end, n);
                if (place + m == n)
                    continue;
                target[place + m] = '?'; /* the path ends behind it */
                ck_assert(!scan(target, n, &end));
                ck_assert_uint_eq(end, place + m);
                memset(target + place, 'a', m + 1);
                target[place] = '?'; /* it is in the query */
                memcpy(target + place + 1, odd[i], n - place - 1 < m ? n - place - 1 : m);
                ck_assert(scan(target, n, &end));
                ck_assert_uint_eq(end, place);
            }
        }
        memset(target, '.', sizeof target);
        target[0] = 'a';
        ck_assert(scan(target, n, &end)); /* dots alone are nothing */
        ck_assert_uint_eq(end, n);
    }
}
END_TEST

/* All paths of a few letters: what is good is normal, does not change again and never climbs, read
 * by whom it may. */
START_TEST(all_short_paths)
{
    static const char letters[] = "/.;\\a%2";
    const size_t nletters = sizeof letters - 1;
    size_t total = 1;

    for (size_t n = 0; n <= 6; n++, total *= nletters) {
        for (size_t number = 0; number < total; number++) {
            char path[16] = "/", text[16], again[16];
            size_t rest = number;

            for (size_t i = 0; i < n; i++, rest /= nletters)
                path[i + 1] = letters[rest % nletters];
            if (normalise(path, n + 1, text) != PATH_GOOD)
                continue;
            ck_assert_int_eq(text[0], '/');
            ck_assert_msg(!strstr(text, "/../") && !strstr(text, "/./") && !strstr(text, "//"),
                          "%s: %s", path, text);
            ck_assert_int_eq(normalise(text, strlen(text), again), PATH_GOOD);
            ck_assert_str_eq(text, again);
        }
    }
}
END_TEST

UNIT_MAIN("path", every_path_has_its_normal_form, what_readers_see_differently_is_refused,
          what_is_no_escape_is_refused, the_scan_passes_what_is_plain_and_nothing_else,
          the_scan_sees_each_byte_of_every_length,
          all_short_paths)
