/* The operations of a conn that carries its bytes as they are, over TCP or a Unix socket. Called
 * by conn.c alone. */
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "worker/io/conn.h"

static ssize_t plain_read(struct conn *c, void *p, size_t n)
{
    return recv(c->fd, p, n, 0);
}

static ssize_t plain_write(struct conn *c, const void *p, size_t n)
{
    return send(c->fd, p, n, MSG_NOSIGNAL);
}

static ssize_t plain_writev(struct conn *c, const struct iovec *iov, int n)
{
    struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n };

    return sendmsg(c->fd, &m, MSG_NOSIGNAL);
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
    .write = plain_write,
    .writev = plain_writev,
    .shutdown = plain_shutdown,
    .close = plain_close,
    .can_splice = true,
};
