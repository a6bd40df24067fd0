/* Request variables: every kind of value, cutting, escaping, absent ones. */
#include <string.h>
#include "common/base/json.h"
#include "t/unit/unit.h"
#include "worker/proxy/vars.h"

static struct arena arena;
static struct head head;
static struct vars vars;

static void begin(void)
{
    arena_init(&arena, NULL);
    head_init(&head, &arena);
    head.method_text = SLICE("GET");
    head.authority = SLICE("ExAmple.com:8080");
    head.path = SLICE("/a/b?c=d&e");
    head.minor = 1;
    vars = (struct vars){
        .request = &head, .scheme = SLICE("http"), .request_id = SLICE("id1"),
        .listener = SLICE("web"), .route = SLICE("r"), .status = 404, .bytes_in = 12,
        .bytes_out = 34, .duration_us = 1234567, .response_us = UINT64_MAX, .connect_us = 0,
    };
    ck_assert(ip_parse(SLICE("192.0.2.7"), &vars.client));
    vars.client.port = 4711;
}

static void field(const char *name, const char *value)
{
    struct slice n = slice_str(name);

    ck_assert(fields_add(&head.fields, field_lookup(n), n, slice_str(value)));
}

static struct template parse(const char *source)
{
    struct template t;
    struct strbuf error;

    strbuf_init(&error);
    ck_assert_msg(template_parse(&t, slice_str(source), &error), "%s", source);
    strbuf_fini(&error);
    return t;
}

static void expect(const char *source, const char *text)
{
    struct template t = parse(source);
    struct slice s = vars_text(&t, &vars, &arena);

    ck_assert_ptr_nonnull(s.p);
    ck_assert_str_eq(s.p, text);
    ck_assert_uint_eq(s.n, strlen(text));
    template_fini(&t);
}

START_TEST(values_of_a_request)
{
    begin();
    field("X-Beta-Flag", "yes");
    field("Cookie", "a=1; session=s=2 ; b=3");
    field("Cookie", "other=4");
    field("Referer", "http://r/");
    expect("$client_ip:$client_port", "192.0.2.7:4711");
    expect("$scheme://$host$uri", "http://example.com/a/b?c=d&e");
    expect("$path|$query|$method|$protocol", "/a/b|c=d&e|GET|HTTP/1.1");
    expect("$header_x_beta_flag,$header_X_Beta_Flag", "yes,yes");
    expect("$cookie_session;$cookie_a;$cookie_other;$cookie_none", "s=2;1;4;");
    expect("$request_id $listener $route $status $bytes_in $bytes_out", "id1 web r 404 12 34");
    expect("$duration $connect_time", "1.234 0.000");
    expect("$referer$user_agent", "http://r/");
    expect("$$x $end_reason", "$x ok");
    arena_reset(&arena);
}
END_TEST

START_TEST(what_is_absent_is_empty)
{
    begin();
    head.path = SLICE("/a");
    expect("[$query$backend$server$response_time$sni$header_nope$cookie_no]", "[]");
    head.path = SLICE("/a?");
    expect("[$query]", "[]");
    vars.request = NULL;
    expect("[$method$host$uri$path$query$protocol$referer$header_a$cookie_b]", "[]");
    expect("[$server_ip$server_port]", "[]");
    arena_reset(&arena);
}
END_TEST

START_TEST(dashes_are_for_absent_values_only)
{
    struct template t;
    char buf[64];
    size_t n;

    begin();
    t = parse("$backend|$status|");
    n = vars_expand(&t, &vars, buf, sizeof buf, true, NULL);
    ck_assert_mem_eq(buf, "-|404|", 6);
    ck_assert_uint_eq(n, 6);
    template_fini(&t);
    arena_reset(&arena);
}
END_TEST

/* Never a byte behind the cap, and the length it would have had. */
START_TEST(text_is_cut_at_the_cap)
{
    struct template t;
    char buf[16];

    begin();
    t = parse("$scheme-$method-$uri");
    for (size_t cap = 0; cap < 12; cap++) {
        memset(buf, '#', sizeof buf);
        ck_assert_uint_eq(vars_expand(&t, &vars, buf, cap, false, NULL), 19);
        ck_assert_mem_eq(buf, "http-GET-/a/", cap);
        ck_assert_int_eq(buf[cap], '#');
    }
    template_fini(&t);
    arena_reset(&arena);
}
END_TEST

START_TEST(escaped_values_that_do_not_fit_are_known)
{
    struct template t;
    char buf[32];

    begin();
    field("User-Agent", "\"\"\"\"");
    t = parse("$user_agent");
    ck_assert_uint_eq(vars_expand(&t, &vars, buf, 8, false, json_escape), 8);
    ck_assert_mem_eq(buf, "\\\"\\\"\\\"\\\"", 8);
    for (size_t cap = 0; cap < 8; cap++) {
        memset(buf, '#', sizeof buf);
        ck_assert_uint_gt(vars_expand(&t, &vars, buf, cap, false, json_escape), cap);
        ck_assert_int_eq(buf[cap], '#');
    }
    template_fini(&t);
    arena_reset(&arena);
}
END_TEST

START_TEST(long_values_are_cut_where_asked)
{
    struct template t;
    char buf[64];

    begin();
    field("User-Agent", "0123456789");
    t = parse("longer literal $user_agent.");
    vars.value_max = 4;
    ck_assert_uint_eq(vars_expand(&t, &vars, buf, sizeof buf, false, json_escape), 20);
    ck_assert_mem_eq(buf, "longer literal 0123.", 20);
    template_fini(&t);
    arena_reset(&arena);
}
END_TEST

START_TEST(memory_that_ends_is_told)
{
    struct arena_pool pool;
    struct arena small;
    struct template t;

    begin();
    arena_pool_init(&pool, 0, 1);
    arena_init(&small, &pool);
    ck_assert_ptr_nonnull(arena_alloc(&small, 4000));
    t = parse("$uri$uri$uri$uri$uri$uri$uri$uri$uri$uri$uri$uri$uri");
    ck_assert_ptr_null(vars_text(&t, &vars, &small).p);
    template_fini(&t);
    arena_reset(&small);
    arena_pool_fini(&pool);
    arena_reset(&arena);
}
END_TEST

UNIT_MAIN("vars", values_of_a_request, what_is_absent_is_empty,
          dashes_are_for_absent_values_only, text_is_cut_at_the_cap,
          escaped_values_that_do_not_fit_are_known, long_values_are_cut_where_asked,
          memory_that_ends_is_told)
