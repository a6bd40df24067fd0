/* Private keys of one configuration, in a sealed memfd: written by a short-lived process that reads
 * the files, loaded by `rpd: keys` (or, with key_process = off, by workers). The master has only
 * the descriptor: it never maps or reads it. */
#ifndef RPD_TLS_KEYRING_H
#define RPD_TLS_KEYRING_H

#include <stddef.h>
#include <openssl/evp.h>
#include "common/base/slice.h"
#include "common/tls/chain.h"

struct keyring_key {
    unsigned char id[TLS_KEY_ID_SIZE]; /* of the certificate (tls_key_id) */
    EVP_PKEY *key;
};

struct keyring {
    struct keyring_key *v; /* by id */
    size_t n;
};

/* A sealed memfd (close-on-exec) with these keys, the caller's; -1 with errno. Two of one id are
 * kept once. */
int keyring_write(const struct keyring_key *keys, size_t n);
/* Loads all keys. The fd stays the caller's and is not needed afterwards. -1 with errno: EINVAL
 * when it is malformed or not sealed; then there is nothing to free. Pages that are mapped
 * meanwhile are locked where that is allowed, and in no core dump. */
int keyring_open(int fd, struct keyring *ring);
/* Frees the keys, which OpenSSL wipes. */
void keyring_fini(struct keyring *ring);
/* NULL: it is not there. The key is the ring's. */
EVP_PKEY *keyring_find(const struct keyring *ring, const unsigned char id[TLS_KEY_ID_SIZE]);

/* A private key in PEM; NULL with a reason: there is none, it is encrypted, or malformed. */
EVP_PKEY *tls_key_parse(struct slice pem, char *why, size_t why_size);

#endif
