/* What the two halves of common/jwt share: keys by algorithm. */
#ifndef RPD_JWT_JWT_IMPL_H
#define RPD_JWT_JWT_IMPL_H

#include <openssl/evp.h>
#include "common/jwt/jwt.h"

/* Algorithms, by the key they need. */
enum jwt_algorithm {
    JWT_RS256, JWT_RS384, JWT_RS512, JWT_PS256, JWT_ES256, JWT_ES384, JWT_EDDSA,
    JWT_ALGORITHMS,
};

struct jwt_key {
    EVP_PKEY *key;
    char *kid;           /* NULL: it has none */
    uint32_t algorithms; /* a bit for each that it verifies */
};

struct jwt_keys {
    struct jwt_key *v;
    size_t n, cap;
    EVP_MD_CTX *context; /* for one verification after another */
};

/* By its name in `alg`; JWT_ALGORITHMS: none that is known. */
enum jwt_algorithm jwt_algorithm_of(struct slice name);
/* Whether the signature is the key's over the text. */
bool jwt_signature_is_good(struct jwt_keys *keys, const struct jwt_key *key,
                           enum jwt_algorithm algorithm, struct slice text,
                           const unsigned char *signature, size_t n);

#endif
