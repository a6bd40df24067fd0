/* Networks that may come in: the longest prefix decides, whatever the order and number of rules. */
#include "common/core/nets.h"

#include <stdlib.h>
#include <string.h>
#include "t/unit/unit.h"

static struct net_rule rule(const char *text, bool is_allowed)
{
    struct net_rule r = { .is_allowed = is_allowed };
    const char *why;

    ck_assert_msg(net_parse(slice_str(text), &r.net, &why), "%s: %s", text, why);
    return r;
}

static bool allows(const struct nets *nets, const char *text)
{
    struct ip ip;

    ck_assert(ip_parse(slice_str(text), &ip));
    return nets_allow(nets, &ip);
}

START_TEST(test_longest_prefix)
{
    struct net_rule rules[] = {
        rule("10.0.0.0/8", true),      rule("10.1.0.0/16", false), rule("10.1.2.0/24", true),
        rule("10.1.2.3", false),       rule("255.255.255.255", true), rule("0.0.0.0/32", true),
        rule("2001:db8::/32", true),   rule("2001:db8:1::/48", false), rule("::1", true),
        rule("10.0.0.0/9", true),      rule("ff00::/8", true),
    };
    size_t n = sizeof rules / sizeof *rules;
    struct arena arena;
    struct nets nets;

    arena_init(&arena, NULL);
    net_rules_sort(rules, n);
    ck_assert_ptr_null(net_rules_contradiction(rules, n));
    nets_build(&nets, rules, n, false, &arena);
    ck_assert(allows(&nets, "10.0.0.0") && allows(&nets, "10.255.255.255"));
    ck_assert(!allows(&nets, "9.255.255.255") && !allows(&nets, "11.0.0.0"));
    ck_assert(!allows(&nets, "10.1.0.0") && !allows(&nets, "10.1.255.255"));
    ck_assert(allows(&nets, "10.1.2.0") && allows(&nets, "10.1.2.255"));
    ck_assert(!allows(&nets, "10.1.2.3") && allows(&nets, "10.1.2.4"));
    ck_assert(allows(&nets, "255.255.255.255") && !allows(&nets, "255.255.255.254"));
    ck_assert(allows(&nets, "0.0.0.0") && !allows(&nets, "0.0.0.1"));
    ck_assert(allows(&nets, "::1") && !allows(&nets, "::2"));
    ck_assert(allows(&nets, "2001:db8::5") && !allows(&nets, "2001:db8:1::5"));
    ck_assert(allows(&nets, "2001:db8:2::") && !allows(&nets, "2001:db9::"));
    ck_assert(allows(&nets, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    ck_assert(allows(&nets, "::ffff:10.1.2.4"));
    ck_assert(!nets_allow(&nets, &(struct ip){ .family = AF_UNIX }));
    arena_reset(&arena);
}
END_TEST

START_TEST(test_otherwise_and_families)
{
    struct net_rule rules[] = { rule("::/0", false), rule("unix", false) };
    struct arena arena;
    struct nets nets;

    arena_init(&arena, NULL);
    net_rules_sort(rules, 2);
    nets_build(&nets, rules, 2, true, &arena);
    ck_assert(allows(&nets, "192.0.2.1") && !allows(&nets, "2001:db8::1"));
    ck_assert(!nets_allow(&nets, &(struct ip){ .family = AF_UNIX }));
    nets_build(&nets, rules, 0, true, &arena);
    ck_assert(allows(&nets, "192.0.2.1") && allows(&nets, "2001:db8::1"));
    arena_reset(&arena);
}
END_TEST

START_TEST(test_contradiction)
{
    struct net_rule rules[] = { rule("10.0.0.0/8", true), rule("10.0.0.0/9", false),
                                rule("10.0.0.0/8", true), rule("10.0.0.0/8", false) };

    net_rules_sort(rules, 4);
    ck_assert_ptr_eq(net_rules_contradiction(rules, 4), &rules[0]);
    ck_assert(!rules[0].is_allowed && rules[1].is_allowed);
}
END_TEST

static bool slow_answer(const struct net_rule *rules, size_t n, const struct ip *ip)
{
    bool answer = false;
    int best = -1;

    for (size_t i = 0; i < n; i++)
        if (net_contains(&rules[i].net, ip) && rules[i].net.bits > best) {
            best = rules[i].net.bits;
            answer = rules[i].is_allowed;
        }
    return answer;
}

/* Against the definition, with prefixes that nest and touch in every way. */
START_TEST(test_at_random)
{
    enum { N = 60 };
    struct net_rule rules[N];
    struct arena arena;
    struct nets nets;

    srandom(7);
    for (int round = 0; round < 200; round++) {
        size_t n = 0;

        arena_init(&arena, NULL);
        while (n < N) {
            bool is_v4 = random() % 2;
            unsigned bits = (unsigned)random() % 13, start = (unsigned)random() & 0xfff;
            struct net_rule r = { .is_allowed = random() % 2 };

            start &= ~0u << (12 - bits);
            r.net.family = is_v4 ? AF_INET : AF_INET6;
            r.net.bits = (uint8_t)(116 + bits);
            if (is_v4)
                r.net.b[10] = r.net.b[11] = 0xff;
            else
                r.net.b[0] = 0x20;
            r.net.b[14] = (uint8_t)(start >> 8);
            r.net.b[15] = (uint8_t)start;
            rules[n++] = r;
        }
        net_rules_sort(rules, n);
        for (size_t i = 1; i < n; i++) /* contradictions are refused elsewhere */
            if (memcmp(&rules[i].net, &rules[i - 1].net, sizeof rules[i].net) == 0)
                rules[i].is_allowed = rules[i - 1].is_allowed;
        nets_build(&nets, rules, n, false, &arena);
        for (unsigned low = 0; low < 0x1100; low++) {
            struct ip ip = { .b = { 0x20 }, .family = AF_INET6 };

            ip.b[14] = (uint8_t)(low >> 8);
            ip.b[15] = (uint8_t)low;
            ck_assert(nets_allow(&nets, &ip) == slow_answer(rules, n, &ip));
            ip.b[0] = 0;
            ip.b[10] = ip.b[11] = 0xff;
            ip.family = AF_INET;
            ck_assert(nets_allow(&nets, &ip) == slow_answer(rules, n, &ip));
        }
        arena_reset(&arena);
    }
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        test_longest_prefix, test_otherwise_and_families, test_contradiction, test_at_random,
    };
    Suite *suite = suite_create("nets");
    TCase *tcase = tcase_create("nets");

    tcase_set_timeout(tcase, 60);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
