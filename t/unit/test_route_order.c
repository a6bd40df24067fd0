/* Which of several routes takes a request: the order of the Gateway API's HTTPRoute (host, path,
 * method, fields, query, file), its conditions, and what is next when they do not hold. */
#include "common/base/log.h"
#include "common/route/route.h"
#include "t/unit/conf_fixture.h"

static const char config[] =
    "[listener web]\nbind = 127.0.0.1:1\n"
    "[defaults route]\nrespond = 200 ok\n"

    "[route any]\n"
    "[route any-post]\nmethod = POST\n"
    "[route any-like]\npath_regex = ^/like/\n"
    "[route any-below]\npath = /below\n"
    "[route any-is]\npath_exact = /below/is\n"
    "[route any-v]\nheader = X-V: 2\n"

    "[route wild]\nhost = *.x.test\n"
    "[route wild-below]\nhost = *.x.test\npath = /below\n"
    "[route wilder]\nhost = *.y.x.test\nmethod = GET\n"

    /* paths */
    "[route p1]\nhost = p.test\npath = /a\n"
    "[route p2]\nhost = p.test\npath = /a/b\n"
    "[route p-is]\nhost = p.test\npath_exact = /a/b\n"
    "[route p-is-slash]\nhost = p.test\npath_exact = /a/b/\n"
    "[route p-like]\nhost = p.test\npath_regex = ^/[a-z]/[a-z]$\n"
    "[route p-like2]\nhost = p.test\npath_regex = ^/[a-z]/.*long.*$\n"
    "[route p-like3]\nhost = p.test\npath_regex = end$\n"
    "[route p-none]\nhost = p.test\n"
    "[route p-long]\nhost = p.test\npath = /a/b/c/d/e\n"

    /* one path of two kinds of routes: their path goes before their conditions */
    "[route q1]\nhost = q.test\npath = /a\nmethod = GET\nheader = A, B, C\nquery = a, b\n"
    "[route q2]\nhost = q.test\npath = /a/b\n"
    "[route q3]\nhost = q.test\npath_regex = ^/r\nmethod = GET\nheader = A\n"
    "[route q4]\nhost = q.test\npath = /r\n"
    "[route q5]\nhost = q.test\nmethod = GET\nheader = A, B, C\n"

    /* conditions on one path */
    "[route c-file1]\nhost = c.test\npath = /c\nheader = X-File: ~1\n"
    "[route c-query1]\nhost = c.test\npath = /c\nquery = q1\n"
    "[route c-query2]\nhost = c.test\npath = /c\nquery = q1, q2\n"
    "[route c-header1]\nhost = c.test\npath = /c\nheader = H1\n"
    "[route c-header2]\nhost = c.test\npath = /c\nheader = H1, H2\n"
    "[route c-cookie]\nhost = c.test\npath = /c\nheader = H1\ncookie = k\n"
    "[route c-header1-query2]\nhost = c.test\npath = /c\nheader = H1: ~.\nquery = q1, q2\n"
    "[route c-method]\nhost = c.test\npath = /c\nmethod = PUT, PATCH\n"
    "[route c-method-header]\nhost = c.test\npath = /c\nmethod = PUT\nheader = H1\n"
    "[route c-file2]\nhost = c.test\npath = /c\nheader = X-File: ~^[12]\n"
    "[route c]\nhost = c.test\npath = /c\n"

    /* values */
    "[route v-is]\nhost = v.test\nheader = X-V: one, two\n"
    "[route v-like]\nhost = v.test\nheader = X-V: ~^v[23]{1,2}$\n"
    "[route v-ws]\nhost = v.test\nheader = Upgrade: websocket\n"
    "[route v-q]\nhost = v.test\nquery = name=a b\n"
    "[route v-q-empty]\nhost = v.test\nquery = none=\n"
    "[route v-q-like]\nhost = v.test\nquery = n=~^[0-9]+$\n"
    "[route v-q-colon]\nhost = v.test\nquery = colon: 1\n"
    "[route v-q-brackets]\nhost = v.test\nquery = ids[]=7\n"
    "[route v-c]\nhost = v.test\ncookie = beta=yes\n"
    "[route v-c-there]\nhost = v.test\ncookie = there\n"
    "[route v-c-like]\nhost = v.test\ncookie = id=~^a.*z$\n"

    /* what is left when nothing of a host fits */
    "[route f1]\nhost = f.x.test\npath = /below/deep\nmethod = POST\n"
    "[route f2]\nhost = f.x.test\npath = /below\nheader = Never: ever\n"
    "[route f3]\nhost = f.x.test\npath_regex = nothing\n"

    /* patterns of one host, by their conditions */
    "[route r1]\nhost = r.test\npath_regex = ^/r\n"
    "[route r2]\nhost = r.test\npath_regex = ^/r/x\n"
    "[route r3]\nhost = r.test\npath_regex = ^/\nmethod = PUT\n"
    "[route r4]\nhost = r.test\npath_regex = ^/\nquery = q\n"

    /* hosts of one route, and another's */
    "[route two]\nhost = one.test, *.two.test\npath = /t\n"
    "[route one]\nhost = one.test\n";

/* Fields are a text of lines. */
static bool next_field(const void *from, struct slice name, size_t *at, struct slice *value)
{
    struct slice all = slice_str(from);

    while (*at < all.n) {
        struct slice rest = slice_of(all.p + *at, all.n - *at), line = slice_cut(&rest, '\n');
        struct slice key = slice_cut(&line, ':');

        *at += key.n + 1 + line.n + 1;
        if (!slice_ieq(key, name))
            continue;
        *value = slice_trim(line);
        return true;
    }
    return false;
}

static struct conf_fixture cf;
static struct router *router;
static struct regex_room *room;

static void begin(const char *text)
{
    fixture_begin(&cf);
    fixture_good(&cf, text);
    router = router_new(cf.conf, &cf.conf->listeners[0]);
    room = regex_room_new();
}

static void end(void)
{
    router_free(&router);
    regex_room_free(&room);
    fixture_end(&cf);
}

static const struct conf_route *ask(const char *method, const char *host, const char *target,
                                    const char *fields, struct regex_captures *captures,
                                    struct route_trace *trace)
{
    struct slice query = slice_str(target), path = slice_cut(&query, '?');
    const struct route_request q = {
        .host = slice_str(host), .path = path, .query = query, .method = slice_str(method),
        .field = next_field, .from = fields, .room = room, .captures = captures,
    };

    return router_find(router, &q, trace);
}

static const struct row {
    const char *method, *host, *target, *fields, *route;
} rows[] = {
    /* host: exact, the longest wildcard, any */
    { "GET", "none.test", "/", "", "any" },
    { "GET", "", "/", "", "any" },
    { "GET", "x.test", "/", "", "any" },
    { "GET", "a.x.test", "/", "", "wild" },
    { "GET", "A.X.Test", "/", "", "wild" },
    { "GET", "a.b.x.test", "/", "", "wild" },
    { "GET", "a.y.x.test", "/", "", "wilder" },
    { "GET", "a.b.y.x.test", "/", "", "wilder" },
    { "GET", "y.x.test", "/", "", "wild" },
    { "GET", "one.test", "/", "", "one" },
    { "GET", "one.test", "/t", "", "two" },
    { "GET", "a.two.test", "/t/x", "", "two" },
    { "GET", "a.two.test", "/", "", "any" },
    { "GET", "one.test.", "/t", "", "two" },
    /* a host goes before whatever other hosts have */
    { "POST", "none.test", "/", "", "any-post" },
    { "POST", "a.x.test", "/", "", "wild" },
    { "GET", "one.test", "/below/is", "", "one" },
    { "GET", "one.test", "/", "X-V: 2\n", "one" },
    { "GET", "a.y.x.test", "/below", "", "wilder" },
    /* and what has no route for a path, or no conditions that hold, leaves it to the next */
    { "POST", "a.y.x.test", "/", "", "wild" },
    { "POST", "a.y.x.test", "/below/x", "", "wild-below" },
    { "GET", "a.two.test", "/below/is", "", "any-is" },
    { "POST", "f.x.test", "/below/deep/x", "", "f1" },
    { "GET", "f.x.test", "/below/deep/x", "", "wild-below" },
    { "GET", "f.x.test", "/below", "Never: ever\n", "f2" },
    { "GET", "f.x.test", "/below/deep", "never: ever\n", "f2" },
    { "GET", "f.x.test", "/below", "Never: Ever\n", "wild-below" },
    { "GET", "f.x.test", "/nothing", "", "f3" },
    { "GET", "f.x.test", "/else", "", "wild" },
    /* path: exact, the longest prefix by whole segments, patterns, any */
    { "GET", "p.test", "/a", "", "p1" },
    { "GET", "p.test", "/a/", "", "p1" },
    { "GET", "p.test", "/a/b", "", "p-is" },
    { "GET", "p.test", "/a/b/", "", "p-is-slash" },
    { "GET", "p.test", "/a/b/c", "", "p2" },
    { "GET", "p.test", "/a/b/c/d", "", "p2" },
    { "GET", "p.test", "/a/b/c/d/e/f", "", "p-long" },
    { "GET", "p.test", "/a/bb", "", "p1" },
    { "GET", "p.test", "/ab", "", "p-none" },
    { "GET", "p.test", "/x/y", "", "p-like" },
    { "GET", "p.test", "/a/z", "", "p1" },
    { "GET", "p.test", "/x/long", "", "p-like2" },
    { "GET", "p.test", "/x/long-end", "", "p-like2" },
    { "GET", "p.test", "/the-end", "", "p-like3" },
    { "GET", "p.test", "/the-end?x", "", "p-like3" },
    { "GET", "p.test", "/x?end", "", "p-none" },
    { "GET", "p.test", "/", "", "p-none" },
    { "OPTIONS", "p.test", "*", "", "p-none" },
    { "GET", "none.test", "/like/x", "", "any-like" },
    { "GET", "none.test", "/below/is", "", "any-is" },
    { "GET", "none.test", "/below/is/x", "", "any-below" },
    { "POST", "none.test", "/below", "X-V: 2\n", "any-below" },
    /* the path goes before conditions */
    { "GET", "q.test", "/a/b?a&b", "A: 1\nB: 1\nC: 1\n", "q2" },
    { "GET", "q.test", "/a?a&b", "A: 1\nB: 1\nC: 1\n", "q1" },
    { "GET", "q.test", "/a?a", "A: 1\nB: 1\nC: 1\n", "q5" },
    { "GET", "q.test", "/r", "A: 1\n", "q4" },
    { "GET", "q.test", "/rr", "A: 1\n", "q3" },
    { "GET", "q.test", "/rr", "A: 1\nB: 1\nC: 1\n", "q3" },
    { "POST", "q.test", "/rr", "A: 1\n", "any-post" },
    /* method, then most fields and cookies, then most of the query, then the file */
    { "GET", "c.test", "/c", "", "c" },
    { "PUT", "c.test", "/c", "", "c-method" },
    { "PATCH", "c.test", "/c/d", "", "c-method" },
    { "put", "c.test", "/c", "", "c" },
    { "PUT", "c.test", "/c?q1&q2", "H1: 1\nH2: 1\n", "c-method-header" },
    { "PATCH", "c.test", "/c?q1&q2", "H1: 1\nH2: 1\n", "c-method" },
    { "GET", "c.test", "/c?q1", "", "c-query1" },
    { "GET", "c.test", "/c?q1&q2", "", "c-query2" },
    { "GET", "c.test", "/c?q2&q1", "", "c-query2" },
    { "GET", "c.test", "/c?q1&q2", "H1: 1\n", "c-header1-query2" },
    { "GET", "c.test", "/c?q1", "H1: 1\n", "c-header1" },
    { "GET", "c.test", "/c?q1&q2", "H1: 1\nH2: 1\n", "c-header2" },
    { "GET", "c.test", "/c?q1&q2", "H1: 1\nCookie: k=1\n", "c-cookie" },
    { "GET", "c.test", "/c", "H1: 1\nH2: 1\nCookie: k=1\n", "c-header2" },
    { "GET", "c.test", "/c", "X-File: 1\n", "c-file1" },
    { "GET", "c.test", "/c", "X-File: 2\n", "c-file2" },
    { "GET", "c.test", "/c", "X-File: 3\n", "c" },
    { "GET", "c.test", "/c", "X-File: 1\nH1: 1\n", "c-file1" },
    { "GET", "c.test", "/c", "h1:\n", "c-header1" },
    /* patterns: no path of theirs is the more specific, so the rest decides */
    { "GET", "r.test", "/r/x", "", "r1" },
    { "GET", "r.test", "/r/x?q", "", "r4" },
    { "PUT", "r.test", "/r/x?q", "", "r3" },
    { "GET", "r.test", "/s", "", "any" },
    /* values: whole, and of any of several fields */
    { "GET", "v.test", "/", "X-V: one, two\n", "v-is" },
    { "GET", "v.test", "/", "X-V: one\n", "any" },
    { "GET", "v.test", "/", "X-V: one, two, three\n", "any" },
    { "GET", "v.test", "/", "X-V: One, two\n", "any" },
    { "GET", "v.test", "/", "X-V: no\nx-v: one, two\n", "v-is" },
    { "GET", "v.test", "/", "X-V: v2\n", "v-like" },
    { "GET", "v.test", "/", "X-V: v23\n", "v-like" },
    { "GET", "v.test", "/", "X-V: v234\n", "any" },
    { "GET", "v.test", "/", "Upgrade: websocket\n", "v-ws" },
    { "GET", "v.test", "/?name=a%20b", "", "v-q" },
    { "GET", "v.test", "/?x=1&name=a+b&y", "", "v-q" },
    { "GET", "v.test", "/?n%61me=%61%20b", "", "v-q" },
    { "GET", "v.test", "/?name=a", "", "any" },
    { "GET", "v.test", "/?Name=a+b", "", "any" },
    { "GET", "v.test", "/?name=c&name=a+b", "", "v-q" },
    { "GET", "v.test", "/?none=", "", "v-q-empty" },
    { "GET", "v.test", "/?none", "", "v-q-empty" },
    { "GET", "v.test", "/?none=1", "", "any" },
    { "GET", "v.test", "/?n=12", "", "v-q-like" },
    { "GET", "v.test", "/?n=1%32", "", "v-q-like" },
    { "GET", "v.test", "/?n=1%3", "", "any" },
    { "GET", "v.test", "/?n=", "", "any" },
    { "GET", "v.test", "/?&&=&n", "", "any" },
    { "GET", "v.test", "/?colon=1", "", "v-q-colon" },
    { "GET", "v.test", "/?ids%5B%5D=6&ids[]=7", "", "v-q-brackets" },
    { "GET", "v.test", "/", "Cookie: a=1; beta=yes\n", "v-c" },
    { "GET", "v.test", "/", "Cookie: beta=no\ncookie: beta=yes; z\n", "v-c" },
    { "GET", "v.test", "/", "Cookie: beta=yess\n", "any" },
    { "GET", "v.test", "/", "Cookie: Beta=yes\n", "any" },
    { "GET", "v.test", "/", "Cookie: there=\n", "v-c-there" },
    { "GET", "v.test", "/", "Cookie: there\n", "any" },
    { "GET", "v.test", "/", "Cookie: id=a-z\n", "v-c-like" },
    { "GET", "v.test", "/", "Cookie: id=z-a\n", "any" },
};

/* How the trace says it. */
struct story {
    struct route_trace trace;
    struct route_seen seen[32];
    size_t n;
};

static void saw(struct route_trace *trace, const struct route_seen *seen)
{
    struct story *s = (struct story *)trace;

    ck_assert_uint_lt(s->n, 32);
    s->seen[s->n++] = *seen;
}

/* The first of those seen that takes it is the one found. */
START_TEST(the_most_specific_route_takes_it)
{
    begin(config);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        const struct conf_route *r = ask(row->method, row->host, row->target, row->fields, NULL,
                                         NULL);
        struct story story = { .trace = { .saw = saw } };
        size_t k = 0;

        ck_assert_msg(r && strcmp(r->name, row->route) == 0, "%s %s%s %s: %s, not %s",
                      row->method, row->host, row->target, row->fields, r ? r->name : "none",
                      row->route);
        ck_assert_ptr_eq(ask(row->method, row->host, row->target, row->fields, NULL, &story.trace),
                         r);
        while (k < story.n && story.seen[k].verdict != ROUTE_TAKES)
            k++;
        ck_assert_uint_lt(k, story.n);
        ck_assert_ptr_eq(story.seen[k].route, r);
    }
    end();
}
END_TEST

static void expect_seen(const struct story *s, size_t i, const char *route,
                        enum route_verdict verdict, const char *condition)
{
    ck_assert_uint_lt(i, s->n);
    ck_assert_str_eq(s->seen[i].route->name, route);
    ck_assert_int_eq(s->seen[i].verdict, verdict);
    ck_assert((s->seen[i].condition != NULL) == (condition != NULL));
    if (condition)
        ck_assert_str_eq(s->seen[i].condition->name.p, condition);
}

START_TEST(the_trace_says_why)
{
    struct story s = { .trace = { .saw = saw } };

    begin(config);
    ck_assert_str_eq(ask("GET", "f.x.test", "/below/deep", "", NULL, &s.trace)->name, "wild-below");
    expect_seen(&s, 0, "f1", ROUTE_METHOD, NULL);
    ck_assert_str_eq(s.seen[0].host->name.p, "f.x.test");
    expect_seen(&s, 1, "f2", ROUTE_HEADER, "Never");
    expect_seen(&s, 2, "f3", ROUTE_PATTERN, NULL);
    expect_seen(&s, 3, "wild-below", ROUTE_TAKES, NULL);
    ck_assert_str_eq(s.seen[3].host->name.p, ".x.test");
    expect_seen(&s, 4, "wild", ROUTE_TAKES, NULL);
    expect_seen(&s, 5, "any-below", ROUTE_TAKES, NULL);
    ck_assert_ptr_null(s.seen[5].host);
    expect_seen(&s, 6, "any-like", ROUTE_PATTERN, NULL);
    expect_seen(&s, 7, "any-post", ROUTE_METHOD, NULL);
    expect_seen(&s, 8, "any-v", ROUTE_HEADER, "X-V");
    expect_seen(&s, 9, "any", ROUTE_TAKES, NULL);
    ck_assert_uint_eq(s.n, 10);
    s.n = 0;
    ask("GET", "c.test", "/c?q1", "H1: 1\n", NULL, &s.trace);
    expect_seen(&s, 0, "c-method-header", ROUTE_METHOD, NULL);
    expect_seen(&s, 1, "c-method", ROUTE_METHOD, NULL);
    expect_seen(&s, 2, "c-header2", ROUTE_HEADER, "H2");
    expect_seen(&s, 3, "c-cookie", ROUTE_COOKIE, "k");
    expect_seen(&s, 4, "c-header1-query2", ROUTE_QUERY, "q2");
    end();
}
END_TEST

START_TEST(patterns_capture)
{
    struct regex_captures captures;

    begin("[listener web]\nbind = 127.0.0.1:1\n[defaults route]\nrespond = 200 ok\n"
          "[route a]\npath_regex = ^/(\\w+)/(\\d+)(x)?\nheader = A: ~^(.)(.)$\n"
          "[route b]\npath_regex = ^/(.*)$\n");
    ck_assert_str_eq(ask("GET", "h", "/user/17/y?q", "A: 12\n", &captures, NULL)->name, "a");
    ck_assert(slice_eq(captures.v[0], SLICE("/user/17")));
    ck_assert(slice_eq(captures.v[1], SLICE("user")));
    ck_assert(slice_eq(captures.v[2], SLICE("17")));
    ck_assert_ptr_null(captures.v[3].p);
    ck_assert_str_eq(ask("GET", "h", "/user/17/y?q", "A: 1\n", &captures, NULL)->name, "b");
    ck_assert(slice_eq(captures.v[1], SLICE("user/17/y")));
    end();
}
END_TEST

/* As if it did not match; said once. */
START_TEST(a_pattern_of_too_much_work_does_not_match)
{
    struct story s = { .trace = { .saw = saw } };
    static char target[400];
    char line[512];
    FILE *log;

    begin("[listener web]\nbind = 127.0.0.1:1\n[defaults route]\nrespond = 200 ok\n"
          "[route heavy]\npath_regex = ^(/|/a|a|a|aa)*$\n[route rest]\n");
    log = fopen("log", "w+");
    ck_assert_ptr_nonnull(log);
    log_open(LOG_TO_FD, fileno(log), LOG_LEVEL_WARNING, "unit");
    memset(target, 'a', sizeof target - 2);
    target[0] = '/';
    target[sizeof target - 2] = '!';
    for (int i = 0; i < 3; i++)
        ck_assert_str_eq(ask("GET", "h", target, "", NULL, NULL)->name, "rest");
    ask("GET", "h", target, "", NULL, &s.trace);
    expect_seen(&s, 0, "heavy", ROUTE_LIMIT, NULL);
    rewind(log);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, log));
    ck_assert_ptr_nonnull(strstr(line, "[route heavy]: a pattern takes more work"));
    ck_assert_ptr_null(fgets(line, sizeof line, log));
    log_open(LOG_TO_FD, STDERR_FILENO, LOG_LEVEL_ERROR, "unit");
    fclose(log);
    end();
}
END_TEST

/* What is printed is read as the same. */
START_TEST(conditions_survive_being_printed)
{
    struct strbuf first, second;

    begin(config);
    strbuf_init(&first);
    strbuf_init(&second);
    conf_print(cf.conf, &first);
    router_free(&router);
    fixture_good(&cf, first.s);
    conf_print(cf.conf, &second);
    ck_assert_str_eq(first.s, second.s);
    ck_assert_ptr_nonnull(strstr(first.s, "\nheader = X-V: ~^v[23]{1,2}$\n"));
    ck_assert_ptr_nonnull(strstr(first.s, "\nquery = colon=1\n"));
    ck_assert_ptr_nonnull(strstr(first.s, "\npath_regex = ^/[a-z]/[a-z]$\n"));
    router = router_new(cf.conf, &cf.conf->listeners[0]);
    ck_assert_str_eq(ask("GET", "v.test", "/", "X-V: one, two\n", NULL, NULL)->name, "v-is");
    strbuf_fini(&first);
    strbuf_fini(&second);
    end();
}
END_TEST

UNIT_MAIN("route_order", the_most_specific_route_takes_it, the_trace_says_why, patterns_capture,
          a_pattern_of_too_much_work_does_not_match, conditions_survive_being_printed)
