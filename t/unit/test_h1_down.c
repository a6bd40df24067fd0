/* HTTP/1 towards a client: requests in every piece, answers, limits, timers and credit. */
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include "t/unit/h1_down_fixture.h"

#define OK_204 "HTTP/1.1 204 No Content\r\n\r\n"
#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

START_TEST(requests_one_by_one)
{
    begin();
    for (unsigned i = 1; i <= 3; i++) {
        peer_writes(GET);
        UNTIL(opened == i && f.ends == i);
        answer(200, 5);
        peer_expects("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        peer_takes(big, 5);
        UNTIL(f.dones == i);
    }
    ck_assert_uint_eq(bytes_in, 3 * (sizeof GET - 1));
    ck_assert_uint_eq(bytes_out, 3 * 43);
    ck_assert_uint_eq(f.credited, 15);
    ck_assert_uint_eq(bufs.demand.used, 0); /* an idle connection holds none */
    end();
}
END_TEST

START_TEST(pipelined_requests_are_answered_in_order)
{
    char path[16];

    begin();
    for (unsigned i = 1; i <= 40; i++) { /* the path's length tells them apart */
        memset(path, 'x', sizeof path);
        path[0] = '/';
        path[i % 10 + 1] = '\0';
        dprintf(peer, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    }
    for (unsigned i = 1; i <= 40; i++) {
        char expected[64];

        UNTIL(f.ends == i);
        ck_assert_uint_eq(opened, i);
        snprintf(expected, sizeof expected, "%u end", i % 10 + 1);
        ck_assert_ptr_nonnull(strstr(f.log, expected));
        f.log[0] = '\0';
        answer(200, i);
        snprintf(expected, sizeof expected, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", i);
        peer_expects(expected);
        peer_takes(big, i);
    }
    end();
}
END_TEST

/* Two requests, one with a body, and empty lines before each: cut at every byte. */
START_TEST(cut_anywhere)
{
    static const char text[] = "\r\n\r\nPOST /abc HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                               "chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: v\r\n\r\n"
                               "\r\n" GET;

    for (size_t cut = 0; cut < sizeof text - 1; cut++) {
        begin();
        f.on_head_grant = 100;
        f.on_head = NULL;
        ck_assert_int_eq(write(peer, text, cut), (ssize_t)cut);
        for (unsigned i = 0; i < 4; i++)
            ck_assert_int_eq(loop_once(&loop, i < 1 && cut ? 20 : 0), 0);
        if (f.ends == 1 && f.st.down) {
            answer(204, 0);
            spin(4);
        }
        peer_writes(text + cut);
        UNTIL(f.ends >= 1);
        if (f.ends == 1 && f.dones == 0)
            answer(204, 0);
        UNTIL(f.ends == 2);
        answer(204, 0);
        peer_expects(OK_204 OK_204);
        ck_assert_msg(strcmp(f.log, "4 end done 1 end done") == 0 ||
                      strcmp(f.log, "4 end done 1 end") == 0, "cut %zu: %s", cut, f.log);
        ck_assert_mem_eq(f.got, "abcdefg", 7);
        ck_assert_str_eq(f.trailer, "T=v");
        end();
    }
}
END_TEST

START_TEST(an_answer_within_the_call)
{
    begin();
    f.on_head = answer_now;
    for (unsigned i = 0; i < 1000; i++)
        ck_assert_int_eq(write(peer, GET, sizeof GET - 1), sizeof GET - 1);
    for (unsigned i = 0; i < 1000; i++)
        peer_expects(OK_204);
    UNTIL(f.dones == 1000);
    ck_assert_uint_eq(opened, 1000);
    end();
}
END_TEST

START_TEST(heads_and_framing)
{
    begin();
    peer_writes("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(f.ends == 1);
    answer_head(200, BODY_LENGTH, 77);
    f.st.down->ops->send_end(f.st.down, NULL);
    peer_expects("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n");
    peer_writes(GET);
    UNTIL(f.ends == 2);
    answer_head(103, BODY_NONE, 0);
    answer_head(200, BODY_CHUNKED, 0);
    f.st.down->ops->send_data(f.st.down, data(0, 3));
    f.st.down->ops->send_end(f.st.down, NULL);
    peer_expects("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n3\r\n");
    peer_takes(big, 3);
    peer_expects("\r\n0\r\n\r\n");
    UNTIL(f.dones == 2);
    peer_writes("GET / HTTP/1.0\r\n\r\n");
    UNTIL(f.ends == 3);
    answer_head(200, BODY_CHUNKED, 0);
    f.st.down->ops->send_data(f.st.down, data(0, 3));
    f.st.down->ops->send_end(f.st.down, NULL);
    peer_expects("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    peer_takes(big, 3);
    ck_assert_int_eq(peer_read(), 0);
    end();
}
END_TEST

START_TEST(connections_that_stay_and_go)
{
    static const struct {
        const char *request;
        bool stays;
    } all[] = {
        { GET, true },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false },
        { "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", true },
        { "GET / HTTP/1.0\r\nHost: a\r\n\r\n", false },
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        begin();
        f.on_head = answer_now;
        peer_writes(all[i].request);
        UNTIL(f.dones == 1);
        spin(3);
        ck_assert_int_eq(closed, !all[i].stays);
        end();
    }
    begin();
    f.on_head = answer_now;
    is_retiring = true;
    peer_writes(GET);
    peer_expects("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    ck_assert_int_eq(peer_read(), 0);
    end();
}
END_TEST

/* ---- bodies ---- */

static void body(const char *head, const char *wire)
{
    begin();
    f.gives_back = false;
    peer_writes(head);
    peer_writes(wire);
    peer_writes(GET);
    UNTIL(f.heads == 1);
    spin(3);
    ck_assert_uint_eq(f.got_n, 0);
    for (unsigned i = 0; i < 9; i++) {
        ck_assert_uint_eq(f.ends, 0);
        fake_grant(f.st.down, 1);
        spin(3);
        ck_assert_uint_eq(f.got_n, i + 1);
    }
    fake_grant(f.st.down, 1);
    UNTIL(f.ends == 1);
    ck_assert_mem_eq(f.got, "123456789", 9);
    spin(3);
    ck_assert_uint_eq(opened, 1);
    answer(204, 0);
    peer_expects(OK_204);
    UNTIL(f.ends == 2);
    ck_assert_uint_eq(f.got_n, 9);
    answer(204, 0);
    peer_expects(OK_204);
    end();
}

START_TEST(no_more_than_was_granted)
{
    body("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "123456789");
    body("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
         "3\r\n123\r\n6\r\n456789\r\n0\r\n\r\n");
}
END_TEST

static void large(bool can_pipe)
{
    size_t sent = 0, n = 2 << 20;

    begin();
    f.gives_back = false;
    dprintf(peer, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", n);
    UNTIL(f.heads);
    f.st.down->wants_pipe = can_pipe;
    ck_assert_int_eq(fd_nonblock(peer), 0);
    while (f.got_n < n) {
        ssize_t w = write(peer, big + sent, n - sent);

        if (w > 0)
            sent += (size_t)w;
        if (f.got_n >= f.granted)
            fake_grant(f.st.down, 54321);
        ck_assert_int_eq(loop_once(&loop, 0), 0);
    }
    UNTIL(f.ends);
    ck_assert_mem_eq(f.got, big, n);
    answer(204, 0);
    peer_expects(OK_204);
    peer_writes(GET);
    UNTIL(f.heads == 2);
    answer(204, 0);
    end();
}

START_TEST(a_large_body_by_memory)
{
    large(false);
}
END_TEST

START_TEST(a_large_body_by_splice)
{
    large(true);
}
END_TEST

/* An answer before the body is in: the connection cannot be used again, and is closed so that the
 * answer is not lost to a RST. */
START_TEST(an_early_answer)
{
    begin();
    peer_writes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc");
    UNTIL(f.heads);
    answer(413, 3);
    UNTIL(f.dones);
    ck_assert_int_eq(write(peer, big, 50000), 50000);
    spin(5);
    peer_expects("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n"
                 "Connection: close\r\n\r\n");
    peer_takes(big, 3);
    ck_assert_int_eq(peer_read(), 0);
    end();
}
END_TEST

/* ---- limits and nonsense ---- */

static void refused(const char *text, const char *status, uint64_t max_body)
{
    char line[128];

    begin();
    f.on_bad = answer_bad;
    f.on_head_grant = 100000;
    svc.limits.max_body_size = max_body;
    peer_writes(text);
    snprintf(line, sizeof line, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
             status);
    peer_expects(line);
    ck_assert_int_eq(peer_read(), 0);
    ck_assert_uint_eq(f.bads, 1);
    ck_assert_uint_eq(f.dones, 1);
    end();
}

START_TEST(nonsense_is_answered_and_closed)
{
    char text[3000];

    refused("GET / HTTP/1.1\r\n\r\n", "400 Bad Request", 0);
    refused("GET / HTTP/1.1\nHost: a\n\n", "400 Bad Request", 0);
    refused("GARBAGE\r\n\r\n", "400 Bad Request", 0);
    refused("GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported", 0);
    refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n",
            "413 Content Too Large", 10);
    refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901",
            "413 Content Too Large", 10);
    refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx",
            "400 Bad Request", 0);
    memset(text, 'x', sizeof text);
    memcpy(text, "GET /", 5);
    text[2500] = '\0';
    refused(text, "414 URI Too Long", 0);
    memcpy(text + 1100, " HTTP/1.1\r\nHost: a\r\n\r\n", 23);
    refused(text, "414 URI Too Long", 0); /* complete, and too long all the same */
    memset(text, 'x', sizeof text);
    memcpy(text, "GET / HTTP/1.1\r\nHost: a\r\nA: ", 28);
    text[2500] = '\0';
    refused(text, "431 Request Header Fields Too Large", 0);
    memcpy(text + 1100, "\r\n\r\n", 5);
    refused(text, "431 Request Header Fields Too Large", 0);
}
END_TEST

START_TEST(no_stream_to_be_had)
{
    begin();
    is_exhausted = true;
    peer_writes(GET);
    peer_expects("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                 "Connection: close\r\nRetry-After: 1\r\n\r\n");
    ck_assert_int_eq(peer_read(), 0);
    end();
}
END_TEST

/* ---- timers ---- */

START_TEST(who_sends_nothing_is_closed)
{
    begin();
    end();
    begin();
    svc.limits.header_timeout_ms = svc.limits.idle_timeout_ms = 10;
    f.on_head = answer_now;
    peer_writes(GET);
    peer_expects(OK_204);
    ck_assert_int_eq(peer_read(), 0); /* no 408 to one who asked nothing */
    ck_assert_uint_eq(opened, 1);
    end();
}
END_TEST

/* The timer ran before the socket was looked at. */
START_TEST(what_came_in_time_is_served)
{
    int on = 1, n = 0;

    begin();
    ck_assert_int_eq(setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    f.on_head = answer_now;
    f.on_bad = answer_bad;
    peer_writes(GET);
    UNTIL(f.dones);
    peer_writes(GET);
    while (n == 0) /* not through the loop, which would tell of it */
        ck_assert_int_eq(ioctl(client->fd, FIONREAD, &n), 0);
    client->user->on_timer(client);
    UNTIL(f.dones == 2);
    peer_writes("GET / HTTP");
    UNTIL(bytes_in > 2 * (sizeof GET - 1));
    peer_writes("/1.1\r\nHost: a\r\n\r\n");
    for (n = 0; n == 0;)
        ck_assert_int_eq(ioctl(client->fd, FIONREAD, &n), 0);
    client->user->on_timer(client);
    UNTIL(f.dones == 3);
    ck_assert_uint_eq(f.bads, 0);
    ck_assert_uint_eq(closed, 0);
    client->user->on_timer(client);
    ck_assert_uint_eq(closed, 1);
    end();
}
END_TEST

START_TEST(a_head_that_never_ends)
{
    static const char *const pieces[] = { "GET", "\r", "\r\n\r" };

    for (size_t i = 0; i < 3; i++) {
        begin();
        f.on_bad = answer_bad;
        svc.limits.header_timeout_ms = 20;
        peer_writes(pieces[i]);
        peer_expects("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n"
                     "Connection: close\r\n\r\n");
        ck_assert_int_eq(peer_read(), 0);
        end();
    }
}
END_TEST

START_TEST(a_body_that_does_not_come)
{
    begin();
    f.on_bad = answer_bad;
    svc.limits.body_timeout_ms = 10;
    peer_writes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    UNTIL(f.heads);
    for (unsigned i = 0; i < 4; i++) /* not the client's turn */
        ck_assert_int_eq(loop_once(&loop, 10), 0);
    ck_assert_uint_eq(f.bads, 0);
    fake_grant(f.st.down, 100);
    UNTIL(f.bads);
    ck_assert_int_eq(f.why, END_CLIENT_BODY_TIMEOUT);
    peer_expects("HTTP/1.1 408 ");
    end();
}
END_TEST

/* The socket is full to the last byte, so that the first write takes nothing at all. */
START_TEST(a_client_that_takes_nothing)
{
    begin();
    svc.limits.idle_timeout_ms = 20;
    small_buffers(client->fd);
    peer_writes(GET);
    UNTIL(f.ends);
    stuff(client->fd);
    answer(200, 100);
    UNTIL(f.resets);
    ck_assert_int_eq(f.why, END_CLIENT_WRITE_TIMEOUT);
    end();
}
END_TEST

START_TEST(retiring)
{
    begin();
    h1_down_retire(&downs, false);
    ck_assert_uint_eq(closed, 0); /* its first request may be on its way */
    h1_down_retire(&downs, true);
    ck_assert_uint_eq(closed, 1);
    end();
    begin();
    f.on_head = answer_now;
    peer_writes(GET);
    UNTIL(f.dones);
    peer_writes("GE");
    UNTIL(bytes_in > sizeof GET);
    h1_down_retire(&downs, true); /* a request has begun */
    ck_assert_uint_eq(closed, 0);
    is_retiring = true;
    peer_writes("T / HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_expects(OK_204 "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    UNTIL(closed);
    end();
    begin();
    f.on_head = answer_now;
    peer_writes(GET);
    UNTIL(f.dones);
    spin(2);
    h1_down_retire(&downs, false);
    ck_assert_uint_eq(closed, 1);
    end();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        requests_one_by_one, pipelined_requests_are_answered_in_order, cut_anywhere,
        an_answer_within_the_call, heads_and_framing, connections_that_stay_and_go,
        no_more_than_was_granted, a_large_body_by_memory, a_large_body_by_splice,
        an_early_answer, nonsense_is_answered_and_closed, no_stream_to_be_had,
        who_sends_nothing_is_closed, what_came_in_time_is_served, a_head_that_never_ends,
        a_body_that_does_not_come, a_client_that_takes_nothing, retiring,
    };

    return run_conn_tests("h1_down", tests, sizeof tests / sizeof tests[0]);
}
