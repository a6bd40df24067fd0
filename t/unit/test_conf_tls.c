/* Settings of TLS: values, what they say together, and the files that they name. */
#include <sys/stat.h>
#include "t/unit/conf_fixture.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define CERT "[certificate c]\ncert = c.pem\nkey = c.key\n" /* lines 1 to 3 */
#define APP "[backend app]\nserver = 127.0.0.1:1\n"         /* 4 and 5 */
#define TLS "[listener web]\nbind = :443\ntls = on\n"       /* 6 to 8 */
#define WEB CERT APP TLS "certificate = c\n"                /* 9 */

/* ---- values ---- */

START_TEST(test_defaults)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, "[listener web]\nbind = :80\ndefault_backend = app\n" APP);
    ck_assert(x.conf->global.key_process);
    ck_assert_str_eq(x.conf->global.keys_user, "rpd-keys");
    ck_assert_str_eq(x.conf->global.ticket_key_file.path, "");
    ck_assert(!x.conf->listeners[0].tls);
    ck_assert_uint_eq(x.conf->listeners[0].certificate.n, 0);
    ck_assert_int_eq(x.conf->listeners[0].tls_min_version, CONF_TLS_1_2);
    ck_assert_int_eq(x.conf->listeners[0].client_verify, CONF_CLIENT_VERIFY_OFF);
    ck_assert_str_eq(x.conf->listeners[0].client_ca.path, "");
    ck_assert(x.conf->backends[0].tls_verify);
    ck_assert_str_eq(x.conf->backends[0].tls_name, "");
    ck_assert_ptr_null(x.conf->backends[0].tls_certificate);
    ck_assert_ptr_null(x.conf->system_ca.p);
    fixture_end(&x);
}
END_TEST

START_TEST(test_values)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, CERT "[backend app]\nserver = 127.0.0.1:1\ntls = on\ntls_name = App.Internal\n"
                     "tls_ca = ca.pem\ntls_certificate = c\n"
                     "[listener web]\nbind = :443\ntls = on\ncertificate = c, d\nstrict_sni = yes\n"
                     "tls_min_version = 1.3\nalpn = http/1.1\nclient_ca = /etc/clients.pem\n"
                     "client_verify = required\ndefault_backend = app\n"
                     "[certificate d]\ncert = $$d.pem\nkey = d.key\nocsp = d.ocsp\n");
    const struct conf_listener *l = &x.conf->listeners[0];
    const struct conf_backend *b = &x.conf->backends[0];
    ck_assert_uint_eq(x.conf->ncertificates, 2);
    ck_assert_uint_eq(l->certificate.n, 2);
    ck_assert_ptr_eq(l->certificate.v[1], &x.conf->certificates[1]);
    ck_assert_str_eq(x.conf->certificates[1].cert.path, "$d.pem");
    ck_assert_uint_eq(x.conf->certificates[1].cert.origin.line, 21);
    ck_assert_ptr_null(x.conf->certificates[1].cert.content.p);
    ck_assert(l->strict_sni);
    ck_assert_int_eq(l->tls_min_version, CONF_TLS_1_3);
    ck_assert_uint_eq(l->alpn.n, 1);
    ck_assert_int_eq(l->client_verify, CONF_CLIENT_VERIFY_REQUIRED);
    ck_assert_str_eq(b->tls_name, "app.internal");
    ck_assert_str_eq(b->tls_certificate->name, "c");
    fixture_end(&x);
}
END_TEST

START_TEST(test_paths_begin_at_their_file)
{
    static const char inner[] = CERT "[certificate d]\ncert = /abs/d.pem\nkey = ../d.key\n";
    struct conf_fixture x;

    fixture_begin(&x);
    ck_assert_int_eq(mkdir("sub", 0755), 0);
    fixture_write("sub/tls.ini", inner, sizeof inner - 1);
    fixture_good(&x, "[global]\ninclude = sub/tls.ini\n");
    ck_assert_str_eq(x.conf->certificates[0].cert.path, "sub/c.pem");
    ck_assert_str_eq(x.conf->certificates[1].cert.path, "/abs/d.pem");
    ck_assert_str_eq(x.conf->certificates[1].key.path, "sub/../d.key");
    fixture_end(&x);
}
END_TEST

/* What is offered is what is spoken. */
START_TEST(test_protocols)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, WEB "default_backend = app\n");
    ck_assert_uint_eq(x.report.warnings, 0);
    ck_assert_uint_eq(x.conf->listeners[0].alpn.n, 1);
    ck_assert(slice_eq(x.conf->listeners[0].alpn.v[0], SLICE("http/1.1")));
    fixture_good(&x, WEB "default_backend = app\nalpn = h2, http/1.1\n");
    ck_assert_uint_eq(x.conf->listeners[0].alpn.n, 1);
    FIXTURE_EXPECT(&x, "f.ini:11: warning: [listener web] alpn: h2 is not supported yet, and not "
                       "offered");
    fixture_good(&x, WEB "default_backend = app\nalpn =\n");
    ck_assert_uint_eq(x.conf->listeners[0].alpn.n, 0);
    fixture_good(&x, WEB "default_backend = app\nmode = tcp\n");
    ck_assert_uint_eq(x.conf->listeners[0].alpn.n, 0);
    fixture_good(&x, WEB "default_backend = app\nmode = tcp\nalpn = h2, mqtt\n");
    ck_assert_uint_eq(x.conf->listeners[0].alpn.n, 2);
    fixture_bad(&x, WEB "default_backend = app\nalpn = http/2\n",
                "f.ini:11: [listener web] alpn: 'http/2' is not spoken in http mode");
    fixture_bad(&x, WEB "default_backend = app\nalpn = http/1\n",
                "f.ini:11: [listener web] alpn: 'http/1' is not spoken in http mode (did you mean "
                "'http/1.1'?)");
    fixture_end(&x);
}
END_TEST

/* ---- mistakes ---- */

struct mistake {
    const char *text, *line;
};

static void expect_mistakes(const struct mistake *v, size_t n)
{
    struct conf_fixture x;

    fixture_begin(&x);
    for (size_t i = 0; i < n; i++)
        fixture_bad(&x, v[i].text, v[i].line);
    fixture_end(&x);
}

START_TEST(test_bad_values)
{
    static const struct mistake mistakes[] = {
        { CERT APP TLS "certificate = d\n", "f.ini:9: [listener web] certificate: there is no "
                                            "[certificate d]" },
        { WEB "certificate = c\n", "f.ini:10: [listener web] certificate: 'c' is named twice" },
        { WEB "tls_min_version = 1.1\n", "f.ini:10: [listener web] tls_min_version: '1.1' is none "
                                         "of 1.2, 1.3 (did you mean '1.2'?)" },
        { WEB "client_verify = on\n", "f.ini:10: [listener web] client_verify: 'on' is none of "
                                      "off, optional, required" },
        { "[certificate c]\nkey = c.key\n", "f.ini:1: [certificate c]: has no cert, and needs "
                                            "one" },
        { "[certificate c]\ncert = c.pem\nkey =\n", "f.ini:1: [certificate c]: has no key, and "
                                                    "needs one" },
        { CERT "[backend a]\nserver = 127.0.0.1:1\ntls = on\ntls_name = a b\n",
          "f.ini:7: [backend a] tls_name: 'a b' is no name of a host" },
        { WEB "alpn = http/1.1, http/1.1\n", "f.ini:10: [listener web] alpn: 'http/1.1' is named "
                                             "twice" },
    };

    expect_mistakes(mistakes, COUNT(mistakes));
}
END_TEST

START_TEST(test_what_has_no_effect)
{
    static const struct mistake mistakes[] = {
        { CERT "[listener web]\nbind = :80\ncertificate = c\n",
          "f.ini:6: [listener web] certificate: has no effect without tls = on" },
        { "[listener web]\nbind = :80\nstrict_sni = on\n",
          "f.ini:3: [listener web] strict_sni: has no effect without tls = on" },
        { "[listener web]\nbind = :80\ntls = off\nalpn = http/1.1\n",
          "f.ini:4: [listener web] alpn: has no effect without tls = on" },
        { "[backend a]\nserver = 127.0.0.1:1\ntls_verify = off\n",
          "f.ini:3: [backend a] tls_verify: has no effect without tls = on" },
        { "[backend a]\nserver = 127.0.0.1:1\ntls_ca = /ca.pem\n",
          "f.ini:3: [backend a] tls_ca: has no effect without tls = on" },
        { WEB "default_backend = app\nclient_ca = ca.pem\n",
          "f.ini:11: [listener web] client_ca: has no effect without client_verify (required, or "
          "optional)" },
        { WEB "default_backend = app\nclient_verify = optional\n",
          "f.ini:11: [listener web] client_verify: needs a client_ca, by which clients' "
          "certificates are verified" },
        { "[backend a]\nserver = 127.0.0.1:1, unix:/run/a.sock\ntls = on\n",
          "f.ini:2: [backend a] server: 'unix:/run/a.sock' has no host that its certificate could "
          "name: set tls_name" },
    };
    struct conf_fixture x;

    expect_mistakes(mistakes, COUNT(mistakes));
    /* What is as it would be anyway is no mistake, nor what [defaults] say. */
    fixture_begin(&x);
    fixture_good(&x, "[defaults listener]\ntls_min_version = 1.3\nalpn = http/1.1\n"
                     "[listener web]\nbind = :80\ntls = off\nstrict_sni = off\ncertificate =\n"
                     "client_verify = off\n[backend a]\nserver = 127.0.0.1:1\ntls_verify = on\n");
    fixture_end(&x);
}
END_TEST

START_TEST(test_warnings)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, WEB "default_backend = app\n[certificate d]\ncert = d.pem\nkey = d.key\n");
    FIXTURE_EXPECT(&x, "f.ini:11: warning: [certificate d]: nothing uses it");
    fixture_good(&x, "[listener web]\nbind = :80\ndefault_backend = a\n[backend a]\n"
                     "server = unix:/a.sock\ntls = on\ntls_verify = off\ntls_ca = ca.pem\n");
    FIXTURE_EXPECT(&x, "f.ini:7: warning: [backend a] tls_verify: is off: whoever answers in a "
                       "server's place is believed, and can read and change everything");
    FIXTURE_EXPECT(&x, "f.ini:8: warning: [backend a] tls_ca: has no effect with tls_verify = "
                       "off");
    ck_assert_uint_eq(x.report.warnings, 2);
    fixture_end(&x);
}
END_TEST

/* ---- routes ---- */

START_TEST(test_certificates_are_needed_where_tls_ends)
{
    static const struct mistake mistakes[] = {
        { CERT APP TLS "[route r]\nhost = a.test\nbackend = app\n[backend b]\n"
          "server = 127.0.0.1:2\ntls = on\ntls_certificate = c\n",
          "f.ini:6: [listener web]: has tls = on and no certificate, and needs one: [route r] at "
          "f.ini:9 ends TLS (tls = passthrough would not)" },
        { APP TLS "default_backend = app\n",
          "f.ini:3: [listener web]: has tls = on and no certificate, and needs one for its "
          "default_backend" },
    };
    struct conf_fixture x;

    expect_mistakes(mistakes, COUNT(mistakes));
    fixture_begin(&x);
    fixture_good(&x, APP TLS "[route r]\nhost = a.test\nbackend = app\ntls = passthrough\n");
    ck_assert_int_eq(x.conf->routes[0].tls, CONF_ROUTE_PASSTHROUGH);
    ck_assert_uint_eq(x.report.warnings, 0);
    fixture_end(&x);
}
END_TEST

START_TEST(test_passthrough)
{
    static const struct mistake mistakes[] = {
        { WEB "[listener plain]\nbind = :80\n[route r]\ntls = passthrough\nbackend = app\n"
          "listener = web, plain\n",
          "f.ini:13: [route r] tls: passthrough, but [listener plain] has no tls = on" },
        { APP "[listener plain]\nbind = :80\ndefault_backend = app\n"
          "[route r]\ntls = passthrough\nbackend = app\n",
          "f.ini:6: [route r]: never matches: it passes TLS through, and no listener has tls = "
          "on" },
        { WEB "[route r]\ntls = passthrough\nbackend = app\npath = /x\n",
          "f.ini:13: [route r] path: does not belong in a route with tls = passthrough, which "
          "takes host, listener, allow, deny, limit, backend, timeouts, retries, "
          "retry_on and access_log" },
        { WEB "[route r]\ntls = passthrough\nhost = a.test\n",
          "f.ini:10: [route r]: says nothing to do: it needs one of backend, canary, "
          "respond and redirect" },
        { WEB "[route r]\ntls = passthrough\nbackend = b\n[backend b]\nserver = 127.0.0.1:2\n"
          "tls = on\n[route s]\nhost = s.test\nbackend = app\n",
          "f.ini:12: [route r] backend: passthrough sends the client's own TLS on, and [backend "
          "b] has tls = on" },
        { WEB "[route r]\ntls = passthrough\nhost = a.test\nbackend = app\n"
          "[route s]\nhost = b.test, a.test\npath = /s\nrespond = 200\n",
          "f.ini:14: [route s]: ends TLS for 'a.test' on [listener web], and [route r] at f.ini:10 "
          "passes it through: only one of them can be" },
        { WEB "[route r]\ntls = passthrough\nhost = a.test\nbackend = app\n"
          "[route s]\ntls = passthrough\nhost = a.test\nbackend = app\n",
          "f.ini:14: [route s]: never matches: [route r] at f.ini:10 takes the same listener and "
          "host" },
    };

    expect_mistakes(mistakes, COUNT(mistakes));
}
END_TEST

START_TEST(test_names_tell_sessions_apart)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, WEB "mode = tcp\n[route a]\nlistener = web\nhost = a.test\nbackend = app\n"
                     "[route b]\nlistener = web\nhost = *.test\nbackend = app\ntls = passthrough\n"
                     "[route c]\nlistener = web\nbackend = app\n");
    ck_assert_uint_eq(x.conf->routes[0].host.n, 1);
    /* A plain route that names no listener takes http's, a passthrough one all with TLS. */
    fixture_good(&x, APP TLS "mode = tcp\n[listener plain]\nbind = :80\nmode = tcp\n"
                     "default_backend = app\n[route a]\ntls = passthrough\nbackend = app\n");
    ck_assert_uint_eq(x.report.warnings, 0);
    fixture_bad(&x, WEB "mode = tcp\n[route a]\nhost = a.test\ntls = passthrough\nbackend = app\n"
                    "[route b]\nlistener = web\nhost = a.test\nbackend = app\n",
                "f.ini:15: [route b]: ends TLS for 'a.test' on [listener web], and [route a] at "
                "f.ini:11 passes it through: only one of them can be");
    fixture_good(&x, WEB "[listener plain]\nbind = :80\n[route a]\nhost = a.test\n"
                     "tls = passthrough\nbackend = app\n[route b]\nbackend = app\n");
    fixture_bad(&x, WEB "mode = tcp\n[route a]\nlistener = web\nhost = a.test\nbackend = app\n"
                    "[route b]\nlistener = web\nhost = A.test\nbackend = app\n",
                "f.ini:15: [route b]: never matches: [route a] at f.ini:11 takes the same listener "
                "and host");
    fixture_bad(&x, WEB "mode = tcp\n[route a]\nlistener = web\nhost = a.test\nbackend = app\n"
                    "path = /x\n",
                "f.ini:15: [route a] path: does not belong in a route of a tcp listener, which "
                "takes host, listener, allow, deny, limit, backend, timeouts, retries, "
                "retry_on and access_log");
    fixture_bad(&x, WEB "mode = tcp\n[listener db]\nbind = :5432\nmode = tcp\n"
                    "[route a]\nlistener = web, db\nbackend = app\n",
                "f.ini:15: [route a] listener: listeners with and without tls cannot share a route "
                "of tcp ones");
    fixture_end(&x);
}
END_TEST

/* ---- printing ---- */

static char *printed(const struct conf *conf, bool has_contents)
{
    struct strbuf out;

    strbuf_init(&out);
    (has_contents ? conf_print_contents : conf_print)(conf, &out);
    return strbuf_take(&out);
}

START_TEST(test_printed_conf_is_the_same_conf)
{
    static const char *const texts[] = {
        WEB "default_backend = app\nclient_ca = $$ca.pem\nclient_verify = off\nalpn = h2\n",
        WEB "mode = tcp\n[route a]\nlistener = web\nhost = a.test, *.b.test\nbackend = app\n"
            "[route b]\nlistener = web\nbackend = app\n",
        WEB "[defaults route]\nrequest_header = set A: b\n[route a]\nhost = a.test\n"
            "tls = passthrough\nbackend = app\n[route b]\nbackend = app\n",
        "[defaults listener]\ntls_min_version = 1.3\nclient_ca = x.pem\n"
            "[listener a]\nbind = :80\nmode = tcp\ndefault_backend = app\n"
            "[defaults backend]\ntls_verify = off\n" APP,
    };
    struct conf_fixture x;

    fixture_begin(&x);
    for (size_t i = 0; i < COUNT(texts); i++) {
        fixture_good(&x, texts[i]);
        char *once = printed(x.conf, false);
        fixture_good(&x, once);
        char *again = printed(x.conf, false);
        ck_assert_str_eq(once, again);
        free(once);
        free(again);
    }
    fixture_end(&x);
}
END_TEST

/* ---- files ---- */

#define FILES WEB "default_backend = app\nclient_ca = ca.pem\nclient_verify = required\n"

static void read_files(struct conf_fixture *x, const char *system_ca)
{
    conf_read_files(&x->text, x->conf, system_ca, &x->report);
    conf_free(&x->conf);
    x->conf = conf_build(&x->text, &x->report);
}

START_TEST(test_files_are_read)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_write("c.pem", "chain\0chain", 11);
    fixture_write("ca.pem", "", 0);
    fixture_write("system.pem", "all", 3);
    fixture_good(&x, FILES "[backend b]\nserver = 127.0.0.1:2\ntls = on\ntls_ca = ca.pem\n");
    read_files(&x, "system.pem");
    ck_assert_msg(x.conf != NULL, "%s", x.report.text.s);
    ck_assert_uint_eq(x.text.files.n, 2); /* each once; neither the key nor what nobody needs */
    ck_assert(slice_eq(x.conf->certificates[0].cert.content, SLICE("chain\0chain")));
    ck_assert_ptr_null(x.conf->certificates[0].key.content.p);
    ck_assert_ptr_nonnull(x.conf->listeners[0].client_ca.content.p);
    ck_assert_uint_eq(x.conf->listeners[0].client_ca.content.n, 0);
    ck_assert_ptr_eq(x.conf->listeners[0].client_ca.content.p,
                     x.conf->backends[1].tls_ca.content.p);
    ck_assert_ptr_null(x.conf->system_ca.p);

    fixture_good(&x, FILES "[backend b]\nserver = 127.0.0.1:2\ntls = on\n");
    read_files(&x, "system.pem");
    ck_assert(slice_eq(x.conf->system_ca, SLICE("all")));
    fixture_end(&x);
}
END_TEST

START_TEST(test_files_that_cannot_be_read)
{
    static const char key[] = "-----BEGIN PRIVATE KEY-----\nMA==\n";
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_write("c.pem", key, sizeof key - 1);
    fixture_good(&x, FILES "[backend b]\nserver = 127.0.0.1:2\ntls = on\n[backend d]\n"
                     "server = 127.0.0.1:2\ntls = on\ntls_ca = .\n");
    read_files(&x, "nowhere.pem");
    ck_assert_ptr_null(x.conf);
    ck_assert_uint_eq(x.text.files.n, 0);
    FIXTURE_EXPECT(&x, "f.ini:2: [certificate c] cert: 'c.pem' has a private key in it, which only "
                       "`key` may name: keep it in a file of its own");
    FIXTURE_EXPECT(&x, "f.ini:11: [listener web] client_ca: cannot read 'ca.pem': No such file or "
                       "directory");
    FIXTURE_EXPECT(&x, "f.ini:19: [backend d] tls_ca: cannot read '.': Is a directory");
    FIXTURE_EXPECT(&x, "f.ini:13: [backend b] tls_ca: none is set, and the system's CA "
                       "certificates cannot be read (nowhere.pem: No such file or directory): set "
                       "it, or tls_verify = off");
    ck_assert_uint_eq(x.report.errors, 4);
    fixture_end(&x);
}
END_TEST

START_TEST(test_contents_are_compared)
{
    struct conf_fixture x;
    char *first, *same, *other;

    fixture_begin(&x);
    fixture_write("ca.pem", "ca", 2);
    fixture_write("c.pem", "one", 3);
    fixture_good(&x, FILES);
    read_files(&x, NULL);
    first = printed(x.conf, true);
    fixture_good(&x, FILES);
    read_files(&x, NULL);
    same = printed(x.conf, true);
    fixture_write("c.pem", "two", 3);
    fixture_good(&x, FILES);
    read_files(&x, NULL);
    other = printed(x.conf, true);
    ck_assert_ptr_nonnull(strstr(first, "\ncert = c.pem\ncert content = "));
    ck_assert_ptr_nonnull(strstr(first, "\nclient_ca content = "));
    ck_assert_ptr_null(strstr(first, "\nkey content"));
    ck_assert_str_eq(first, same);
    ck_assert_str_ne(first, other);
    free(first);
    free(same);
    free(other);
    fixture_end(&x);
}
END_TEST

UNIT_MAIN("conf_tls", test_defaults, test_values, test_paths_begin_at_their_file, test_protocols,
          test_bad_values, test_what_has_no_effect, test_warnings,
          test_certificates_are_needed_where_tls_ends, test_passthrough,
          test_names_tell_sessions_apart, test_printed_conf_is_the_same_conf, test_files_are_read,
          test_files_that_cannot_be_read, test_contents_are_compared)
