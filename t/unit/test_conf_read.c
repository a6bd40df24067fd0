/* Reading rpd.ini: lines, sections, continuations, includes; each mistake with its own line. */
#include <sys/stat.h>
#include "t/unit/conf_fixture.h"

static const struct conf_entry *entry(const struct conf_fixture *x, size_t i)
{
    ck_assert_uint_lt(i, x->text.entries.n);
    return &x->text.entries.v[i];
}

static void expect_entry(const struct conf_fixture *x, size_t i, unsigned line, const char *key,
                         const char *value)
{
    const struct conf_entry *e = entry(x, i);

    ck_assert_str_eq(e->key, key);
    ck_assert_str_eq(e->value, value);
    ck_assert_uint_eq(e->line, line);
    ck_assert_uint_eq(e->is_section, *key == '\0');
}

START_TEST(test_entries_have_section_and_line)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_load(&x, "; a comment\n"
                     "\n"
                     "[global]\n"
                     "workers = 1\n"
                     "# another\n"
                     "[listener web]\n"
                     "bind=127.0.0.1:80\n"
                     "   10.0.0.1:80\n"
                     "  ; between\n"
                     "\t10.0.0.2:80  \n"
                     "[defaults  route]\n"
                     "[route\t  a.b-c_1 ]\n");
    ck_assert_uint_eq(x.text.entries.n, 8);
    expect_entry(&x, 0, 3, "", "");
    ck_assert_str_eq(entry(&x, 0)->kind, "global");
    ck_assert_str_eq(entry(&x, 0)->name, "");
    expect_entry(&x, 1, 4, "workers", "1");
    expect_entry(&x, 2, 6, "", "");
    expect_entry(&x, 3, 7, "bind", "127.0.0.1:80");
    ck_assert(!entry(&x, 3)->is_continued);
    expect_entry(&x, 4, 8, "bind", "10.0.0.1:80");
    ck_assert(entry(&x, 4)->is_continued);
    expect_entry(&x, 5, 10, "bind", "10.0.0.2:80");
    ck_assert_str_eq(entry(&x, 5)->name, "web");
    ck_assert(entry(&x, 6)->is_defaults);
    ck_assert_str_eq(entry(&x, 6)->kind, "route");
    ck_assert_str_eq(entry(&x, 7)->kind, "route");
    ck_assert_str_eq(entry(&x, 7)->name, "a.b-c_1");
    fixture_end(&x);
}
END_TEST

START_TEST(test_bom_crlf_and_no_last_newline)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, "\xef\xbb\xbf[listener web]\r\nbind = :80\r\n\r\n[route a]\r\n"
                     "respond = 200 ok;no comment # none");
    ck_assert(slice_eq(x.conf->routes[0].respond.body.source, SLICE("ok;no comment # none")));
    fixture_end(&x);
}
END_TEST

START_TEST(test_repeated_and_empty_sections_are_seen)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_load(&x, "[route a]\n[route a]\n[route b]\n[route b]\nrespond = 200\n[route b]\n");
    FIXTURE_EXPECT(&x, "f.ini:2: [route a]: defined twice, first at f.ini:1");
    FIXTURE_EXPECT(&x, "f.ini:4: [route b]: defined twice, first at f.ini:3");
    FIXTURE_EXPECT(&x, "f.ini:6: [route b]: defined twice, first at f.ini:3");
    fixture_end(&x);
}
END_TEST

START_TEST(test_every_bad_line_is_reported)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_load(&x, "early = 1\n"
                     "  indented\n"
                     "[global]\n"
                     "no key here\n"
                     "workers = 1\n"
                     "nor here\n"
                     "[unclosed\n"
                     "ignored = 1\n"
                     "[listener web] ; comment\n"
                     "[listener x]\n"
                     "   bind = :80\n"
                     "= value\n"
                     "   more\n"
                     "last");
    FIXTURE_EXPECT(&x, "f.ini:1: 'early' stands before the first [section]");
    FIXTURE_EXPECT(&x, "f.ini:4: no '=' in this line: it is neither `key = value`, a [section] "
                       "nor a comment");
    FIXTURE_EXPECT(&x, "f.ini:6: no '=' in this line: it is neither `key = value`, a [section] "
                       "nor a comment");
    FIXTURE_EXPECT(&x, "f.ini:7: no ']' ends the section's name");
    FIXTURE_EXPECT(&x, "f.ini:9: '; comment' after the section's name: a section stands on a "
                       "line of its own");
    FIXTURE_EXPECT(&x, "f.ini:11: an indented line continues the value above it, and there is "
                       "none: begin a key at the start of its line");
    FIXTURE_EXPECT(&x, "f.ini:12: no key before the '='");
    FIXTURE_EXPECT(&x, "f.ini:14: no '=' in this line: it is neither `key = value`, a [section] "
                       "nor a comment");
    /* And what [listener x] lacks. */
    ck_assert_uint_eq(x.report.errors, 9);
    fixture_end(&x);
}
END_TEST

START_TEST(test_long_names_are_errors)
{
    struct conf_fixture x;
    char text[400];
    char long_name[60];

    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    fixture_begin(&x);
    snprintf(text, sizeof text, "[route %s]\n[global]\n%s = 1\n  2\n", long_name, long_name);
    fixture_load(&x, text);
    FIXTURE_EXPECT(&x, "f.ini:1: the section's name is longer than 49 characters");
    FIXTURE_EXPECT(&x, "f.ini:3: the key 'nnnnnnnnnnnnnnnnnnnn...' is longer than 49 characters");
    ck_assert_uint_eq(x.report.errors, 2);

    /* The longest there may be: 49 between the brackets. */
    long_name[49 - strlen("route ")] = '\0';
    snprintf(text, sizeof text, "[listener l]\nbind = :80\n[route %s]\nrespond = 200\n",
             long_name);
    fixture_good(&x, text);
    ck_assert_str_eq(x.conf->routes[0].name, long_name);
    fixture_end(&x);
}
END_TEST

START_TEST(test_long_lines_are_errors)
{
    const char head[] = "[listener l]\nbind = :80\n[route a]\nrespond = 200 ";
    const size_t prefix = strlen("respond = 200 "), longest = 65536;
    struct conf_fixture x;
    struct strbuf text;

    fixture_begin(&x);
    strbuf_init(&text);
    for (size_t extra = 0; extra < 2; extra++) {
        strbuf_clear(&text);
        strbuf_adds(&text, head);
        for (size_t i = 0; i < longest - prefix + extra; i++)
            strbuf_addc(&text, 'x');
        strbuf_adds(&text, "\n  y\n");
        fixture_load(&x, text.s);
        if (extra == 0)
            ck_assert_uint_eq(x.conf->routes[0].respond.body.source.n, longest - prefix + 2);
        else
            FIXTURE_EXPECT(&x, "f.ini:4: the line is longer than 65536 bytes");
    }
    strbuf_fini(&text);
    fixture_end(&x);
}
END_TEST

START_TEST(test_control_bytes_are_errors)
{
    static const char nul[] = "[global]\nworkers = 1\0 2\nlog = \x01\nstrict\r = on\nuser = a\x7f\n"
                              "\x01 = [x]\n";
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_write("f.ini", nul, sizeof nul - 1);
    fixture_load_file(&x, "f.ini");
    FIXTURE_EXPECT(&x, "f.ini:2: control character 0x00");
    FIXTURE_EXPECT(&x, "f.ini:3: control character 0x01");
    FIXTURE_EXPECT(&x, "f.ini:4: control character 0x0d");
    FIXTURE_EXPECT(&x, "f.ini:5: control character 0x7f");
    FIXTURE_EXPECT(&x, "f.ini:6: control character 0x01");
    ck_assert_uint_eq(x.report.errors, 5);
    fixture_end(&x);
}
END_TEST

START_TEST(test_keys_end_at_the_first_equals_or_colon)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_good(&x, "[listener l]\nbind = :80\n[route a]\nrespond: 200 a=b:c\n");
    ck_assert(slice_eq(x.conf->routes[0].respond.body.source, SLICE("a=b:c")));
    fixture_end(&x);
}
END_TEST

START_TEST(test_environment)
{
    struct conf_fixture x;

    fixture_begin(&x);
    setenv("RPD_T_PORT", "8123", 1);
    unsetenv("RPD_T_NONE");
    fixture_good(&x, "[listener l]\nbind = 127.0.0.1:${RPD_T_PORT}, ${RPD_T_NONE:-[::1]:1}\n"
                     "[route a]\nrespond = 200 $${HOME}\n");
    ck_assert_str_eq(x.conf->listeners[0].bind.v[0].text, "127.0.0.1:8123");
    ck_assert_str_eq(x.conf->listeners[0].bind.v[1].text, "[::1]:1");
    ck_assert(slice_eq(x.conf->routes[0].respond.body.parts[0].text, SLICE("${HOME}")));
    fixture_load(&x, "[listener l]\nbind = ${RPD_T_NONE}\n  ${RPD_T_NONE\n:80\n");
    FIXTURE_EXPECT(&x, "f.ini:2: [listener l] bind: environment variable RPD_T_NONE is not set "
                       "(a fallback is written ${RPD_T_NONE:-fallback})");
    FIXTURE_EXPECT(&x, "f.ini:3: [listener l] bind: no '}' ends '${'");
    fixture_end(&x);
}
END_TEST

static void write_text(const char *name, const char *text)
{
    fixture_write(name, text, strlen(text));
}

START_TEST(test_includes)
{
    struct conf_fixture x;

    fixture_begin(&x);
    ck_assert_int_eq(mkdir("conf.d", 0700), 0);
    ck_assert_int_eq(mkdir("empty.d", 0700), 0);
    write_text("conf.d/b.ini", "[route b]\nrespond = 200 b\n");
    write_text("conf.d/a.ini", "[route a]\nrespond = 200 a\n[global]\ninclude = deep.inc\n");
    write_text("conf.d/deep.inc", "[route deep]\nhost = $x\nrespond = 200 deep\n");
    write_text("first.ini", "[route first]\npath = /f\nrespond = 200 first\n");
    fixture_load(&x, "[global]\ninclude = first.ini,\n   conf.d/*.ini, empty.d/*\n"
                     "[listener l]\nbind = :80\n[route main]\npath = /m\nrespond = 200\n");
    FIXTURE_EXPECT(&x, "conf.d/deep.inc:2: [route deep] host: '$x': no request variable can "
                       "stand here (a dollar sign is written '$$'), included from "
                       "conf.d/a.ini:4, included from f.ini:3");
    FIXTURE_EXPECT(&x, "conf.d/b.ini:1: [route b]: never matches: [route a] at conf.d/a.ini:1 "
                       "takes the same listener, host and path, included from f.ini:3");
    ck_assert_uint_eq(x.report.errors, 2);
    fixture_end(&x);
}
END_TEST

START_TEST(test_include_order_and_origin)
{
    struct conf_fixture x;

    fixture_begin(&x);
    write_text("one.ini", "[route one]\npath = /1\nrespond = 200\n");
    write_text("two.ini", "[route two]\npath = /2\nrespond = 200\n");
    fixture_good(&x, "[global]\ninclude = two.ini\ninclude = one.ini\n"
                     "[listener l]\nbind = :80\n[route main]\nrespond = 200\n");
    ck_assert_uint_eq(x.conf->nroutes, 3);
    ck_assert_str_eq(x.conf->routes[0].name, "main");
    ck_assert_str_eq(x.conf->routes[1].name, "two");
    ck_assert_str_eq(x.conf->routes[2].name, "one");
    ck_assert_uint_eq(x.conf->routes[2].index, 2);
    ck_assert_str_eq(x.conf->routes[2].origin.file, "one.ini");
    ck_assert_str_eq(x.conf->routes[2].origin.chain, ", included from f.ini:3");
    ck_assert_uint_eq(x.conf->routes[2].origin.line, 1);
    fixture_end(&x);
}
END_TEST

START_TEST(test_bad_includes)
{
    struct conf_fixture x;

    fixture_begin(&x);
    write_text("loop.ini", "[global]\ninclude = f.ini\n");
    fixture_load(&x, "[global]\ninclude = none.ini, nodir/*.ini\ninclude = loop.ini, .\n");
    FIXTURE_EXPECT(&x, "f.ini:2: [global] include: cannot read 'none.ini': No such file or "
                       "directory");
    FIXTURE_EXPECT(&x, "f.ini:2: [global] include: cannot read 'nodir/': No such file or "
                       "directory");
    FIXTURE_EXPECT(&x, "loop.ini:2: [global] include: 'f.ini' was read before, included from "
                       "f.ini:3");
    FIXTURE_EXPECT(&x, "f.ini:3: [global] include: '.' is a directory");
    ck_assert_uint_eq(x.report.errors, 4);
    fixture_end(&x);
}
END_TEST

START_TEST(test_missing_file)
{
    struct conf_fixture x;

    fixture_begin(&x);
    fixture_load_file(&x, "none.ini");
    ck_assert_ptr_null(x.conf);
    FIXTURE_EXPECT(&x, "cannot read 'none.ini': No such file or directory");
    fixture_end(&x);
}
END_TEST

/* Whatever the bytes, reading ends and building says so. */
START_TEST(test_garbage_is_survived)
{
    struct conf_fixture x;
    char garbage[4096];
    uint64_t seed = 88172645463325252u;

    fixture_begin(&x);
    for (int round = 0; round < 200; round++) {
        static const char alphabet[] = "[]=:;#\n\n\n $,{}-ab01./ \t\r\"*";

        for (size_t i = 0; i < sizeof garbage; i++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            garbage[i] = seed % 97 == 0 ? (char)(seed >> 32)
                                        : alphabet[(seed >> 16) % (sizeof alphabet - 1)];
        }
        fixture_write("f.ini", garbage, sizeof garbage);
        fixture_load_file(&x, "f.ini");
        ck_assert_ptr_null(x.conf);
    }
    fixture_end(&x);
}
END_TEST

UNIT_MAIN("conf_read", test_entries_have_section_and_line, test_bom_crlf_and_no_last_newline,
          test_repeated_and_empty_sections_are_seen, test_every_bad_line_is_reported,
          test_long_names_are_errors, test_long_lines_are_errors, test_control_bytes_are_errors,
          test_keys_end_at_the_first_equals_or_colon, test_environment, test_includes,
          test_include_order_and_origin, test_bad_includes, test_missing_file,
          test_garbage_is_survived)
