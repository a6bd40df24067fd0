/* What a client can decode: a table of Accept-Encoding. */
#include <check.h>
#include <stdlib.h>
#include "worker/http/accept_encoding.h"

#define G CONF_CODING_GZIP
#define Z CONF_CODING_ZSTD
#define B CONF_CODING_BR
#define NONE CONF_CODING_NONE

static const struct conf_codings ours = { .v = { Z, B, G }, .n = 3 };

static const struct {
    const char *first, *second; /* fields */
    enum conf_coding want;
} rows[] = {
    { NULL, NULL, NONE },
    { "", NULL, NONE },
    { "gzip", NULL, G },
    { "gzip, br, zstd", NULL, Z },
    { "gzip", "br", B },
    { "gzip;q=1.0, br;q=0.999", NULL, G },
    { "gzip;q=0.001", NULL, G },
    { "gzip;q=0.000", NULL, NONE },
    { "gzip;q=0, *", NULL, Z },
    { "zstd;q=0, br;q=0, *;q=0.1", NULL, G },
    { "*;q=0", NULL, NONE },
    { "*;q=0, gzip", NULL, G },
    { "identity", NULL, NONE },
    { "identity, gzip", NULL, G },
    { "identity, gzip;q=0.9", NULL, NONE },
    { "identity;q=0.5, gzip;q=0.6", NULL, G },
    { "identity;q=0", NULL, NONE },
    { "GZip", NULL, G },
    { "X-GZIP", NULL, G },
    { "compress, deflate", NULL, NONE },
    { " gzip ; q=0.5 , , br ; q=0.4 ", NULL, G },
    { "gzip;level=9;q=0.5, br;q=0.2", NULL, G },
    { "gzip;q=1.001", NULL, NONE },
    { "gzip;q=0.5555", NULL, NONE },
    { "gzip;q=", NULL, NONE },
    { "gzip;q=.5", NULL, NONE },
    { "gzip;q=-1", NULL, NONE },
    { "gzip;", NULL, G },
    { ";q=1", NULL, NONE },
    { "brr, gz", NULL, NONE },
};

static void add(struct fields *f, enum field_id id, const char *name, const char *value)
{
    if (value)
        ck_assert(fields_add(f, id, slice_str(name), slice_str(value)));
}

START_TEST(test_choice)
{
    struct arena arena;
    struct head h;

    arena_init(&arena, NULL);
    head_init(&h, &arena);
    add(&h.fields, FIELD_ACCEPT_ENCODING, "Accept-Encoding", rows[_i].first);
    add(&h.fields, FIELD_ACCEPT_ENCODING, "Accept-Encoding", rows[_i].second);
    ck_assert_msg(accept_encoding_choose(&h.fields, &ours) == rows[_i].want, "%s",
                  rows[_i].first ? rows[_i].first : "no field");
    arena_reset(&arena);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("accept_encoding");
    TCase *tc = tcase_create("all");
    SRunner *sr = srunner_create(s);

    tcase_add_loop_test(tc, test_choice, 0, (int)(sizeof rows / sizeof *rows));
    suite_add_tcase(s, tc);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
