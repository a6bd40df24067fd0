/* The tables of names, methods and reasons; the list of fields; what a valid authority is. */
#include <ctype.h>
#include <stdio.h>
#include "t/unit/unit.h"
#include "worker/http/head.h"

static const struct slice known[] = {
#define FIELD(ID, name, first, last) SLICE_INIT(name),
#include "worker/http/fields.def"
#undef FIELD
};
#define KNOWN (sizeof known / sizeof known[0])

static struct arena arena;

static void setup(void)
{
    arena_init(&arena, NULL);
}

static void teardown(void)
{
    arena_reset(&arena);
}

START_TEST(lookup_finds_every_name_in_any_case)
{
    for (size_t i = 0; i < KNOWN; i++) {
        char upper[64], mixed[64];
        enum field_id id = (enum field_id)(i + 1);

        ck_assert_uint_lt(known[i].n, sizeof upper);
        for (size_t k = 0; k < known[i].n; k++) {
            upper[k] = (char)toupper((unsigned char)known[i].p[k]);
            mixed[k] = k % 2 ? upper[k] : known[i].p[k];
        }
        ck_assert_int_eq(field_lookup(known[i]), id);
        ck_assert_int_eq(field_lookup(slice_of(upper, known[i].n)), id);
        ck_assert_int_eq(field_lookup(slice_of(mixed, known[i].n)), id);
        ck_assert(slice_eq(field_name(id), known[i]));
    }
}
END_TEST

/* Names of the same length with the same ends share a slot. */
START_TEST(lookup_refuses_near_misses)
{
    for (size_t i = 0; i < KNOWN; i++) {
        char name[64];
        struct slice s = slice_of(name, known[i].n);

        for (size_t k = 0; k < s.n; k++) {
            memcpy(name, known[i].p, s.n);
            name[k] = '_';
            ck_assert_int_eq(field_lookup(s), FIELD_OTHER);
        }
        memcpy(name, known[i].p, s.n);
        ck_assert_int_eq(field_lookup(slice_of(name, s.n - 1)), FIELD_OTHER);
        name[s.n] = 's';
        ck_assert_int_eq(field_lookup(slice_of(name, s.n + 1)), FIELD_OTHER);
    }
    ck_assert_int_eq(field_lookup(SLICE("")), FIELD_OTHER);
    ck_assert_int_eq(field_lookup(SLICE_NONE), FIELD_OTHER);
    ck_assert_int_eq(field_lookup(SLICE("x")), FIELD_OTHER);
    ck_assert_int_eq(field_lookup(SLICE("\xff\xff")), FIELD_OTHER);
}
END_TEST

START_TEST(framing_and_routing_fields_may_not_trail)
{
    static const enum field_id never[] = {
        FIELD_TRANSFER_ENCODING, FIELD_CONTENT_LENGTH, FIELD_HOST, FIELD_CONNECTION, FIELD_TE,
        FIELD_TRAILER, FIELD_UPGRADE, FIELD_AUTHORIZATION, FIELD_COOKIE, FIELD_SET_COOKIE,
        FIELD_CONTENT_TYPE, FIELD_CONTENT_ENCODING, FIELD_CACHE_CONTROL, FIELD_EXPECT, FIELD_VIA,
        FIELD_X_FORWARDED_FOR, FIELD_RANGE, FIELD_LOCATION, FIELD_WWW_AUTHENTICATE,
    };

    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++)
        ck_assert(!field_may_trail(never[i]));
    ck_assert(field_may_trail(FIELD_OTHER));
    ck_assert(field_may_trail(FIELD_ETAG));
}
END_TEST

/* "name=value;" of every field that is not removed. */
static const char *show(const struct fields *f)
{
    static char text[512];
    int n = 0;

    text[0] = '\0';
    FIELDS_EACH(it, f)
        n += snprintf(text + n, sizeof text - (size_t)n, "%.*s=%.*s;", SLICE_ARG(it->name),
                      SLICE_ARG(it->value));
    return text;
}

static void add(struct fields *f, const char *name, const char *value)
{
    struct slice s = slice_str(name);

    ck_assert(fields_add(f, field_lookup(s), s, slice_str(value)));
}

START_TEST(fields_are_kept_in_order_and_found)
{
    struct head h;

    head_init(&h, &arena);
    ck_assert_ptr_null(fields_find(&h.fields, FIELD_VIA));
    ck_assert_ptr_null(fields_find_name(&h.fields, SLICE("x-a")));
    add(&h.fields, "X-A", "1");
    add(&h.fields, "Via", "2");
    add(&h.fields, "x-a", "3");
    ck_assert_str_eq(show(&h.fields), "X-A=1;Via=2;x-a=3;");
    ck_assert(slice_eq(fields_find(&h.fields, FIELD_VIA)->value, SLICE("2")));
    ck_assert(slice_eq(fields_find_name(&h.fields, SLICE("VIA"))->value, SLICE("2")));
    ck_assert(slice_eq(fields_find_name(&h.fields, SLICE("x-A"))->value, SLICE("1")));
}
END_TEST

START_TEST(removed_fields_are_not_seen)
{
    struct head h;

    head_init(&h, &arena);
    add(&h.fields, "X-A", "1");
    add(&h.fields, "Via", "2");
    add(&h.fields, "x-a", "3");
    add(&h.fields, "via", "4");
    fields_remove_name(&h.fields, SLICE("X-a"));
    ck_assert_str_eq(show(&h.fields), "Via=2;via=4;");
    ck_assert_ptr_null(fields_find_name(&h.fields, SLICE("x-a")));
    fields_remove(&h.fields, FIELD_VIA);
    ck_assert_str_eq(show(&h.fields), "");
    ck_assert_ptr_null(fields_find(&h.fields, FIELD_VIA));
    add(&h.fields, "Via", "5");
    ck_assert_str_eq(show(&h.fields), "Via=5;");
    fields_remove_name(&h.fields, SLICE("VIA"));
    fields_remove_name(&h.fields, SLICE("absent"));
    ck_assert_str_eq(show(&h.fields), "");
}
END_TEST

START_TEST(set_leaves_exactly_one)
{
    struct head h;

    head_init(&h, &arena);
    ck_assert(fields_set(&h.fields, FIELD_OTHER, SLICE("X-A"), SLICE("1")));
    add(&h.fields, "Server", "s");
    add(&h.fields, "x-a", "2");
    ck_assert(fields_set(&h.fields, FIELD_OTHER, SLICE("X-a"), SLICE("3")));
    ck_assert_str_eq(show(&h.fields), "X-a=3;Server=s;");
    ck_assert(fields_set(&h.fields, FIELD_SERVER, SLICE("Server"), SLICE("t")));
    ck_assert_str_eq(show(&h.fields), "X-a=3;Server=t;");
    ck_assert_int_eq(fields_find(&h.fields, FIELD_SERVER)->id, FIELD_SERVER);
}
END_TEST

START_TEST(items_of_lists_are_found)
{
    struct head h;

    head_init(&h, &arena);
    ck_assert(!fields_list_has(&h.fields, FIELD_VARY, SLICE("a")));
    add(&h.fields, "Vary", "ab, , Cd ,");
    add(&h.fields, "Trailer", "a");
    add(&h.fields, "Vary", "*");
    ck_assert(fields_list_has(&h.fields, FIELD_VARY, SLICE("AB")));
    ck_assert(fields_list_has(&h.fields, FIELD_VARY, SLICE("cD")));
    ck_assert(fields_list_has(&h.fields, FIELD_VARY, SLICE("*")));
    ck_assert(!fields_list_has(&h.fields, FIELD_VARY, SLICE("a")));
    ck_assert(!fields_list_has(&h.fields, FIELD_VARY, SLICE("")));
    fields_remove(&h.fields, FIELD_VARY);
    ck_assert(!fields_list_has(&h.fields, FIELD_VARY, SLICE("ab")));
}
END_TEST

START_TEST(list_grows_and_says_when_it_cannot)
{
    struct arena_pool pool;
    struct arena small;
    struct head h;
    unsigned n = 0;

    arena_pool_init(&pool, 0, 2);
    arena_init(&small, &pool);
    head_init(&h, &small);
    while (n < 1000 && fields_add(&h.fields, FIELD_OTHER, SLICE("X"), SLICE("y")))
        n++;
    ck_assert_uint_gt(n, 24);
    ck_assert_uint_lt(n, 1000);
    ck_assert_uint_eq(h.fields.n, n);
    ck_assert(slice_eq(h.fields.v[0].value, SLICE("y")));
    arena_reset(&small);
    arena_pool_fini(&pool);
}
END_TEST

START_TEST(reasons_and_methods)
{
    ck_assert(slice_eq(status_reason(200), SLICE("OK")));
    ck_assert(slice_eq(status_reason(100), SLICE("Continue")));
    ck_assert(slice_eq(status_reason(511), SLICE("Network Authentication Required")));
    ck_assert_uint_eq(status_reason(0).n, 0);
    ck_assert_uint_eq(status_reason(99).n, 0);
    ck_assert_uint_eq(status_reason(299).n, 0);
    ck_assert_uint_eq(status_reason(599).n, 0);
    ck_assert_uint_eq(status_reason(99999).n, 0);
    ck_assert_ptr_nonnull(status_reason(299).p);
    ck_assert(method_is_idempotent(METHOD_GET) && method_is_idempotent(METHOD_PUT));
    ck_assert(!method_is_idempotent(METHOD_POST) && !method_is_idempotent(METHOD_OTHER));
}
END_TEST

START_TEST(authorities)
{
    static const struct slice good[] = {
        SLICE_INIT("a"), SLICE_INIT("a.example"), SLICE_INIT("A_b-c.~x"), SLICE_INIT("a:80"),
        SLICE_INIT("a:"), SLICE_INIT("127.0.0.1"), SLICE_INIT("127.0.0.1:65535"),
        SLICE_INIT("[::1]"), SLICE_INIT("[::1]:80"), SLICE_INIT("[::1]:"), SLICE_INIT("a%20b"),
        SLICE_INIT("[2001:db8:0:0:0:0:0:1]:8080"), SLICE_INIT("[::ffff:1.2.3.4]"),
        SLICE_INIT("a!$&'()*+;="), SLICE_INIT("a:0"), SLICE_INIT("a."),
    };
    static const struct slice bad[] = {
        SLICE_INIT(""), SLICE_INIT(":"), SLICE_INIT(":80"), SLICE_INIT("a:b"), SLICE_INIT("a:1:2"),
        SLICE_INIT("a:65536"), SLICE_INIT("a:000080"), SLICE_INIT("a:-1"), SLICE_INIT("a:+1"),
        SLICE_INIT("a b"), SLICE_INIT("a/b"), SLICE_INIT("a@b"), SLICE_INIT("a,b"),
        SLICE_INIT("a?b"), SLICE_INIT("a#b"), SLICE_INIT("a\\b"), SLICE_INIT("a\"b"),
        SLICE_INIT("a%"), SLICE_INIT("a%2"), SLICE_INIT("a%zz"), SLICE_INIT("a\0b"),
        SLICE_INIT("a\x7f"), SLICE_INIT("\xe9"), SLICE_INIT("["), SLICE_INIT("[]"),
        SLICE_INIT("[::1"), SLICE_INIT("::1"), SLICE_INIT("[::1]80"), SLICE_INIT("[::1]x:80"),
        SLICE_INIT("[::1]:x"), SLICE_INIT("[1.2.3.4]"), SLICE_INIT("[fe80::1%eth0]"),
        SLICE_INIT("[v1.x]"), SLICE_INIT("[::1\0]"), SLICE_INIT("a]"), SLICE_INIT("a\t"),
        SLICE_INIT("[::00000000000000000000000000000000000000000000000000000000000001]"),
    };

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        ck_assert_msg(authority_is_valid(good[i]), "%.*s", SLICE_ARG(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_msg(!authority_is_valid(bad[i]), "%.*s", SLICE_ARG(bad[i]));
}
END_TEST

START_TEST(host_of_an_authority)
{
    ck_assert(slice_eq(authority_host(SLICE("a:80")), SLICE("a")));
    ck_assert(slice_eq(authority_host(SLICE("a")), SLICE("a")));
    ck_assert(slice_eq(authority_host(SLICE("a:")), SLICE("a")));
    ck_assert(slice_eq(authority_host(SLICE("[::1]:80")), SLICE("[::1]")));
    ck_assert(slice_eq(authority_host(SLICE("[::1]")), SLICE("[::1]")));
    ck_assert_uint_eq(authority_host(SLICE("")).n, 0);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        lookup_finds_every_name_in_any_case, lookup_refuses_near_misses,
        framing_and_routing_fields_may_not_trail, fields_are_kept_in_order_and_found,
        removed_fields_are_not_seen, set_leaves_exactly_one, list_grows_and_says_when_it_cannot,
        items_of_lists_are_found, reasons_and_methods, authorities, host_of_an_authority,
    };
    Suite *suite = suite_create("head");
    TCase *tcase = tcase_create("head");

    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
