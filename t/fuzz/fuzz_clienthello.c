/* libFuzzer target: ClientHellos. The first bytes say how the rest is cut into packets, and, where
 * the rest is a message without its records, into records: the same name, or the same alert, must
 * come of it as from one piece. And where OpenSSL gets as far as asking for the name, it must have
 * read the same one: who is routed by one name must not be served by another. */
#include "t/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include "worker/io/clienthello.h"

#define CONTROL 8 /* bytes of the input */
#define HEADER 4  /* of the message */
#define ROOM (8 * (CLIENTHELLO_MAX + 256))

struct outcome {
    enum clienthello_result result;
    struct clienthello hello;
};

static struct buf_pool pool;
static uint8_t wire[ROOM];

/* ---- read by us ---- */

/* Cut as sizes[] says, in turn; NULL: in one piece. */
static struct outcome run(struct slice bytes, const uint8_t *sizes)
{
    struct outcome o = { .result = CLIENTHELLO_MORE };
    struct bufq in;
    size_t turn = 0;

    bufq_init(&in);
    for (size_t at = 0; at < bytes.n && o.result == CLIENTHELLO_MORE;) {
        size_t n = sizes ? 1u + sizes[turn++ % (CONTROL / 2)] : bytes.n;

        if (n > bytes.n - at)
            n = bytes.n - at;
        FUZZ_CHECK(bufq_add(&in, &pool, slice_of(bytes.p + at, n)));
        o.result = clienthello_read(&o.hello, &in);
        at += n;
    }
    bufq_clear(&in);
    return o;
}

static void same(const struct outcome *a, const struct outcome *b)
{
    FUZZ_CHECK(a->result == b->result);
    if (a->result == CLIENTHELLO_BAD)
        FUZZ_CHECK(a->hello.alert == b->hello.alert);
    if (a->result == CLIENTHELLO_DONE)
        FUZZ_CHECK(slice_eq(clienthello_sni(&a->hello), clienthello_sni(&b->hello)));
}

static void is_fit(const struct outcome *o)
{
    struct slice sni = clienthello_sni(&o->hello);

    if (o->result != CLIENTHELLO_DONE)
        return;
    for (size_t i = 0; i < sni.n; i++)
        FUZZ_CHECK(sni.p[i] > ' ' && sni.p[i] < 0x7f && sni.p[i] == ascii_lower(sni.p[i]));
}

/* The message in records cut as sizes[] says; NULL: in one. */
static struct slice wrap(struct slice message, const uint8_t *sizes)
{
    size_t n = 0, turn = 0;

    for (size_t at = 0; at < message.n;) {
        size_t piece = sizes ? 1u + sizes[turn++ % (CONTROL / 2)] : message.n;

        if (piece > message.n - at)
            piece = message.n - at;
        memcpy(wire + n, "\x16\x03\x01", 3);
        wire[n + 3] = (uint8_t)(piece >> 8);
        wire[n + 4] = (uint8_t)piece;
        memcpy(wire + n + 5, message.p + at, piece);
        n += 5 + piece;
        at += piece;
    }
    return slice_of((const char *)wire, n);
}

/* ---- read by OpenSSL ---- */

static bool is_address(const char *name)
{
    uint8_t room[16];

    return inet_pton(AF_INET, name, room) == 1 || inet_pton(AF_INET6, name, room) == 1;
}

static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct outcome *o = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct slice sni = clienthello_sni(&o->hello), theirs = slice_str(name);
    char text[CLIENTHELLO_NAME_MAX + 1];

    (void)alert;
    if (o->result != CLIENTHELLO_DONE)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* it would never have come here */
    if (theirs.n > 0 && theirs.p[theirs.n - 1] == '.')
        theirs.n--;
    FUZZ_CHECK(slice_copy(text, sizeof text, theirs));
    FUZZ_CHECK(slice_ieq(sni, theirs) || (sni.n == 0 && is_address(text)));
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *context(struct outcome *o)
{
    static SSL_CTX *ctx;

    if (!ctx) {
        ctx = SSL_CTX_new(TLS_server_method());
        FUZZ_CHECK(ctx && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION));
        SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    }
    SSL_CTX_set_tlsext_servername_arg(ctx, o);
    return ctx;
}

static void ask_openssl(struct slice bytes, struct outcome *o)
{
    SSL *ssl = SSL_new(context(o));
    BIO *in = BIO_new_mem_buf(bytes.p, (int)bytes.n), *out = BIO_new(BIO_s_mem());

    FUZZ_CHECK(ssl && in && out);
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl, in, out);
    SSL_accept(ssl);
    SSL_free(ssl);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes;
    struct outcome whole, pieces, records;

    if (size < CONTROL || size - CONTROL > CLIENTHELLO_MAX + HEADER)
        return 0;
    bytes = fuzz_exact(data + CONTROL, size - CONTROL);
    buf_pool_init(&pool, 4, 0, 0);
    if (data[0] % 2) {
        records = run(wrap(bytes, data + CONTROL / 2), data);
        whole = run(wrap(bytes, NULL), NULL);
        same(&whole, &records);
        ask_openssl(wrap(bytes, NULL), &whole);
    } else {
        whole = run(bytes, NULL);
        ask_openssl(bytes, &whole);
    }
    is_fit(&whole);
    pieces = run(data[0] % 2 ? wrap(bytes, NULL) : bytes, data);
    same(&whole, &pieces);
    FUZZ_CHECK(pool.demand.used == 0);
    buf_pool_fini(&pool);
    fuzz_exact_free(bytes);
    return 0;
}
