/* Values of every setting: what is taken, what is refused and how. */
#include "t/unit/conf_fixture.h"

/* A value in a file that needs nothing else. */
static void load_value(struct conf_fixture *x, const char *kind, const char *line)
{
    struct strbuf text;

    strbuf_init(&text);
    strbuf_adds(&text, "[backend b]\n");
    if (strcmp(kind, "backend") != 0 || strncmp(line, "server", 6) != 0)
        strbuf_adds(&text, "server = 127.0.0.1:1\n");
    if (strcmp(kind, "backend") == 0)
        strbuf_printf(&text, "%s\n", line);
    strbuf_adds(&text, "[listener l]\n");
    if (strcmp(kind, "listener") != 0 || strncmp(line, "bind", 4) != 0)
        strbuf_adds(&text, "bind = :80\n");
    if (strcmp(kind, "listener") == 0)
        strbuf_printf(&text, "%s\n", line);
    strbuf_adds(&text, "[route r]\n");
    if (strcmp(kind, "route") == 0)
        strbuf_printf(&text, "%s\n", line);
    if (strcmp(kind, "route") != 0 || (strncmp(line, "re", 2) != 0 || line[2] == 't') ||
        strncmp(line, "request", 7) == 0 || strncmp(line, "response", 8) == 0)
        strbuf_adds(&text, "backend = b\n");
    if (strcmp(kind, "global") == 0)
        strbuf_printf(&text, "[global]\n%s\n", line);
    fixture_load(x, text.s);
    strbuf_fini(&text);
}

static void good(struct conf_fixture *x, const char *kind, const char *line)
{
    load_value(x, kind, line);
    ck_assert_msg(x->conf != NULL, "%s: refused:\n%s", line, x->report.text.s);
}

/* Exactly one error, of the key with that message. */
static void bad(struct conf_fixture *x, const char *kind, const char *line, const char *message)
{
    struct strbuf want;
    const char *name = strcmp(kind, "listener") == 0 ? " l"
                       : strcmp(kind, "route") == 0  ? " r"
                       : strcmp(kind, "backend") == 0 ? " b" : "";

    load_value(x, kind, line);
    ck_assert_msg(x->conf == NULL, "%s: accepted", line);
    strbuf_init(&want);
    strbuf_printf(&want, "[%s%s] %.*s: %s", kind, name, (int)strcspn(line, " ="), line, message);
    ck_assert_msg(strstr(x->report.text.s, want.s) != NULL, "%s: not reported: %s\nbut:\n%s",
                  line, want.s, x->report.text.s);
    ck_assert_msg(x->report.errors == 1, "%s: more than one:\n%s", line, x->report.text.s);
    strbuf_fini(&want);
}

START_TEST(test_defaults)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "route", "retries = 1");
    const struct conf *c = x.conf;
    ck_assert_uint_ge(c->global.workers, 1);
    ck_assert_str_eq(c->global.user, "rpd");
    ck_assert_str_eq(c->global.run_dir, "/run/rpd");
    ck_assert_uint_eq(c->global.max_connections, 100000);
    ck_assert_uint_eq(c->global.shutdown_timeout_ms, 30000);
    ck_assert_int_eq(c->global.log_level, LOG_LEVEL_NOTICE);
    ck_assert_int_eq(c->global.access_log_format.how, CONF_FORMAT_COMBINED);
    ck_assert_str_eq(c->global.include, "");
    ck_assert_int_eq(c->listeners[0].mode, CONF_MODE_HTTP);
    ck_assert_uint_eq(c->listeners[0].timeout_idle_ms, 60000);
    ck_assert_uint_eq(c->listeners[0].max_header_size, 32768);
    ck_assert_ptr_null(c->listeners[0].default_backend);
    ck_assert_uint_eq(c->routes[0].host.n, 0);
    ck_assert_ptr_nonnull(c->routes[0].path.p);
    ck_assert_uint_eq(c->routes[0].path.n, 0);
    ck_assert_uint_eq(c->routes[0].respond.status, 0);
    ck_assert_uint_eq(c->routes[0].retry_on, CONF_FAIL_CONNECT);
    ck_assert_int_eq(c->routes[0].host_header.how, CONF_HOST_PRESERVE);
    ck_assert(!c->routes[0].access_log);
    ck_assert_ptr_eq(c->routes[0].backend, &c->backends[0]);
    ck_assert_uint_eq(c->backends[0].keepalive, 64);
    ck_assert_int_eq(c->backends[0].balance.how, CONF_BALANCE_ROUND_ROBIN);
    fixture_end(&x);
}
END_TEST

START_TEST(test_numbers_and_ranges)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "global", "workers = 256");
    ck_assert_uint_eq(x.conf->global.workers, 256);
    bad(&x, "global", "workers = 0", "'0' is below the least, 1");
    bad(&x, "global", "workers = 257", "'257' is above the most, 256");
    bad(&x, "global", "workers = many", "'many' is no whole number");
    bad(&x, "global", "workers =", "needs a value");
    bad(&x, "global", "max_connections = 10k", "'10k' is no whole number");
    bad(&x, "listener", "timeout_idle = 30",
        "'30' has no unit: did you mean 30s or 30ms?");
    bad(&x, "listener", "timeout_idle = 0", "'0' is below the least, 1ms");
    bad(&x, "listener", "timeout_idle = 50d", "'50d' is above the most, ");
    good(&x, "listener", "max_header_size = 1m");
    ck_assert_uint_eq(x.conf->listeners[0].max_header_size, 1048576);
    bad(&x, "listener", "max_header_size = 2m", "'2m' is above the most, 1m");
    bad(&x, "listener", "max_header_size = 1", "'1' is below the least, 512");
    good(&x, "listener", "max_body_size = 5000g");
    ck_assert_uint_eq(x.conf->listeners[0].max_body_size, 5000ull << 30);
    good(&x, "global", "shutdown_timeout = 0");
    fixture_end(&x);
}
END_TEST

START_TEST(test_words)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "global", "strict = yes");
    ck_assert(x.conf->global.strict);
    good(&x, "global", "strict = 0");
    ck_assert(!x.conf->global.strict);
    bad(&x, "global", "strict = onn", "'onn' is none of on, off, yes, no, true, false, 1, 0 "
                                      "(did you mean 'on'?)");
    bad(&x, "listener", "mode = htp", "'htp' is none of http, tcp (did you mean 'http'?)");
    good(&x, "backend", "balance = least_conn");
    ck_assert_int_eq(x.conf->backends[0].balance.how, CONF_BALANCE_LEAST_CONN);
    bad(&x, "backend", "balance = leastconn", "'leastconn' is none of round_robin, least_conn, "
                                              "random, ewma, hash (did you mean 'least_conn'?)");
    bad(&x, "backend", "balance = least_conn $uri", "'least_conn $uri' is none of");
    good(&x, "backend", "send_proxy = v2");
    ck_assert_int_eq(x.conf->backends[0].send_proxy, CONF_SEND_PROXY_V2);
    bad(&x, "backend", "send_proxy = v3", "'v3' is none of off, v1, v2");
    good(&x, "global", "log_level = debug");
    bad(&x, "global", "log_level = warn", "'warn' is none of debug, info, notice, warning, error");
    good(&x, "route", "access_log = off");
    ck_assert(x.conf->routes[0].access_log);
    good(&x, "route", "retry_on =");
    ck_assert_uint_eq(x.conf->routes[0].retry_on, 0);
    fixture_end(&x);
}
END_TEST

START_TEST(test_balance)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "backend", "balance = ewma");
    ck_assert_int_eq(x.conf->backends[0].balance.how, CONF_BALANCE_EWMA);
    good(&x, "backend", "balance = random");
    ck_assert_int_eq(x.conf->backends[0].balance.how, CONF_BALANCE_RANDOM);
    good(&x, "backend", "balance = hash $client_ip$uri");
    ck_assert_int_eq(x.conf->backends[0].balance.how, CONF_BALANCE_HASH);
    ck_assert_uint_eq(x.conf->backends[0].balance.key.n, 2);
    bad(&x, "backend", "balance = hash", "hash of what?");
    bad(&x, "backend", "balance = hash uri", "hash 'uri': without a variable");
    bad(&x, "backend", "balance = hash $clientip",
        "'$clientip' is no variable (did you mean '$client_ip'?)");
    good(&x, "backend", "sticky = cookie SRV");
    ck_assert_int_eq(x.conf->backends[0].sticky.how, CONF_STICKY_COOKIE);
    ck_assert(slice_eq(x.conf->backends[0].sticky.cookie, SLICE("SRV")));
    good(&x, "backend", "sticky = source");
    bad(&x, "backend", "sticky = cookie", "which cookie?");
    bad(&x, "backend", "sticky = cookie a b", "'a b' is no name of a cookie");
    bad(&x, "backend", "sticky = sauce",
        "'sauce' is none of off, cookie, source (did you mean 'source'?)");
    bad(&x, "backend", "sticky = source x", "'x' after 'source'");
    fixture_end(&x);
}
END_TEST

START_TEST(test_check)
{
    struct conf_fixture x;
    const struct conf_check_value *check;

    fixture_begin(&x);
    good(&x, "backend", "check = tcp");
    ck_assert_int_eq(x.conf->backends[0].check.how, CONF_CHECK_TCP);
    good(&x, "backend", "check = http /up");
    check = &x.conf->backends[0].check;
    ck_assert_int_eq(check->how, CONF_CHECK_HTTP);
    ck_assert(slice_eq(check->method, SLICE("GET")) && slice_eq(check->path, SLICE("/up")));
    ck_assert_uint_eq(check->status_min, 200);
    ck_assert_uint_eq(check->status_max, 399);
    good(&x, "backend", "check = http HEAD /up?a=b 204 host=a.test:80 body=all is well");
    check = &x.conf->backends[0].check;
    ck_assert(slice_eq(check->method, SLICE("HEAD")) && slice_eq(check->path, SLICE("/up?a=b")));
    ck_assert_uint_eq(check->status_min, 204);
    ck_assert_uint_eq(check->status_max, 204);
    ck_assert(slice_eq(check->host, SLICE("a.test:80")));
    ck_assert(slice_eq(check->body, SLICE("all is well")));
    bad(&x, "backend", "check = http", "'' is no path: write off, tcp, or");
    bad(&x, "backend", "check = http GET", "'' is no path");
    bad(&x, "backend", "check = http GET /up 2xx", "'2xx': write off");
    bad(&x, "backend", "check = http GET /up 399-200", "'399-200': write off");
    bad(&x, "backend", "check = tpc", "'tpc': write off, tcp");
    good(&x, "backend", "eject_max = 12.5%");
    ck_assert_uint_eq(x.conf->backends[0].eject_max, 1250);
    bad(&x, "backend", "eject_max = 50", "'50' is no percentage: write 5% or 0.25%");
    bad(&x, "backend", "panic = 101%", "'101%' is above the most, 100%");
    fixture_end(&x);
}
END_TEST

START_TEST(test_retries)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "route", "retry_on = connect-failure, reset, 502");
    ck_assert_uint_eq(x.conf->routes[0].retry_on,
                      CONF_FAIL_CONNECT | CONF_FAIL_RESET | CONF_FAIL_502);
    bad(&x, "route", "retry_on = 5xx", "'5xx' is none of connect-failure, reset");
    good(&x, "backend", "eject_on = 5xx");
    ck_assert_uint_eq(x.conf->backends[0].eject_on, CONF_FAIL_5XX);
    good(&x, "route", "hedge_after = p95");
    ck_assert_uint_eq(x.conf->routes[0].hedge_after.quantile, 950);
    good(&x, "route", "hedge_after = p99.9");
    ck_assert_uint_eq(x.conf->routes[0].hedge_after.quantile, 999);
    good(&x, "route", "hedge_after = 50ms");
    ck_assert_uint_eq(x.conf->routes[0].hedge_after.after_ms, 50);
    good(&x, "route", "hedge_after = off");
    ck_assert_uint_eq(x.conf->routes[0].hedge_after.after_ms, 0);
    bad(&x, "route", "hedge_after = p100", "'p100' is neither off, a duration");
    bad(&x, "route", "hedge_after = 95%", "'95%' is neither off, a duration");
    bad(&x, "route", "hedge_after = 0", "'0' is neither off, a duration");
    fixture_end(&x);
}
END_TEST

START_TEST(test_not_supported_yet)
{
    struct conf_fixture x;

    fixture_begin(&x);
    bad(&x, "backend", "protocol = http2", "'http2' is not supported yet");
    bad(&x, "route", "access_log = /var/log/r.log", "a log file of the route's own is not "
                                                    "supported yet");
    bad(&x, "route", "access_log = stdout", "'stdout' is not supported yet");
    bad(&x, "listener", "http2_cleartext = on", "not supported yet");
    bad(&x, "listener", "default_backend = a 95, b 5", "'a 95, b 5': one backend stands "
                                                       "here, without a weight");
    fixture_bad(&x, "[listener l]\nbind = :80\n[cache c]\nsize = 5\nbogus = 1\n",
                "f.ini:3: [cache c]: not supported yet");
    fixture_bad(&x, "[listener l]\nbind = :80\n[admin]\nbind = :8404\n",
                "f.ini:3: [admin]: not supported yet");
    fixture_end(&x);
}
END_TEST

START_TEST(test_logs)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "global", "log = /var/log/rpd.log");
    ck_assert_int_eq(conf_log_target(x.conf->global.log), CONF_LOG_FILE);
    good(&x, "global", "log = ./a$$b");
    ck_assert_str_eq(x.conf->global.log, "./a$b");
    bad(&x, "global", "log = sterr", "'sterr' is none of stderr, syslog or a file's path, which "
                                     "has a '/' (did you mean 'stderr'?)");
    bad(&x, "global", "log = stdout", "'stdout' is none of");
    bad(&x, "global", "log = /var/$host", "'/var/$host': no request variable can stand here");
    good(&x, "global", "access_log = stdout");
    ck_assert_int_eq(conf_log_target(x.conf->global.access_log), CONF_LOG_STDOUT);
    bad(&x, "global", "access_log = stderr", "'stderr' is none of off, stdout, syslog");
    ck_assert_int_eq(conf_log_target("off"), CONF_LOG_OFF);
    ck_assert_int_eq(conf_log_target("stderr"), CONF_LOG_STDERR);
    ck_assert_int_eq(conf_log_target("syslog"), CONF_LOG_SYSLOG);
    good(&x, "global", "access_log_format = json");
    ck_assert_int_eq(x.conf->global.access_log_format.how, CONF_FORMAT_JSON);
    good(&x, "global", "access_log_format = $client_ip \"$method $uri\" $status");
    ck_assert_int_eq(x.conf->global.access_log_format.how, CONF_FORMAT_CUSTOM);
    ck_assert_uint_eq(x.conf->global.access_log_format.value.n, 7);
    bad(&x, "global", "access_log_format = comined", "'comined' is none of combined, json or a "
                                                     "string of variables (did you mean "
                                                     "'combined'?)");
    bad(&x, "global", "access_log_format = $clientip", "'$clientip' is no variable (did you mean "
                                                       "'$client_ip'?)");
    fixture_end(&x);
}
END_TEST

START_TEST(test_run_dir_fits_a_socket)
{
    struct conf_fixture x;
    char path[100], line[200];

    fixture_begin(&x);
    memset(path, '/', sizeof path - 1);
    path[99] = '\0';
    snprintf(line, sizeof line, "run_dir = %s", path);
    bad(&x, "global", line, "longer than 98 bytes: the control socket's name would not fit");
    path[98] = '\0';
    snprintf(line, sizeof line, "run_dir = %s", path);
    good(&x, "global", line);
    bad(&x, "global", "user = a b", "'a b' is no name of a user");
    fixture_end(&x);
}
END_TEST

START_TEST(test_binds)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "listener", "bind = 127.0.0.1:80, [::1]:81\nbind = :82\n  unix:/run/x.sock");
    const struct conf_binds *b = &x.conf->listeners[0].bind;
    ck_assert_uint_eq(b->n, 4);
    ck_assert_uint_eq(b->v[0].addr.sa.sa_family, AF_INET);
    ck_assert_uint_eq(b->v[2].addr.sa.sa_family, AF_INET6);
    ck_assert_uint_eq(b->v[3].addr.sa.sa_family, AF_UNIX);
    ck_assert_str_eq(b->v[1].text, "[::1]:81");
    ck_assert_uint_eq(b->v[3].origin.line, b->v[0].origin.line + 2);
    bad(&x, "listener", "bind = 127.0.0.1", "'127.0.0.1': the port is missing");
    bad(&x, "listener", "bind = 127.0.0.1:99999", "'127.0.0.1:99999': the port is not");
    good(&x, "listener", "trusted_proxies = 10.0.0.0/8, ::1\n  unix");
    ck_assert_uint_eq(x.conf->listeners[0].trusted_proxies.n, 3);
    bad(&x, "listener", "trusted_proxies = 10.0.0.0/33", "'10.0.0.0/33': ");
    fixture_end(&x);
}
END_TEST

START_TEST(test_hosts)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "route", "host = API.Example.com, *.Example.com\n  [::1], 10.0.0.1, dot.example.");
    const struct conf_hosts *h = &x.conf->routes[0].host;
    ck_assert_uint_eq(h->n, 5);
    ck_assert(slice_eq(h->v[0].name, SLICE("api.example.com")));
    ck_assert(!h->v[0].is_wildcard);
    ck_assert(slice_eq(h->v[1].name, SLICE(".example.com")));
    ck_assert(h->v[1].is_wildcard);
    ck_assert(slice_eq(h->v[2].name, SLICE("[::1]")));
    ck_assert(slice_eq(h->v[4].name, SLICE("dot.example")));
    bad(&x, "route", "host = *", "'*': a route without host takes any");
    bad(&x, "route", "host = a.com:80", "'a.com:80': a host is written without port");
    bad(&x, "route", "host = http://a.com/", "'http://a.com/': a host, not a URL, belongs here");
    bad(&x, "route", "host = a.*.com", "'a.*.com': a wildcard is written *.example.com");
    bad(&x, "route", "host = *.", "'*.': a wildcard is written *.example.com");
    bad(&x, "route", "host = a..b", "'a..b': no host");
    bad(&x, "route", "host = .a.b", "'.a.b': no host");
    bad(&x, "route", "host = a b", "'a b': no host");
    bad(&x, "route", "host = .", "'.': no host");
    fixture_end(&x);
}
END_TEST

START_TEST(test_paths)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "route", "path = /api//");
    ck_assert(slice_eq(x.conf->routes[0].path, SLICE("/api")));
    good(&x, "route", "path = /");
    ck_assert(slice_eq(x.conf->routes[0].path, SLICE("/")));
    good(&x, "route", "path =");
    ck_assert_uint_eq(x.conf->routes[0].path.n, 0);
    good(&x, "route", "path = /$$a");
    ck_assert(slice_eq(x.conf->routes[0].path, SLICE("/$a")));
    bad(&x, "route", "path = api", "'api' does not begin with '/'");
    bad(&x, "route", "path = /a?b", "'/a?b': a path holds no '?'");
    bad(&x, "route", "path = /a b", "'/a b': a path holds no ' '");
    bad(&x, "route", "path = /api/*", "'/api/*': leave the '*' out, a path is a prefix");
    fixture_end(&x);
}
END_TEST

START_TEST(test_respond_and_redirect)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "route", "respond = 200 Hello $client_ip,\n  and you");
    ck_assert_uint_eq(x.conf->routes[0].respond.status, 200);
    ck_assert(slice_eq(x.conf->routes[0].respond.body.source,
                       SLICE("Hello $client_ip, and you")));
    good(&x, "route", "respond = 204");
    ck_assert_uint_eq(x.conf->routes[0].respond.body.n, 0);
    bad(&x, "route", "respond = 204 x", "a 204 has no body: leave the text out");
    bad(&x, "route", "respond = hello", "'hello' begins with no status from 200 to 599");
    bad(&x, "route", "respond = 199 x", "'199 x' begins with no status from 200 to 599");
    bad(&x, "route", "respond = 600", "'600' begins with no status from 200 to 599");
    good(&x, "route", "redirect = 308 https://$host$uri");
    ck_assert_uint_eq(x.conf->routes[0].redirect.status, 308);
    ck_assert_uint_eq(x.conf->routes[0].redirect.location.n, 3);
    bad(&x, "route", "redirect = https://x", "'https://x' begins with none of 301, 302, 303, "
                                             "307, 308");
    bad(&x, "route", "redirect = 304 /x", "'304 /x' begins with none of");
    bad(&x, "route", "redirect = 301", "no place to go to follows the 301");
    bad(&x, "route", "redirect = 301 /a b", "'/a b': a URL holds no space");
    fixture_end(&x);
}
END_TEST

START_TEST(test_field_rules)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "route", "request_header = set X-A: 1, 2, remove X-B, add X-C:$client_ip\n"
                      "  set X-D:\nrequest_header = remove X-E,");
    const struct conf_field_rules *r = &x.conf->routes[0].request_header;
    ck_assert_uint_eq(r->n, 5);
    ck_assert_int_eq(r->v[0].op, CONF_RULE_SET);
    ck_assert(slice_eq(r->v[0].name, SLICE("X-A")));
    ck_assert(slice_eq(r->v[0].value.source, SLICE("1, 2")));
    ck_assert_int_eq(r->v[1].op, CONF_RULE_REMOVE);
    ck_assert(slice_eq(r->v[1].name, SLICE("X-B")));
    ck_assert_int_eq(r->v[2].op, CONF_RULE_ADD);
    ck_assert_int_eq(r->v[2].value.parts[0].var, VAR_CLIENT_IP);
    ck_assert_uint_eq(r->v[3].value.n, 0);
    fixture_end(&x);
}
END_TEST

START_TEST(test_bad_field_rules)
{
    struct conf_fixture x;

    fixture_begin(&x);
    bad(&x, "route", "request_header = st X: 1", "'st' is none of `set Name: value`, `add Name: "
                                                 "value`, `remove Name` (did you mean 'set'?)");
    bad(&x, "route", "response_header = set X", "no `: value` after the field's name");
    bad(&x, "route", "response_header = remove X: 1", "`remove Name` takes no value");
    bad(&x, "route", "response_header = set X Y: 1", "'X Y' is no name of a field");
    bad(&x, "route", "request_header = set : 1", "'' is no name of a field");
    bad(&x, "route", "request_header = set host: x", "Host is set by host_header");
    bad(&x, "route", "request_header = set X: $nothing", "'$nothing' is no variable");
    static const char *const framing[] = { "Content-Length", "Transfer-Encoding", "Connection",
                                           "Keep-Alive", "Proxy-Connection", "TE", "Trailer",
                                           "Upgrade" };
    for (size_t i = 0; i < sizeof framing / sizeof framing[0]; i++) {
        char line[80], message[120];

        snprintf(line, sizeof line, "response_header = remove %s", framing[i]);
        snprintf(message, sizeof message, "%s belongs to the connection: no rule can change it",
                 framing[i]);
        bad(&x, "route", line, message);
    }
    fixture_end(&x);
}
END_TEST

START_TEST(test_host_header)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "route", "host_header = server");
    ck_assert_int_eq(x.conf->routes[0].host_header.how, CONF_HOST_SERVER);
    good(&x, "route", "host_header = app.internal:8080");
    ck_assert_int_eq(x.conf->routes[0].host_header.how, CONF_HOST_VALUE);
    good(&x, "route", "host_header = x-$host");
    ck_assert_uint_eq(x.conf->routes[0].host_header.value.n, 2);
    bad(&x, "route", "host_header = a b", "'a b' is no host");
    bad(&x, "route", "host_header = http://x", "'http://x' is no host");
    bad(&x, "route", "host_header =", "needs a value");
    fixture_end(&x);
}
END_TEST

START_TEST(test_servers)
{
    struct conf_fixture x;

    fixture_begin(&x);
    good(&x, "backend", "server = 10.0.0.1:80, 10.0.0.2:80 weight=5 name=two\n"
                        "  unix:/run/a.sock backup max_conns=7\n"
                        "server = app.test:80 down weight=0");
    const struct conf_servers *s = &x.conf->backends[0].server;
    ck_assert_uint_eq(s->n, 4);
    ck_assert_str_eq(s->v[0].name, "10.0.0.1:80");
    ck_assert_uint_eq(s->v[0].weight, 1);
    ck_assert_str_eq(s->v[1].name, "two");
    ck_assert_str_eq(s->v[1].text, "10.0.0.2:80");
    ck_assert_uint_eq(s->v[1].weight, 5);
    ck_assert(s->v[2].is_backup && !s->v[2].is_down);
    ck_assert_uint_eq(s->v[2].max_conns, 7);
    ck_assert_str_eq(s->v[3].name, "app.test:80");
    ck_assert_uint_eq(s->v[3].addr.len, 0);
    ck_assert_uint_eq(s->v[3].weight, 0);
    ck_assert(s->v[3].is_down);
    fixture_end(&x);
}
END_TEST

START_TEST(test_bad_servers)
{
    struct conf_fixture x;

    fixture_begin(&x);
    bad(&x, "backend", "server = 10.0.0.1", "'10.0.0.1': the port is missing");
    bad(&x, "backend", "server = :80", "':80' names no host to connect to");
    bad(&x, "backend", "server = 10.0.0.1:0", "'10.0.0.1:0': the port is not");
    bad(&x, "backend", "server = srv:_a._tcp.b.test:80", "'srv:_a._tcp.b.test:80': the port of "
        "srv: is in its records (did you mean 'srv:_a._tcp.b.test'?)");
    bad(&x, "backend", "server = srv:10.0.0.1", "'srv:10.0.0.1': srv: takes a name, not an "
        "address (did you mean '10.0.0.1:PORT'?)");
    bad(&x, "backend", "server = srv:", "'srv:': no name to ask SRV records of");
    bad(&x, "backend", "server = srv:a.test weight=2", "weight: servers of srv: have the weights "
        "of their records");
    bad(&x, "global", "nameserver = dns.test:53", "'dns.test:53': a name server is told by its");
    bad(&x, "global", "nameserver = :53", "':53': ");
    bad(&x, "backend", "server = 10.0.0.1:1 wieght=1", "'wieght' is none of name=, weight=, "
        "max_conns=, backup, down (did you mean 'weight'?)");
    bad(&x, "backend", "server = 10.0.0.1:1 weight=65536", "weight: '65536' is no number from 0 "
                                                           "to 65535");
    bad(&x, "backend", "server = 10.0.0.1:1 weight", "'weight' needs a value");
    bad(&x, "backend", "server = 10.0.0.1:1 backup=1", "'backup' takes no value");
    bad(&x, "backend", "server = 10.0.0.1:1 down down", "'down' is given twice");
    bad(&x, "backend", "server = 10.0.0.1:1 name=a/b", "name: 'a/b' is no name");
    fixture_bad(&x, "[listener l]\nbind = :80\ndefault_backend = b\n[backend b]\n",
                "f.ini:4: [backend b]: has no server, and needs one");
    fixture_end(&x);
}
END_TEST

START_TEST(test_defaults_sections)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, "[route a]\nrequest_header = set X-Own: 1\nrespond = 200\npath = /a\n"
                     "[route b]\nrequest_header =\nrespond = 200\npath = /b\nretries = 5\n"
                     "[route c]\npath = /c\n"
                     "[route d]\npath = /d\nrequest_header =\n  set X-D: 1\n"
                     "[defaults route]\nbackend = x\nrequest_header = set X-1: 1, set X-2: 2\n"
                     "request_header = set X-3: 3\nretries = 3\n"
                     "[backend x]\nserver = 127.0.0.1:1\n[listener l]\nbind = :80\n");
    const struct conf_route *r = x.conf->routes;
    ck_assert_uint_eq(r[0].request_header.n, 4);
    ck_assert(slice_eq(r[0].request_header.v[0].name, SLICE("X-1")));
    ck_assert(slice_eq(r[0].request_header.v[3].name, SLICE("X-Own")));
    ck_assert_ptr_null(r[0].backend);
    ck_assert_uint_eq(r[0].retries, 3);
    ck_assert_uint_eq(r[1].request_header.n, 0);
    ck_assert_uint_eq(r[1].retries, 5);
    ck_assert_uint_eq(r[2].request_header.n, 3);
    ck_assert_str_eq(r[2].backend->name, "x");
    ck_assert_uint_eq(r[3].request_header.n, 4);
    ck_assert(slice_eq(r[3].request_header.v[3].name, SLICE("X-D")));
    ck_assert(slice_eq(r[0].request_header.v[3].name, SLICE("X-Own")));
    fixture_end(&x);
}
END_TEST

START_TEST(test_keys)
{
    struct conf_fixture x;

    fixture_begin(&x);
    bad(&x, "listener", "timeout_idel = 1s", "unknown key (did you mean 'timeout_idle'?)");
    bad(&x, "listener", "server = 127.0.0.1:1", "unknown key: it belongs to [backend]");
    bad(&x, "listener", "colour = red", "unknown key");
    bad(&x, "listener", "mode = http\nmode = http", "set twice, first at f.ini:5");
    bad(&x, "listener", "mode = http\n   timeout_idle = 1s", "an indented line continues the "
        "value above it: begin 'timeout_idle' at the start of its line");
    fixture_load(&x, "[defaults route]\nretries = 1\n[defaults route]\nretries = 2\n"
                     "[global]\nuser = a\n[global]\ngroup = a\nuser = b\n");
    FIXTURE_EXPECT(&x, "f.ini:4: [defaults route] retries: set twice, first at f.ini:2");
    FIXTURE_EXPECT(&x, "f.ini:9: [global] user: set twice, first at f.ini:6");
    ck_assert_uint_eq(x.report.errors, 2);
    fixture_end(&x);
}
END_TEST

START_TEST(test_sections)
{
    static const struct {
        const char *header, *message;
    } bad_headers[] = {
        { "[rout a]", "f.ini:1: [rout a]: there is no section of this type (did you mean "
                      "'route'?)" },
        { "[]", "f.ini:1: []: there is no section of this type" },
        { "[global x]", "f.ini:1: [global x]: this section takes no name" },
        { "[backend]", "f.ini:1: [backend]: this section needs a name" },
        { "[backend \"a\"]", "f.ini:1: [backend \"a\"]: names are written without quotes" },
        { "[backend a b]", "f.ini:1: [backend a b]: a name holds letters, digits, '_', '.' and "
                           "'-' only" },
        { "[defaults]", "f.ini:1: [defaults ]: name a type of section: [defaults listener], "
                        "[defaults route] or [defaults backend]" },
        { "[defaults route x]", "f.ini:1: [defaults route x]: this section takes no name" },
        { "[defaults global]", "f.ini:1: [defaults global]: a section there is one of needs no "
                               "defaults" },
        { "[defaults cache]", "f.ini:1: [defaults cache]: not supported yet" },
    };
    struct conf_fixture x;

    fixture_begin(&x);
    for (size_t i = 0; i < sizeof bad_headers / sizeof bad_headers[0]; i++) {
        char text[300];

        snprintf(text, sizeof text, "%s\nmust = be\n%s", bad_headers[i].header,
                 strstr(bad_headers[i].header, "backend") ? "server = 127.0.0.1:1\n" : "");
        fixture_load(&x, text);
        FIXTURE_EXPECT(&x, bad_headers[i].message);
    }
    fixture_end(&x);
}
END_TEST

UNIT_MAIN("conf_values", test_defaults, test_numbers_and_ranges, test_words, test_balance,
          test_check, test_retries, test_not_supported_yet, test_logs, test_run_dir_fits_a_socket,
          test_binds, test_hosts, test_paths, test_respond_and_redirect, test_field_rules,
          test_bad_field_rules, test_host_header, test_servers, test_bad_servers,
          test_defaults_sections, test_keys, test_sections)
