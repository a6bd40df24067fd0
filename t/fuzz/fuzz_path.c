/* libFuzzer target: targets of requests. What the scan passes must be what normalising gives; a
 * normal form must be one, hold no dot segment, and lead nowhere else when it is read again. */
#include "common/base/path.h"
#include "t/fuzz/fuzz.h"

static bool has(struct slice s, const char *text)
{
    return s.n > 0 && memmem(s.p, s.n, text, strlen(text)) != NULL;
}

static void check_normal(struct slice path)
{
    char *again = malloc(path.n);
    size_t n, end;

    FUZZ_CHECK(again && path.n > 0 && path.p[0] == '/');
    FUZZ_CHECK(!has(path, "//") && !has(path, "/../") && !has(path, "/./"));
    FUZZ_CHECK(!slice_ends(path, SLICE("/..")) && !slice_ends(path, SLICE("/.")));
    FUZZ_CHECK(path_normalise(path, again, &n) == PATH_GOOD);
    FUZZ_CHECK(slice_eq(slice_of(again, n), path));
    if (!has(path, "%") && !has(path, "\\") && !has(path, "/.") && !has(path, "?"))
        FUZZ_CHECK(path_scan(path, &end) && end == path.n);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice target = fuzz_exact(data, size), path;
    char *out = malloc(size ? size : 1);
    bool is_normal;
    size_t end, n;

    FUZZ_CHECK(out);
    is_normal = path_scan(target, &end);
    FUZZ_CHECK(end == slice_find(target, '?'));
    path = slice_of(target.p, end);
    if (path.n > 0 && path.p[0] == '/' && !memchr(path.p, '\0', path.n)) {
        enum path_verdict v = path_normalise(path, out, &n);

        FUZZ_CHECK(!is_normal || (v == PATH_GOOD && slice_eq(slice_of(out, n), path)));
        if (v == PATH_GOOD)
            check_normal(slice_of(out, n));
    }
    free(out);
    fuzz_exact_free(target);
    return 0;
}
