/* Header rules, and what a proxy adds: X-Forwarded-*, X-Request-Id, Via. */
#include <stdlib.h>
#include <string.h>
#include "t/unit/unit.h"
#include "worker/proxy/rules.h"

#define IDS 20000

static struct arena arena;
static struct head head;
static struct request_ids ids;
static struct forwarded fw;
static struct ip peer;
static struct net nets[4];
static struct conf_nets trusted;

static void begin(const char *from, const char *trust)
{
    struct slice rest = slice_str(trust), one;
    const char *why;

    request_ids_init(&ids, 1, 2);
    arena_init(&arena, NULL);
    head_init(&head, &arena);
    head.scheme = SLICE("http");
    head.authority = SLICE("site.test");
    head.minor = 1;
    ck_assert(ip_parse(slice_str(from), &peer));
    peer.port = 999;
    trusted = (struct conf_nets){ nets, 0 };
    while (slice_next_item(&rest, &one))
        ck_assert(net_parse(one, &nets[trusted.n++], &why));
}

static void field(const char *name, const char *value)
{
    struct slice n = slice_str(name);

    ck_assert(fields_add(&head.fields, field_lookup(n), n, slice_str(value)));
}

/* The one field of that name, "" if there is none. */
static const char *get(const char *name)
{
    struct slice n = slice_str(name), found = SLICE("");
    unsigned count = 0;

    FIELDS_EACH(f, &head.fields) {
        if (!slice_ieq(f->name, n))
            continue;
        found = f->value;
        count++;
    }
    ck_assert_uint_le(count, 1);
    return arena_dup(&arena, found).p;
}

static const char *client(void)
{
    char text[ADDR_TEXT_MAX];
    size_t n = ip_format(&fw.client, text);

    return arena_dup(&arena, slice_of(text, n)).p;
}

static void run(void)
{
    ck_assert(forwarded_read(&fw, &head, &peer, &trusted, &ids, &arena));
    ck_assert(forwarded_write(&fw, &head, &peer, &arena));
}

START_TEST(the_untrusted_are_not_believed)
{
    begin("192.0.2.1", "10.0.0.0/8");
    field("X-Forwarded-For", "10.1.1.1");
    field("x-forwarded-for", "10.1.1.2");
    field("X-Forwarded-Proto", "https");
    field("X-Forwarded-Host", "evil.test");
    field("X-Request-Id", "forged");
    run();
    ck_assert(!fw.is_trusted);
    ck_assert_str_eq(client(), "192.0.2.1");
    ck_assert_uint_eq(fw.client.port, 999);
    ck_assert_str_eq(get("X-Forwarded-For"), "192.0.2.1");
    ck_assert_str_eq(get("X-Forwarded-Proto"), "http");
    ck_assert_str_eq(get("X-Forwarded-Host"), "site.test");
    ck_assert_str_ne(get("X-Request-Id"), "forged");
    ck_assert_uint_eq(strlen(get("X-Request-Id")), 32);
    ck_assert_str_eq(get("Via"), "1.1 rpd");
    arena_reset(&arena);
}
END_TEST

START_TEST(trusted_proxies_are)
{
    begin("10.0.0.2", "10.0.0.0/8");
    field("X-Forwarded-For", "198.51.100.9, 203.0.113.5");
    field("X-Forwarded-For", "10.0.0.7");
    field("X-Forwarded-Proto", "https");
    field("X-Forwarded-Host", "public.test");
    field("X-Request-Id", "theirs-1");
    run();
    ck_assert(fw.is_trusted);
    ck_assert_str_eq(client(), "203.0.113.5"); /* what lies behind an untrusted hop is hearsay */
    ck_assert_uint_eq(fw.client.port, 0);
    ck_assert(slice_eq(fw.scheme, SLICE("https")));
    ck_assert_str_eq(get("X-Forwarded-For"),
                     "198.51.100.9, 203.0.113.5, 10.0.0.7, 10.0.0.2");
    ck_assert_str_eq(get("X-Forwarded-Proto"), "https");
    ck_assert_str_eq(get("X-Forwarded-Host"), "public.test");
    ck_assert_str_eq(get("X-Request-Id"), "theirs-1");
    arena_reset(&arena);
}
END_TEST

static void client_is(const char *field_value, const char *expected)
{
    begin("10.0.0.2", "10.0.0.0/8, 2001:db8::/32");
    field("X-Forwarded-For", field_value);
    ck_assert(forwarded_read(&fw, &head, &peer, &trusted, &ids, &arena));
    ck_assert_msg(strcmp(client(), expected) == 0, "%s gave %s", field_value, client());
    arena_reset(&arena);
}

START_TEST(hops_as_people_write_them)
{
    client_is("192.0.2.1", "192.0.2.1");
    client_is("192.0.2.1:4711", "192.0.2.1");
    client_is("[2001:db9::1]:4711", "2001:db9::1");
    client_is("[2001:db9::1]", "2001:db9::1");
    client_is("2001:db9::1", "2001:db9::1");
    client_is("192.0.2.1,10.0.0.9 , 2001:db8::7", "192.0.2.1");
    client_is("192.0.2.1, , ,", "192.0.2.1");
    client_is("10.0.0.8, 10.0.0.9", "10.0.0.8"); /* all trusted: the farthest */
    client_is("192.0.2.1, unknown", "10.0.0.2");
    client_is("192.0.2.1, unknown, 10.3.3.3", "10.3.3.3");
    client_is("[192.0.2.1", "10.0.0.2");
    client_is("]", "10.0.0.2");
    client_is(":", "10.0.0.2");
    client_is("", "10.0.0.2");
    client_is(",,,", "10.0.0.2");
}
END_TEST

START_TEST(a_trusted_proxy_may_say_nothing)
{
    begin("10.0.0.2", "10.0.0.0/8");
    run();
    ck_assert_str_eq(client(), "10.0.0.2");
    ck_assert_str_eq(get("X-Forwarded-For"), "10.0.0.2");
    ck_assert_str_eq(get("X-Forwarded-Proto"), "http");
    ck_assert_str_eq(get("X-Forwarded-Host"), "site.test");
    ck_assert_uint_eq(strlen(get("X-Request-Id")), 32);
    arena_reset(&arena);
}
END_TEST

START_TEST(strange_values_of_trusted_proxies)
{
    char *id = malloc(302);

    memset(id, 'x', 301);
    id[301] = '\0';
    begin("10.0.0.2", "10.0.0.0/8");
    field("X-Forwarded-Proto", "gopher");
    field("X-Request-Id", id);
    field("Via", "1.0 other");
    head.minor = 0;
    head.authority = SLICE_NONE;
    field("X-Forwarded-For", "");
    ck_assert(forwarded_read(&fw, &head, &peer, &trusted, &ids, &arena));
    ck_assert(slice_eq(fw.scheme, SLICE("http")));
    ck_assert_uint_eq(fw.request_id.n, 32);
    ck_assert(forwarded_write(&fw, &head, &peer, &arena));
    ck_assert_str_eq(get("X-Forwarded-For"), "10.0.0.2");
    ck_assert_str_eq(get("X-Forwarded-Host"), "");
    ck_assert_uint_eq(strlen(get("X-Request-Id")), 32);
    ck_assert(slice_eq(head.fields.v[head.fields.n - 1].value, SLICE("1.0 rpd")));
    arena_reset(&arena);
    free(id);
}
END_TEST

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, 32);
}

START_TEST(request_ids_are_unique)
{
    char (*all)[32] = malloc(IDS * sizeof *all);

    for (unsigned worker = 0; worker < 2; worker++) {
        struct request_ids mine;

        request_ids_init(&mine, 77, worker);
        for (unsigned i = 0; i < IDS / 2; i++) {
            begin("192.0.2.1", "");
            ck_assert(forwarded_read(&fw, &head, &peer, &trusted, &mine, &arena));
            memcpy(all[worker * IDS / 2 + i], fw.request_id.p, 32);
            arena_reset(&arena);
        }
    }
    qsort(all, IDS, sizeof *all, compare);
    for (unsigned i = 1; i < IDS; i++)
        ck_assert_int_ne(memcmp(all[i - 1], all[i], 32), 0);
    free(all);
}
END_TEST

/* ---- the route's rules ---- */

static struct conf_field_rule rule(enum conf_rule_op op, const char *name, const char *value)
{
    struct conf_field_rule r = { .op = op, .name = slice_str(name) };
    struct strbuf error;

    strbuf_init(&error);
    if (value)
        ck_assert(template_parse(&r.value, slice_str(value), &error));
    strbuf_fini(&error);
    return r;
}

START_TEST(rules_in_their_order)
{
    struct conf_field_rule v[] = {
        rule(CONF_RULE_REMOVE, "x-a", NULL),
        rule(CONF_RULE_SET, "X-B", "new $method"),
        rule(CONF_RULE_ADD, "X-C", "$header_x_b"),
        rule(CONF_RULE_SET, "User-Agent", "$header_nothing"),
        rule(CONF_RULE_ADD, "X-D", " a "),
        rule(CONF_RULE_REMOVE, "X-D", NULL),
    };
    struct conf_field_rules rules = { v, sizeof v / sizeof v[0] };
    struct vars vars = { .request = &head };

    begin("192.0.2.1", "");
    head.method_text = SLICE("GET");
    field("X-A", "1");
    field("X-a", "2");
    field("x-b", "old");
    field("X-B", "old too");
    field("User-Agent", "curl");
    ck_assert(rules_apply(&rules, &head.fields, &vars, &arena));
    ck_assert_str_eq(get("X-A"), "");
    ck_assert_str_eq(get("X-B"), "new GET");
    ck_assert_str_eq(get("X-C"), "new GET");
    ck_assert_str_eq(get("User-Agent"), "");
    ck_assert_ptr_nonnull(fields_find(&head.fields, FIELD_USER_AGENT));
    ck_assert_str_eq(get("X-D"), "");
    for (size_t i = 0; i < rules.n; i++)
        template_fini(&v[i].value);
    arena_reset(&arena);
}
END_TEST

START_TEST(memory_that_ends_is_told)
{
    struct arena_pool pool;
    struct arena small;

    begin("10.0.0.2", "10.0.0.0/8");
    arena_pool_init(&pool, 0, 1);
    arena_init(&small, &pool);
    ck_assert_ptr_nonnull(arena_alloc(&small, 4064));
    ck_assert(!forwarded_read(&fw, &head, &peer, &trusted, &ids, &small));
    fw.request_id = SLICE("x");
    fw.id_line = SLICE_NONE;
    ck_assert(!forwarded_write(&fw, &head, &peer, &small));
    arena_reset(&small);
    arena_pool_fini(&pool);
    arena_reset(&arena);
}
END_TEST

UNIT_MAIN("rules", the_untrusted_are_not_believed, trusted_proxies_are,
          hops_as_people_write_them, a_trusted_proxy_may_say_nothing,
          strange_values_of_trusted_proxies, request_ids_are_unique, rules_in_their_order,
          memory_that_ends_is_told)
