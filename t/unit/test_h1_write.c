/* Heads, chunks and trailers as they are written; what is written reads back as the same. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "t/unit/unit.h"
#include "worker/http/h1.h"

static struct arena arena;
static struct buf_pool pool;
static struct bufq out;
static struct head head;
static char text[1 << 20];

static void setup(void)
{
    arena_init(&arena, NULL);
    buf_pool_init(&pool, 4, 0, 4);
    bufq_init(&out);
    head_init(&head, &arena);
}

static void teardown(void)
{
    bufq_clear(&out);
    ck_assert_uint_eq(pool.demand.used, 0);
    buf_pool_fini(&pool);
    arena_reset(&arena);
}

/* All that was written, taken out of the queue. */
static struct slice written(void)
{
    size_t n = 0, expected = out.bytes;

    for (struct buf *b; (b = bufq_shift(&out));) {
        ck_assert_uint_le(n + b->len, sizeof text - 1);
        if (b->is_pipe)
            ck_assert_int_eq(read(b->pipe[0], text + n, b->len), (ssize_t)b->len);
        else
            memcpy(text + n, buf_bytes(b), b->len);
        n += b->len;
        b->len = 0;
        buf_put(&b);
    }
    ck_assert_uint_eq(n, expected);
    text[n] = '\0';
    return slice_of(text, n);
}

static void expect(const char *bytes)
{
    ck_assert_str_eq(written().p, bytes);
}

static void add(const char *name, const char *value)
{
    struct slice s = slice_str(name);

    ck_assert(fields_add(&head.fields, field_lookup(s), s, slice_str(value)));
}

static void request(const char *method, const char *path)
{
    head_init(&head, &arena);
    head.method_text = slice_str(method);
    head.path = slice_str(path);
    head.authority = SLICE("h:80");
    head.minor = 1;
}

static void response(uint16_t status, const char *reason)
{
    head_init(&head, &arena);
    head.status = status;
    head.reason = slice_str(reason);
    head.minor = 1;
}

static void write_request(bool keep_alive, const char *bytes)
{
    ck_assert(h1_write_request(&out, &pool, &head, h1_framing_request(&head), keep_alive));
    expect(bytes);
}

static void write_response(enum http_method method, unsigned minor, bool keep_alive,
                           const char *bytes)
{
    enum h1_framing framing = h1_framing_response(&head, method, minor);

    ck_assert(h1_write_response(&out, &pool, &head, framing, minor, keep_alive));
    expect(bytes);
}

/* ---- requests ---- */

START_TEST(requests)
{
    request("GET", "/a?b");
    write_request(true, "GET /a?b HTTP/1.1\r\nHost: h:80\r\n\r\n");
    write_request(false, "GET /a?b HTTP/1.1\r\nHost: h:80\r\nConnection: close\r\n\r\n");
    request("OPTIONS", "*");
    head.authority = SLICE_NONE;
    write_request(true, "OPTIONS * HTTP/1.1\r\nHost: \r\n\r\n");
}
END_TEST

START_TEST(request_fields_in_order_without_the_removed)
{
    request("GET", "/");
    add("X-A", "1");
    add("X-Gone", "2");
    add("Empty", "");
    add("X-A", "3");
    fields_remove_name(&head.fields, SLICE("x-gone"));
    write_request(true, "GET / HTTP/1.1\r\nHost: h:80\r\nX-A: 1\r\nEmpty: \r\nX-A: 3\r\n\r\n");
}
END_TEST

START_TEST(request_framing)
{
    request("POST", "/");
    head.body = BODY_LENGTH;
    head.has_length = true;
    head.content_length = UINT64_C(9223372036854775807);
    write_request(true, "POST / HTTP/1.1\r\nHost: h:80\r\n"
                        "Content-Length: 9223372036854775807\r\n\r\n");
    head.content_length = 0;
    write_request(true, "POST / HTTP/1.1\r\nHost: h:80\r\nContent-Length: 0\r\n\r\n");
    head.body = BODY_CHUNKED;
    write_request(true, "POST / HTTP/1.1\r\nHost: h:80\r\nTransfer-Encoding: chunked\r\n\r\n");
}
END_TEST

START_TEST(request_connection_options)
{
    request("GET", "/");
    head.te_trailers = true;
    write_request(true, "GET / HTTP/1.1\r\nHost: h:80\r\nConnection: TE\r\nTE: trailers\r\n\r\n");
    write_request(false, "GET / HTTP/1.1\r\nHost: h:80\r\nConnection: close, TE\r\n"
                         "TE: trailers\r\n\r\n");
    head.upgrade = SLICE("websocket");
    write_request(false, "GET / HTTP/1.1\r\nHost: h:80\r\nConnection: Upgrade, TE\r\n"
                         "Upgrade: websocket\r\nTE: trailers\r\n\r\n");
    head.te_trailers = false;
    write_request(true, "GET / HTTP/1.1\r\nHost: h:80\r\nConnection: Upgrade\r\n"
                        "Upgrade: websocket\r\n\r\n");
}
END_TEST

/* ---- responses ---- */

START_TEST(response_framing)
{
    response(200, "Fine");
    head.body = BODY_LENGTH;
    head.content_length = 5;
    head.has_length = true;
    write_response(METHOD_GET, 1, true, "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\n");
    head.body = BODY_CHUNKED;
    head.has_length = false;
    write_response(METHOD_GET, 1, true,
                   "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n");
    write_response(METHOD_GET, 0, false, "HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\n");
    head.body = BODY_CLOSE;
    write_response(METHOD_GET, 1, true,
                   "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n");
    write_response(METHOD_GET, 0, false, "HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\n");
    head.body = BODY_NONE;
    head.content_length = 0;
    write_response(METHOD_GET, 1, true, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n");
}
END_TEST

START_TEST(answers_without_body_keep_their_length)
{
    response(200, "OK");
    head.has_length = true;
    head.content_length = 7;
    write_response(METHOD_HEAD, 1, true, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    head.body = BODY_LENGTH; /* an answer made here, to HEAD */
    head.has_length = false;
    write_response(METHOD_HEAD, 1, true, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    head.body = BODY_CHUNKED;
    write_response(METHOD_HEAD, 1, true, "HTTP/1.1 200 OK\r\n\r\n");
    response(304, "");
    write_response(METHOD_GET, 1, true, "HTTP/1.1 304 Not Modified\r\n\r\n");
    head.has_length = true;
    head.content_length = 7;
    write_response(METHOD_GET, 1, true,
                   "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
    head.status = 204;
    write_response(METHOD_GET, 1, true, "HTTP/1.1 204 No Content\r\n\r\n");
}
END_TEST

START_TEST(reason_is_the_usual_if_there_is_none)
{
    response(404, "");
    write_response(METHOD_HEAD, 1, true, "HTTP/1.1 404 Not Found\r\n\r\n");
    response(299, "");
    write_response(METHOD_HEAD, 1, true, "HTTP/1.1 299 \r\n\r\n");
}
END_TEST

START_TEST(response_connection_options)
{
    response(200, "OK");
    write_response(METHOD_HEAD, 1, true, "HTTP/1.1 200 OK\r\n\r\n");
    write_response(METHOD_HEAD, 1, false, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    write_response(METHOD_HEAD, 0, true, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n");
    write_response(METHOD_HEAD, 0, false, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
}
END_TEST

START_TEST(interim_answers)
{
    response(103, "Early Hints");
    add("Link", "a");
    write_response(METHOD_GET, 1, false, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
    response(101, "");
    head.upgrade = SLICE("websocket");
    write_response(METHOD_GET, 1, false, "HTTP/1.1 101 Switching Protocols\r\n"
                                         "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}
END_TEST

/* ---- size and memory ---- */

/* n bytes for a value. */
static struct slice value_of(size_t n)
{
    char *p = arena_alloc(&arena, n);

    for (size_t i = 0; i < n; i++)
        p[i] = (char)('a' + i % 26);
    return slice_of(p, n);
}

/* Whether the head is written as it is meant to be, whatever its size. */
static void read_back(size_t value_n)
{
    struct slice value = value_of(value_n), bytes;
    struct head h;

    request("GET", "/p");
    ck_assert(fields_add(&head.fields, FIELD_OTHER, SLICE("X"), value));
    add("Y", "z");
    ck_assert(h1_write_request(&out, &pool, &head, H1_FRAME_NONE, true));
    bytes = written();
    head_init(&h, &arena);
    ck_assert_int_eq(h1_parse_request(bytes, &h), END_OK);
    ck_assert(slice_eq(h.fields.v[0].value, value));
    ck_assert(slice_eq(h.fields.v[1].value, SLICE("z")));
    ck_assert_uint_eq(bytes.n, 17 + 12 + 3 + value_n + 2 + 6 + 2);
}

START_TEST(heads_of_any_size)
{
    for (size_t n = 15000; n < 17000; n++)
        read_back(n);
    read_back(1);
    read_back(100000);
    read_back(500000);
}
END_TEST

START_TEST(nothing_is_added_when_bufs_are_exhausted)
{
    struct fields trailers = { .arena = &arena };

    request("GET", "/");
    pool.used_max = 1;
    ck_assert(bufq_add(&out, &pool, value_of(BUF_READ_MAX - 10)));
    ck_assert(!h1_write_request(&out, &pool, &head, H1_FRAME_NONE, true));
    ck_assert_uint_eq(out.bytes, BUF_READ_MAX - 10);
    head.status = 200;
    ck_assert(!h1_write_response(&out, &pool, &head, H1_FRAME_NONE, 1, true));
    ck_assert(fields_add(&trailers, FIELD_OTHER, SLICE("X"), value_of(100)));
    ck_assert(!h1_write_end(&out, &pool, H1_FRAME_CHUNKED, &trailers));
    ck_assert_uint_eq(out.bytes, BUF_READ_MAX - 10);
    bufq_clear(&out);
    pool.used_max = 3; /* five would do */
    ck_assert(fields_add(&head.fields, FIELD_OTHER, SLICE("X"), value_of(70000)));
    ck_assert(!h1_write_request(&out, &pool, &head, H1_FRAME_NONE, true));
    ck_assert_uint_eq(out.bytes, 0);
    ck_assert_uint_eq(pool.demand.used, 0);
}
END_TEST

/* ---- bodies ---- */

static struct buf *buf_of(struct slice s)
{
    struct buf *b = buf_get(&pool);

    memcpy(buf_tail(b), s.p, s.n);
    b->len = (uint32_t)s.n;
    return b;
}

START_TEST(chunks)
{
    struct buf *b = buf_of(SLICE("hello"));

    ck_assert(h1_write_data(&out, &pool, H1_FRAME_CHUNKED, b));
    ck_assert(h1_write_data(&out, &pool, H1_FRAME_CHUNKED, buf_of(SLICE("0123456789abcdef"))));
    ck_assert(h1_write_data(&out, &pool, H1_FRAME_CHUNKED, buf_of(SLICE(""))));
    ck_assert(h1_write_end(&out, &pool, H1_FRAME_CHUNKED, NULL));
    ck_assert_ptr_eq(out.head, b);
    expect("5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n");
}
END_TEST

START_TEST(full_buf_is_wrapped_in_its_rooms)
{
    struct slice value = value_of(BUF_READ_MAX);
    struct buf *b = buf_of(value);
    char size[16];

    ck_assert(h1_write_data(&out, &pool, H1_FRAME_CHUNKED, b));
    ck_assert_ptr_eq(out.head, b);
    ck_assert_ptr_null(b->next);
    ck_assert_uint_eq(written().n, 6 + BUF_READ_MAX + 2);
    snprintf(size, sizeof size, "%x\r\n", BUF_READ_MAX);
    ck_assert_mem_eq(text, size, 6);
    ck_assert_mem_eq(text + 6, value.p, value.n);
    ck_assert_mem_eq(text + 6 + value.n, "\r\n", 2);
}
END_TEST

/* A buf that begins or ends at its memory's ends. */
START_TEST(buf_without_rooms_is_wrapped_apart)
{
    struct buf *b = buf_get(&pool);

    b->off = 0;
    b->len = BUF_SIZE;
    memset(b->data, 'x', BUF_SIZE);
    ck_assert(h1_write_data(&out, &pool, H1_FRAME_CHUNKED, b));
    ck_assert(h1_write_data(&out, &pool, H1_FRAME_CHUNKED, buf_of(SLICE("a"))));
    ck_assert_uint_eq(written().n, 6 + BUF_SIZE + 2 + 6);
    ck_assert_mem_eq(text, "4000\r\nxxx", 9);
    ck_assert_mem_eq(text + 6 + BUF_SIZE, "\r\n1\r\na\r\n", 8);
}
END_TEST

START_TEST(pipes_are_wrapped_apart)
{
    for (int i = 0; i < 2; i++) {
        struct buf *b = buf_get_pipe(&pool);

        ck_assert_int_eq(write(b->pipe[1], "through a pipe", 14), 14);
        b->len = 14;
        ck_assert(h1_write_data(&out, &pool, H1_FRAME_CHUNKED, b));
    }
    ck_assert(h1_write_end(&out, &pool, H1_FRAME_CHUNKED, NULL));
    expect("e\r\nthrough a pipe\r\ne\r\nthrough a pipe\r\n0\r\n\r\n");
}
END_TEST

START_TEST(data_is_taken_even_when_bufs_are_exhausted)
{
    struct buf *b = buf_get_pipe(&pool);

    ck_assert_int_eq(write(b->pipe[1], "x", 1), 1);
    b->len = 1;
    ck_assert(bufq_add(&out, &pool, SLICE("before")));
    pool.used_max = 1;
    ck_assert(!h1_write_data(&out, &pool, H1_FRAME_CHUNKED, b));
    ck_assert_uint_eq(pool.pipes.used, 0);
    expect("before");
    b = buf_get(&pool);
    b->off = 0;
    b->len = BUF_SIZE;
    ck_assert(!h1_write_data(&out, &pool, H1_FRAME_CHUNKED, b));
    ck_assert_uint_eq(pool.demand.used, 0);
    ck_assert_uint_eq(out.bytes, 0);
}
END_TEST

START_TEST(other_framings_leave_data_as_it_is)
{
    ck_assert(h1_write_data(&out, &pool, H1_FRAME_LENGTH, buf_of(SLICE("hello"))));
    ck_assert(h1_write_end(&out, &pool, H1_FRAME_LENGTH, NULL));
    ck_assert(h1_write_data(&out, &pool, H1_FRAME_CLOSE, buf_of(SLICE(" world"))));
    ck_assert(h1_write_end(&out, &pool, H1_FRAME_CLOSE, &head.fields));
    ck_assert(h1_write_end(&out, &pool, H1_FRAME_NONE, NULL));
    expect("hello world");
}
END_TEST

START_TEST(trailers)
{
    add("X-A", "1");
    add("Gone", "2");
    add("X-B", "");
    fields_remove_name(&head.fields, SLICE("Gone"));
    ck_assert(h1_write_end(&out, &pool, H1_FRAME_CHUNKED, &head.fields));
    expect("0\r\nX-A: 1\r\nX-B: \r\n\r\n");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        requests, request_fields_in_order_without_the_removed, request_framing,
        request_connection_options, response_framing, answers_without_body_keep_their_length,
        reason_is_the_usual_if_there_is_none, response_connection_options, interim_answers,
        heads_of_any_size, nothing_is_added_when_bufs_are_exhausted, chunks,
        full_buf_is_wrapped_in_its_rooms, buf_without_rooms_is_wrapped_apart,
        pipes_are_wrapped_apart, data_is_taken_even_when_bufs_are_exhausted,
        other_framings_leave_data_as_it_is, trailers,
    };
    Suite *suite = suite_create("h1_write");
    TCase *tcase = tcase_create("h1_write");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
