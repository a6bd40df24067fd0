/* HTTP/1 towards a client: clients that leave in every state, streams that let go in every
 * callback, tunnels, and buffers at their end. */
#include "t/unit/h1_down_fixture.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"

/* ---- the client leaves ---- */

static void leave(bool is_rst)
{
    if (is_rst) {
        reset_peer();
    } else {
        close(peer);
        peer = -1;
    }
}

/* Before or within a request. */
static void leaves(const char *text, uint64_t credit, const char *log)
{
    for (int is_rst = 0; is_rst < 2; is_rst++) {
        begin();
        f.on_head_grant = credit;
        peer_writes(text);
        UNTIL(bytes_in > 0);
        spin(3);
        leave(is_rst);
        UNTIL(closed);
        if (is_rst && f.resets)
            ck_assert_int_eq(f.why, END_CLIENT_RESET);
        else
            ck_assert_str_eq(f.log, log);
        ck_assert_uint_eq(f.resets, opened);
        end();
    }
}

START_TEST(a_client_leaves_in_every_state)
{
    leaves("GET / HT", 0, "");
    leaves(POST "abc", 100, "1 client closed");
    leaves(GET, 0, "1 end client closed");
    leaves(GET GET, 0, "1 end client closed");
    begin();
    leave(false);
    UNTIL(closed);
    ck_assert_uint_eq(opened, 0);
    end();
}
END_TEST

/* Nothing is read from it for want of credit, and yet it must be noticed: its server waits. */
START_TEST(a_client_leaves_unread)
{
    for (int is_rst = 0; is_rst < 2; is_rst++) {
        begin();
        peer_writes(POST "abc");
        UNTIL(f.heads);
        peer_writes("d");
        spin(3);
        leave(is_rst);
        UNTIL(closed);
        ck_assert_uint_eq(f.resets, 1);
        end();
    }
}
END_TEST

START_TEST(a_client_leaves_within_the_answer)
{
    for (int is_rst = 0; is_rst < 2; is_rst++) {
        begin();
        peer_writes(GET);
        UNTIL(f.ends);
        answer_head(200, BODY_LENGTH, 1000);
        f.st.down->ops->send_data(f.st.down, data(0, 100));
        peer_expects("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        leave(is_rst);
        UNTIL(closed);
        ck_assert_uint_eq(f.resets, 1);
        end();
    }
}
END_TEST

/* Who has asked all and closes its half still gets an answer that is complete already. */
START_TEST(half_closed_while_the_answer_leaves)
{
    begin();
    small_buffers(client->fd);
    peer_writes(GET);
    UNTIL(f.ends);
    answer(200, 3 << 20);
    spin(3);
    shutdown(peer, SHUT_WR);
    spin(3);
    peer_expects("HTTP/1.1 200 OK\r\nContent-Length: 3145728\r\n\r\n");
    peer_takes(big, 3 << 20);
    ck_assert_int_eq(peer_read(), 0);
    ck_assert_uint_eq(f.resets, 0);
    ck_assert_uint_eq(f.dones, 1);
    end();
}
END_TEST

/* ---- the stream breaks off ---- */

START_TEST(reset_in_every_callback)
{
    for (unsigned in = ON_HEAD; in <= ON_CREDIT; in *= 2) {
        begin();
        f.reset_in = in;
        f.on_head_grant = 100;
        peer_writes(POST "abcde" GET);
        if (in == ON_CREDIT) {
            UNTIL(f.ends);
            answer_head(200, BODY_LENGTH, 100);
            f.st.down->ops->send_data(f.st.down, data(0, 10));
        }
        UNTIL(strstr(f.log, "reset"));
        spin(2);
        ck_assert_ptr_null(f.st.down);
        ck_assert_uint_eq(opened, 1); /* what was pipelined is not looked at any more */
        ck_assert_uint_eq(f.resets, 0);
        end();
    }
}
END_TEST

static ssize_t last_read(void)
{
    char buf[100];
    ssize_t n;

    ck_assert_int_eq(fd_nonblock(peer), 0);
    while ((n = read(peer, buf, sizeof buf)) > 0 || (n < 0 && errno == EAGAIN))
        ck_assert_int_eq(loop_once(&loop, 5), 0);
    return n;
}

static void reset_down(void)
{
    struct side *s = f.st.down;

    f.st.down = NULL;
    s->ops->reset(s, END_SERVER_RESET);
}

/* A response cut short must not look whole: where only the end of the connection ends it, that
 * is a RST; else what was said still arrives. */
START_TEST(a_response_that_is_cut)
{
    begin();
    peer_writes("GET / HTTP/1.0\r\n\r\n");
    UNTIL(f.ends);
    answer_head(200, BODY_CHUNKED, 0);
    f.st.down->ops->send_data(f.st.down, data(0, 3));
    spin(3);
    reset_down();
    ck_assert_int_eq(last_read(), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    end();

    begin();
    peer_writes("GET / HTTP/1.0\r\n\r\n");
    UNTIL(f.ends);
    answer_head(200, BODY_CHUNKED, 0);
    f.st.down->ops->send_data(f.st.down, data(0, 3));
    spin(3);
    h1_down_abort(&downs); /* the same when the worker ends */
    ck_assert_int_eq(last_read(), -1);
    end();

    begin();
    peer_writes(GET);
    UNTIL(f.ends);
    answer_head(200, BODY_LENGTH, 10);
    f.st.down->ops->send_data(f.st.down, data(0, 3));
    reset_down();
    peer_expects("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    peer_takes(big, 3);
    ck_assert_int_eq(peer_read(), 0);
    end();
}
END_TEST

/* ---- tunnels ---- */

#define UPGRADE "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: ws\r\n\r\n"

static void begin_tunnel(void)
{
    begin();
    peer_writes(UPGRADE "early ");
    UNTIL(f.ends == 1);
    f.ends = 0;
    answer_head(101, BODY_NONE, 0);
    f.st.down->ops->tunnel(f.st.down);
    fake_grant(f.st.down, STREAM_CREDIT);
    peer_expects("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                 "Upgrade: ws\r\n\r\n");
    UNTIL(f.got_n == 6);
}

START_TEST(a_tunnel_whose_client_ends_first)
{
    begin_tunnel();
    peer_writes("bird");
    UNTIL(f.got_n == 10);
    ck_assert_mem_eq(f.got, "early bird", 10);
    f.st.down->ops->send_data(f.st.down, data(0, 1000));
    peer_takes(big, 1000);
    shutdown(peer, SHUT_WR);
    UNTIL(f.ends == 1);
    f.st.down->ops->send_data(f.st.down, data(0, 1000));
    peer_takes(big, 1000);
    ck_assert_uint_eq(f.dones, 0);
    f.st.down->ops->send_end(f.st.down, NULL);
    ck_assert_int_eq(peer_read(), 0);
    UNTIL(f.dones == 1);
    ck_assert_uint_eq(f.credited, 2000);
    end();
}
END_TEST

START_TEST(a_tunnel_whose_server_ends_first)
{
    begin_tunnel();
    f.st.down->ops->send_data(f.st.down, data(0, 1000));
    f.st.down->ops->send_end(f.st.down, NULL);
    peer_takes(big, 1000);
    ck_assert_int_eq(peer_read(), 0);
    ck_assert_uint_eq(f.dones, 0);
    peer_writes("still");
    UNTIL(f.got_n == 11);
    shutdown(peer, SHUT_WR);
    UNTIL(f.dones == 1);
    ck_assert_uint_eq(f.ends, 1);
    end();
}
END_TEST

START_TEST(a_tunnel_is_reset)
{
    begin_tunnel();
    reset_peer();
    UNTIL(f.resets);
    ck_assert_int_eq(f.why, END_CLIENT_RESET);
    end();
    begin_tunnel();
    reset_down();
    ck_assert_int_eq(last_read(), -1);
    end();
    begin_tunnel();
    f.reset_in = ON_DATA;
    peer_writes("x");
    UNTIL(closed);
    end();
}
END_TEST

START_TEST(a_tunnel_holds_to_its_credit)
{
    begin_tunnel();
    f.gives_back = false;
    ck_assert_int_eq(fd_nonblock(peer), 0);
    for (unsigned round = 0; round < 50; round++) {
        while (write(peer, big, 100000) > 0)
            continue;
        while (f.got_n < f.granted)
            ck_assert_int_eq(loop_once(&loop, 1), 0);
        spin(5);
        ck_assert_uint_eq(f.got_n, f.granted);
        fake_grant(f.st.down, 1 + round * 577 % 17000);
    }
    end();
}
END_TEST

/* ---- buffers at their end ---- */

START_TEST(no_buffer_to_read_into)
{
    begin();
    struct buf *held = buf_get(&bufs);
    bufs.used_max = 1;
    peer_writes(GET);
    UNTIL(closed);
    ck_assert_uint_eq(shed, 1);
    ck_assert_uint_eq(opened, 0);
    buf_put(&held);
    bufs.used_max = 0;
    end();
}
END_TEST

START_TEST(no_buffer_to_answer_from)
{
    begin();
    peer_writes(GET);
    UNTIL(f.ends);
    struct buf *held = buf_get(&bufs);
    bufs.used_max = 1;
    answer_head(200, BODY_LENGTH, 0);
    f.st.down->ops->send_end(f.st.down, NULL);
    ck_assert_uint_eq(f.resets, 0); /* not within the call */
    spin(2);
    ck_assert_uint_eq(f.resets, 1);
    ck_assert_int_eq(f.why, END_EXHAUSTED);
    ck_assert_uint_eq(closed, 1);
    buf_put(&held);
    bufs.used_max = 0;
    end();
}
END_TEST

/* A chunk that could not be framed must not leave a hole. */
START_TEST(no_buffer_within_the_answer)
{
    struct buf *held, *pipe;

    begin();
    peer_writes(GET);
    UNTIL(f.ends);
    answer_head(200, BODY_CHUNKED, 0);
    peer_expects("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    held = buf_get(&bufs);
    bufs.used_max = 1;
    pipe = buf_get_pipe(&bufs);
    ck_assert_int_eq(write(pipe->pipe[1], big, 100), 100);
    pipe->len = 100;
    f.st.down->ops->send_data(f.st.down, pipe);
    bufs.used_max = 0;
    f.st.down->ops->send_data(f.st.down, held);
    f.st.down->ops->send_end(f.st.down, NULL);
    spin(2);
    ck_assert_uint_eq(f.resets, 1);
    ck_assert_int_le(peer_read(), 0);
    end();
}
END_TEST

START_TEST(no_memory_for_the_head)
{
    begin();
    f.on_bad = answer_bad;
    is_starved = true;
    peer_writes(GET);
    peer_expects("HTTP/1.1 503 ");
    ck_assert_uint_eq(f.bads, 1);
    ck_assert_int_eq(f.why, END_EXHAUSTED);
    end();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_client_leaves_in_every_state, a_client_leaves_unread,
        a_client_leaves_within_the_answer, half_closed_while_the_answer_leaves,
        reset_in_every_callback, a_response_that_is_cut, a_tunnel_whose_client_ends_first,
        a_tunnel_whose_server_ends_first, a_tunnel_is_reset, a_tunnel_holds_to_its_credit,
        no_buffer_to_read_into, no_buffer_to_answer_from, no_buffer_within_the_answer,
        no_memory_for_the_head,
    };

    return run_conn_tests("h1_down_end", tests, sizeof tests / sizeof tests[0]);
}
