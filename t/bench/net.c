/* Sockets of the programs of the benchmark: net.h. Owns nothing. Whatever fails at their start
 * ends them: t/bench/run sees the message. */
#include "t/bench/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 4096

_Noreturn void net_fail(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}

struct sockaddr_in net_addr(const char *text)
{
    struct sockaddr_in addr = { .sin_family = AF_INET };
    char host[INET_ADDRSTRLEN] = "";
    const char *colon = strchr(text, ':');

    if (colon && (size_t)(colon - text) < sizeof host)
        memcpy(host, text, (size_t)(colon - text));
    if (!colon || inet_pton(AF_INET, host, &addr.sin_addr) != 1) {
        errno = EINVAL;
        net_fail(text);
    }
    addr.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    return addr;
}

static void no_delay(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int any_socket(int type)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    if (fd < 0)
        net_fail("socket");
    return fd;
}

int net_listen(const struct sockaddr_in *addr)
{
    int fd = any_socket(SOCK_STREAM | SOCK_NONBLOCK);
    int on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    no_delay(fd); /* what it accepts inherits it */
    if (bind(fd, (const struct sockaddr *)addr, sizeof *addr) < 0)
        net_fail("bind");
    if (listen(fd, BACKLOG) < 0)
        net_fail("listen");
    return fd;
}

int net_accept(int listener)
{
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int net_connect(const struct sockaddr_in *to)
{
    int fd = any_socket(SOCK_STREAM);

    no_delay(fd);
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        int error = errno;

        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

void net_watch(int epoll, int fd, void *what)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                 .data.ptr = what };

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        net_fail("epoll_ctl");
}

void net_init(void)
{
    struct rlimit files;

    (void)signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

uint64_t net_now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void *net_grow(void *p, size_t bytes)
{
    p = realloc(p, bytes);
    if (!p)
        net_fail("memory");
    return p;
}
