/* HTTP/1 towards a server: what the stream is told and what the server sees, in every state and
 * with every kind of end. */
#include <stdio.h>
#include "t/unit/h1_up_fixture.h"

/* A GET answered by `text`; the stream detaches at the end. */
static void answered(const char *text, const char *log, bool is_kept)
{
    begin(false);
    f.on_end = detach;
    get();
    peer_writes(text);
    UNTIL(f.ends || f.resets);
    spin(3);
    ck_assert_str_eq(f.log, log);
    ck_assert_uint_eq(released, 1);
    ck_assert_int_eq(kept != NULL, is_kept);
    end();
}

START_TEST(whole_responses)
{
    answered("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 end", true);
    answered("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 end", true);
    answered("HTTP/1.1 204 No\r\n\r\n", "204 end", true);
    answered("HTTP/1.1 304 No\r\nContent-Length: 77\r\n\r\n", "304 end", true);
    answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
             "200 end", true);
    answered("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
             "100 103 204 end", true);
    answered("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "200 end",
             false);
    answered("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", "200 end", false);
    answered("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
             "200 end", true);
}
END_TEST

START_TEST(what_lies_behind_a_response_spoils_the_connection)
{
    answered("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naX", "200 end", false);
    answered("HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "204 end", false);
    answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n", "200 end",
             false);
}
END_TEST

START_TEST(nonsense_is_refused)
{
    answered("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
             "bad response", false);
    answered("HELO\r\n\r\n", "bad response", false);
    answered("HTTP/1.1 200 OK\nContent-Length: 1\n\na", "bad response", false);
    answered("HTTP/1.1 101 Up\r\nUpgrade: ws\r\nConnection: upgrade\r\n\r\n", "bad response",
             false); /* nobody asked */
    answered("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "200 bad response",
             false);
}
END_TEST

START_TEST(trailers_come_with_the_end)
{
    begin(false);
    get();
    peer_writes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                "5\r\nhello\r\n0\r\nX-T: v\r\n\r\n");
    UNTIL(f.ends);
    ck_assert_str_eq(f.trailer, "X-T=v");
    ck_assert_mem_eq(f.got, "hello", 5);
    detach(&up.side);
    ck_assert_ptr_nonnull(kept);
    end();
}
END_TEST

START_TEST(a_head_that_is_too_large)
{
    char head[2200];

    for (size_t n = 900; n < sizeof head - 8; n += 1200) { /* within one read, and over it */
        begin(false);
        get();
        memset(head, 'x', sizeof head);
        memcpy(head, "HTTP/1.1 200 OK\r\nA: ", 20);
        memcpy(head + n, "\r\n\r\n", 5);
        peer_writes(head);
        UNTIL(f.resets || f.heads);
        ck_assert_str_eq(f.log, n < 1000 ? "200" : "response header too large");
        end();
    }
    begin(false);
    get();
    memcpy(head + 1100, "y", 2);
    peer_writes(head); /* and one that does not end */
    UNTIL(f.resets);
    ck_assert_int_eq(f.why, END_RESPONSE_HEADER_TOO_LARGE);
    end();
}
END_TEST

START_TEST(interim_responses_have_an_end)
{
    begin(false);
    get();
    ck_assert_int_eq(fd_nonblock(peer), 0);
    while (!f.resets) {
        (void)!write(peer, "HTTP/1.1 103 E\r\nA: b\r\n\r\n", 24);
        ck_assert_int_eq(loop_once(&loop, 0), 0);
    }
    ck_assert_int_eq(f.why, END_RESPONSE_HEADER_TOO_LARGE);
    ck_assert_uint_gt(f.heads, 4000);
    ck_assert_uint_lt(f.heads, 7000);
    end();
}
END_TEST

/* ---- credit ---- */

static void credit_holds(const char *head, const char *wire, size_t wire_n, size_t payload)
{
    begin(false);
    f.on_head_grant = 0;
    f.gives_back = false;
    get();
    peer_writes(head);
    ck_assert_int_eq(write(peer, wire, wire_n), (ssize_t)wire_n);
    UNTIL(f.heads);
    spin(5);
    ck_assert_uint_eq(f.got_n, 0);
    for (size_t given = 0; given < payload; given++) {
        ck_assert_uint_eq(f.ends, 0);
        fake_grant(&up.side, 1);
        spin(3);
        ck_assert_uint_eq(f.got_n, given + 1);
    }
    /* The last framing of a chunked body is read when there is credit for more. */
    fake_grant(&up.side, 1);
    UNTIL(f.ends);
    ck_assert_uint_eq(f.got_n, payload);
    end();
}

START_TEST(no_more_than_was_granted)
{
    credit_holds("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "123456789", 9, 9);
    ck_assert_mem_eq(f.got, "123456789", 9);
    credit_holds("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                 "3\r\n123\r\n6\r\n456789\r\n0\r\n\r\n", 24, 9);
    ck_assert_mem_eq(f.got, "123456789", 9);
}
END_TEST

/* By memory and by splice; a stalled stream reads nothing and has no timer. */
static void large(bool can_pipe)
{
    size_t sent = 0, n = 1 << 20;
    char text[64];

    begin(false);
    config.response_timeout_ms = 1;
    f.on_head_grant = 100000;
    f.gives_back = false;
    up.side.wants_pipe = can_pipe;
    get();
    snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
    peer_writes(text);
    ck_assert_int_eq(fd_nonblock(peer), 0);
    while (f.got_n < n) {
        ssize_t w = write(peer, big + sent, n - sent);

        if (w > 0)
            sent += (size_t)w;
        if (f.got_n >= f.granted && f.heads) {
            size_t had = f.got_n;

            ck_assert_int_eq(loop_once(&loop, 20), 0);
            ck_assert(!timer_is_set(&up.conn->timer));
            ck_assert_uint_eq(f.got_n, had);
            fake_grant(&up.side, 12345);
        }
        ck_assert_int_eq(loop_once(&loop, 0), 0);
    }
    UNTIL(f.ends);
    ck_assert_mem_eq(f.got, big, n);
    detach(&up.side);
    ck_assert_ptr_nonnull(kept);
    ck_assert_uint_eq(bytes_in, n + strlen(text));
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

START_TEST(a_request_body_is_credited_as_it_leaves)
{
    size_t sent = 0;

    begin(false);
    small_buffers(up.conn->fd);
    send_head("POST", METHOD_POST, BODY_LENGTH, 3 << 20);
    for (; sent < 3 << 20; sent += 16000) {
        size_t n = (3 << 20) - sent < 16000 ? (3 << 20) - sent : 16000;
        up.side.ops->send_data(&up.side, data(sent, n));
    }
    up.side.ops->send_end(&up.side, NULL);
    spin(20);
    ck_assert_uint_gt(f.credited, 0);
    ck_assert_uint_lt(f.credited, 3 << 20);
    peer_expects("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3145728\r\n\r\n");
    peer_takes(big, 3 << 20);
    UNTIL(f.credited == 3 << 20);
    end();
}
END_TEST

START_TEST(a_chunked_request)
{
    begin(false);
    send_head("POST", METHOD_POST, BODY_CHUNKED, 0);
    up.side.ops->send_data(&up.side, data(0, 10));
    up.side.ops->send_end(&up.side, NULL);
    peer_expects("POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\n");
    peer_takes(big, 10);
    peer_expects("\r\n0\r\n\r\n");
    ck_assert_uint_eq(f.credited, 10);
    end();
}
END_TEST

/* ---- ends ---- */

static void ends(const char *text, enum end_reason eof, enum end_reason rst)
{
    for (int is_rst = 0; is_rst < 2; is_rst++) {
        begin(false);
        get();
        peer_writes(text);
        spin(5);
        if (is_rst) {
            reset_peer();
        } else {
            close(peer);
            peer = -1;
        }
        UNTIL(f.resets || f.ends);
        ck_assert_uint_eq(f.ends, (is_rst ? rst : eof) == END_OK);
        ck_assert_msg(f.why == (is_rst ? rst : eof), "%s", f.log);
        end();
    }
}

START_TEST(the_server_ends_in_every_state)
{
    ends("", END_SERVER_CLOSED, END_SERVER_CLOSED);
    ends("HTTP/1.1 200 OK\r\nContent-Le", END_SERVER_CLOSED, END_SERVER_RESET);
    ends("HTTP/1.1 100 Continue\r\n\r\n", END_SERVER_CLOSED, END_SERVER_RESET);
    ends("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", END_SERVER_TRUNCATED,
         END_SERVER_RESET);
    ends("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n12345678", END_SERVER_TRUNCATED,
         END_SERVER_RESET);
    ends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n",
         END_SERVER_TRUNCATED, END_SERVER_RESET);
    ends("HTTP/1.1 200 OK\r\n\r\nall of it", END_OK, END_SERVER_RESET);
}
END_TEST

START_TEST(a_kept_connection_that_had_died)
{
    begin(true);
    send_head("GET", METHOD_GET, BODY_NONE, 0);
    up.side.ops->send_end(&up.side, NULL);
    spin(2);
    close(peer);
    peer = -1;
    UNTIL(f.resets);
    ck_assert(h1_up_died_idle(&up));
    end();

    begin(true); /* it had begun to answer */
    get();
    peer_writes("H");
    spin(2);
    close(peer);
    peer = -1;
    UNTIL(f.resets);
    ck_assert(!h1_up_died_idle(&up));
    end();

    begin(true); /* it is slow: asking again would be no better */
    up.config.response_timeout_ms = 10;
    get();
    UNTIL(f.resets);
    ck_assert_int_eq(f.why, END_SERVER_TIMEOUT);
    ck_assert(!h1_up_died_idle(&up));
    end();
}
END_TEST

/* Bytes that lay in a kept connection before the request was sent answer nothing. */
START_TEST(no_answer_before_the_question)
{
    begin(true);
    peer_writes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    usleep(1000);
    send_head("GET", METHOD_GET, BODY_NONE, 0);
    bufq_clear(&up.conn->out); /* as if the socket took nothing yet */
    UNTIL(f.resets);
    ck_assert_str_eq(f.log, "server closed before response");
    ck_assert(h1_up_died_idle(&up));
    end();
}
END_TEST

/* The server answers while the request is still on its way, and is done with it. */
START_TEST(an_early_answer_is_heard)
{
    begin(false);
    f.on_end = detach;
    send_head("POST", METHOD_POST, BODY_LENGTH, 100);
    up.side.ops->send_data(&up.side, data(0, 10));
    spin(2);
    peer_writes("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno");
    UNTIL(f.ends);
    ck_assert_str_eq(f.log, "413 end");
    ck_assert_ptr_null(kept);
    end();
}
END_TEST

/* ... and closes, so that our writing fails while the answer is still unread. What is not sent
 * any more is credited as gone, so that the client is not stuck. */
START_TEST(an_early_answer_of_a_server_that_leaves)
{
    begin(false);
    f.on_head_grant = 0;
    send_head("POST", METHOD_POST, BODY_LENGTH, 1 << 20);
    up.side.ops->send_data(&up.side, data(0, 16000));
    spin(3);
    peer_writes("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno");
    close(peer); /* with unread bytes: a RST follows */
    peer = -1;
    UNTIL(f.heads);
    for (unsigned i = 0; i < 20; i++) {
        up.side.ops->send_data(&up.side, data(0, 16000));
        spin(3);
    }
    ck_assert_uint_eq(f.resets, 0);
    ck_assert_uint_eq(f.credited, 21 * 16000);
    fake_grant(&up.side, 100);
    UNTIL(f.ends || f.resets);
    ck_assert_str_eq(f.log, "413 end");
    ck_assert_mem_eq(f.got, "no", 2);
    end();
}
END_TEST

/* ---- timers ---- */

START_TEST(a_server_that_does_not_answer)
{
    begin(false);
    up.config.response_timeout_ms = 10;
    get();
    UNTIL(f.resets);
    ck_assert_int_eq(f.why, END_SERVER_TIMEOUT);
    end();

    begin(false); /* nor goes on */
    up.config.response_timeout_ms = 10;
    get();
    peer_writes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1");
    UNTIL(f.resets);
    ck_assert_int_eq(f.why, END_SERVER_TIMEOUT);
    ck_assert_str_eq(f.log, "200 server timeout");
    end();
}
END_TEST

START_TEST(the_clients_turn_is_not_the_servers)
{
    begin(false);
    up.config.response_timeout_ms = 10;
    send_head("POST", METHOD_POST, BODY_LENGTH, 100);
    peer_expects("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(loop_once(&loop, 10), 0);
    ck_assert_uint_eq(f.resets, 0);
    end();
}
END_TEST

/* Until the socket is full to the last byte: the next write takes nothing at all. */
static void stall(bool is_pipe)
{
    begin(false);
    up.config.response_timeout_ms = 30;
    small_buffers(up.conn->fd);
    send_head("POST", METHOD_POST, BODY_LENGTH, 1 << 30);
    spin(2);
    stuff(up.conn->fd);
    ck_assert(!timer_is_set(&up.conn->timer));
    if (is_pipe) {
        struct buf *b = buf_get_pipe(&bufs);

        ck_assert_int_eq(write(b->pipe[1], big, 100), 100);
        b->len = 100;
        up.side.ops->send_data(&up.side, b);
    } else {
        up.side.ops->send_data(&up.side, data(0, 100));
    }
    UNTIL(f.resets);
    ck_assert_int_eq(f.why, END_SERVER_WRITE_TIMEOUT);
    end();
}

START_TEST(a_server_that_takes_nothing)
{
    stall(false);
    stall(true);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        whole_responses, what_lies_behind_a_response_spoils_the_connection, nonsense_is_refused,
        trailers_come_with_the_end, a_head_that_is_too_large, interim_responses_have_an_end,
        no_more_than_was_granted, a_large_body_by_memory, a_large_body_by_splice,
        a_request_body_is_credited_as_it_leaves, a_chunked_request,
        the_server_ends_in_every_state, a_kept_connection_that_had_died,
        no_answer_before_the_question, an_early_answer_is_heard,
        an_early_answer_of_a_server_that_leaves, a_server_that_does_not_answer,
        the_clients_turn_is_not_the_servers, a_server_that_takes_nothing,
    };

    return run_conn_tests("h1_up", tests, sizeof tests / sizeof tests[0]);
}
