/* Kept request bodies. Called by body.c. */
#include "worker/proxy/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
#include "common/base/fd.h"

void spool_init(struct spool *s)
{
    *s = (struct spool){ .fd = -1 };
    bufq_init(&s->mem);
}

void spool_fini(struct spool *s)
{
    bufq_clear(&s->mem);
    fd_close(&s->fd);
}

static int open_temporary(void)
{
    const char *dir = getenv("TMPDIR");
    char path[PATH_MAX];
    int fd;

    if (!dir || !*dir)
        dir = "/tmp";
    fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    /* A file system without O_TMPFILE. */
    snprintf(path, sizeof path, "%s/rpd-spool-XXXXXX", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

/* Files do not make us wait but for a disk that is slower than its cache. */
static int write_out(struct spool *s)
{
    while (s->mem.bytes > 0) {
        struct iovec iov[16];
        ssize_t n = writev(s->fd, iov, (int)bufq_iov(&s->mem, iov, 16));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bufq_skip(&s->mem, (size_t)n);
    }
    return 0;
}

int spool_copy(struct spool *s, const struct buf *b)
{
    if (!bufq_add(&s->mem, b->pool, buf_slice(b))) { /* dense, however it came */
        errno = ENOMEM;
        return -1;
    }
    if (s->fd >= 0 || s->mem.bytes > SPOOL_MEMORY) {
        if (s->fd < 0 && (s->fd = open_temporary()) < 0)
            return -1;
        if (write_out(s) < 0)
            return -1;
    }
    s->size += b->len;
    return 0;
}

int spool_add(struct spool *s, struct buf *b)
{
    int result = spool_copy(s, b), error = errno;

    buf_put(&b);
    errno = error;
    return result;
}

static void copy_from_memory(const struct spool *s, uint64_t skip, char *dst, size_t n)
{

    for (const struct buf *b = s->mem.head; b && n > 0; b = b->next) {
        size_t part;

        if (skip >= b->len) {
            skip -= b->len;
            continue;
        }
        part = b->len - skip < n ? b->len - skip : n;
        memcpy(dst, buf_bytes(b) + skip, part);
        dst += part;
        n -= part;
        skip = 0;
    }
}

static int copy_from_file(const struct spool *s, uint64_t at, char *dst, size_t n)
{
    while (n > 0) {
        ssize_t got = pread(s->fd, dst, n, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got == 0 ? EIO : errno;
            return -1;
        }
        dst += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

struct buf *spool_read(const struct spool *s, uint64_t *at, struct buf_pool *pool, uint64_t max)
{
    uint64_t n = s->size - *at;
    struct buf *b;

    errno = 0;
    if (n == 0)
        return NULL;
    b = buf_get(pool);
    if (!b) {
        errno = ENOMEM;
        return NULL;
    }
    if (n > max)
        n = max;
    if (n > buf_room(b))
        n = buf_room(b);
    if (s->fd < 0) {
        copy_from_memory(s, *at, buf_tail(b), n);
    } else if (copy_from_file(s, *at, buf_tail(b), n) < 0) {
        buf_put(&b);
        return NULL;
    }
    b->len += (uint32_t)n;
    *at += n;
    return b;
}
