/* libFuzzer target: chunked bodies. The first bytes say how the rest is cut and how much payload
 * is taken at a time; payload, trailers, what is left over and whether it is refused must be the
 * same as for the body in one piece. */
#include "t/fuzz/fuzz.h"
#include "worker/http/h1.h"

#define CONTROL 8 /* bytes of the input: sizes of pieces, the last of them of the limit */
#define TRAILER_MAX 512
#define HEAD "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

struct run {
    struct arena arena;
    struct h1_body body;
    llhttp_t parser;
    char payload[1 << 16];
    size_t n, used;
    enum end_reason why;
};

static struct run whole, pieces;
static struct buf_pool pool;

static void begin(struct run *r)
{
    struct head h;

    r->n = r->used = 0;
    r->why = END_OK;
    arena_init(&r->arena, NULL);
    head_init(&h, &r->arena);
    FUZZ_CHECK(h1_parse_request(SLICE(HEAD), &h) == END_OK);
    h1_body_init(&r->body, &h, &r->parser, &r->arena, TRAILER_MAX);
}

static void feed(struct run *r, struct slice bytes, uint64_t max)
{
    struct buf *in = buf_get(&pool), *out;

    FUZZ_CHECK(in && bytes.n <= buf_room(in));
    memcpy(buf_tail(in), bytes.p, bytes.n);
    in->len = (uint32_t)bytes.n;
    r->used += bytes.n;
    while (in && !r->body.is_done && r->why == END_OK) {
        r->why = h1_body_decode(&r->body, &pool, &in, max, &out);
        if (!out)
            continue;
        FUZZ_CHECK(r->why == END_OK && out->len > 0 && out->len <= max);
        FUZZ_CHECK(r->n + out->len <= sizeof r->payload);
        memcpy(r->payload + r->n, buf_bytes(out), out->len);
        r->n += out->len;
        buf_put(&out);
    }
    r->used -= in ? in->len : 0;
    buf_put(&in);
}

static void compare_trailers(const struct fields *a, const struct fields *b)
{
    FUZZ_CHECK(!a == !b);
    if (!a)
        return;
    FUZZ_CHECK(a->n == b->n);
    for (uint32_t i = 0; i < a->n; i++) {
        FUZZ_CHECK(slice_eq(a->v[i].name, b->v[i].name));
        FUZZ_CHECK(slice_eq(a->v[i].value, b->v[i].value));
        FUZZ_CHECK(field_may_trail(a->v[i].id));
    }
}

static void run_pieces(const uint8_t *control, struct slice bytes)
{
    size_t at = 0, turn = 0;
    uint64_t max = control[CONTROL - 1] ? control[CONTROL - 1] : UINT64_MAX;

    begin(&pieces);
    while (at < bytes.n && pieces.why == END_OK && !pieces.body.is_done) {
        size_t n = 1u + control[turn++ % (CONTROL - 1)] % 64u;

        if (n > bytes.n - at)
            n = bytes.n - at;
        feed(&pieces, slice_of(bytes.p + at, n), max);
        at += n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes;

    if (size < CONTROL || size - CONTROL > BUF_READ_MAX)
        return 0;
    bytes = slice_of((const char *)data + CONTROL, size - CONTROL);
    buf_pool_init(&pool, 4, 0, 0);
    begin(&whole);
    feed(&whole, bytes, UINT64_MAX);
    run_pieces(data, bytes);
    /* Not always for the same reason: the first that is met. */
    FUZZ_CHECK((whole.why == END_OK) == (pieces.why == END_OK));
    if (whole.why == END_OK) {
        FUZZ_CHECK(whole.body.is_done == pieces.body.is_done);
        FUZZ_CHECK(whole.used == pieces.used && whole.n == pieces.n);
        FUZZ_CHECK(whole.body.total == whole.n);
        FUZZ_CHECK(memcmp(whole.payload, pieces.payload, whole.n) == 0);
        compare_trailers(whole.body.trailers, pieces.body.trailers);
    }
    arena_reset(&whole.arena);
    arena_reset(&pieces.arena);
    FUZZ_CHECK(pool.demand.used == 0);
    buf_pool_fini(&pool);
    return 0;
}
