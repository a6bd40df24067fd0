/* How a listening socket is bound: options, probing, files of Unix sockets. Keeps nothing. Called
 * by listen.c and control.c. */
#include "master/bind.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/base/fd.h"

#define BACKLOG 65535 /* the kernel caps it at net.core.somaxconn */

static bool is_any(const struct addr *a)
{
    if (a->sa.sa_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
    return a->in4.sin_addr.s_addr == htonl(INADDR_ANY);
}

bool bind_overlaps(const struct addr *a, const struct addr *b)
{
    if (a->sa.sa_family == AF_UNIX || b->sa.sa_family == AF_UNIX)
        return addr_eq(a, b);
    /* sin_port and sin6_port lie at the same place. */
    return a->in4.sin_port == b->in4.sin_port && (is_any(a) || is_any(b) || addr_eq(a, b));
}

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value);
}

/* A listening socket that shares its port with others of ours: those before it (is_sharing), and
 * those after it. The first of an address takes the port for itself alone, which fails when
 * anybody else listens there, and is opened to our others once it has it; to ask first and bind
 * then would leave a gap for a second daemon.
 *
 * What is accepted inherits TCP_NODELAY: an answer's last piece must not wait for the client's
 * acknowledgement of the one before. */
static int listen_inet(const struct addr *a, bool is_dual, bool is_sharing)
{
    int family = a->sa.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (set(fd, SOL_SOCKET, SO_REUSEADDR, 1) != 0
        || set(fd, SOL_SOCKET, SO_REUSEPORT, is_sharing) != 0
        || set(fd, IPPROTO_TCP, TCP_NODELAY, 1) != 0
        || (family == AF_INET6 && set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !is_dual) != 0)
        || bind(fd, &a->sa, a->len) != 0 || (!is_sharing && listen(fd, BACKLOG) != 0)
        || set(fd, SOL_SOCKET, SO_REUSEPORT, 1) != 0)
        fd_close(&fd);
    return fd;
}

/* A kernel without IPv6. */
static int listen_dual(const struct addr *a, bool is_sharing)
{
    struct addr any = { .len = sizeof any.in4 };
    int fd = listen_inet(a, true, is_sharing);

    if (fd >= 0 || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL))
        return fd;
    any.in4.sin_family = AF_INET;
    any.in4.sin_port = a->in6.sin6_port;
    return listen_inet(&any, false, is_sharing);
}

/* The file of a daemon that is gone answers nobody; 0 when the path is free now. */
static int remove_stale(const struct addr *a)
{
    struct stat st;
    int fd, r;

    if (stat(a->un.sun_path, &st) != 0)
        return errno == ENOENT ? 0 : -1;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    r = connect(fd, &a->sa, a->len);
    if (r != 0 && errno == ECONNREFUSED)
        r = unlink(a->un.sun_path);
    else {
        errno = EADDRINUSE;
        r = -1;
    }
    fd_close(&fd);
    return r;
}

static int listen_unix(struct bind_socket *b, const struct addr *a, mode_t mode)
{
    struct stat st;
    int fd;

    if (remove_stale(a) != 0)
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, &a->sa, a->len) != 0) {
        fd_close(&fd);
        return -1;
    }
    /* Nobody connects before listen(). */
    if (chmod(a->un.sun_path, mode) != 0 || listen(fd, BACKLOG) != 0
        || stat(a->un.sun_path, &st) != 0) {
        fd_close(&fd);
        (void)unlink(a->un.sun_path);
        return -1;
    }
    b->dev = st.st_dev;
    b->ino = st.st_ino;
    return fd;
}

int bind_listen(struct bind_socket *b, const struct addr *a, bool is_dual, bool is_sharing,
                mode_t mode)
{
    bool is_any6 = a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);

    *b = (struct bind_socket){ .fd = -1 };
    if (a->sa.sa_family == AF_UNIX)
        b->fd = listen_unix(b, a, mode);
    else if (is_any6 && is_dual)
        b->fd = listen_dual(a, is_sharing);
    else
        b->fd = listen_inet(a, false, is_sharing);
    return b->fd < 0 ? -1 : 0;
}

int bind_start(const struct bind_socket *b)
{
    return listen(b->fd, BACKLOG);
}

void bind_adopt(struct bind_socket *b, const struct addr *a, int fd, bool is_ours)
{
    struct stat st;

    *b = (struct bind_socket){ .fd = fd };
    if (is_ours && a->sa.sa_family == AF_UNIX && stat(a->un.sun_path, &st) == 0) {
        b->dev = st.st_dev;
        b->ino = st.st_ino;
    }
}

void bind_close(struct bind_socket *b, const struct addr *a)
{
    struct stat st;

    if (b->fd >= 0 && a->sa.sa_family == AF_UNIX && stat(a->un.sun_path, &st) == 0
        && st.st_dev == b->dev && st.st_ino == b->ino)
        (void)unlink(a->un.sun_path);
    fd_close(&b->fd);
}
