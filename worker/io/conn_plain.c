/* The operations of a conn that carries its bytes as they are, over TCP or a Unix socket. Called
 * by conn.c alone. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "worker/io/conn.h"

static ssize_t plain_read(struct conn *c, void *p, size_t n)
{
    return recv(c->fd, p, n, 0);
}

static ssize_t plain_readv(struct conn *c, const struct iovec *iov, int n)
{
    return readv(c->fd, iov, n);
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

static int plain_connect(struct conn *c, uint32_t events)
{
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
        return EAGAIN;
    return events & (EPOLLERR | EPOLLHUP) ? conn_socket_error(c) : 0;
}

static bool plain_has_unread(const struct conn *c)
{
    int n = 0;

    return ioctl(c->fd, FIONREAD, &n) == 0 && n > 0;
}

static bool plain_is_quiet(struct conn *c)
{
    char byte;

    return recv(c->fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

const struct conn_ops conn_plain_ops = {
    .read = plain_read,
    .readv = plain_readv,
    .write = plain_write,
    .writev = plain_writev,
    .shutdown = plain_shutdown,
    .close = plain_close,
    .connect = plain_connect,
    .has_unread = plain_has_unread,
    .is_quiet = plain_is_quiet,
    .can_splice = true,
};
