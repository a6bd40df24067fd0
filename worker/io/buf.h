/* Buffers: 16 KiB of bytes in flight, or a pipe's worth of them; queues of both.
 *
 *   struct buf  [head room | off ... off+len | tail room]     data points at BUF_SIZE bytes
 *
 * A buf has one owner at a time: bytes travel by handing it on, not by copying or counting
 * references. Reading starts at BUF_HEADROOM so that a head or a chunk header can be put before the
 * bytes in place, and leaves BUF_TAILROOM for the CRLF behind them. */
#ifndef RPD_IO_BUF_H
#define RPD_IO_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/demand.h"
#include "common/base/slice.h"

#define BUF_SIZE 16384 /* of data, rooms included */
#define BUF_HEADROOM 320 /* what a proxy adds to a head fits, too: see bufq_push */
#define BUF_TAILROOM 8
#define BUF_PIPE_SIZE (1 << 20) /* of a pipe, where the system's limits allow */
#define BUF_READ_MAX (BUF_SIZE - BUF_HEADROOM - BUF_TAILROOM)

struct buf {
    struct buf *next;
    uint32_t off, len;
    bool is_pipe;
    struct buf_pool *pool;
    union {
        int pipe[2];  /* is_pipe: len bytes lie in it */
        char *data;   /* else */
    };
};

struct buf_slab;
struct buf_pool {
    struct buf *free;       /* memory */
    struct buf *cold;       /* free bufs whose memory the system has back */
    struct buf_slab *slabs;
    struct buf *free_pipes; /* empty pipes, open */
    size_t free_count, free_pipe_count;
    struct demand demand;   /* of bufs; what is free beyond it goes back to the system */
    size_t used_max;        /* buf_get fails at so many bufs out (0: no limit) */
    struct demand pipes;    /* the same of pipes */
    size_t pipes_max;
    uint64_t *gauge;        /* statistics: bufs in use; at first no_gauge */
    uint64_t no_gauge;
};

/* keep: free bufs and pipes kept whatever the demand. */
void buf_pool_init(struct buf_pool *p, size_t keep, size_t used_max, size_t pipes_max);
/* Once a second: gives back what two seconds did not need. */
void buf_pool_tick(struct buf_pool *p);
/* Every buf is back, or is not touched again. */
void buf_pool_fini(struct buf_pool *p);

/* off = BUF_HEADROOM, len = 0; NULL when memory or the limit is at its end. */
struct buf *buf_get(struct buf_pool *p) __attribute__((warn_unused_result));
/* An empty pipe; NULL when descriptors or pipes_max are at their end (then use buf_get). What it
 * holds is the kernel's memory, up to BUF_PIPE_SIZE bytes: many more at a time than a buf, for
 * moving them costs by the call rather than by the byte. */
struct buf *buf_get_pipe(struct buf_pool *p) __attribute__((warn_unused_result));
/* Back to its pool, contents lost (a pipe that is not empty is closed); clears *b; NULL is fine. */
void buf_put(struct buf **b);

static inline char *buf_bytes(const struct buf *b)
{
    return b->data + b->off;
}
static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(b->data + b->off, b->len);
}
/* Where the next byte read goes, and how many fit (the tail room is not offered). */
static inline char *buf_tail(const struct buf *b)
{
    return b->data + b->off + b->len;
}
static inline size_t buf_room(const struct buf *b)
{
    size_t end = BUF_SIZE - BUF_TAILROOM, used = (size_t)b->off + b->len;

    return used < end ? end - used : 0;
}
/* Drops n bytes at the front (of a pipe: n bytes were spliced out of it). */
static inline void buf_skip(struct buf *b, size_t n)
{
    b->off += (uint32_t)n;
    b->len -= (uint32_t)n;
}

/* Takes back the last n bytes skipped; nothing was written since. */
static inline void buf_unskip(struct buf *b, size_t n)
{
    b->off -= (uint32_t)n;
    b->len += (uint32_t)n;
}

struct iovec;
struct bufq {
    struct buf *head, *tail;
    size_t bytes;
};

static inline void bufq_init(struct bufq *q)
{
    q->head = q->tail = NULL;
    q->bytes = 0;
}
/* Gives all back to the pools. */
void bufq_clear(struct bufq *q);
/* Takes b over (its len may be 0: then it goes back to the pool). A memory buf of less than 1 KiB
 * is copied behind the tail when it fits there, so that many small reads cannot hold many bufs; a
 * short queue is moved into the room before a longer one's bytes, so that nobody may rely on what
 * was skipped there any more. */
void bufq_push(struct bufq *q, struct buf *b);
/* The first buf, out of the queue, or NULL. */
struct buf *bufq_shift(struct bufq *q);
/* Room for n <= BUF_READ_MAX contiguous bytes at the queue's end, in the tail buf or a new one;
 * call bufq_commit with what was written. NULL: exhausted. */
char *bufq_reserve(struct bufq *q, struct buf_pool *p, size_t n)
    __attribute__((warn_unused_result));
void bufq_commit(struct bufq *q, size_t n);
/* New bufs in a queue that is empty, with room for n bytes or as many as max of them have: their
 * iovecs, to be read into, and then bufq_fill. Returns how many; 0: exhausted. */
unsigned bufq_open(struct bufq *q, struct buf_pool *p, size_t n, struct iovec *iov, unsigned max);
/* So many bytes have come; bufs that got none go back. */
void bufq_fill(struct bufq *q, size_t n);
/* Copies; false (nothing added) when exhausted. */
bool bufq_add(struct bufq *q, struct buf_pool *p, struct slice s)
    __attribute__((warn_unused_result));
/* Moves all of `from` behind `to`. */
void bufq_splice(struct bufq *to, struct bufq *from);
/* The iovecs of the leading memory bufs, at most max; returns how many. */
unsigned bufq_iov(const struct bufq *q, struct iovec *iov, unsigned max);
/* Drops n bytes of leading memory bufs. */
void bufq_skip(struct bufq *q, size_t n);

#endif
