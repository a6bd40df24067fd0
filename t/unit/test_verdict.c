/* The arithmetic by which a configuration goes back, and the words that ask for it. */
#include "common/core/apply_request.h"
#include "master/verdict.h"

#include "t/unit/unit.h"

static struct verdict_count of(uint64_t requests, uint64_t errors)
{
    return (struct verdict_count){ requests, errors };
}

START_TEST(test_bound_needs_twenty_requests)
{
    ck_assert(!verdict_exceeds(of(19, 19), 10000));
    ck_assert(verdict_exceeds(of(20, 20), 10000));
    ck_assert(!verdict_exceeds(of(0, 0), 0));
}
END_TEST

START_TEST(test_bound_is_passed_not_reached)
{
    ck_assert(!verdict_exceeds(of(100, 1), 10000));
    ck_assert(verdict_exceeds(of(100, 2), 10000));
    ck_assert(!verdict_exceeds(of(1000000, 0), 0));
    ck_assert(verdict_exceeds(of(1000000, 1), 0));
}
END_TEST

START_TEST(test_worse_is_significantly_worse)
{
    ck_assert(verdict_is_worse(of(20, 20), of(1000, 0)));
    ck_assert(!verdict_is_worse(of(19, 19), of(1000, 0)));
    ck_assert(!verdict_is_worse(of(20, 20), of(0, 0)));    /* nothing to compare with */
    ck_assert(!verdict_is_worse(of(20, 20), of(500, 500)));/* it is not the configuration */
    ck_assert(!verdict_is_worse(of(100, 1), of(100, 0)));  /* chance */
    ck_assert(verdict_is_worse(of(10000, 300), of(10000, 100)));
    ck_assert(!verdict_is_worse(of(1000000, 9000), of(1000000, 0))); /* less than a point */
    ck_assert(!verdict_is_worse(of(100, 0), of(100, 50))); /* better */
}
END_TEST

START_TEST(test_between_never_goes_below_zero)
{
    struct verdict_count c = verdict_between(of(10, 5), of(12, 9));

    ck_assert_uint_eq(c.requests, 2);
    ck_assert_uint_eq(c.errors, 2);
    c = verdict_between(of(10, 5), of(9, 4));
    ck_assert_uint_eq(c.requests, 0);
    ck_assert_uint_eq(c.errors, 0);
}
END_TEST

START_TEST(test_counts_are_printed)
{
    struct strbuf out;

    strbuf_init(&out);
    verdict_print(of(120, 3), &out);
    strbuf_adds(&out, "; ");
    verdict_print(of(1, 0), &out);
    strbuf_adds(&out, "; ");
    verdict_print(of(0, 0), &out);
    ck_assert_str_eq(out.s, "120 requests, 3 failed (2.5 %); 1 request, 0 failed (0.0 %); "
                     "0 requests");
    strbuf_fini(&out);
}
END_TEST

/* ---- words ---- */

static void bound_is(const char *text, uint32_t expected, const char *printed)
{
    struct strbuf out;
    uint32_t bound = 7;

    strbuf_init(&out);
    ck_assert_msg(apply_bound_parse(slice_str(text), &bound, &out), "%s", out.s);
    ck_assert_uint_eq(bound, expected);
    apply_bound_print(bound, &out);
    ck_assert_str_eq(out.s, printed);
    strbuf_fini(&out);
}

static void bound_fails(const char *text, const char *why)
{
    struct strbuf out;
    uint32_t bound;

    strbuf_init(&out);
    ck_assert(!apply_bound_parse(slice_str(text), &bound, &out));
    ck_assert_str_eq(out.s, why);
    strbuf_fini(&out);
}

START_TEST(test_bounds)
{
    bound_is("errors>1%", 10000, "errors>1%");
    bound_is(" errors > 0.25 % ", 2500, "errors>0.25%");
    bound_is("errors>0%", 0, "errors>0%");
    bound_is("errors>99.9999%", 999999, "errors>99.9999%");
    bound_is("errors>10.05%", 100500, "errors>10.05%");
}
END_TEST

START_TEST(test_wrong_bounds_say_what_was_meant)
{
    bound_fails("errors>1", "'errors>1' is no bound: did you mean 'errors>1%'?");
    bound_fails("error>2.5%", "'error>2.5%' is no bound: did you mean 'errors>2.5%'?");
    bound_fails("errors>=5%", "'errors>=5%' is no bound: did you mean 'errors>5%'?");
    bound_fails("", "'' is no bound: write 'errors>1%', the most of all requests that may fail");
    bound_fails("errors>1.00001%", "'errors>1.00001%' is no bound: write 'errors>1%', the most of "
                "all requests that may fail");
    bound_fails("errors>100%", "'errors>100%': no share is larger than 100%");
}
END_TEST

static bool parse(struct apply_request *r, const char *line, struct strbuf *error)
{
    struct slice words[16], rest = slice_str(line);
    size_t n = 0;

    while (rest.p && rest.n > 0)
        words[n++] = slice_cut(&rest, ' ');
    return apply_request_parse(r, words, n, error);
}

START_TEST(test_requests)
{
    struct apply_request r;
    struct strbuf error;

    strbuf_init(&error);
    ck_assert(parse(&r, "/a", &error));
    ck_assert(slice_eq(r.file, SLICE("/a")));
    ck_assert_uint_eq(r.confirm_ms + r.first_worker_ms + r.has_bound, 0);
    ck_assert(parse(&r, "--confirm 2m /a --abort-if errors>1% --first-worker 30s", &error));
    ck_assert_uint_eq(r.confirm_ms, 120000);
    ck_assert_uint_eq(r.first_worker_ms, 30000);
    ck_assert(r.has_bound);
    ck_assert_uint_eq(r.bound, 10000);
    ck_assert_uint_eq(error.n, 0);
    strbuf_fini(&error);
}
END_TEST

START_TEST(test_wrong_requests)
{
    static const char *const wrong[][2] = {
        { "", "which file?" },
        { "--confirm 2m", "which file?" },
        { "/a /b", "one file, not '/a' and '/b'" },
        { "/a --confirm", "--confirm needs a value" },
        { "/a --confirm 2", "--confirm: '2' has no unit: did you mean 2s or 2ms?" },
        { "/a --confirm 10ms", "--confirm: '10ms' is not between 1s and 7d" },
        { "/a --confirm 8d", "--confirm: '8d' is not between 1s and 7d" },
        { "/a --confirm 1s --confirm 2s", "--confirm is given twice" },
        { "/a --abort-if errors>1%", "--abort-if needs --confirm or --first-worker: for how long "
          "to watch" },
        { "/a --first 1s", "there is no option --first; there are --confirm, --abort-if and "
          "--first-worker" },
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct apply_request r;
        struct strbuf error;

        strbuf_init(&error);
        ck_assert_msg(!parse(&r, wrong[i][0], &error), "accepted: %s", wrong[i][0]);
        ck_assert_str_eq(error.s, wrong[i][1]);
        strbuf_fini(&error);
    }
}
END_TEST

UNIT_MAIN("verdict", test_bound_needs_twenty_requests, test_bound_is_passed_not_reached,
          test_worse_is_significantly_worse, test_between_never_goes_below_zero,
          test_counts_are_printed, test_bounds, test_wrong_bounds_say_what_was_meant,
          test_requests, test_wrong_requests)
