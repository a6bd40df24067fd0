/* stats.def: the schema says what the structs are, and every enum's names match its numbers. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "common/core/stats.h"
#include "common/core/stats_schema.h"
#include "t/unit/unit.h"

static char *text_of(void (*print)(FILE *))
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);

    print(f);
    fclose(f);
    return text;
}

START_TEST(test_record_sizes)
{
    ck_assert_uint_eq(stats_record_size(STATS_rpd, false), 0);
    ck_assert_uint_eq(stats_record_size(STATS_worker, true), 0);
    ck_assert_uint_ge(stats_record_size(STATS_rpd, true), sizeof(struct stats_rpd_shared));
    ck_assert_uint_ge(stats_record_size(STATS_route, false), sizeof(struct stats_route));
    ck_assert_uint_lt(stats_record_size(STATS_route, false), sizeof(struct stats_route) + 64);
    ck_assert_uint_ge(stats_record_size(STATS_server, true), sizeof(struct stats_server_shared));
    for (int k = 0; k < STATS_KINDS; k++) {
        ck_assert_uint_eq(stats_record_size((enum stats_kind)k, false) % 64, 0);
        ck_assert_uint_eq(stats_record_size((enum stats_kind)k, true) % 64, 0);
    }
}
END_TEST

START_TEST(test_fields_lie_behind_one_another)
{
    size_t n, end[STATS_KINDS][2] = { { 0 } };
    const struct stats_field *f = stats_fields(&n);

    for (size_t i = 0; i < n; i++) {
        size_t size = 8;

        if (f[i].type == STATS_TYPE_TEXT)
            size = STATS_TEXT_MAX;
        if (f[i].type == STATS_TYPE_HISTOGRAM)
            size = sizeof(struct histogram);
        ck_assert_uint_eq(f[i].offset, end[f[i].kind][f[i].is_shared]);
        end[f[i].kind][f[i].is_shared] += size;
    }
    ck_assert_uint_eq(end[STATS_server][0], sizeof(struct stats_server));
    ck_assert_uint_eq(end[STATS_server][1], sizeof(struct stats_server_shared));
    ck_assert_uint_eq(end[STATS_worker][0], sizeof(struct stats_worker));
}
END_TEST

START_TEST(test_schema_agrees_with_structs)
{
    char want[256], *schema = text_of(stats_schema);

#define HAS(kind, scope, struct_, type, field, size)                                            \
    snprintf(want, sizeof want, "\nfield\t%s\t%s\t%s\t%s\t%zu\t%zu\t", kind, scope, type,       \
             #field, offsetof(struct struct_, field), (size_t)(size));                          \
    ck_assert_msg(strstr(schema, want), "no line %s", want)
    HAS("route", "slot", stats_route, "HISTOGRAM", latency, sizeof(struct histogram));
    HAS("route", "slot", stats_route, "ERRORS", status_5xx, 8);
    HAS("server", "shared", stats_server_shared, "TEXT", address, STATS_TEXT_MAX);
    HAS("server", "shared", stats_server_shared, "ENUM_server_state", state, 8);
    HAS("server", "slot", stats_server, "GAUGE", active, 8);
    HAS("worker", "slot", stats_worker, "SECONDS", cpu_seconds, 8);
    HAS("rpd", "shared", stats_rpd_shared, "TIME", started, 8);
#undef HAS
    ck_assert_ptr_eq(strstr(schema, "rpd-stats\t1\nhistogram\t16\t464\t0\t8\t16\t24\n"), schema);
    ck_assert_ptr_nonnull(strstr(schema, "\nkind\tserver\tservers\tIN_backend\t"));
    ck_assert_ptr_nonnull(strstr(schema, "\nkind\tworker\tworkers\tSLOTS\t0\t"));
    free(schema);
}
END_TEST

/* The n-th value of an enum line of the schema. */
static void is_nth(const char *schema, const char *name, unsigned n, const char *value)
{
    char start[64];
    const char *p;
    size_t len;

    snprintf(start, sizeof start, "\nenum\t%s\t", name);
    p = strstr(schema, start);
    ck_assert_ptr_nonnull(p);
    p += strlen(start);
    for (; n > 0; n--)
        p = strchr(p, '\t') + 1;
    len = strcspn(p, "\t\n");
    ck_assert_msg(len == strlen(value) && memcmp(p, value, len) == 0, "%s is '%.*s'", value,
                  (int)len, p);
}

START_TEST(test_enum_names)
{
    char *schema = text_of(stats_schema);

    is_nth(schema, "worker_state", WORKER_GONE, "gone");
    is_nth(schema, "worker_state", WORKER_STARTING, "starting");
    is_nth(schema, "worker_state", WORKER_RUNNING, "running");
    is_nth(schema, "worker_state", WORKER_RETIRING, "retiring");
    is_nth(schema, "server_state", SERVER_UNCHECKED, "unchecked");
    is_nth(schema, "server_state", SERVER_UP, "up");
    is_nth(schema, "server_state", SERVER_DOWN, "down");
    is_nth(schema, "server_state", SERVER_STARTING, "starting");
    is_nth(schema, "server_state", SERVER_EJECTED, "ejected");
    is_nth(schema, "server_admin", ADMIN_READY, "ready");
    is_nth(schema, "server_admin", ADMIN_DRAIN, "drain");
    is_nth(schema, "server_admin", ADMIN_DOWN, "down");
    is_nth(schema, "server_error", SERVER_ERROR_NONE, "none");
    is_nth(schema, "server_error", SERVER_ERROR_CONNECT_TIMEOUT, "connect timeout");
    is_nth(schema, "server_error", SERVER_ERROR_RESPONSE_TIMEOUT, "response timeout");
    is_nth(schema, "server_error", SERVER_ERROR_UNRESOLVED, "unresolved");
    is_nth(schema, "server_error", SERVER_ERROR_TRUNCATED, "closed within response");
    free(schema);
}
END_TEST

/* What would break a reader: tabs, quotes of mdoc, a field named twice. */
START_TEST(test_the_table_is_clean)
{
    size_t n;
    const struct stats_field *f = stats_fields(&n);

    for (size_t i = 0; i < n; i++) {
        ck_assert_ptr_null(strpbrk(f[i].help, "\t\n\\"));
        ck_assert(f[i].help[0] != '\0');
        for (size_t k = 0; k < i; k++)
            ck_assert(f[i].kind != f[k].kind || strcmp(f[i].name, f[k].name) != 0);
        if (f[i].type == STATS_TYPE_TEXT || f[i].type == STATS_TYPE_KEPT ||
            f[i].type == STATS_TYPE_PERCENT || f[i].type == STATS_TYPE_DURATION)
            ck_assert(f[i].is_shared);
        if (f[i].type == STATS_TYPE_HISTOGRAM)
            ck_assert(!f[i].is_shared);
    }
}
END_TEST

START_TEST(test_manual_names_every_field)
{
    char want[64], *text = text_of(stats_help_mdoc);
    size_t n;
    const struct stats_field *f = stats_fields(&n);

    for (size_t i = 0; i < n; i++) {
        snprintf(want, sizeof want, "\n.It Va %s Ta ", f[i].name);
        ck_assert((strstr(text, want) != NULL) == (f[i].type != STATS_TYPE_KEPT));
    }
    free(text);
}
END_TEST

UNIT_MAIN("stats", test_record_sizes, test_fields_lie_behind_one_another,
          test_schema_agrees_with_structs, test_enum_names, test_the_table_is_clean,
          test_manual_names_every_field)
