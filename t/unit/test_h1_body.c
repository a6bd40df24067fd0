/* Bodies received: counted, chunked and until the end; whatever way the bytes are cut and the
 * payload is limited, what comes out is the same. */
#include <stdio.h>
#include "t/unit/unit.h"
#include "worker/http/h1.h"

#define NO_LIMIT UINT64_MAX
#define BEHIND "GET / HTTP/1.1\r\n" /* what follows a message */

static struct arena arena;
static struct buf_pool pool;
static struct head head;
static llhttp_t parser;
static struct h1_body body;

/* What became of a body. */
struct got {
    char bytes[65536];
    size_t n;
    char trailers[512];
    char rest[64]; /* not consumed */
    enum end_reason why;
    bool is_done;
};
static struct got got;

static void setup(void)
{
    arena_init(&arena, NULL);
    buf_pool_init(&pool, 4, 0, 0);
}

static void teardown(void)
{
    ck_assert_uint_eq(pool.demand.used, 0);
    buf_pool_fini(&pool);
    arena_reset(&arena);
}

static void begin(const char *request, size_t trailer_max)
{
    arena_reset(&arena);
    head_init(&head, &arena);
    memset(&got, 0, sizeof got);
    ck_assert_int_eq(h1_parse_request(slice_str(request), &head), END_OK);
    h1_body_init(&body, &head, &parser, &arena, trailer_max);
}

static void begin_chunked(void)
{
    begin("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 1000);
}

static void begin_length(uint64_t n)
{
    memset(&got, 0, sizeof got);
    head_init(&head, &arena);
    head.body = BODY_LENGTH;
    head.content_length = n;
    h1_body_init(&body, &head, &parser, &arena, 1000);
}

static struct buf *buf_of(struct slice s)
{
    struct buf *b = buf_get(&pool);

    ck_assert_ptr_nonnull(b);
    ck_assert_uint_le(s.n, buf_room(b));
    memcpy(buf_tail(b), s.p, s.n);
    b->len = (uint32_t)s.n;
    return b;
}

static void take(struct buf **out, uint64_t max)
{
    if (!*out)
        return;
    ck_assert_uint_gt((*out)->len, 0);
    ck_assert_uint_le((*out)->len, max);
    ck_assert_uint_le(got.n + (*out)->len, sizeof got.bytes);
    memcpy(got.bytes + got.n, buf_bytes(*out), (*out)->len);
    got.n += (*out)->len;
    buf_put(out);
}

/* Decodes one piece, at most `max` payload a time, until no more comes of it. */
static void feed(struct slice piece, uint64_t max)
{
    struct buf *in = buf_of(piece), *out;

    while (in && !body.is_done && got.why == END_OK) {
        uint32_t before = in->len;

        got.why = h1_body_decode(&body, &pool, &in, max, &out);
        if (got.why != END_OK)
            ck_assert_ptr_null(out);
        ck_assert(got.why != END_OK || !in || in->len < before || out);
        take(&out, max);
    }
    if (in && got.why == END_OK) {
        ck_assert(body.is_done);
        size_t n = strlen(got.rest);

        ck_assert_uint_lt(n + in->len, sizeof got.rest);
        memcpy(got.rest + n, buf_bytes(in), in->len);
    }
    buf_put(&in);
}

static void finish(void)
{
    FILE *text;

    got.is_done = body.is_done;
    if (got.why == END_OK)
        ck_assert_uint_eq(body.total, got.n);
    if (!body.trailers)
        return;
    text = fmemopen(got.trailers, sizeof got.trailers, "w"); /* leaves out what is too much */
    FIELDS_EACH(f, body.trailers)
        fprintf(text, "%.*s=%.*s;", SLICE_ARG(f->name), SLICE_ARG(f->value));
    fclose(text);
}

static void decode_cut(struct slice bytes, size_t cut, uint64_t max)
{
    begin_chunked();
    feed(slice_of(bytes.p, cut), max);
    if (!body.is_done && got.why == END_OK)
        feed(slice_of(bytes.p + cut, bytes.n - cut), max);
    finish();
}

static void decode_bytewise(struct slice bytes)
{
    begin_chunked();
    for (size_t i = 0; i < bytes.n && got.why == END_OK && !body.is_done; i++)
        feed(slice_of(bytes.p + i, 1), NO_LIMIT);
    finish();
}

/* ---- chunked: rows ---- */

struct row {
    struct slice bytes;
    const char *payload, *trailers;
    enum end_reason why;
    bool is_cut; /* the message is not complete */
};

#define OK(text, payload, trailers) { SLICE_INIT(text), payload, trailers, END_OK, false }
#define CUT(text, payload) { SLICE_INIT(text), payload, "", END_OK, true }
#define BAD(text) { SLICE_INIT(text), NULL, NULL, END_BAD_FRAMING, false }

static const struct row rows[] = {
    OK("0\r\n\r\n", "", ""),
    OK("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
    OK("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", ""),
    OK("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", ""),
    OK("00005\r\nhello\r\n00\r\n\r\n", "hello", ""),
    OK("000000000000000000000000000000000000001\r\na\r\n0\r\n\r\n", "a", ""),
    OK("7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n", ""),
    OK("3\r\n;;;\r\n0\r\n\r\n", ";;;", ""),
    OK("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", "abc", ""),
    /* extensions */
    OK("5;a\r\nhello\r\n0\r\n\r\n", "hello", ""),
    OK("5;a=b\r\nhello\r\n0;c=d\r\n\r\n", "hello", ""),
    OK("5;name=value;q=\"a b\"\r\nhello\r\n0;x\r\n\r\n", "hello", ""),
    OK("5;a=\"b;c\\\"d\" ; e\t= f\r\nhello\r\n0\r\n\r\n", "hello", ""),
    OK("5;a=\xc3\xa9\r\nhello\r\n0\r\n\r\n", "hello", ""),
    OK("5;\r\nhello\r\n0;;\r\n\r\n", "hello", ""),
    /* trailers */
    OK("0\r\nX: 1\r\n\r\n", "", "X=1;"),
    OK("1\r\na\r\n0\r\nX: 1\r\nY:\t2 \r\nETag: e\r\nZ:\r\n\r\n", "a", "X=1;Y=2;ETag=e;Z=;"),
    OK("0\r\nContent-Length: 5\r\nX: 1\r\nHost: a\r\nCookie: c\r\nAuthorization: d\r\n"
       "Trailer: e\r\nVia: f\r\nSet-Cookie: g\r\nContent-Type: h\r\n\r\n", "", "X=1;"),
    OK("0\r\nConnection: close\r\n\r\n", "", ""),
    /* not the end yet */
    CUT("", ""),
    CUT("5", ""),
    CUT("5\r", ""),
    CUT("5\r\n", ""),
    CUT("5\r\nhel", "hel"),
    CUT("5\r\nhello", "hello"),
    CUT("5\r\nhello\r\n", "hello"),
    CUT("5\r\nhello\r\n0", "hello"),
    CUT("5\r\nhello\r\n0\r\n", "hello"),
    CUT("5\r\nhello\r\n0\r\n\r", "hello"),
    CUT("5\r\nhello\r\n0\r\nX: 1\r\n", "hello"),
    CUT("5;a", ""),
    CUT("5;a\r", ""),
    /* chunk sizes */
    BAD("\r\nhello\r\n0\r\n\r\n"),
    BAD("xyz\r\nhello\r\n0\r\n\r\n"),
    BAD("-5\r\nhello\r\n0\r\n\r\n"),
    BAD("+5\r\nhello\r\n0\r\n\r\n"),
    BAD("0x5\r\nhello\r\n0\r\n\r\n"),
    BAD(" 5\r\nhello\r\n0\r\n\r\n"),
    BAD("\t5\r\nhello\r\n0\r\n\r\n"),
    BAD("5 \r\nhello\r\n0\r\n\r\n"),
    BAD("5 5\r\nhello\r\n0\r\n\r\n"),
    BAD("5g\r\nhello\r\n0\r\n\r\n"),
    BAD("5,\r\nhello\r\n0\r\n\r\n"),
    BAD("5_0\r\nhello\r\n0\r\n\r\n"),
    BAD("\0" "5\r\nhello\r\n0\r\n\r\n"),
    BAD("10000000000000005\r\nhello\r\n0\r\n\r\n"),
    BAD("ffffffffffffffff1\r\nhello\r\n0\r\n\r\n"),
    BAD("\xff\r\nhello\r\n0\r\n\r\n"),
    /* line ends */
    BAD("5\nhello\r\n0\r\n\r\n"),
    BAD("5\rhello\r\n0\r\n\r\n"),
    BAD("5\r\r\nhello\r\n0\r\n\r\n"),
    BAD("5\r\nhello\n0\r\n\r\n"),
    BAD("5\r\nhello\r0\r\n\r\n"),
    BAD("5\r\nhello0\r\n\r\n"),
    BAD("5\r\nhello \r\n0\r\n\r\n"),
    BAD("4\r\nhello\r\n0\r\n\r\n"),
    BAD("6\r\nhello\r\n0\r\n\r\n"),
    BAD("5\r\nhello\r\n\r\n0\r\n\r\n"),
    BAD("5\r\nhello\r\n0\n\r\n"),
    BAD("5\r\nhello\r\n0\r\n\n"),
    BAD("0\r\r\n"),
    BAD("0\r\n\r\r\n"),
    /* an extension only behind a size */
    BAD(";a\r\nhello\r\n0\r\n\r\n"),
    BAD("5\r\nhello;a\r\n0\r\n\r\n"),
    BAD("5\r\nhello\r;a\n0\r\n\r\n"),
    BAD("5\r\nhello\r;a\r\n0\r\n\r\n"),
    BAD("5\r\nhello\r\n;a\r\n\r\n"),
    BAD("5\r;a\nhello\r\n0\r\n\r\n"),
    BAD("5;a\r;b\nhello\r\n0\r\n\r\n"),
    BAD("5;a\nhello\r\n0\r\n\r\n"),
    BAD("5;a\rb\r\nhello\r\n0\r\n\r\n"),
    BAD("5;a\0b\r\nhello\r\n0\r\n\r\n"),
    BAD("5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n"),
    BAD("5;a\x7f\r\nhello\r\n0\r\n\r\n"),
    BAD("5;\x01\r\nhello\r\n0\r\n\r\n"),
    BAD("0;a\n\r\n"),
    /* trailers */
    BAD("0\r\nX : 1\r\n\r\n"),
    BAD("0\r\n X: 1\r\n\r\n"),
    BAD("0\r\nX: 1\r\n y\r\n\r\n"),
    BAD("0\r\nX: 1\r\n\ty\r\n\r\n"),
    BAD("0\r\nX: \0\r\n\r\n"),
    BAD("0\r\nX: \x01\r\n\r\n"),
    BAD("0\r\nX\r\n\r\n"),
    BAD("0\r\n: x\r\n\r\n"),
    BAD("0\r\nX y: 1\r\n\r\n"),
    BAD("0\r\nX: 1\n\r\n"),
    BAD("0\r\nX: 1\r\n\n"),
    BAD("0\r\nX: a\rb\r\n\r\n"),
    BAD("0\r\nGET / HTTP/1.1\r\n\r\n"),
};
#define ROWS ((int)(sizeof rows / sizeof rows[0]))

static void expect(const struct row *row, const char *rest)
{
    ck_assert_msg(got.why == row->why, "row %td: %s", row - rows, end_reason_text(got.why));
    if (got.why != END_OK)
        return;
    ck_assert_uint_eq(got.n, row->payload ? strlen(row->payload) : 0);
    ck_assert_mem_eq(got.bytes, row->payload, got.n);
    ck_assert_str_eq(got.trailers, row->trailers);
    ck_assert_int_eq(got.is_done, !row->is_cut);
    ck_assert_str_eq(got.rest, rest);
}

START_TEST(rows_at_any_cut)
{
    const struct row *row = &rows[_i];

    for (size_t cut = 0; cut <= row->bytes.n; cut++) {
        decode_cut(row->bytes, cut, NO_LIMIT);
        expect(row, "");
    }
    decode_bytewise(row->bytes);
    expect(row, "");
}
END_TEST

START_TEST(rows_at_any_cut_and_limit)
{
    const struct row *row = &rows[_i];

    for (uint64_t max = 1; max < 8; max += 3)
        for (size_t cut = 0; cut <= row->bytes.n; cut++) {
            decode_cut(row->bytes, cut, max);
            expect(row, "");
        }
}
END_TEST

/* What follows the message is left alone. */
START_TEST(bytes_behind_stay)
{
    const struct row *row = &rows[_i];
    char text[512];
    size_t n = row->bytes.n;

    if (row->why != END_OK || row->is_cut)
        return;
    memcpy(text, row->bytes.p, n);
    memcpy(text + n, BEHIND, sizeof BEHIND - 1);
    for (uint64_t max = 1; max < 16; max++) {
        decode_cut(slice_of(text, n + sizeof BEHIND - 1), 0, max);
        expect(row, BEHIND);
    }
}
END_TEST

/* ---- chunked: limits ---- */

static struct slice repeat(const char *unit, unsigned times, const char *end)
{
    size_t n = strlen(unit), e = strlen(end);
    char *p = malloc(times * n + e);

    for (unsigned i = 0; i < times; i++)
        memcpy(p + i * n, unit, n);
    memcpy(p + times * n, end, e);
    return slice_of(p, times * n + e);
}

/* Feeds all of it in pieces of a buf, and frees it. */
static void feed_all(struct slice s)
{
    for (size_t at = 0; at < s.n && got.why == END_OK && !body.is_done;) {
        size_t n = s.n - at < BUF_READ_MAX ? s.n - at : BUF_READ_MAX;

        feed(slice_of(s.p + at, n), NO_LIMIT);
        at += n;
    }
    finish();
    free((void *)(uintptr_t)s.p);
}

START_TEST(chunk_header_is_bounded)
{
    begin_chunked();
    feed_all(repeat("0", 1000, "5\r\nhello\r\n0\r\n\r\n"));
    ck_assert_int_eq(got.why, END_OK);
    ck_assert_uint_eq(got.n, 5);
    begin_chunked();
    feed_all(repeat("0", 1100, "5\r\nhello\r\n0\r\n\r\n"));
    ck_assert_int_eq(got.why, END_BAD_FRAMING);
    begin_chunked();
    feed_all(repeat("0", 20000, ""));
    ck_assert_int_eq(got.why, END_BAD_FRAMING);
    begin_chunked();
    feed(SLICE("5;"), NO_LIMIT);
    feed_all(repeat("a", 1000, "\r\nhello\r\n0\r\n\r\n"));
    ck_assert_int_eq(got.why, END_OK);
    begin_chunked();
    feed(SLICE("5;"), NO_LIMIT);
    feed_all(repeat("a", 200000, ""));
    ck_assert_int_eq(got.why, END_BAD_FRAMING);
}
END_TEST

static char chunk[1024]; /* "1;aaa...\r\nx\r\n" */

static const char *chunk_with_extension(unsigned n)
{
    memset(chunk, 'a', sizeof chunk);
    memcpy(chunk, "1;", 2);
    memcpy(chunk + n, "\r\nx\r\n", 6);
    return chunk;
}

START_TEST(extensions_altogether_are_bounded)
{
    begin_chunked();
    feed_all(repeat(chunk_with_extension(900), 16, "0\r\n\r\n"));
    ck_assert_int_eq(got.why, END_OK);
    ck_assert_uint_eq(got.n, 16);
    begin_chunked();
    feed_all(repeat(chunk_with_extension(900), 40, "0\r\n\r\n"));
    ck_assert_int_eq(got.why, END_BAD_FRAMING);
    begin_chunked();
    feed_all(repeat(chunk_with_extension(15), 10000, "0\r\n\r\n"));
    ck_assert_int_eq(got.why, END_OK);
    ck_assert_uint_eq(got.n, 10000);
}
END_TEST

START_TEST(trailers_are_bounded)
{
    begin_chunked(); /* 1000 bytes */
    feed_all(repeat("0", 1, "\r\nX: 1\r\n\r\n"));
    ck_assert_int_eq(got.why, END_OK);
    begin_chunked();
    feed(SLICE("0\r\n"), NO_LIMIT);
    feed_all(repeat("X: 1\r\n", 166, "\r\n"));
    ck_assert_int_eq(got.why, END_OK);
    ck_assert_uint_eq(body.trailers->n, 166);
    begin_chunked();
    feed(SLICE("0\r\n"), NO_LIMIT);
    feed_all(repeat("X: 1\r\n", 167, "\r\n"));
    ck_assert_int_eq(got.why, END_HEADER_TOO_LARGE);
    begin_chunked();
    feed(SLICE("0\r\n"), NO_LIMIT);
    feed_all(repeat("X: 1\r\n", 40000, ""));
    ck_assert_int_eq(got.why, END_HEADER_TOO_LARGE);
    begin("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 100000);
    feed(SLICE("0\r\n"), NO_LIMIT);
    feed_all(repeat("X: 1\r\n", 257, "\r\n"));
    ck_assert_int_eq(got.why, END_HEADER_TOO_LARGE);
    begin("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 0);
    feed_all(repeat("0", 1, "\r\n\r\n"));
    ck_assert_int_eq(got.why, END_OK);
}
END_TEST

START_TEST(framing_is_read_without_credit)
{
    struct buf *in = buf_of(SLICE("\r\n0\r\nX: 1\r\n\r\n" BEHIND)), *out;

    begin_chunked();
    feed(SLICE("1\r\na"), 1);
    ck_assert_int_eq(h1_body_decode(&body, &pool, &in, 0, &out), END_OK);
    ck_assert_ptr_null(out);
    ck_assert(body.is_done);
    ck_assert(slice_eq(buf_slice(in), SLICE(BEHIND)));
    buf_put(&in);
}
END_TEST

START_TEST(nothing_goes_without_credit)
{
    struct buf *in = buf_of(SLICE("5\r\nhello")), *out;

    begin_chunked();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(h1_body_decode(&body, &pool, &in, 0, &out), END_OK);
        ck_assert_ptr_null(out);
        ck_assert(slice_eq(buf_slice(in), SLICE("hello")));
    }
    ck_assert_int_eq(h1_body_decode(&body, &pool, &in, 2, &out), END_OK);
    ck_assert(slice_eq(buf_slice(out), SLICE("he")));
    ck_assert(slice_eq(buf_slice(in), SLICE("llo")));
    buf_put(&in);
    buf_put(&out);
}
END_TEST

START_TEST(chunked_request_that_upgrades)
{
    begin("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nUpgrade: a\r\n"
          "Connection: Upgrade\r\n\r\n", 1000);
    feed(SLICE("1\r\na\r\n0\r\n\r\n" BEHIND), NO_LIMIT);
    finish();
    ck_assert(got.is_done);
    ck_assert_str_eq(got.rest, BEHIND);
}
END_TEST

START_TEST(chunked_response)
{
    head_init(&head, &arena);
    ck_assert_int_eq(h1_parse_response(SLICE("HTTP/1.1 200 OK\r\n"
                                       "Transfer-Encoding: chunked\r\n\r\n"), &head, METHOD_GET),
                     END_OK);
    h1_body_init(&body, &head, &parser, &arena, 1000);
    memset(&got, 0, sizeof got);
    feed(SLICE("3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\nHTTP/1.1"), NO_LIMIT);
    finish();
    ck_assert(got.is_done);
    ck_assert_uint_eq(got.n, 3);
    ck_assert_str_eq(got.trailers, "X-Sum=1;");
    ck_assert_str_eq(got.rest, "HTTP/1.1");
}
END_TEST

/* Memory at its end within a division: an error, and the caller's buf is the caller's. */
START_TEST(want_of_a_buf_is_said)
{
    struct buf *in = buf_of(SLICE("1\r\na\r\n0\r\n\r\nGET")), *out;

    pool.used_max = 1;
    begin_chunked();
    ck_assert_int_eq(h1_body_decode(&body, &pool, &in, NO_LIMIT, &out), END_EXHAUSTED);
    ck_assert_ptr_null(out);
    ck_assert_ptr_nonnull(in);
    buf_put(&in);
    in = buf_of(SLICE("abcdef"));
    begin_length(3);
    ck_assert_int_eq(h1_body_decode(&body, &pool, &in, NO_LIMIT, &out), END_EXHAUSTED);
    ck_assert_ptr_null(out);
    buf_put(&in);
}
END_TEST

/* ---- chunked: random ---- */

static uint32_t seed = 12345;

static uint32_t below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % n;
}

/* A body in random chunks; returns its bytes on the wire and the payload. */
static char wire[65536], payload[65536];

static size_t make_chunked(size_t *payload_n)
{
    size_t n = 0;
    unsigned chunks = below(40);

    *payload_n = 0;
    for (unsigned i = 0; i < chunks; i++) {
        unsigned size = below(4) ? 1 + below(20) : 1 + below(1000);

        n += (size_t)snprintf(wire + n, sizeof wire - n, "%0*x%s\r\n", (int)below(6), size,
                             below(5) ? "" : ";x=\"y;\"");
        for (unsigned k = 0; k < size; k++)
            wire[n++] = payload[(*payload_n)++] = "\r\n;0aX:"[below(7)];
        n += (size_t)snprintf(wire + n, sizeof wire - n, "\r\n");
    }
    n += (size_t)snprintf(wire + n, sizeof wire - n, "0\r\n%s\r\n", below(2) ? "X: 1\r\n" : "");
    return n;
}

START_TEST(random_bodies_in_random_pieces)
{
    for (int turn = 0; turn < 500; turn++) {
        size_t payload_n, n = make_chunked(&payload_n), at = 0;

        begin_chunked();
        while (at < n && got.why == END_OK && !body.is_done) {
            size_t piece = 1 + below(below(2) ? 16 : 4000);

            if (piece > n - at)
                piece = n - at;
            feed(slice_of(wire + at, piece), below(3) ? NO_LIMIT : 1 + below(64));
            at += piece;
        }
        ck_assert_int_eq(got.why, END_OK);
        ck_assert(body.is_done);
        ck_assert_uint_eq(at, n);
        ck_assert_uint_eq(got.n, payload_n);
        ck_assert_mem_eq(got.bytes, payload, payload_n);
    }
}
END_TEST

/* ---- counted, and until the end ---- */

START_TEST(counted_body_at_any_cut_and_limit)
{
    struct slice text = SLICE("0123456789" BEHIND);

    for (uint64_t max = 1; max < 12; max++)
        for (size_t cut = 1; cut < text.n; cut++) {
            begin_length(10);
            feed(slice_of(text.p, cut), max);
            if (!body.is_done)
                feed(slice_of(text.p + cut, text.n - cut), max);
            ck_assert(body.is_done);
            ck_assert_uint_eq(got.n, 10);
            ck_assert_mem_eq(got.bytes, text.p, 10);
            ck_assert_mem_eq(got.rest, cut > 10 ? text.p + 10 : BEHIND, strlen(got.rest));
            ck_assert_uint_eq(body.total, 10);
        }
}
END_TEST

START_TEST(whole_buf_is_handed_on)
{
    struct buf *in = buf_of(SLICE("hello")), *came = in, *out;

    begin_length(10);
    ck_assert_int_eq(h1_body_decode(&body, &pool, &in, NO_LIMIT, &out), END_OK);
    ck_assert_ptr_null(in);
    ck_assert_ptr_eq(out, came);
    ck_assert(!body.is_done);
    ck_assert_uint_eq(body.left, 5);
    buf_put(&out);
}
END_TEST

START_TEST(larger_part_keeps_the_buf)
{
    struct buf *in = buf_of(SLICE("0123456789")), *came = in, *out;

    begin_length(2);
    ck_assert_int_eq(h1_body_decode(&body, &pool, &in, NO_LIMIT, &out), END_OK);
    ck_assert_ptr_eq(in, came);
    ck_assert(slice_eq(buf_slice(in), SLICE("23456789")));
    ck_assert(slice_eq(buf_slice(out), SLICE("01")));
    buf_put(&out);
    begin_length(7);
    ck_assert_int_eq(h1_body_decode(&body, &pool, &in, NO_LIMIT, &out), END_OK);
    ck_assert_ptr_eq(out, came);
    ck_assert(slice_eq(buf_slice(out), SLICE("2345678")));
    ck_assert(slice_eq(buf_slice(in), SLICE("9")));
    buf_put(&out);
    buf_put(&in);
}
END_TEST

START_TEST(bodies_without_bytes_are_done_at_once)
{
    struct buf *in = buf_of(SLICE(BEHIND)), *out;

    begin("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 100);
    ck_assert(body.is_done);
    ck_assert_int_eq(h1_body_decode(&body, &pool, &in, NO_LIMIT, &out), END_OK);
    ck_assert_ptr_null(out);
    ck_assert(slice_eq(buf_slice(in), SLICE(BEHIND)));
    begin_length(0);
    ck_assert(body.is_done);
    ck_assert_int_eq(h1_body_decode(&body, &pool, &in, NO_LIMIT, &out), END_OK);
    ck_assert_ptr_null(out);
    ck_assert(slice_eq(buf_slice(in), SLICE(BEHIND)));
    buf_put(&in);
}
END_TEST

START_TEST(body_until_the_end)
{
    head_init(&head, &arena);
    head.body = BODY_CLOSE;
    h1_body_init(&body, &head, &parser, &arena, 100);
    memset(&got, 0, sizeof got);
    feed(SLICE("hello"), 2);
    feed(SLICE(" world"), NO_LIMIT);
    ck_assert(!body.is_done);
    ck_assert_uint_eq(got.n, 11);
    ck_assert_int_eq(h1_body_eof(&body), END_OK);
    ck_assert(body.is_done);
}
END_TEST

START_TEST(end_of_the_connection_before_the_bodys)
{
    begin_length(5);
    ck_assert_int_eq(h1_body_eof(&body), END_CLIENT_CLOSED);
    feed(SLICE("hello"), NO_LIMIT);
    ck_assert_int_eq(h1_body_eof(&body), END_OK);
    begin_chunked();
    ck_assert_int_eq(h1_body_eof(&body), END_CLIENT_CLOSED);
}
END_TEST

START_TEST(payload_may_come_unseen)
{
    begin_chunked();
    ck_assert_uint_eq(h1_body_unseen(&body), 0);
    feed(SLICE("20000\r\n"), NO_LIMIT);
    ck_assert_uint_eq(h1_body_unseen(&body), 0x1ffff);
    h1_body_skip(&body, 0x10000);
    feed(SLICE("seen"), NO_LIMIT);
    ck_assert_uint_eq(h1_body_unseen(&body), 0x0fffb);
    h1_body_skip(&body, 0x0fffb);
    ck_assert_uint_eq(h1_body_unseen(&body), 0);
    ck_assert(!body.is_done);
    feed(SLICE("!\r\n3\r\nend\r\n0\r\n\r\n"), NO_LIMIT);
    ck_assert_int_eq(got.why, END_OK);
    ck_assert(body.is_done);
    ck_assert_mem_eq(got.bytes, "seen!end", 8);
    ck_assert_uint_eq(body.total, 0x20003);
    begin_chunked(); /* one longer than it said */
    feed(SLICE("20000\r\n"), NO_LIMIT);
    h1_body_skip(&body, 0x1ffff);
    feed(SLICE("!!\r\n"), NO_LIMIT);
    ck_assert_int_eq(got.why, END_BAD_FRAMING);
    begin_length(10);
    h1_body_skip(&body, 10);
    ck_assert(body.is_done);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        chunk_header_is_bounded, extensions_altogether_are_bounded, trailers_are_bounded,
        framing_is_read_without_credit, nothing_goes_without_credit,
        chunked_request_that_upgrades, chunked_response, want_of_a_buf_is_said,
        random_bodies_in_random_pieces, counted_body_at_any_cut_and_limit, whole_buf_is_handed_on,
        larger_part_keeps_the_buf, bodies_without_bytes_are_done_at_once, body_until_the_end,
        end_of_the_connection_before_the_bodys, payload_may_come_unseen,
    };
    Suite *suite = suite_create("h1_body");
    TCase *tcase = tcase_create("h1_body");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, rows_at_any_cut, 0, ROWS);
    tcase_add_loop_test(tcase, rows_at_any_cut_and_limit, 0, ROWS);
    tcase_add_loop_test(tcase, bytes_behind_stay, 0, ROWS);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
