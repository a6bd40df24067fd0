/* Content codings (RFC 9110 8.4.1): gzip, zstd and br as streams. Contexts are costly to make and
 * hold much memory: they come from a pool of the worker's, bounded, and what a second did not use
 * goes back to the system. Called by the proxy (encode.c); it knows no head. */
#ifndef RPD_HTTP_COMPRESS_H
#define RPD_HTTP_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include "common/core/conf.h"

/* Of all contexts of one worker: some 240 of gzip, 45 of zstd, 36 of br. */
#define COMPRESS_MEMORY ((size_t)64 << 20)

struct compressor;
struct compress_pool {
    struct compressor *free; /* the most recently used first */
    size_t free_count, free_min; /* the least there were since the last tick */
    size_t memory;      /* of all, free or not */
    size_t memory_max;
};

void compress_pool_init(struct compress_pool *p, size_t memory_max);
/* Once a second. */
void compress_pool_tick(struct compress_pool *p);
/* None may be in use. */
void compress_pool_fini(struct compress_pool *p);

/* level 0: the coding's usual one, else 1 to 9. NULL: memory is at its end or limit. */
struct compressor *compressor_get(struct compress_pool *p, enum conf_coding coding,
                                  unsigned level);
/* Back to the pool, whatever became of the stream; clears *c, NULL is fine. */
void compressor_put(struct compressor **c);

enum compress_op {
    COMPRESS_MORE,  /* takes input; what comes out is the coding's choice */
    COMPRESS_FLUSH, /* all that went in can be read from what came out */
    COMPRESS_END,   /* the stream's end */
};
/* Moves *in on, and writes to `out`; *n says how much. true: op is done, *in is empty; else it is
 * to be called again with the same op and more room. *n is SIZE_MAX on a failure (memory). */
bool compressor_run(struct compressor *c, enum compress_op op, struct slice *in, char *out,
                    size_t room, size_t *n) __attribute__((warn_unused_result));

#endif
