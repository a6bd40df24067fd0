/* The operations of a conn that carries its bytes as they are, over TCP or a Unix socket. Called
 * by conn.c alone. */
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "worker/io/conn.h"

static ssize_t plain_read(struct conn *c, void *p, size_t n)
{
    return read(c->fd, p, n);
}

static ssize_t plain_writev(struct conn *c, const struct iovec *iov, int n)
{
    return n == 1 ? write(c->fd, iov->iov_base, iov->iov_len) : writev(c->fd, iov, n);
}

static int plain_shutdown(struct conn *c)
{
    return shutdown(c->fd, SHUT_WR);
}

static void plain_close(struct conn *c)
{
    fd_close(&c->fd);
}

const struct conn_ops conn_plain_ops = {
    .read = plain_read,
    .writev = plain_writev,
    .shutdown = plain_shutdown,
    .close = plain_close,
    .can_splice = true,
};
