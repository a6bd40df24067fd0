/* The http check: what is asked, and what an answer is worth, however it comes in pieces. */
#include "helper/check_http.h"
#include "t/unit/unit.h"

static struct conf_check_value check;

static void expect(unsigned min, unsigned max, const char *body)
{
    check = (struct conf_check_value){ .how = CONF_CHECK_HTTP, .method = SLICE("GET"),
                                       .path = SLICE("/healthz"), .status_min = min,
                                       .status_max = max, .body = slice_str(body) };
}

/* The answer in pieces of `piece` bytes, then the end. */
static enum check_result answer(const char *text, size_t n, size_t piece, unsigned *status)
{
    enum check_result result = CHECK_NONE;
    struct check_http h;

    check_http_init(&h, &check);
    for (size_t at = 0; at < n && result == CHECK_NONE; at += piece)
        result = check_http_take(&h, slice_of(text + at, piece < n - at ? piece : n - at));
    if (result == CHECK_NONE)
        result = check_http_end(&h);
    *status = h.status;
    check_http_fini(&h);
    return result;
}

static void is_worth(const char *text, enum check_result wanted, unsigned wanted_status)
{
    size_t n = strlen(text);

    for (size_t piece = 1; piece <= n + 1; piece++) {
        unsigned status;

        ck_assert_msg(answer(text, n, piece, &status) == wanted, "%s: pieces of %zu", text, piece);
        ck_assert_uint_eq(status, wanted_status);
    }
}

START_TEST(test_request)
{
    struct strbuf out;

    expect(200, 399, "");
    strbuf_init(&out);
    check_http_request(&out, &check, "127.0.0.1:80");
    ck_assert_str_eq(out.s, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:80\r\n"
                     "User-Agent: rpd/" RPD_VERSION " (health check)\r\nAccept: */*\r\n"
                     "Connection: close\r\n\r\n");
    strbuf_clear(&out);
    check.host = SLICE("a.test");
    check.method = SLICE("POST");
    check_http_request(&out, &check, "unix:/run/a");
    ck_assert_ptr_nonnull(strstr(out.s, "POST /healthz HTTP/1.1\r\nHost: a.test\r\n"));
    ck_assert_ptr_nonnull(strstr(out.s, "\r\nContent-Length: 0\r\n\r\n"));
    strbuf_clear(&out);
    check.host = SLICE_NONE;
    check_http_request(&out, &check, "unix:/run/a");
    ck_assert_ptr_nonnull(strstr(out.s, "\r\nHost: localhost\r\n"));
    strbuf_fini(&out);
}
END_TEST

START_TEST(test_status)
{
    expect(200, 399, "");
    is_worth("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", CHECK_PASSED, 200);
    is_worth("HTTP/1.1 399 \r\n\r\n", CHECK_PASSED, 399);
    is_worth("HTTP/1.1 500 no\r\nContent-Length: 0\r\n\r\n", CHECK_STATUS, 500);
    is_worth("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", CHECK_STATUS,
             101);
    is_worth("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
             "HTTP/1.1 204 No Content\r\n\r\n", CHECK_PASSED, 204);
    is_worth("HTTP/1.0 200 OK\r\n\r\n", CHECK_PASSED, 200);
    expect(503, 503, "");
    is_worth("HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n", CHECK_PASSED, 503);
}
END_TEST

START_TEST(test_what_is_no_answer)
{
    expect(200, 399, "");
    is_worth("SSH-2.0-OpenSSH_9.2\r\n", CHECK_BAD_ANSWER, 0);
    is_worth("HTTP/1.1 abc\r\n\r\n", CHECK_BAD_ANSWER, 0);
    is_worth("HTTP/1.1 200 OK\r\nContent-Le", CHECK_CLOSED, 0);
    is_worth("HTTP/1.1 100 Continue\r\n\r\n", CHECK_CLOSED, 0);
}
END_TEST

START_TEST(test_body)
{
    expect(200, 200, "ready: yes");
    is_worth("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n ready: yes!!", CHECK_PASSED, 200);
    is_worth("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nready: no", CHECK_BODY, 200);
    is_worth("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nready: yes", CHECK_BODY, 200);
    is_worth("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
             "4\r\nread\r\n7\r\ny: yes.\r\n0\r\n\r\n", CHECK_PASSED, 200);
    is_worth("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
             "4\r\nread\r\n5\r\ny: no\r\n0\r\n\r\n", CHECK_BODY, 200);
    is_worth("HTTP/1.1 200 OK\r\n\r\nuntil the end: ready: yes", CHECK_PASSED, 200);
    is_worth("HTTP/1.1 200 OK\r\n\r\nuntil the end: ready: ye", CHECK_BODY, 200);
    is_worth("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", CHECK_BODY, 200);
    is_worth("HTTP/1.1 204 No Content\r\n\r\n", CHECK_STATUS, 204);
}
END_TEST

START_TEST(test_status_comes_before_the_body)
{
    expect(200, 200, "yes");
    is_worth("HTTP/1.1 500 no\r\nContent-Length: 3\r\n\r\nyes", CHECK_STATUS, 500);
    is_worth("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\ncut off", CHECK_CLOSED, 200);
}
END_TEST

START_TEST(test_head_has_no_body)
{
    expect(200, 200, "");
    check.method = SLICE("HEAD");
    is_worth("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n", CHECK_PASSED, 200);
    check.body = SLICE("x");
    is_worth("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n", CHECK_BODY, 200);
}
END_TEST

/* A body of n bytes before the text; pieces as the network may have them. */
static enum check_result far_away(size_t n)
{
    static char text[CHECK_BODY_MAX * 2];
    unsigned status;
    int head = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\n\r\n");

    memset(text + head, '.', n);
    memcpy(text + (size_t)head + n, "needle", 6);
    return answer(text, (size_t)head + n + 6, 1448, &status);
}

START_TEST(test_only_so_much_is_looked_through)
{
    expect(200, 200, "needle");
    ck_assert_int_eq(far_away(0), CHECK_PASSED);
    ck_assert_int_eq(far_away(CHECK_BODY_MAX - 6), CHECK_PASSED);
    ck_assert_int_eq(far_away(CHECK_BODY_MAX - 5), CHECK_BODY);
    ck_assert_int_eq(far_away(CHECK_BODY_MAX), CHECK_BODY);
}
END_TEST

START_TEST(test_a_head_without_end_is_no_answer)
{
    struct check_http h;
    size_t lines = 0;

    expect(200, 200, "");
    check_http_init(&h, &check);
    ck_assert_int_eq(check_http_take(&h, SLICE("HTTP/1.1 200 OK\r\n")), CHECK_NONE);
    while (check_http_take(&h, SLICE("X-Y: 0123456789\r\n")) == CHECK_NONE)
        lines++;
    ck_assert_uint_le(lines, CHECK_HEAD_MAX / 17);
    ck_assert_int_eq(h.result, CHECK_BAD_ANSWER);
    check_http_fini(&h);
}
END_TEST

/* The status is known, and what follows is never a body. */
static size_t endless(const char *begin, struct slice piece)
{
    struct check_http h;
    size_t n = 0;

    expect(200, 200, "needle");
    check_http_init(&h, &check);
    ck_assert_int_eq(check_http_take(&h, slice_str(begin)), CHECK_NONE);
    while (n <= 2 * CHECK_REST_MAX && check_http_take(&h, piece) == CHECK_NONE)
        n += piece.n;
    ck_assert_int_eq(h.result, CHECK_BODY);
    check_http_fini(&h);
    return n;
}

START_TEST(test_an_answer_without_end_is_left)
{
    const char *head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    char begin[128];

    (void)snprintf(begin, sizeof begin, "%s1;", head);
    ck_assert_uint_le(endless(begin, SLICE("abcdefgh")), CHECK_REST_MAX);
    (void)snprintf(begin, sizeof begin, "%s0\r\n", head);
    ck_assert_uint_le(endless(begin, SLICE("X-Trailer: y\r\n")), CHECK_REST_MAX);
    /* A body that may be looked through ends by its own limit, in the smallest chunks as well. */
    ck_assert_uint_le(endless(head, SLICE("1\r\n.\r\n")), (size_t)6 * CHECK_BODY_MAX);
}
END_TEST

UNIT_MAIN("check_http", test_request, test_status, test_what_is_no_answer, test_body,
          test_status_comes_before_the_body, test_head_has_no_body,
          test_only_so_much_is_looked_through, test_a_head_without_end_is_no_answer,
          test_an_answer_without_end_is_left)
