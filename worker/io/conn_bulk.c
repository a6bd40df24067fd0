/* Reading what comes in bulk: many bytes by one call, for a call costs as much as copying some
 * kilobytes. Called by the codecs and by l4, which know that more is to come. */
#include <assert.h>
#include <errno.h>
#include <sys/uio.h>
#include "worker/io/conn.h"

#define BULK_BUFS 4

static ssize_t read_pipe(struct conn *c, struct bufq *q, struct buf *pipe, size_t max)
{
    ssize_t n = conn_splice_in(c, pipe, max);

    if (n > 0)
        bufq_push(q, pipe);
    else
        buf_put(&pipe);
    return n;
}

static ssize_t read_bufs(struct conn *c, struct bufq *q, size_t max)
{
    struct iovec iov[BULK_BUFS];
    unsigned count = bufq_open(q, c->pool->bufs, max, iov, BULK_BUFS);
    ssize_t n;

    if (count == 0) {
        errno = ENOBUFS;
        return -1;
    }
    n = conn_readv(c, iov, count);
    bufq_fill(q, n > 0 ? (size_t)n : 0);
    return n;
}

ssize_t conn_read_bulk(struct conn *c, struct bufq *q, size_t pipe_max, size_t max)
{
    struct buf *pipe = NULL;

    assert(!q->head && max > 0);
    if (pipe_max > 0 && c->ops->can_splice)
        pipe = buf_get_pipe(c->pool->bufs);
    return pipe ? read_pipe(c, q, pipe, pipe_max) : read_bufs(c, q, max);
}
