/* rpctl's pure parts: a segment read by its schema, damaged ones refused, and every form
 * printed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/core/segment_layout.h"
#include "common/core/stats.h"
#include "ctl/expiry.h"
#include "ctl/grid.h"
#include "ctl/human.h"
#include "ctl/model.h"
#include "ctl/output.h"
#include "common/core/schema.h"
#include "ctl/spark.h"
#include "t/unit/unit.h"

static char dir[64], path[96];
static struct segment *seg;
static struct strbuf out, why;

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/rpd-ctl-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/stats", dir);
    strbuf_init(&out);
    strbuf_init(&why);
    seg = segment_create(path);
    ck_assert_ptr_nonnull(seg);
    segment_use_slots(seg, 2);
}

static void teardown(void)
{
    segment_close(&seg);
    strbuf_fini(&out);
    strbuf_fini(&why);
    unlink(path);
    rmdir(dir);
}

static struct model *read_model(void)
{
    struct model *m = model_read(dir, &why);

    ck_assert_msg(m != NULL, "%s", why.s);
    return m;
}

static void fill(void)
{
    struct stats_rpd_shared *rpd = STATS_SHARED(seg, rpd, "rpd");

    snprintf(rpd->version, sizeof rpd->version, "9.9");
    rpd->pid = (uint64_t)getpid();
    rpd->workers = 2;
    rpd->started = clock_wall_us() - 10000000;
    segment_add(seg, STATS_route, "all");
    segment_add(seg, STATS_backend, "pool");
    segment_add(seg, STATS_server, "pool/s0");
    segment_add(seg, STATS_server, "pool/s1");
    STATS_SHARED(seg, server, "pool/s0")->weight = 1;
    STATS_SHARED(seg, server, "pool/s1")->weight = 1;
    for (unsigned slot = 0; slot < 2; slot++) {
        STATS_SLOT(seg, route, "all", slot)->requests_total = 3 + slot;
        histogram_add(&STATS_SLOT(seg, route, "all", slot)->latency, 1000000 * (slot + 1));
        STATS_SLOT(seg, worker, "worker", slot)->pid = (uint64_t)getpid();
        STATS_SLOT(seg, worker, "worker", slot)->state = WORKER_RUNNING;
        STATS_SLOT(seg, worker, "worker", slot)->cpu_seconds = 1500000;
    }
    STATS_SHARED(seg, server, "pool/s1")->state = SERVER_DOWN;
    STATS_SHARED(seg, server, "pool/s1")->last_error = SERVER_ERROR_CONNECT_TIMEOUT;
}

static void has(const char *text)
{
    ck_assert_msg(strstr(out.s, text) != NULL, "no '%s' in %s", text, out.s);
}

static void has_not(const char *text)
{
    ck_assert_msg(strstr(out.s, text) == NULL, "'%s' in %s", text, out.s);
}

/* ---- forms ---- */

START_TEST(test_json_has_the_contracts_names)
{
    struct model *m;

    fill();
    m = read_model();
    json_model(&out, m, NULL);
    has("{\"rpd\":{\"version\":\"9.9\",\"pid\":");
    has("\"uptime\":10.");
    has("\"workers\":[{\"slot\":0,\"pid\":");
    has("\"state\":\"running\"");
    has("\"cpu_seconds\":1.5,");
    has("\"listeners\":{}");
    has("\"routes\":{\"all\":{\"requests_total\":7,\"active\":0,");
    has("\"latency\":{\"count\":2,\"mean\":1.5,\"p50\":");
    has("\"max\":2}");
    has("\"backends\":{\"pool\":{\"requests_total\":0,");
    has("\"servers_up\":1,\"servers\":{\"s0\":{\"address\":\"\",\"state\":\"unchecked\"");
    has("\"last_error\":\"connect timeout\"");
    has_not("\"servers\":{\"pool/");
    ck_assert_str_eq(out.s + out.n - 2, "}\n");
    model_free(&m);
}
END_TEST

START_TEST(test_selection)
{
    char *names[] = { (char[]){ "pool" }, NULL }, *none[] = { (char[]){ "nope" }, NULL };
    struct model *m;

    fill();
    m = read_model();
    ck_assert_ptr_null(schema_kind(&m->schema, "nonsense"));
    ck_assert_ptr_eq(schema_kind(&m->schema, "route"), schema_kind(&m->schema, "routes"));
    ck_assert_ptr_null(model_select(m, schema_kind(&m->schema, "servers"), names));
    json_model(&out, m, schema_kind(&m->schema, "servers"));
    ck_assert_ptr_eq(strstr(out.s, "{\"backends\":{\"pool\":{\"servers\":{\"s0\":{"), out.s);
    ck_assert_str_eq(model_select(m, schema_kind(&m->schema, "route"), none), "nope");
    ck_assert_ptr_null(model_select(m, schema_kind(&m->schema, "backend"), names));
    strbuf_clear(&out);
    json_model(&out, m, schema_kind(&m->schema, "backend"));
    has("\"servers_up\":1");
    has("\"s1\":{");
    has_not("routes");
    model_free(&m);
}
END_TEST

START_TEST(test_unused_objects_are_not_shown)
{
    struct model *m;

    fill();
    segment_mark_begin(seg);
    segment_add(seg, STATS_backend, "pool");
    segment_mark_end(seg);
    m = read_model();
    json_model(&out, m, NULL);
    has("\"routes\":{}");
    has("\"servers\":{}");
    model_free(&m);
}
END_TEST

/* Each line has as many fields as the first; quotes by RFC 4180. */
START_TEST(test_csv)
{
    struct model *m;
    size_t columns = 0, here = 1;
    bool is_quoted = false;

    fill();
    segment_add(seg, STATS_route, "a \"b\", c");
    m = read_model();
    csv_model(&out, m, NULL, true, false);
    ck_assert_ptr_eq(strstr(out.s, "kind,name,version,"), out.s);
    has("\nroute,\"a \"\"b\"\", c\",");
    has("\nserver,pool/s0,");
    for (const char *p = out.s; *p; p++) {
        is_quoted ^= *p == '"';
        here += *p == ',' && !is_quoted;
        if (*p == '\n') {
            if (columns == 0)
                columns = here;
            ck_assert_uint_eq(here, columns);
            here = 1;
        }
    }
    ck_assert_uint_gt(columns, 20);
    strbuf_clear(&out);
    csv_model(&out, m, schema_kind(&m->schema, "route"), true, true);
    ck_assert_ptr_eq(strstr(out.s, "time,kind,name,requests_total,active,"), out.s);
    model_free(&m);
}
END_TEST

START_TEST(test_prometheus)
{
    struct model *m;

    fill();
    segment_add(seg, STATS_listener, "a\"b\\c");
    m = read_model();
    prometheus_model(&out, m, NULL);
    has("# TYPE rpd_route_requests_total counter\nrpd_route_requests_total{route=\"all\"} 7\n");
    has("rpd_listener_connections_total{listener=\"a\\\"b\\\\c\"} 0\n");
    has("rpd_server_state{backend=\"pool\",server=\"s1\",state=\"down\"} 1\n");
    has("rpd_worker_cpu_seconds_total{worker=\"1\"} 1.500000\n");
    has("rpd_route_latency_seconds_bucket{route=\"all\",le=\"1.048576\"} 1\n");
    has("rpd_route_latency_seconds_bucket{route=\"all\",le=\"+Inf\"} 2\n");
    has("rpd_route_latency_seconds_sum{route=\"all\"} 3.000000\n");
    has("rpd_route_latency_seconds_count{route=\"all\"} 2\n");
    has("\nrpd_up 1\n");
    has("\nrpd_backend_servers_up{backend=\"pool\"} 1\n");
    model_free(&m);
}
END_TEST

START_TEST(test_table_shows_rates_between_readings)
{
    struct model *a, *b;

    fill();
    a = read_model();
    STATS_SLOT(seg, route, "all", 0)->requests_total += 500;
    STATS_SLOT(seg, route, "all", 0)->status_5xx += 250;
    b = read_model();
    b->read_mono_us = a->read_mono_us + 500000;
    table_model(&out, b, a, schema_kind(&b->schema, "route"), false);
    has("req/s");
    has("5xx/s");
    has("1.0k");
    has(" 500");
    has_not("2xx");
    has_not("\033");
    strbuf_clear(&out);
    table_model(&out, b, NULL, NULL, true);
    has("rpd");
    has("507");
    has("pool/s1");
    has("\033[1;31mdown\033[0m");
    model_free(&a);
    model_free(&b);
}
END_TEST

START_TEST(test_a_new_segment_has_no_past)
{
    struct model *a, *b;

    fill();
    a = read_model();
    segment_close(&seg);
    seg = segment_create(path);
    b = read_model();
    for (size_t i = 0; i < b->rows.n; i++)
        ck_assert_ptr_null(model_before(a, b, &b->rows.v[i]));
    ck_assert_ptr_eq(model_before(b, b, &b->rows.v[0]), &b->rows.v[0]);
    model_free(&a);
    model_free(&b);
}
END_TEST

START_TEST(test_dead_workers_are_gone)
{
    struct model *m;

    fill();
    STATS_SLOT(seg, worker, "worker", 1)->pid = 0x7ffffff0;
    STATS_SHARED(seg, rpd, "rpd")->pid = 0x7ffffff0;
    m = read_model();
    ck_assert(!m->is_running);
    json_model(&out, m, NULL);
    has("\"state\":\"running\"");
    has("\"state\":\"gone\"");
    has("\"uptime\":0,");
    model_free(&m);
}
END_TEST

/* ---- certificates ---- */

#define HOUR_US 3600000000ull

static void certify(const char *name, uint64_t not_before, uint64_t not_after)
{
    struct stats_certificate_shared *c;

    segment_add(seg, STATS_certificate, name);
    c = STATS_SHARED(seg, certificate, name);
    c->not_before = not_before;
    c->not_after = not_after;
    snprintf(c->hosts, sizeof c->hosts, "%s.test", name);
}

static void certify_all(void)
{
    uint64_t now = clock_wall_us();

    certify("fine", now - HOUR_US, now + 24 * 15 * HOUR_US);
    certify("soon", now - HOUR_US, now + 24 * 13 * HOUR_US + HOUR_US / 2);
    certify("over", now - 9 * HOUR_US, now - 5 * HOUR_US);
    certify("next", now + 3 * HOUR_US, now + 24 * 90 * HOUR_US);
    certify("none", 0, 0);
}

START_TEST(test_certificates_that_expire)
{
    struct model *m;
    struct json j;

    certify_all();
    m = read_model();
    expiry_table(&out, m, false);
    has("\ncertificate  validity");
    has("\nsoon         expires in 13d00h");
    has("\nover         expired 5h00m ago");
    has("\nnext         not valid yet, but in 2h59m");
    has("\nfine         good for 14d23h");
    has_not("none");
    strbuf_clear(&out);
    json_init(&j, &out);
    json_object(&j, NULL);
    expiry_json(&j, m);
    json_object_end(&j);
    has("{\"certificates\":{\"fine\":{\"not_before\":");
    has("\"hosts\":\"soon.test\",\"days_left\":13,\"why\":\"expires in 13d00h\"}");
    has("\"days_left\":14,\"why\":\"\"}");
    has("\"days_left\":0,\"why\":\"expired 5h00m ago\"}");
    strbuf_clear(&out);
    table_model(&out, m, NULL, schema_kind(&m->schema, "certificates"), true);
    has("certificates");
    has("left");
    has("14d23h");
    has("\033[1;31m13d00h");
    has("\033[1;31mexpired");
    model_free(&m);
}
END_TEST

START_TEST(test_no_certificates)
{
    struct model *m = read_model();

    expiry_table(&out, m, false);
    ck_assert_uint_eq(out.n, 0);
    model_free(&m);
}
END_TEST

/* ---- schema ---- */

static void patch(const void *bytes, size_t n, off_t at)
{
    int fd = open(path, O_RDWR);

    ck_assert_int_eq(pwrite(fd, bytes, n, at), n);
    close(fd);
}

START_TEST(test_no_segment)
{
    struct model *m;

    ck_assert_ptr_null(model_read("/nonexistent", &why));
    ck_assert_int_eq(errno, ENOENT);
    segment_close(&seg);
    ck_assert_int_eq(truncate(path, 0), 0);
    m = model_read(dir, &why);
    ck_assert_ptr_null(m);
    ck_assert_int_eq(errno, EPROTO);
}
END_TEST

START_TEST(test_cut_off_anywhere)
{
    static const off_t sizes[] = { 1, 100, 4096, 5000, 65536, 65700, 16 << 20, (16 << 20) + 100,
                                   32 << 20, (32 << 20) + 100 };

    fill();
    segment_close(&seg);
    for (size_t i = sizeof sizes / sizeof *sizes; i-- > 0;) {
        struct model *m;

        ck_assert_int_eq(truncate(path, sizes[i]), 0);
        m = model_read(dir, &why);
        ck_assert_ptr_null(m);
        ck_assert_int_eq(errno, EPROTO);
    }
}
END_TEST

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Whatever the bytes say: a model or a refusal, never a crash, never memory that is not its. */
START_TEST(test_damage_is_survived)
{
    static const uint64_t values[] = { 0, 1, 7, 255, 65535, UINT32_MAX, INT64_MAX, UINT64_MAX };
    uint64_t state = 0x9e3779b97f4a7c15;

    for (int round = 0; round < 150; round++) {
        struct model *m;
        off_t at;

        segment_close(&seg);
        seg = segment_create(path);
        segment_use_slots(seg, 2);
        fill();
        switch (round % 3) {
        case 0:
            at = (off_t)(random_next(&state) % sizeof(struct segment_header) / 8 * 8);
            patch(&values[random_next(&state) % 8], 8, at);
            break;
        case 1: /* the schema: another character */
            at = 4096 + (off_t)(random_next(&state) % 5000);
            patch(&"\t\n\0z9-"[random_next(&state) % 6], 1, at);
            break;
        default:
            at = 65536 + (off_t)(random_next(&state) % (6 * sizeof(struct segment_entry)));
            patch(&values[random_next(&state) % 8], 8, at / 8 * 8);
            break;
        }
        strbuf_clear(&out);
        m = model_read(dir, &why);
        if (m) {
            json_model(&out, m, NULL);
            csv_model(&out, m, NULL, true, false);
            prometheus_model(&out, m, NULL);
            table_model(&out, m, NULL, NULL, false);
        }
        model_free(&m);
    }
}
END_TEST

/* ---- schema ---- */

static bool parses(const char *text)
{
    struct schema s;
    bool is_good = schema_parse(&s, text, strlen(text));

    schema_fini(&s);
    return is_good;
}

#define HEAD "rpd-stats\t1\nhistogram\t4\t16\t0\t8\t16\t24\nenum\te\ta\tb\n" \
             "kind\tx\txs\tNAMED\t64\t256\thelp\n"

START_TEST(test_schema_of_another_rpd)
{
    struct schema s;
    const char *text = HEAD "shiny\tnew\tline\n"
                            "kind\ty\tys\tIN_x\t64\t64\thelp\n"
                            "field\tx\tslot\tCOUNTER\tn\t0\t8\tcount\n"
                            "field\tx\tslot\tSHINY\tm\t8\t8\tnew type\n"
                            "field\tx\tslot\tHISTOGRAM\th\t64\t152\tcoarse\n"
                            "field\ty\tshared\tENUM_e\ts\t0\t8\tstate\textra\n";

    ck_assert(schema_parse(&s, text, strlen(text)));
    ck_assert_uint_eq(s.kinds.n, 2);
    ck_assert_uint_eq(s.kinds.v[0].fields.n, 2);
    ck_assert_int_eq(s.kinds.v[1].shape, SHAPE_NESTED);
    ck_assert_str_eq(schema_value_name(&s, &s.kinds.v[1].fields.v[0], 1), "b");
    ck_assert_str_eq(schema_value_name(&s, &s.kinds.v[1].fields.v[0], 2), "?");
    ck_assert_uint_eq(s.sub, 4);
    schema_fini(&s);
}
END_TEST

START_TEST(test_schema_that_makes_no_sense)
{
    ck_assert(parses(HEAD));
    ck_assert(!parses(""));
    ck_assert(!parses("another\t1\n"));
    ck_assert(!parses("rpd-stats\t1\n"));
    ck_assert(!parses(HEAD "kind\tz\n"));
    ck_assert(!parses(HEAD "kind\ty\tys\tIN_nothing\t64\t64\thelp\n"));
    ck_assert(!parses(HEAD "kind\ty\tys\tIN_y\t64\t64\thelp\n"));
    ck_assert(!parses(HEAD "field\tnone\tslot\tCOUNTER\tn\t0\t8\tx\n"));
    ck_assert(!parses(HEAD "field\tx\tslot\tCOUNTER\tn\t252\t8\tx\n"));
    ck_assert(!parses(HEAD "field\tx\tslot\tCOUNTER\tn\t256\t8\tx\n"));
    ck_assert(!parses(HEAD "field\tx\tslot\tCOUNTER\tn\t0\t4\tx\n"));
    ck_assert(!parses(HEAD "field\tx\tslot\tCOUNTER\tn\t-8\t8\tx\n"));
    ck_assert(!parses(HEAD "field\tx\tshared\tCOUNTER\tn\t64\t8\tx\n"));
    ck_assert(!parses(HEAD "field\tx\tslot\tHISTOGRAM\th\t0\t100\tx\n"));
    ck_assert(!parses(HEAD "field\tx\tslot\tTEXT\tt\t0\t8\tx\n"));
    ck_assert(!parses("rpd-stats\t1\nhistogram\t3\t16\t0\t8\t16\t24\n"));
    ck_assert(!parses("rpd-stats\t1\nhistogram\t0\t16\t0\t8\t16\t24\n"));
}
END_TEST

/* ---- small ones ---- */

START_TEST(test_human)
{
    char b[HUMAN_MAX];

    ck_assert_str_eq(human_count(b, 0), "0");
    ck_assert_str_eq(human_count(b, 999), "999");
    ck_assert_str_eq(human_count(b, 1000), "1.0k");
    ck_assert_str_eq(human_count(b, 12345), "12k");
    ck_assert_str_eq(human_count(b, 999960), "1.0M");
    ck_assert_str_eq(human_count(b, 3400000), "3.4M");
    ck_assert_str_eq(human_count(b, 1.8e19), "18E");
    ck_assert_str_eq(human_rate(b, 0), "0");
    ck_assert_str_eq(human_rate(b, 0.01), "<0.1");
    ck_assert_str_eq(human_rate(b, 12.34), "12.3");
    ck_assert_str_eq(human_rate(b, 1234), "1.2k");
    ck_assert_str_eq(human_latency(b, 0), "-");
    ck_assert_str_eq(human_latency(b, 0.000012), "12us");
    ck_assert_str_eq(human_latency(b, 0.0034), "3.4ms");
    ck_assert_str_eq(human_latency(b, 0.123), "123ms");
    ck_assert_str_eq(human_latency(b, 1.25), "1.2s");
    ck_assert_str_eq(human_latency(b, 180), "3m");
    ck_assert_str_eq(human_span(b, -1), "0s");
    ck_assert_str_eq(human_span(b, 192), "3m12s");
    ck_assert_str_eq(human_span(b, 14700), "4h05m");
    ck_assert_str_eq(human_span(b, 90000), "1d01h");
    ck_assert_str_eq(human_left(b, 0, 5), "-");
    ck_assert_str_eq(human_left(b, 5, 5), "expired");
    ck_assert_str_eq(human_left(b, 197, 5), "3m12s");
}
END_TEST

START_TEST(test_grid)
{
    struct grid g;

    grid_init(&g);
    grid_column(&g, "name", true);
    grid_column(&g, "n", false);
    grid_cell(&g, STYLE_PLAIN, "\xc3\xa4\033x");
    grid_cell(&g, STYLE_BAD, "12");
    grid_print(&out, &g, false);
    ck_assert_str_eq(out.s, "name   n\n\xc3\xa4?x   12\n");
    grid_fini(&g);
}
END_TEST

START_TEST(test_spark)
{
    struct spark s = { 0 };

    spark_add(&s, 1);
    spark_add(&s, 0);
    spark_add(&s, 8);
    spark_print(&out, &s, 5, false);
    ck_assert_str_eq(out.s, "  . #");
    for (int i = 0; i < 100; i++)
        spark_add(&s, 5);
    strbuf_clear(&out);
    spark_print(&out, &s, 3, true);
    ck_assert_str_eq(out.s, "\u2588\u2588\u2588");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl");
    TCase *tcase = tcase_create("ctl");
    const TTest *const tests[] = {
        test_json_has_the_contracts_names, test_selection, test_unused_objects_are_not_shown,
        test_csv, test_prometheus, test_table_shows_rates_between_readings,
        test_a_new_segment_has_no_past, test_dead_workers_are_gone, test_no_segment,
        test_cut_off_anywhere, test_damage_is_survived, test_schema_of_another_rpd,
        test_schema_that_makes_no_sense,
        test_certificates_that_expire, test_no_certificates, test_human, test_grid,
        test_spark,
    };

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
