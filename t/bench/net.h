/* What the programs of the benchmark share: addresses, sockets, epoll, and an end with a message.
 * All sockets are non-blocking and without delay (TCP_NODELAY); all are IPv4. */
#ifndef RPD_BENCH_NET_H
#define RPD_BENCH_NET_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/epoll.h>

/* Prints what failed, with errno, and exits. */
_Noreturn void net_fail(const char *what);
/* `127.0.0.1:8080`; exits when it is no such thing. */
struct sockaddr_in net_addr(const char *text);
int net_listen(const struct sockaddr_in *addr);
/* -1 when none waits. */
int net_accept(int listener);
/* Waits for the handshake, which loopback ends within the call. -1 with errno. */
int net_connect(const struct sockaddr_in *to);
/* Edge-triggered, for both directions: never changed afterwards. */
void net_watch(int epoll, int fd, void *what);
/* As many descriptors as the system gives; a peer's end is no reason to die. */
void net_init(void);
uint64_t net_now_ns(void);
/* realloc, and exits without memory. */
void *net_grow(void *p, size_t bytes);

#endif
