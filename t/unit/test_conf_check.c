/* What is wrong between sections: routes, listeners, backends, and the machine they meet. */
#include <sys/stat.h>
#include <time.h>
#include "common/net/resolve.h"
#include "t/unit/conf_fixture.h"

#define APP "[backend app]\nserver = 127.0.0.1:1\n" /* lines 1 and 2 */

START_TEST(test_settings_of_checks_without_one_are_a_warning)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, "[listener h]\nbind = 127.0.0.1:1\ndefault_backend = b\n"
                 "[defaults backend]\nfall = 4\n"
                 "[backend b]\nserver = 127.0.0.1:2\nrise = 3\ncheck_interval = 1s\n");
    FIXTURE_EXPECT(&x, "f.ini:8: warning: [backend b] rise: means nothing, for `check` is off");
    FIXTURE_EXPECT(&x, "f.ini:9: warning: [backend b] check_interval: means nothing, for "
                   "`check` is off");
    ck_assert_uint_eq(x.report.warnings, 2);
    fixture_good(&x, "[listener h]\nbind = 127.0.0.1:1\n[route r]\nbackend = b\n"
                 "retry_timeout = 1s\n[backend b]\nserver = 127.0.0.1:2\n");
    FIXTURE_EXPECT(&x, "f.ini:5: warning: [route r] retry_timeout: means nothing, for `retry_on` "
                   "has no `timeout`");
    fixture_good(&x, "[listener h]\nbind = 127.0.0.1:1\n[route r]\nbackend = b\n"
                 "retry_timeout = 1s\nretry_on = timeout\n[backend b]\nserver = 127.0.0.1:2\n");
    ck_assert_uint_eq(x.report.warnings, 0);
    fixture_good(&x, "[listener h]\nbind = 127.0.0.1:1\ndefault_backend = b\n"
                 "[backend b]\nserver = 127.0.0.1:2\nrise = 3\n"
                 "check = http HEAD / body=x\n");
    FIXTURE_EXPECT(&x, "f.ini:7: warning: [backend b] check: an answer to HEAD has no body: every "
                   "check will fail");
    ck_assert_uint_eq(x.report.warnings, 1);
    fixture_end(&x);
}
END_TEST

START_TEST(test_references)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_bad(&x, APP "[listener web]\nbind = :80\n[route r]\nbackend = ap\n"
                        "[route s]\nbackend = app\n",
                "f.ini:6: [route r] backend: there is no [backend ap] (did you mean 'app'?)");
    fixture_bad(&x, APP "[listener web]\nbind = :80\n[route r]\nbackend = app\nlistener = wbe\n",
                "f.ini:7: [route r] listener: there is no [listener wbe] (did you mean 'web'?)");
    fixture_bad(&x, "[listener web]\nbind = :80\ndefault_backend = nothing\n",
                "f.ini:3: [listener web] default_backend: there is no [backend nothing]");
    fixture_bad(&x, APP "[listener web]\nbind = :80\n[route r]\nbackend = app\n"
                        "listener = web, web\n",
                "f.ini:7: [route r] listener: 'web' is named twice");
    fixture_end(&x);
}
END_TEST

START_TEST(test_binds_twice)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_bad(&x, APP "[listener a]\nbind = 127.0.0.1:80\ndefault_backend = app\n"
                        "[listener b]\nbind = 127.0.0.1:81,\n  127.0.0.1:80\n"
                        "default_backend = app\n",
                "f.ini:8: [listener b] bind: '127.0.0.1:80' is bound twice, first at f.ini:4");
    fixture_bad(&x, APP "[listener a]\nbind = [::1]:80, [0::1]:80\ndefault_backend = app\n",
                "f.ini:4: [listener a] bind: '[0::1]:80' is bound twice, first at f.ini:4");
    fixture_good(&x, APP "[listener a]\nbind = :80, 127.0.0.1:80, unix:/a\n"
                         "default_backend = app\n");
    fixture_end(&x);
}
END_TEST

START_TEST(test_one_answer)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_bad(&x, "[listener web]\nbind = :80\n[route r]\npath = /x\n",
                "f.ini:3: [route r]: says nothing to do: it needs one of backend, canary, "
                "respond and redirect");
    fixture_bad(&x, APP "[listener web]\nbind = :80\n[route r]\nbackend = app\nrespond = 200\n",
                "f.ini:5: [route r]: backend, canary, respond and redirect exclude each other: it "
                "needs exactly one");
    fixture_bad(&x, APP "[listener web]\nbind = :80\ndefault_backend = app\n"
                        "[defaults route]\nbackend = app\n[route r]\nbackend =\n",
                "f.ini:8: [route r]: says nothing to do: it needs one of backend, canary, "
                "respond and redirect");
    fixture_end(&x);
}
END_TEST

START_TEST(test_routes_that_never_match)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_bad(&x, "[listener l]\nbind = :80\n"
                    "[route a]\nhost = x.com, y.com\npath = /p\nrespond = 200\n"
                    "[route b]\nhost = Y.com\npath = /p/\nrespond = 200\n",
                "f.ini:7: [route b]: never matches: [route a] at f.ini:3 takes the same listener, "
                "host and path");
    fixture_bad(&x, "[listener l]\nbind = :80\n"
                    "[route a]\nrespond = 200\n[route b]\npath = /\nlistener = l\nrespond = 200\n",
                "f.ini:5: [route b]: never matches: [route a] at f.ini:3 takes the same listener, "
                "host and path");
    /* Taken by two others together. */
    fixture_bad(&x, "[listener l]\nbind = :80\n[listener m]\nbind = :81\n"
                    "[route a]\nlistener = l\nrespond = 200\n"
                    "[route b]\nlistener = m\nrespond = 200\n"
                    "[route c]\nrespond = 200\n",
                "f.ini:11: [route c]: never matches: [route b] at f.ini:8 takes the same "
                "listener, host and path");
    fixture_end(&x);
}
END_TEST

START_TEST(test_routes_that_match_something)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, "[listener l]\nbind = :80\n[listener m]\nbind = :81\n"
                     "[route a]\nlistener = l\nrespond = 200\n"
                     "[route b]\nrespond = 200\n"           /* all of m */
                     "[route c]\nhost = x.com, x.com\nrespond = 200\n"
                     "[route d]\nhost = *.com\nrespond = 200\n"
                     "[route e]\nhost = x.com, y.com\nrespond = 200\n" /* y.com */
                     "[route f]\npath = /f\nrespond = 200\n"
                     "[route g]\npath = /fa\nrespond = 200\n");
    ck_assert_uint_eq(x.report.warnings, 0);
    fixture_end(&x);
}
END_TEST

START_TEST(test_tcp_routes)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, APP "[listener t]\nbind = :80\nmode = tcp\n[route r]\nlistener = t\n"
                         "backend = app\ntimeout_stream = 1h\ntimeout_connect = 1s\nretries = 2\n"
                         "retry_on = connect-failure\naccess_log = off\n");
    fixture_load(&x, APP "[listener t]\nbind = :80\nmode = tcp\n[route r]\nlistener = t\n"
                         "respond = 200\nhost = a.com\npath = /\nbuffer_request = on\n");
    static const char *const keys[] = { "respond", "host", "path", "buffer_request" };
    for (unsigned i = 0; i < 4; i++) {
        char line[200];

        snprintf(line, sizeof line, "f.ini:%u: [route r] %s: does not belong in a route of a tcp "
                 "listener, which takes listener, allow, deny, limit, backend, timeouts, retries, "
                 "retry_on and access_log", 8 + i, keys[i]);
        FIXTURE_EXPECT(&x, line);
    }
    fixture_bad(&x, APP "[listener t]\nbind = :80\nmode = tcp\n"
                        "[route a]\nlistener = t\nbackend = app\n"
                        "[route b]\nbackend = app\nlistener = t\n",
                "f.ini:11: [route b] listener: never matches: [route a] at f.ini:6 takes all of "
                "the tcp listener 't'");
    fixture_bad(&x, APP "[listener t]\nbind = :80\nmode = tcp\n[listener h]\nbind = :81\n"
                        "[route r]\nlistener = t, h\nbackend = app\n[route q]\nbackend = app\n"
                        "[route s]\nlistener = t\nbackend = app\n",
                "f.ini:9: [route r] listener: http and tcp listeners cannot share a route");
    fixture_end(&x);
}
END_TEST

START_TEST(test_listeners_without_routes)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_bad(&x, "[listener t]\nbind = :80\nmode = tcp\n",
                "f.ini:1: [listener t]: is in tcp mode and needs a route that names it in "
                "`listener`, or a default_backend");
    fixture_load(&x, APP "[listener t]\nbind = :80\nmode = tcp\n[route r]\nbackend = app\n");
    FIXTURE_EXPECT(&x, "f.ini:6: [route r]: never matches: there is no http listener, and a tcp "
                       "one must be named in `listener`");
    fixture_good(&x, APP "[listener t]\nbind = :80\nmode = tcp\ndefault_backend = app\n");
    ck_assert_uint_eq(x.report.warnings, 0);
    fixture_good(&x, "[listener h]\nbind = :80\n");
    FIXTURE_EXPECT(&x, "f.ini:1: warning: [listener h]: has neither a route nor a "
                       "default_backend: every request will be answered 404");
    fixture_good(&x, "");
    FIXTURE_EXPECT(&x, "warning: there is no [listener]: nothing will be served");
    fixture_bad(&x, "[listener h]\n[route r]\nrespond = 200\n",
                "f.ini:1: [listener h]: has no bind, and needs one");
    fixture_end(&x);
}
END_TEST

START_TEST(test_unused_backend_is_a_warning)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, APP "[backend b]\nserver = 127.0.0.1:1\n[listener l]\nbind = :80\n"
                         "default_backend = b\n");
    FIXTURE_EXPECT(&x, "f.ini:1: warning: [backend app]: nothing uses it");
    ck_assert_uint_eq(x.report.warnings, 1);
    fixture_end(&x);
}
END_TEST

/* A backend may serve both, so it is a warning. */
START_TEST(test_what_sessions_do_not_have)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, "[backend b]\nserver = 127.0.0.1:1\nsticky = cookie id\n"
                     "balance = hash $client_ip-$uri\n[listener l]\nbind = :80\n"
                     "mode = tcp\ndefault_backend = b\n");
    FIXTURE_EXPECT(&x, "f.ini:3: warning: [backend b] sticky: tcp sessions have no cookies: write "
                       "`source`");
    FIXTURE_EXPECT(&x, "f.ini:4: warning: [backend b] balance: '$client_ip-$uri' is nothing that "
                       "tcp sessions have: write `hash $client_ip`");
    fixture_good(&x, "[backend b]\nserver = 127.0.0.1:1\nsticky = source\n"
                     "balance = hash $sni$client_ip\n[listener l]\nbind = :80\n"
                     "mode = tcp\n[route r]\nlistener = l\nbackend = b\n");
    ck_assert_uint_eq(x.report.warnings, 0);
    fixture_end(&x);
}
END_TEST

START_TEST(test_servers_twice)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, "[listener l]\nbind = :80\ndefault_backend = b\n"
                     "[backend b]\nserver = 127.0.0.1:1, 127.0.0.1:2\nserver = 127.0.0.1:1\n");
    FIXTURE_EXPECT(&x, "f.ini:6: warning: [backend b] server: '127.0.0.1:1' is there twice: if "
                       "that is meant, give it a name=");
    ck_assert_str_eq(x.conf->backends[0].server.v[2].name, "127.0.0.1:1#3");
    fixture_good(&x, "[listener l]\nbind = :80\ndefault_backend = b\n"
                     "[backend b]\nserver = 127.0.0.1:1 name=a, 127.0.0.1:1 name=b\n");
    ck_assert_uint_eq(x.report.warnings, 0);
    fixture_bad(&x, "[listener l]\nbind = :80\ndefault_backend = b\n"
                    "[backend b]\nserver = 127.0.0.1:1 name=a\nserver = 127.0.0.1:2 name=a\n",
                "f.ini:6: [backend b] server: a server named 'a' is there already, at f.ini:5");
    fixture_end(&x);
}
END_TEST

START_TEST(test_all_mistakes_in_one_run)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_load(&x, "[global]\nworkrs = 2\nlog_level = loud\n"
                     "[listener web]\nbind = here\ntimeout_idle = 5\n"
                     "[route a]\nbackend = nowhere\npath = x\nnonsense\n"
                     "[backend b]\nbalance = emwa\n[unknown]\n");
    ck_assert_uint_eq(x.report.errors, 10);
    fixture_end(&x);
}
END_TEST

START_TEST(test_names_resolve)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, "[listener l]\nbind = localhost:8080\ndefault_backend = b\n"
                     "[backend b]\nserver = localhost:81, localhost:81 name=two, "
                     "none.invalid:82\n");
    ck_assert_uint_eq(x.conf->backends[0].server.v[0].addr.len, 0);
    conf_resolve(&x.text, x.conf, NULL, &x.report);
    ck_assert_uint_eq(x.report.errors, 0);
    ck_assert_ptr_nonnull(strstr(x.report.text.s, "f.ini:5: warning: [backend b] server: "
                                 "'none.invalid:82' does not resolve and is down: "));
    ck_assert_uint_eq(x.text.resolved.n, 3);

    struct conf *conf = conf_build(&x.text, &x.report);
    ck_assert_ptr_nonnull(conf);
    const struct conf_servers *s = &conf->backends[0].server;
    char text[ADDR_TEXT_MAX];
    ck_assert_uint_gt(conf->listeners[0].bind.v[0].addr.len, 0);
    ck_assert_uint_gt(s->v[0].addr.len, 0);
    ck_assert(addr_eq(&s->v[0].addr, &s->v[1].addr));
    addr_format(&s->v[0].addr, text);
    ck_assert(slice_ends(slice_str(text), SLICE(":81")));
    ck_assert_uint_eq(s->v[2].addr.len, 0);
    conf_free(&conf);

    /* What was looked up is not looked up again. */
    conf_resolve(&x.text, x.conf, NULL, &x.report);
    ck_assert_uint_eq(x.text.resolved.n, 3);
    fixture_end(&x);
}
END_TEST

START_TEST(test_strict_names)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, "[global]\nstrict = on\n[listener l]\nbind = :80\ndefault_backend = b\n"
                     "[backend b]\nserver = none.invalid:82\n");
    conf_resolve(&x.text, x.conf, NULL, &x.report);
    ck_assert_uint_eq(x.report.errors, 1);
    fixture_good(&x, "[listener l]\nbind = none.invalid:80\n");
    conf_resolve(&x.text, x.conf, NULL, &x.report);
    ck_assert_uint_eq(x.report.errors, 1);
    fixture_end(&x);
}
END_TEST

START_TEST(test_machine)
{
    struct conf_fixture x;

    fixture_begin(&x);
    ck_assert_int_eq(mkdir("logs", 0700), 0);
    fixture_good(&x, "[global]\nrun_dir = run\nlog = ./no/log\naccess_log = ./ok.log\n");
    conf_check_system(x.conf, &x.report);
    FIXTURE_EXPECT(&x, "f.ini:1: [global] log: './no/log' cannot be written: No such file or "
                       "directory");
    ck_assert_uint_eq(x.report.errors, 1);

    fixture_good(&x, "[global]\nrun_dir = no/run\naccess_log = ./logs\n");
    conf_check_system(x.conf, &x.report);
    FIXTURE_EXPECT(&x, "f.ini:1: [global] run_dir: 'no/run' cannot be written: No such file or "
                       "directory");
    FIXTURE_EXPECT(&x, "f.ini:1: [global] access_log: './logs' cannot be written: Is a "
                       "directory");
    ck_assert_uint_eq(x.report.errors, 2);
    ck_assert_int_eq(access("ok.log", F_OK), -1);
    fixture_end(&x);
}
END_TEST

/* A text with mistakes can be held against the machine nonetheless. */
START_TEST(test_partial_conf)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_load(&x, "[global]\nrun_dir = no/run\nworkers = 0\n"
                     "[listener]\nbind = none.invalid:1\n[listener l]\nbind = none.invalid:1\n"
                     "[route r]\nbackend = c\n");
    ck_assert_ptr_null(x.conf);
    report_fini(&x.report);
    report_init(&x.report);
    struct conf *conf = conf_build_partial(&x.text, &x.report);
    ck_assert_ptr_nonnull(conf);
    unsigned errors = x.report.errors;
    conf_resolve(&x.text, conf, NULL, &x.report);
    conf_check_system(conf, &x.report);
    ck_assert_uint_eq(x.report.errors, errors + 2);
    conf_free(&conf);
    fixture_end(&x);
}
END_TEST

/* Nothing in reading or building is quadratic: ten times the routes take some ten times as long.
 * The limit leaves room for sanitizers and a busy machine. */
START_TEST(test_thousands)
{
    struct conf_fixture x;
    struct strbuf text;

    fixture_begin(&x);
    strbuf_init(&text);
    strbuf_adds(&text, "[listener l]\nbind = :80\n");
    for (int i = 0; i < 100; i++) {
        strbuf_printf(&text, "[backend b%d]\n", i);
        for (int j = 0; j < 20; j++)
            strbuf_printf(&text, "server = 10.0.%d.%d:80 weight=2\n", i, j + 1);
    }
    for (int i = 0; i < 5000; i++)
        strbuf_printf(&text, "[route r%d]\nhost = h%d.test\npath = /p%d\nbackend = b%d\n", i,
                      i % 50, i, i % 100);
    clock_t begin = clock();
    fixture_good(&x, text.s);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    ck_assert_uint_eq(x.conf->nroutes, 5000);
    ck_assert_uint_eq(x.conf->backends[99].server.n, 20);
    ck_assert_msg(seconds < 3.0, "%.2f s", seconds);
    strbuf_fini(&text);
    fixture_end(&x);
}
END_TEST

UNIT_MAIN("conf_check", test_settings_of_checks_without_one_are_a_warning,
          test_references, test_binds_twice, test_one_answer,
          test_routes_that_never_match, test_routes_that_match_something, test_tcp_routes,
          test_listeners_without_routes, test_unused_backend_is_a_warning,
          test_what_sessions_do_not_have, test_servers_twice, test_all_mistakes_in_one_run,
          test_names_resolve, test_strict_names, test_machine, test_partial_conf, test_thousands)
