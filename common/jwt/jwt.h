/* JSON Web Tokens: signed claims (RFC 7519 over RFC 7515), read and verified as RFC 8725 advises:
 * the key says which algorithms there are, not the token. RS256, RS384, RS512, PS256, ES256, ES384
 * and EdDSA (Ed25519); nothing with a shared secret, and nothing without a signature. Pure but for
 * OpenSSL. Keys are public ones: nothing here is a secret. */
#ifndef RPD_JWT_JWT_H
#define RPD_JWT_JWT_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/arena.h"
#include "common/base/json_read.h"

#define JWT_MAX 16384    /* bytes of a token */
#define JWT_CLAIMS_MAX 64 /* members of its claims, and of its header */
#define JWT_WHY_MAX 160

/* Keys of one or more files. On the heap; the same memory may be used by one thread only. */
struct jwt_keys;
struct jwt_keys *jwt_keys_new(void);
void jwt_keys_free(struct jwt_keys **keys);
/* Adds those of a file: PEM (public keys, certificates), or a JWK set or key (RFC 7517), of which
 * those that are not for signatures, or of a kind that is not known here, are left out. false with
 * a reason: it cannot be read, has no key, or one that is too weak (RSA below 2048 bits). */
bool jwt_keys_add(struct jwt_keys *keys, struct slice file, char why[JWT_WHY_MAX])
    __attribute__((warn_unused_result));
size_t jwt_keys_count(const struct jwt_keys *keys);

/* What is asked of a token beside its signature. */
struct jwt_policy {
    struct slice issuer;           /* n == 0: any */
    const struct slice *audiences; /* one of them has to be among its; 0 of them: any */
    size_t naudiences;
    uint32_t leeway_s;             /* by which clocks may differ */
};

enum jwt_verdict {
    JWT_GOOD,
    JWT_MALFORMED,     /* no token at all */
    JWT_UNSUPPORTED,   /* an algorithm, or a critical extension, that is not known here */
    JWT_NO_KEY,        /* that it names, or of that algorithm */
    JWT_BAD_SIGNATURE,
    JWT_EXPIRED,
    JWT_TOO_EARLY,     /* nbf or iat is ahead */
    JWT_ISSUER,
    JWT_AUDIENCE,
    JWT_EXHAUSTED,     /* memory */
};
/* For error_description and logs. */
const char *jwt_verdict_text(enum jwt_verdict v);

struct jwt {
    struct slice claims; /* the JSON object's text, in the arena */
    uint64_t expires_s;  /* exp; UINT64_MAX: never */
};
/* Everything: its form, signature and claims at `now_s`. Memory is the arena's. */
enum jwt_verdict jwt_verify(struct jwt_keys *keys, struct slice token,
                            const struct jwt_policy *policy, uint64_t now_s, struct arena *arena,
                            struct jwt *out);

/* Claims as values for fields and logs: a string without its quotes and escapes, a number or a
 * boolean as it stands, an array of those with commas. Left out: other kinds, and what has bytes
 * that no field value may have. */
struct jwt_claims {
    struct jwt_claim {
        struct slice name, value;
    } *v;
    size_t n;
};
/* Of a good token; memory is the arena's. false: exhausted. */
bool jwt_claims_of(struct jwt_claims *out, const struct jwt *jwt, struct arena *arena)
    __attribute__((warn_unused_result));
/* n == 0: none. Underscores of the name stand for dashes as well. */
struct slice jwt_claim(const struct jwt_claims *claims, struct slice name);

#endif
