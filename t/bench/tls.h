/* TLS for the programs of the benchmark: OpenSSL as it comes, over a non-blocking socket.
 *
 * A BIO of ours stands between the two for one reason: a short read says that the socket holds no
 * more, so that OpenSSL, which would ask again, need not. */
#ifndef RPD_BENCH_TLS_H
#define RPD_BENCH_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;

/* What the connections of one side have in common. */
struct tls_side;

/* A server's, with the certificate and the key of a PEM file; tickets are given, and taken. */
struct tls_side *tls_server_new(const char *pem);
/* A client's, that speaks TLS 1.3 only and believes any certificate. With is_resuming each
 * connection offers the session of the last ticket that came. */
struct tls_side *tls_client_new(bool is_resuming);

/* The socket stays the caller's; it is never closed here. */
struct tls *tls_new(struct tls_side *side, int fd);
/* A client's says close_notify if it can; a server's, whose client has gone, nothing. */
void tls_free(struct tls **tls);
/* After an event; with is_end the peer has closed. Until then a drained socket is not asked. */
void tls_event(struct tls *tls, bool is_end);
/* As read(2) and write(2); the first does the handshake as well. EPROTO: what TLS calls an error. A
 * write that was told EAGAIN is repeated with at least the same bytes. */
ssize_t tls_read(struct tls *tls, void *bytes, size_t n);
ssize_t tls_write(struct tls *tls, const void *bytes, size_t n);
/* The handshake was of the kind that is measured: resumed if a session was offered, else full. */
bool tls_is_as_meant(const struct tls *tls);

#endif
