/* libFuzzer target: response heads, with the request's method in the first byte. What is accepted
 * must read back as the same when it is sent on. */
#include "t/fuzz/fuzz.h"
#include "worker/http/h1.h"

static struct arena arena;
static struct buf_pool pool;
static char text[1 << 20];

static struct slice rewrite(const struct head *h, enum h1_framing framing)
{
    struct bufq q;
    size_t n = 0;

    bufq_init(&q);
    FUZZ_CHECK(h1_write_response(&q, &pool, h, framing, 1, true));
    for (struct buf *b; (b = bufq_shift(&q)); buf_put(&b)) {
        FUZZ_CHECK(n + b->len <= sizeof text);
        memcpy(text + n, buf_bytes(b), b->len);
        n += b->len;
    }
    return slice_of(text, n);
}

static void read_back(const struct head *h, enum http_method method)
{
    enum h1_framing framing = h1_framing_response(h, method, 1);
    struct slice bytes = rewrite(h, framing);
    struct h1_scan scan = { 0 };
    struct head again;
    size_t used;

    FUZZ_CHECK(h1_scan(&scan, bytes, &used) == H1_SCAN_DONE && used == bytes.n);
    head_init(&again, &arena);
    FUZZ_CHECK(h1_parse_response(bytes, &again, method) == END_OK);
    FUZZ_CHECK(again.status == h->status && slice_eq(again.upgrade, h->upgrade));
    FUZZ_CHECK(again.body == (h->body == BODY_CLOSE ? BODY_CHUNKED : h->body));
    FUZZ_CHECK(again.has_length == h->has_length && again.content_length == h->content_length);
    FUZZ_CHECK(again.keep_alive);
    FUZZ_CHECK(again.body != BODY_NONE || framing == H1_FRAME_NONE);
    FUZZ_CHECK(again.fields.n <= h->fields.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum http_method method = size > 0 && data[0] % 2 ? METHOD_HEAD : METHOD_GET;
    struct slice bytes = fuzz_exact(size > 0 ? data + 1 : data, size > 0 ? size - 1 : 0);
    struct h1_scan scan = { 0 };
    struct head h;
    size_t used;

    if (h1_scan(&scan, bytes, &used) == H1_SCAN_DONE) {
        fuzz_scan_split(bytes, used);
        buf_pool_init(&pool, 4, 0, 0);
        arena_init(&arena, NULL);
        head_init(&h, &arena);
        if (h1_parse_response(slice_of(bytes.p, used), &h, method) == END_OK)
            read_back(&h, method);
        arena_reset(&arena);
        FUZZ_CHECK(pool.demand.used == 0);
        buf_pool_fini(&pool);
    }
    fuzz_exact_free(bytes);
    return 0;
}
