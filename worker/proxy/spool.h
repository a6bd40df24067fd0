/* A request body that is kept: up to 64 KiB in buffers, then in an unlinked temporary file. Each
 * reader has a place of its own, from the start on: whoever tries again, or beside another. */
#ifndef RPD_PROXY_SPOOL_H
#define RPD_PROXY_SPOOL_H

#include <stdbool.h>
#include <stdint.h>
#include "worker/io/buf.h"

#define SPOOL_MEMORY 65536

struct spool {
    struct bufq mem;   /* all of it, until there is a file */
    int fd;            /* -1: none yet */
    uint64_t size;
};

void spool_init(struct spool *s);
void spool_fini(struct spool *s);
/* Takes the (memory) buf over. -1 with errno: no memory, or the file cannot be made or written. No
 * more may be added then; what was there before can be read. */
int spool_add(struct spool *s, struct buf *b);
/* The same of a buf that stays the caller's. */
int spool_copy(struct spool *s, const struct buf *b);
/* The bytes at *at, copied to a new buf, at most max; *at moves on. NULL: none left, or with errno
 * set. */
struct buf *spool_read(const struct spool *s, uint64_t *at, struct buf_pool *pool, uint64_t max);

#endif
