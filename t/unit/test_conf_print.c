/* The settings table read the other way: the running configuration printed, the help, the sample
 * file. */
#include "t/unit/conf_fixture.h"

static char *printed(const struct conf *conf)
{
    struct strbuf out;

    strbuf_init(&out);
    conf_print(conf, &out);
    return strbuf_take(&out);
}

/* Every setting with another value than its default. */
static const char *const full =
    "[global]\n"
    "workers = 3\nuser = u\ngroup = g\nrun_dir = /tmp/$$x\nmax_connections = 7\n"
    "shutdown_timeout = 1m30s\nlog = /tmp/a.log\nlog_level = debug\naccess_log = syslog\n"
    "access_log_format = $client_ip $$ $status\nstrict = on\n"
    "[defaults route]\nrequest_header = set X-Default: 1\n"
    "[listener web]\n"
    "bind = :80, [::1]:81, unix:/run/a.sock\naccept_proxy = on\n"
    "trusted_proxies = 10.0.0.0/8, ::1, 2001:db8::/32, unix, 0.0.0.0/0\ntimeout_header = 1ms\n"
    "timeout_idle = 1d\ntimeout_body = 90s\nmax_header_size = 1000\nmax_body_size = 1536\n"
    "default_backend = app\n"
    "[listener db]\nbind = :5432\nmode = tcp\n"
    "[route a]\n"
    "listener = web\nhost = a.com, *.b.com, [::1]\npath = /x/\nbackend = app\n"
    "rewrite = prefix  /new/\n"
    "request_header = set X-A: a, b, add X-B: $header_X_C\n  remove X-D\n  set X-E:\n"
    "response_header = set Cache-Control: no-store, private\n"
    "host_header = up.$host\nbuffer_request = on\ntimeout_connect = 2s\ntimeout_response = 3s\n"
    "timeout_stream = 4s\nretries = 0\nretry_on =\naccess_log = off\nlimit = l, m\n"
    "retry_timeout = 5s\nretry_buffer = 1k\nhedge_after = p99.9\n"
    "[route b]\nrespond = 404 no $uri, sorry; $$5\nhost_header = server\nrequest_header =\n"
    "[route c]\npath = /c\nredirect = 302 https://$host/$$\n"
    "[route d]\nlistener = db\nbackend = db\n"
    "[route e]\npath = /e\nrespond = 204\n"
    "[route i]\npath = /i\nbackend = app\n"
    "cors = HTTPS://A.test:443, http://*.B.test:81, http://[::1]:82, *\ncors_methods = GET, PUT\n"
    "cors_headers = X-A, X-$$\ncors_expose = *\ncors_max_age = 0\n"
    "[route j]\npath = /j\nrespond = 204\nfault = delay 1500ms 0.25%, status 503\n"
    "[route g]\npath = /g\nredirect = https\n[route h]\npath = /h\nredirect = https:444\n"
    "[route f]\npath = /f\nbackend = app\nrewrite = regex  ^/f/(\\w+)$   /$1.$$?x=$host\n"
    "[backend app]\n"
    "server = 127.0.0.1:1 name=one weight=0 backup max_conns=3, 127.0.0.1:2 down\n"
    "server = app.test:1, app.test:1, unix:/run/b$$.sock\n"
    "balance = least_conn\nkeepalive = 0\nkeepalive_timeout = 1h\nmax_conns = 9\nqueue = 0\n"
    "queue_timeout = 1500ms\nsend_proxy = v1\nsticky = cookie S\n"
    "check = http HEAD /x$$ 204-204 host=h body=all $$ well\ncheck_interval = 3s\n"
    "check_timeout = 4s\nrise = 5\nfall = 6\neject_after = 0\neject_on = 5xx, reset\n"
    "eject_time = 1m\neject_max = 0.25%\neject_outliers = off\nslow_start = 9s\npanic = 30%\n"
    "retry_budget = 12.5%\n"
    "[backend db]\nserver = 127.0.0.1:3\nsend_proxy = v2\nbalance = hash $client_ip\n"
    "check = tcp\n"
    "[limit l]\nkey = $header_X_Key:$$5\nrate = 7/m\nburst = 3\nmax_conns = 4\nstatus = 503\n"
    "headers = on\nkeys = 100\n"
    "[limit m]\nmax_conns = 1\n";

static void expect_round_trip(struct conf_fixture *x, const char *ini)
{
    fixture_good(x, ini);
    char *once = printed(x->conf);
    fixture_good(x, once);
    char *twice = printed(x->conf);
    ck_assert_str_eq(once, twice);
    free(once);
    free(twice);
}

START_TEST(test_printed_conf_is_the_same_conf)
{
    struct conf_fixture x;

    fixture_begin(&x);
    expect_round_trip(&x, full);
    expect_round_trip(&x, "[listener l]\nbind = :80\n[route a]\nrespond = 200\n");
    expect_round_trip(&x, "");
    fixture_end(&x);
}
END_TEST

/* Held against what was written, not against another print of it. */
START_TEST(test_values_survive_printing)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, full);
    char *once = printed(x.conf);
    fixture_good(&x, once);
    free(once);

    const struct conf *c = x.conf;
    ck_assert_uint_eq(c->global.workers, 3);
    ck_assert_str_eq(c->global.run_dir, "/tmp/$x");
    ck_assert_uint_eq(c->global.shutdown_timeout_ms, 90000);
    ck_assert_int_eq(c->global.access_log_format.how, CONF_FORMAT_CUSTOM);
    ck_assert_uint_eq(c->listeners[0].bind.n, 3);
    ck_assert_uint_eq(c->listeners[0].trusted_proxies.n, 5);
    ck_assert_uint_eq(c->listeners[0].trusted_proxies.v[0].bits, 104);
    ck_assert_uint_eq(c->listeners[0].trusted_proxies.v[4].bits, 96);
    ck_assert_uint_eq(c->listeners[0].max_body_size, 1536);
    ck_assert_int_eq(c->listeners[1].mode, CONF_MODE_TCP);
    const struct conf_route *r = c->routes;
    ck_assert_uint_eq(r[0].host.n, 3);
    ck_assert(r[0].host.v[1].is_wildcard);
    ck_assert(slice_eq(r[0].path, SLICE("/x")));
    ck_assert_uint_eq(r[0].request_header.n, 5);
    ck_assert(slice_eq(r[0].request_header.v[1].value.source, SLICE("a, b")));
    ck_assert_uint_eq(r[0].response_header.n, 1);
    ck_assert_uint_eq(r[0].retry_on, 0);
    ck_assert_uint_eq(r[1].request_header.n, 0);
    ck_assert_uint_eq(r[1].respond.status, 404);
    ck_assert(slice_eq(r[1].respond.body.source, SLICE("no $uri, sorry; $$5")));
    ck_assert_uint_eq(r[3].request_header.n, 0); /* a session has no fields */
    ck_assert_uint_eq(r[4].respond.status, 204);
    const struct conf_servers *s = &c->backends[0].server;
    ck_assert_uint_eq(s->n, 5);
    ck_assert_str_eq(s->v[0].name, "one");
    ck_assert_str_eq(s->v[3].name, "app.test:1#4");
    ck_assert_str_eq(s->v[4].text, "unix:/run/b$.sock");
    ck_assert(slice_eq(c->backends[0].check.body, SLICE("all $ well")));
    ck_assert_uint_eq(c->backends[0].eject_max, 25);
    ck_assert_uint_eq(c->backends[0].retry_budget, 1250);
    ck_assert_uint_eq(r[0].hedge_after.quantile, 999);
    ck_assert(slice_eq(c->backends[1].balance.key.source, SLICE("$client_ip")));
    fixture_end(&x);
}
END_TEST

static char *help(enum conf_help_format format)
{
    struct strbuf out;

    strbuf_init(&out);
    conf_help(format, &out);
    return strbuf_take(&out);
}

/* Every setting is in every form of the help. */
START_TEST(test_help_names_every_setting)
{
    char *text = help(CONF_HELP_TEXT), *mdoc = help(CONF_HELP_MDOC);
    char *sample = help(CONF_HELP_SAMPLE);
    char line[200];

#define SECTION(kind, is_named, help)
#define LATER(kind, key, help)                                                                 \
    ck_assert_msg(strstr(text, key) != NULL, "%s", key);                                       \
    ck_assert_msg(strstr(mdoc, key) != NULL, "%s", key);
#define SETTING(kind, field, key, TYPE, def, lo, hi, when, help)                               \
    snprintf(line, sizeof line, "\n  %s = ", key);                                             \
    ck_assert_msg(strstr(text, line) != NULL, "%s", key);                                      \
    snprintf(line, sizeof line, "\n.It Ic %s No = Ar ", key);                                  \
    ck_assert_msg(strstr(mdoc, line) != NULL, "%s", key);                                      \
    snprintf(line, sizeof line, "%s =", key);                                                  \
    ck_assert_msg(strstr(sample, line) != NULL, "%s", key);
#include "common/core/settings.def"
#undef SECTION
#undef LATER
#undef SETTING
    ck_assert_ptr_nonnull(strstr(text, "$header_NAME"));
    ck_assert_ptr_nonnull(strstr(mdoc, ".It Va $client_ip\n"));
    free(text);
    free(mdoc);
    free(sample);
}
END_TEST

START_TEST(test_sample_is_a_configuration)
{
    char *sample = help(CONF_HELP_SAMPLE);
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, sample);
    ck_assert_uint_eq(x.report.warnings, 0);

    /* And with every default set as it says, it is the same one: but for sections that are
     * comments as a whole, which come last. */
    char *plain = printed(x.conf);
    *strstr(sample, "\n;[") = '\0';
    char *to = sample;
    for (const char *from = sample; *from; from++) {
        if (*from != ';' || from[1] == ' ' || (from > sample && from[-1] != '\n'))
            *to++ = *from;
    }
    *to = '\0';
    fixture_good(&x, sample);
    char *set = printed(x.conf);
    ck_assert_str_eq(plain, set);
    free(plain);
    free(set);
    free(sample);
    fixture_end(&x);
}
END_TEST

/* etc/rpd.ini is the sample: tests run at the top of the source tree. */
START_TEST(test_installed_sample_is_current)
{
    char *sample = help(CONF_HELP_SAMPLE);
    FILE *f = fopen("etc/rpd.ini", "r");
    size_t n = strlen(sample);
    char *file = malloc(n + 2);

    ck_assert_ptr_nonnull(f);
    file[fread(file, 1, n + 1, f)] = '\0';
    fclose(f);
    ck_assert_msg(strcmp(file, sample) == 0,
                  "etc/rpd.ini is old: rpd --help-config=sample >etc/rpd.ini");
    free(file);
    free(sample);
}
END_TEST

UNIT_MAIN("conf_print", test_printed_conf_is_the_same_conf, test_values_survive_printing,
          test_help_names_every_setting, test_sample_is_a_configuration,
          test_installed_sample_is_current)
