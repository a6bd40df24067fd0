/* Signing, in `rpd: keys`. */
#ifndef RPD_HELPER_KEYS_SIGN_H
#define RPD_HELPER_KEYS_SIGN_H

#include <stdbool.h>
#include <openssl/evp.h>
#include "common/tls/keys_message.h"

#define SIGNER_CONTEXTS 8

/* One channel's: OpenSSL's contexts, whose making costs a fifth of an ECDSA signature. Each holds a
 * reference to its key. Zeroed to begin with. */
struct signer {
    struct signer_context {
        EVP_PKEY *key; /* NULL: empty */
        enum keys_scheme scheme;
        enum keys_digest digest;
        EVP_PKEY_CTX *ctx;
    } v[SIGNER_CONTEXTS];
    unsigned next; /* to give way */
};

/* Whether the worker's other questions should not have to wait for it. */
static inline bool signing_is_slow(enum keys_scheme scheme)
{
    return scheme == KEYS_RSA_PKCS1 || scheme == KEYS_RSA_PSS;
}

/* The signature, of *n bytes, in out[KEYS_SIGNATURE_MAX]. false: the key is of another kind, or
 * OpenSSL could not. */
bool signer_sign(struct signer *s, EVP_PKEY *key, const struct keys_request *r, unsigned char *out,
                 size_t *n);
/* Lets all keys go. */
void signer_forget(struct signer *s);

#endif
