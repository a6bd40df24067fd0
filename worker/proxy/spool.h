/* A request body taken in whole: up to 64 KiB in buffers, then in an unlinked temporary file. Can
 * be read again from the start, for a retry. */
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
    uint64_t read_at;
};

void spool_init(struct spool *s);
void spool_fini(struct spool *s);
/* Takes the (memory) buf over. -1 with errno: the file cannot be made or written. */
int spool_add(struct spool *s, struct buf *b);
static inline void spool_rewind(struct spool *s)
{
    s->read_at = 0;
}
static inline uint64_t spool_left(const struct spool *s)
{
    return s->size - s->read_at;
}
/* The next bytes, copied to a new buf, at most max; NULL: none left, or with errno set. */
struct buf *spool_read(struct spool *s, struct buf_pool *pool, uint64_t max);

#endif
