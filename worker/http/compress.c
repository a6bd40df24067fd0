/* Content codings, by the libraries that there are. See compress.h. */
#include "worker/http/compress.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#if RPD_HAS_ZLIB
#define ZLIB_CONST
#include <zlib.h>
#endif
#if RPD_HAS_ZSTD
#include <zstd.h>
#endif
#if RPD_HAS_BROTLI
#include <brotli/encode.h>
#endif

/* How far back a repetition is seen, by the client's memory too, and how large the tables are that
 * find it. They bound a context's memory at any level: left to themselves the libraries take up to
 * 13 MiB (zstd) and 35 MiB (br) at level 9, for one or two hundredths of the size. */
#define ZSTD_WINDOW_BITS 17
#define ZSTD_TABLE_BITS 16
#define BR_WINDOW_BITS 16
/* 9 takes half as much memory again for a thousandth of the size. */
#define BR_LEVEL_MAX 8

struct coder {
    size_t memory; /* of a context, at the level that takes most */
    unsigned level;
    /* NULL: no memory. */
    void *(*new)(unsigned level);
    void (*free)(void *context);
    /* For another stream. false: it cannot be used again. */
    bool (*reset)(void *context);
    bool (*run)(void *context, enum compress_op op, struct slice *in, char *out, size_t room,
                size_t *n);
};

struct compressor {
    struct compress_pool *pool;
    struct compressor *next; /* in pool->free */
    const struct coder *coder;
    unsigned level;
    void *context;
};

/* ---- gzip ---- */

#if RPD_HAS_ZLIB
static void *gzip_new(unsigned level)
{
    z_stream *z = calloc(1, sizeof *z);

    /* 16 more bits of window: with gzip's header. */
    if (z && deflateInit2(z, (int)level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(z);
        z = NULL;
    }
    return z;
}

static void gzip_free(void *context)
{
    deflateEnd(context);
    free(context);
}

static bool gzip_reset(void *context)
{
    return deflateReset(context) == Z_OK;
}

static bool gzip_run(void *context, enum compress_op op, struct slice *in, char *out, size_t room,
                     size_t *n)
{
    static const int flushes[] = { Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH };
    z_stream *z = context;
    int rc;

    z->next_in = (const Bytef *)in->p;
    z->avail_in = (uInt)in->n;
    z->next_out = (Bytef *)out;
    z->avail_out = (uInt)room;
    rc = deflate(z, flushes[op]);
    *in = slice_of(in->p + (in->n - z->avail_in), z->avail_in);
    *n = room - z->avail_out;
    if (rc == Z_STREAM_ERROR)
        *n = SIZE_MAX;
    return op == COMPRESS_END ? rc == Z_STREAM_END : z->avail_out > 0;
}

static const struct coder gzip_coder = {
    270 << 10, 4, gzip_new, gzip_free, gzip_reset, gzip_run,
};
#endif

/* ---- zstd ---- */

#if RPD_HAS_ZSTD
static bool zstd_set(ZSTD_CCtx *z, ZSTD_cParameter what, int value)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(z, what, value));
}

static void *zstd_new(unsigned level)
{
    ZSTD_CCtx *z = ZSTD_createCCtx();

    if (z && (!zstd_set(z, ZSTD_c_compressionLevel, (int)level) ||
              !zstd_set(z, ZSTD_c_windowLog, ZSTD_WINDOW_BITS) ||
              !zstd_set(z, ZSTD_c_hashLog, ZSTD_TABLE_BITS) ||
              !zstd_set(z, ZSTD_c_chainLog, ZSTD_TABLE_BITS))) {
        ZSTD_freeCCtx(z);
        z = NULL;
    }
    return z;
}

static void zstd_free(void *context)
{
    ZSTD_freeCCtx(context);
}

static bool zstd_reset(void *context)
{
    return !ZSTD_isError(ZSTD_CCtx_reset(context, ZSTD_reset_session_only));
}

static bool zstd_run(void *context, enum compress_op op, struct slice *in, char *out, size_t room,
                     size_t *n)
{
    static const ZSTD_EndDirective ends[] = { ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end };
    ZSTD_inBuffer from = { in->p, in->n, 0 };
    ZSTD_outBuffer to = { out, room, 0 };
    size_t left = ZSTD_compressStream2(context, &to, &from, ends[op]);

    *in = slice_of(in->p + from.pos, in->n - from.pos);
    *n = ZSTD_isError(left) ? SIZE_MAX : to.pos;
    return op == COMPRESS_MORE ? in->n == 0 : left == 0;
}

static const struct coder zstd_coder = {
    1440 << 10, 3, zstd_new, zstd_free, zstd_reset, zstd_run,
};
#endif

/* ---- br ---- */

#if RPD_HAS_BROTLI
static void *br_new(unsigned level)
{
    BrotliEncoderState *z = BrotliEncoderCreateInstance(NULL, NULL, NULL);
    unsigned quality = level < BR_LEVEL_MAX ? level : BR_LEVEL_MAX;

    if (z && (!BrotliEncoderSetParameter(z, BROTLI_PARAM_QUALITY, quality) ||
              !BrotliEncoderSetParameter(z, BROTLI_PARAM_LGWIN, BR_WINDOW_BITS))) {
        BrotliEncoderDestroyInstance(z);
        z = NULL;
    }
    return z;
}

static void br_free(void *context)
{
    BrotliEncoderDestroyInstance(context);
}

static bool br_reset(void *context)
{
    (void)context;
    return false;
}

static bool br_run(void *context, enum compress_op op, struct slice *in, char *out, size_t room,
                   size_t *n)
{
    static const BrotliEncoderOperation ops[] = {
        BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_FINISH,
    };
    const uint8_t *from = (const uint8_t *)in->p;
    uint8_t *to = (uint8_t *)out;
    size_t left = in->n, free_room = room;
    bool is_good = BrotliEncoderCompressStream(context, ops[op], &left, &from, &free_room, &to,
                                               NULL);

    *in = slice_of(in->p + (in->n - left), left);
    *n = is_good ? room - free_room : SIZE_MAX;
    if (op == COMPRESS_END)
        return BrotliEncoderIsFinished(context);
    return left == 0 && !BrotliEncoderHasMoreOutput(context);
}

static const struct coder br_coder = {
    1792 << 10, 4, br_new, br_free, br_reset, br_run,
};
#endif

static const struct coder *const coders[] = {
#if RPD_HAS_ZLIB
    [CONF_CODING_GZIP] = &gzip_coder,
#endif
#if RPD_HAS_ZSTD
    [CONF_CODING_ZSTD] = &zstd_coder,
#endif
#if RPD_HAS_BROTLI
    [CONF_CODING_BR] = &br_coder,
#endif
    [CONF_CODING_NONE] = NULL,
};

/* ---- the pool ---- */

void compress_pool_init(struct compress_pool *p, size_t memory_max)
{
    *p = (struct compress_pool){ .memory_max = memory_max };
}

static void destroy(struct compressor *c)
{
    c->pool->memory -= c->coder->memory;
    c->coder->free(c->context);
    free(c);
}

/* Of the free ones so many stay, those used last. */
static void keep(struct compress_pool *p, size_t n)
{
    struct compressor **end = &p->free, *c, *next;

    for (size_t i = 0; i < n && *end; i++)
        end = &(*end)->next;
    for (c = *end; c; c = next) {
        next = c->next;
        destroy(c);
    }
    *end = NULL;
    p->free_count = n;
    if (p->free_min > n)
        p->free_min = n;
}

void compress_pool_tick(struct compress_pool *p)
{
    keep(p, p->free_count - p->free_min);
    p->free_min = p->free_count;
}

void compress_pool_fini(struct compress_pool *p)
{
    keep(p, 0);
}

static struct compressor *take_free(struct compress_pool *p, const struct coder *coder,
                                    unsigned level)
{
    struct compressor **at = &p->free, *c;

    while (*at && ((*at)->coder != coder || (*at)->level != level))
        at = &(*at)->next;
    c = *at;
    if (!c)
        return NULL;
    *at = c->next;
    p->free_count--;
    if (p->free_min > p->free_count)
        p->free_min = p->free_count;
    return c;
}

/* Those that wait for work make room for one that has some. */
static struct compressor *make(struct compress_pool *p, const struct coder *coder, unsigned level)
{
    struct compressor *c;

    while (p->memory + coder->memory > p->memory_max) {
        if (p->free_count == 0)
            return NULL;
        keep(p, p->free_count - 1);
    }
    c = malloc(sizeof *c);
    if (!c)
        return NULL;
    *c = (struct compressor){ .pool = p, .coder = coder, .level = level };
    c->context = coder->new(level);
    if (!c->context) {
        free(c);
        return NULL;
    }
    p->memory += coder->memory;
    return c;
}

struct compressor *compressor_get(struct compress_pool *p, enum conf_coding coding, unsigned level)
{
    const struct coder *coder = coders[coding];
    struct compressor *c;

    assert(coder);
    if (level == 0)
        level = coder->level;
    c = take_free(p, coder, level);
    return c ? c : make(p, coder, level);
}

void compressor_put(struct compressor **pointer)
{
    struct compressor *c = *pointer;

    *pointer = NULL;
    if (!c)
        return;
    if (!c->coder->reset(c->context)) {
        destroy(c);
        return;
    }
    c->next = c->pool->free;
    c->pool->free = c;
    c->pool->free_count++;
}

bool compressor_run(struct compressor *c, enum compress_op op, struct slice *in, char *out,
                    size_t room, size_t *n)
{
    return c->coder->run(c->context, op, in, out, room, n);
}
