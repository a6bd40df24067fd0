/* Content codings undone: gzip by zlib, zstd by its library; br by libbrotlidec, which nothing else
 * here is linked with and which is loaded. */
#ifndef RPD_T_UNIT_UNDO_H
#define RPD_T_UNIT_UNDO_H

#include <check.h>
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>
#include "common/core/conf.h"
#if RPD_HAS_ZLIB
#include <zlib.h>
#endif
#if RPD_HAS_ZSTD
#include <zstd.h>
#endif

#if RPD_HAS_ZLIB
static inline size_t undo_gzip(char *in, size_t n, char *to, size_t room, bool *is_end)
{
    z_stream z;
    int rc;

    memset(&z, 0, sizeof z);
    ck_assert_int_eq(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_in = (Bytef *)in;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)to;
    z.avail_out = (uInt)room;
    rc = inflate(&z, Z_SYNC_FLUSH);
    ck_assert_msg(rc == Z_OK || rc == Z_STREAM_END, "%d", rc);
    ck_assert_uint_eq(z.avail_in, 0);
    *is_end = rc == Z_STREAM_END;
    inflateEnd(&z);
    return room - z.avail_out;
}
#endif

#if RPD_HAS_ZSTD
static inline size_t undo_zstd(char *in, size_t n, char *to, size_t room, bool *is_end)
{
    ZSTD_DCtx *z = ZSTD_createDCtx();
    ZSTD_inBuffer from = { in, n, 0 };
    ZSTD_outBuffer out = { to, room, 0 };
    size_t left = 1;

    while (from.pos < n) {
        left = ZSTD_decompressStream(z, &out, &from);
        ck_assert_msg(!ZSTD_isError(left), "%s", ZSTD_getErrorName(left));
    }
    *is_end = left == 0;
    ZSTD_freeDCtx(z);
    return out.pos;
}
#endif

#if RPD_HAS_BROTLI
/* decoder_create, decoder_decompress_stream, decoder_destroy of brotli/decode.h. */
typedef void *undo_br_new_fn(void *, void *, void *);
typedef int undo_br_run_fn(void *, size_t *, char **, size_t *, char **, size_t *);
typedef void undo_br_free_fn(void *);

static inline size_t undo_br(char *in, size_t n, char *to, size_t room, bool *is_end)
{
    static void *lib;
    undo_br_new_fn *new;
    undo_br_run_fn *run;
    undo_br_free_fn *del;
    size_t left = n, free_room = room;
    void *z;
    int rc;

    if (!lib)
        lib = dlopen("libbrotlidec.so.1", RTLD_NOW);
    ck_assert_msg(lib != NULL, "%s", dlerror());
    *(void **)&new = dlsym(lib, "BrotliDecoderCreateInstance");
    *(void **)&run = dlsym(lib, "BrotliDecoderDecompressStream");
    *(void **)&del = dlsym(lib, "BrotliDecoderDestroyInstance");
    z = new(NULL, NULL, NULL);
    rc = run(z, &left, &in, &free_room, &to, NULL);
    ck_assert_int_ne(rc, 0);
    ck_assert_uint_eq(left, 0);
    *is_end = rc == 1;
    del(z);
    return room - free_room;
}
#endif

typedef size_t undo_fn(char *in, size_t n, char *to, size_t room, bool *is_end);
static undo_fn *const undoers[CONF_CODINGS] = {
#if RPD_HAS_ZLIB
    [CONF_CODING_GZIP] = undo_gzip,
#endif
#if RPD_HAS_ZSTD
    [CONF_CODING_ZSTD] = undo_zstd,
#endif
#if RPD_HAS_BROTLI
    [CONF_CODING_BR] = undo_br,
#endif
};

/* How much came of it; *is_end: the stream is whole. */
static inline size_t undo(enum conf_coding coding, char *in, size_t n, char *to, size_t room,
                          bool *is_end)
{
    ck_assert_ptr_nonnull(undoers[coding]);
    return undoers[coding](in, n, to, room, is_end);
}

#endif
