/* libFuzzer target: request heads. What is accepted must read back as the same when it is sent on,
 * so that the next server sees the request that the rules here were applied to. */
#include "t/fuzz/fuzz.h"
#include "worker/http/h1.h"

static struct arena arena;
static struct buf_pool pool;
static char text[1 << 20];

/* The head as it is sent to a server. */
static struct slice rewrite(const struct head *h)
{
    struct bufq q;
    size_t n = 0;

    bufq_init(&q);
    FUZZ_CHECK(h1_write_request(&q, &pool, h, h1_framing_request(h), h->keep_alive));
    for (struct buf *b; (b = bufq_shift(&q)); buf_put(&b)) {
        FUZZ_CHECK(n + b->len <= sizeof text);
        memcpy(text + n, buf_bytes(b), b->len);
        n += b->len;
    }
    return slice_of(text, n);
}

static void compare_fields(const struct fields *a, const struct fields *b)
{
    uint32_t at = 0;

    FIELDS_EACH(f, a) {
        while (at < b->n && b->v[at].name.n == 0)
            at++;
        FUZZ_CHECK(at < b->n);
        FUZZ_CHECK(slice_eq(f->name, b->v[at].name) && slice_eq(f->value, b->v[at].value));
        at++;
    }
    for (; at < b->n; at++)
        FUZZ_CHECK(b->v[at].name.n == 0);
}

static void read_back(const struct head *h)
{
    struct slice bytes = rewrite(h);
    struct h1_scan scan = { 0 };
    struct head again;
    size_t used;

    FUZZ_CHECK(h1_scan(&scan, bytes, &used) == H1_SCAN_DONE && used == bytes.n);
    head_init(&again, &arena);
    if (h->authority.n == 0)
        return; /* HTTP/1.0 without Host: the proxy names one */
    FUZZ_CHECK(h1_parse_request(bytes, &again) == END_OK);
    FUZZ_CHECK(slice_eq(again.method_text, h->method_text) && again.method == h->method);
    FUZZ_CHECK(slice_eq(again.path, h->path) && slice_eq(again.authority, h->authority));
    FUZZ_CHECK(again.body == h->body && again.content_length == h->content_length);
    FUZZ_CHECK(slice_eq(again.upgrade, h->upgrade) && again.te_trailers == h->te_trailers);
    FUZZ_CHECK(again.keep_alive == h->keep_alive || h->upgrade.n > 0);
    compare_fields(&h->fields, &again.fields);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = fuzz_exact(data, size);
    struct h1_scan scan = { 0 };
    struct head h;
    size_t used;

    if (h1_scan(&scan, bytes, &used) == H1_SCAN_DONE) {
        fuzz_scan_split(bytes, used);
        buf_pool_init(&pool, 4, 0, 0);
        arena_init(&arena, NULL);
        head_init(&h, &arena);
        if (h1_parse_request(slice_of(bytes.p, used), &h) == END_OK)
            read_back(&h);
        arena_reset(&arena);
        FUZZ_CHECK(pool.demand.used == 0);
        buf_pool_fini(&pool);
    }
    fuzz_exact_free(bytes);
    return 0;
}
