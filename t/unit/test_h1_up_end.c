/* HTTP/1 towards a server: tunnels, streams that let go within a callback, and buffers at their
 * end. */
#include <stdio.h>
#include "t/unit/h1_up_fixture.h"

/* ---- tunnels ---- */

static void on_101(struct side *s, struct head *h)
{
    if (h->status == 101)
        s->ops->tunnel(s);
}

static void begin_tunnel(const char *behind)
{
    char text[256];

    begin(false);
    f.on_head = on_101;
    f.trailer[0] = 'U';
    send_head("GET", METHOD_GET, BODY_NONE, 0);
    up.side.ops->send_end(&up.side, NULL);
    peer_expects("GET /p HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ws\r\n\r\n");
    snprintf(text, sizeof text, "HTTP/1.1 101 Up\r\nUpgrade: ws\r\nConnection: upgrade\r\n\r\n%s",
             behind);
    peer_writes(text);
    UNTIL(f.heads);
}

START_TEST(a_tunnel_both_ways)
{
    begin_tunnel("first");
    UNTIL(f.got_n == 5);
    up.side.ops->send_data(&up.side, data(0, 1000));
    peer_takes(big, 1000);
    ck_assert_uint_eq(f.credited, 1000);
    peer_writes(" second");
    UNTIL(f.got_n == 12);
    ck_assert_mem_eq(f.got, "first second", 12);
    up.side.ops->send_end(&up.side, NULL); /* our half is closed: theirs goes on */
    ck_assert_int_eq(peer_read(), 0);
    peer_writes("!");
    UNTIL(f.got_n == 13);
    ck_assert_uint_eq(f.ends, 0);
    close(peer);
    peer = -1;
    UNTIL(f.ends);
    detach(&up.side);
    ck_assert_ptr_null(kept);
    end();
}
END_TEST

START_TEST(a_tunnel_whose_server_ends_first)
{
    begin_tunnel("");
    shutdown(peer, SHUT_WR);
    UNTIL(f.ends);
    up.side.ops->send_data(&up.side, data(0, 1000));
    peer_takes(big, 1000);
    up.side.ops->send_end(&up.side, NULL);
    detach(&up.side); /* what is queued still leaves */
    ck_assert_int_eq(peer_read(), 0);
    end();
}
END_TEST

START_TEST(a_tunnel_is_cut_by_silence_and_reset)
{
    begin_tunnel("");
    up.config.stream_timeout_ms = 10;
    peer_writes("x");
    UNTIL(f.resets);
    ck_assert_int_eq(f.why, END_STREAM_IDLE);
    end();
    begin_tunnel("");
    reset_peer();
    UNTIL(f.resets);
    ck_assert_int_eq(f.why, END_SERVER_RESET);
    end();
}
END_TEST

/* However often the reader is slow: what is on its way never grows above the credit. */
START_TEST(a_tunnel_holds_to_its_credit)
{
    begin_tunnel("x");
    UNTIL(f.got_n == 1);
    f.gives_back = false;
    ck_assert_int_eq(fd_nonblock(peer), 0);
    for (unsigned round = 0; round < 50; round++) {
        while (write(peer, big, 100000) > 0)
            continue;
        while (f.got_n < f.granted)
            ck_assert_int_eq(loop_once(&loop, 1), 0);
        spin(5);
        ck_assert_uint_eq(f.got_n, f.granted);
        fake_grant(&up.side, 1 + round * 577 % 17000);
    }
    end();
}
END_TEST

/* ---- the stream lets go within a callback ---- */

START_TEST(reset_in_every_callback)
{
    static const char all[] = "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\n"
                              "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n"
                              "0\r\n\r\n";

    for (unsigned in = ON_HEAD; in <= ON_CREDIT; in *= 2) {
        for (unsigned cut = 0; cut < 2; cut++) {
            begin(false);
            f.reset_in = in;
            send_head("POST", METHOD_POST, BODY_LENGTH, 5);
            up.side.ops->send_data(&up.side, data(0, 5));
            up.side.ops->send_end(&up.side, NULL);
            if (in != ON_CREDIT)
                f.credited = 0;
            spin(2);
            if (in == ON_CREDIT) {
                UNTIL(f.credited);
            } else {
                for (size_t i = 0; cut && i < sizeof all - 1; i++) {
                    ck_assert_int_eq(send(peer, all + i, 1, MSG_NOSIGNAL) >= 0 || released, 1);
                    spin(2);
                }
                if (!cut)
                    peer_writes(all);
                UNTIL(released);
            }
            spin(3);
            ck_assert_uint_eq(released, 1);
            ck_assert_ptr_null(kept);
            ck_assert_uint_eq(f.resets, 0);
            end();
        }
    }
    begin_tunnel("");
    f.reset_in = ON_DATA;
    peer_writes("x");
    UNTIL(released);
    end();
    begin_tunnel("");
    f.reset_in = ON_END;
    shutdown(peer, SHUT_WR);
    UNTIL(released);
    end();
}
END_TEST

START_TEST(reset_before_anything)
{
    begin(false);
    end();
    begin(false);
    send_head("GET", METHOD_GET, BODY_NONE, 0);
    up.side.ops->reset(&up.side, END_CLIENT_CLOSED);
    f.st.up = NULL;
    spin(3);
    ck_assert_int_eq(peer_read(), 0);
    end();
}
END_TEST

/* ---- buffers at their end ---- */

START_TEST(no_buffer_for_the_request)
{
    begin(false);
    bufs.used_max = 1;
    struct buf *held = buf_get(&bufs);
    send_head("GET", METHOD_GET, BODY_NONE, 0);
    up.side.ops->send_end(&up.side, NULL);
    ck_assert_uint_eq(f.resets, 0); /* not within the call */
    spin(2);
    ck_assert_str_eq(f.log, "resources exhausted");
    buf_put(&held);
    bufs.used_max = 0;
    end();
}
END_TEST

/* A chunk that could not be framed must not leave a hole in the body. */
START_TEST(no_buffer_within_the_request)
{
    struct buf *held, *pipe;

    begin(false);
    send_head("POST", METHOD_POST, BODY_CHUNKED, 0);
    peer_expects("POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    held = buf_get(&bufs);
    bufs.used_max = 1;
    pipe = buf_get_pipe(&bufs);
    ck_assert_int_eq(write(pipe->pipe[1], big, 100), 100);
    pipe->len = 100;
    up.side.ops->send_data(&up.side, pipe);
    up.side.ops->send_data(&up.side, held);
    bufs.used_max = 0;
    up.side.ops->send_data(&up.side, data(0, 10));
    up.side.ops->send_end(&up.side, NULL);
    spin(2);
    ck_assert_str_eq(f.log, "resources exhausted");
    ck_assert_int_eq(peer_read(), 0); /* nothing but the head was sent */
    end();
}
END_TEST

START_TEST(no_buffer_for_the_response)
{
    begin(false);
    get();
    struct buf *held = buf_get(&bufs);
    bufs.used_max = 1;
    peer_writes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    UNTIL(f.resets);
    ck_assert_int_eq(f.why, END_EXHAUSTED);
    buf_put(&held);
    bufs.used_max = 0;
    end();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_tunnel_both_ways, a_tunnel_whose_server_ends_first,
        a_tunnel_is_cut_by_silence_and_reset, a_tunnel_holds_to_its_credit,
        reset_in_every_callback, reset_before_anything, no_buffer_for_the_request,
        no_buffer_within_the_request, no_buffer_for_the_response,
    };

    return run_conn_tests("h1_up_end", tests, sizeof tests / sizeof tests[0]);
}
