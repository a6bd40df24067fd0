/* A worker's way to `rpd: keys`, which alone has private keys. EVP_PKEYs from here hold the public
 * half: to sign with one asks that process, and the handshake that wanted it waits meanwhile, in a
 * job of OpenSSL's with a stack of its own, so that nobody else does.
 *
 *   keys_handshake -> job: SSL_do_handshake -> our provider: asks, pauses --+
 *        | KEYS_WAITS  <----------------------------------------------------+
 *   ... the loop goes on; the batch's questions leave in one packet ...
 *   answer -> wait->wake -> keys_handshake -> job: goes on where it was
 *
 * When the process dies, questions wait for its successor and are asked again. One a process; it is
 * for the thread that made it. */
#ifndef RPD_IO_KEYS_H
#define RPD_IO_KEYS_H

#include <stddef.h>
#include <openssl/types.h>
#include "common/core/stats.h"
#include "worker/io/key_wait.h"
#include "worker/io/loop.h"

struct keys;

/* Handshakes that wait at a time; more have to wait for their turn. A paused one holds a stack. */
#define KEYS_WAITING_MAX 1024

/* Costs nothing before the first keys_key. */
struct keys *keys_new(struct loop *loop, struct stats_worker *stats);
/* When no handshake waits and none of its EVP_PKEYs is left; clears *k, accepts NULL. */
void keys_free(struct keys **k);

/* A channel to the process, in place of the one before; takes the descriptor over. Without one
 * questions wait. */
void keys_use_channel(struct keys *k, int fd);
/* Whether it had one, and has none now. */
bool keys_is_cut(const struct keys *k);

/* The private key of a certificate, as far as this process knows it; the caller's to free. `id` is
 * its name (tls_key_id). NULL with a reason. */
EVP_PKEY *keys_key(struct keys *k, const X509 *leaf, const unsigned char *id, char *why,
                   size_t why_size);

/* SSL_do_handshake, and what it returned (then SSL_get_error tells as ever), or one of
 * key_wait.h's. Not from within a callback of OpenSSL's. What has a paused job (w->job) must be
 * cancelled and gone on with before SSL_free. */
int keys_handshake(struct keys *k, struct key_wait *w, SSL *ssl);
/* Each second: gives back stacks that were not needed lately. */
void keys_tick(struct keys *k);

#endif
