/* What a worker and `rpd: keys` say to each other over their SOCK_SEQPACKET pair: which digest to
 * sign with which key, and the signature. A packet holds one request (reply) after the other, each
 * a head and its data, filled up with zeros to a multiple of 8:
 *
 *   +----+------+--------+--------+---+-----+------+---+    +----+--------+------+-----------+---+
 *   | id | size | scheme | digest | 0 | key | data | 0 |    | id | status | size | signature | 0 |
 *   +----+------+--------+--------+---+-----+------+---+    +----+--------+------+-----------+---+
 *     8    4      1        1       2    32                    8    4        4
 *
 * Both ends are one program on one machine: byte order and layout are its own. */
#ifndef RPD_TLS_KEYS_MESSAGE_H
#define RPD_TLS_KEYS_MESSAGE_H

#include <stddef.h>
#include <stdint.h>
#include "common/base/slice.h"

#define KEYS_ID_SIZE 32          /* TLS_KEY_ID_SIZE */
#define KEYS_DIGEST_MAX 64
#define KEYS_MESSAGE_MAX 16384   /* what Ed25519 signs: a message, not its digest */
#define KEYS_SIGNATURE_MAX 2048  /* RSA with 16384 bits, OpenSSL's most */
#define KEYS_REQUESTS_MAX 32768  /* bytes of a packet of requests */
#define KEYS_REPLIES_MAX 4096    /* bytes of a packet of replies */

enum keys_scheme { KEYS_RSA_PKCS1 = 1, KEYS_RSA_PSS, KEYS_ECDSA, KEYS_ED25519 };
enum keys_digest {
    KEYS_DIGEST_NONE, /* Ed25519 alone */
    KEYS_SHA1,
    KEYS_SHA224,
    KEYS_SHA256,
    KEYS_SHA384,
    KEYS_SHA512,
};
#define KEYS_DIGESTS (KEYS_SHA512 + 1)
enum keys_status {
    KEYS_OK,
    KEYS_UNKNOWN, /* the worker may not sign with this key */
    KEYS_FAILED,  /* the key is not for that scheme, or OpenSSL could not */
};

struct keys_request {
    uint64_t id;
    enum keys_scheme scheme;
    enum keys_digest digest;
    const unsigned char *key; /* KEYS_ID_SIZE bytes */
    struct slice data;        /* the digest, or Ed25519's message */
};

struct keys_reply {
    uint64_t id;
    enum keys_status status;
    struct slice signature;   /* empty unless KEYS_OK */
};

/* Bytes of a digest; 0 for KEYS_DIGEST_NONE. */
size_t keys_digest_size(enum keys_digest d);
/* OpenSSL's name of it; NULL for KEYS_DIGEST_NONE. */
const char *keys_digest_name(enum keys_digest d);

/* Writes one at the end of a packet of `n` bytes of `room`. How many bytes there are then; 0: there
 * is no room, or (data) more than a message may have. */
size_t keys_put_request(char *packet, size_t n, size_t room, const struct keys_request *r);
size_t keys_put_reply(char *packet, size_t n, size_t room, const struct keys_reply *r);
/* Takes the next one from the front of a packet, into which its slices lead. 1; 0 there is no more;
 * -1 the packet is malformed. */
int keys_take_request(struct slice *packet, struct keys_request *r);
int keys_take_reply(struct slice *packet, struct keys_reply *r);

#endif
