/* Messages between workers and `rpd: keys`: keys_message.h. Pure. Called by worker/io/keys.c and
 * helper/keys_*.c; what a taker accepts is what a putter writes, and nothing else. */
#include "common/tls/keys_message.h"

#include <string.h>

#define FILL 8

struct request_head {
    uint64_t id;
    uint32_t size;
    uint8_t scheme;
    uint8_t digest;
    uint16_t zero;
    unsigned char key[KEYS_ID_SIZE];
};

struct reply_head {
    uint64_t id;
    uint32_t status;
    uint32_t size;
};

_Static_assert(sizeof(struct request_head) == 48, "no padding");
_Static_assert(sizeof(struct reply_head) == 16, "no padding");
_Static_assert(KEYS_REQUESTS_MAX >= KEYS_MESSAGE_MAX + sizeof(struct request_head), "one fits");
_Static_assert(KEYS_REPLIES_MAX >= KEYS_SIGNATURE_MAX + sizeof(struct reply_head), "one fits");

static const struct {
    size_t size;
    const char *name;
} digests[KEYS_DIGESTS] = {
    [KEYS_DIGEST_NONE] = { 0, NULL },
    [KEYS_SHA1] = { 20, "SHA1" },
    [KEYS_SHA224] = { 28, "SHA2-224" },
    [KEYS_SHA256] = { 32, "SHA2-256" },
    [KEYS_SHA384] = { 48, "SHA2-384" },
    [KEYS_SHA512] = { KEYS_DIGEST_MAX, "SHA2-512" },
};

size_t keys_digest_size(enum keys_digest d)
{
    return digests[d].size;
}

const char *keys_digest_name(enum keys_digest d)
{
    return digests[d].name;
}

/* ---- writing ---- */

static size_t filled(size_t n)
{
    return (n + FILL - 1) / FILL * FILL;
}

/* 0: no room. */
static size_t put(char *packet, size_t n, size_t room, const void *head, size_t head_size,
                  struct slice data)
{
    size_t end = n + head_size + filled(data.n);

    if (end > room)
        return 0;
    memcpy(packet + n, head, head_size);
    n += head_size;
    if (data.n > 0)
        memcpy(packet + n, data.p, data.n);
    memset(packet + n + data.n, 0, end - n - data.n);
    return end;
}

size_t keys_put_request(char *packet, size_t n, size_t room, const struct keys_request *r)
{
    struct request_head head = {
        .id = r->id,
        .size = (uint32_t)r->data.n,
        .scheme = (uint8_t)r->scheme,
        .digest = (uint8_t)r->digest,
    };

    if (r->data.n > KEYS_MESSAGE_MAX)
        return 0;
    memcpy(head.key, r->key, sizeof head.key);
    return put(packet, n, room, &head, sizeof head, r->data);
}

size_t keys_put_reply(char *packet, size_t n, size_t room, const struct keys_reply *r)
{
    struct reply_head head = {
        .id = r->id,
        .status = (uint32_t)r->status,
        .size = (uint32_t)r->signature.n,
    };

    if (r->signature.n > KEYS_SIGNATURE_MAX)
        return 0;
    return put(packet, n, room, &head, sizeof head, r->signature);
}

/* ---- reading ---- */

static void skip(struct slice *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

/* `size` bytes and their filling. */
static bool take_data(struct slice *packet, size_t size, struct slice *data)
{
    if (packet->n < filled(size))
        return false;
    *data = slice_of(packet->p, size);
    for (size_t i = size; i < filled(size); i++)
        if (packet->p[i] != 0)
            return false;
    skip(packet, filled(size));
    return true;
}

static bool is_sensible(const struct request_head *h)
{
    switch (h->scheme) {
    case KEYS_RSA_PKCS1:
    case KEYS_RSA_PSS:
    case KEYS_ECDSA:
        return h->zero == 0 && h->digest > KEYS_DIGEST_NONE && h->digest < KEYS_DIGESTS
               && h->size == keys_digest_size((enum keys_digest)h->digest);
    case KEYS_ED25519:
        return h->zero == 0 && h->digest == KEYS_DIGEST_NONE && h->size <= KEYS_MESSAGE_MAX;
    default: /* a stranger's byte */
        return false;
    }
}

int keys_take_request(struct slice *packet, struct keys_request *r)
{
    struct request_head head;

    if (packet->n == 0)
        return 0;
    if (packet->n < sizeof head)
        return -1;
    memcpy(&head, packet->p, sizeof head);
    r->key = (const unsigned char *)packet->p + offsetof(struct request_head, key);
    skip(packet, sizeof head);
    if (!is_sensible(&head) || !take_data(packet, head.size, &r->data))
        return -1;
    r->id = head.id;
    r->scheme = (enum keys_scheme)head.scheme;
    r->digest = (enum keys_digest)head.digest;
    return 1;
}

int keys_take_reply(struct slice *packet, struct keys_reply *r)
{
    struct reply_head head;

    if (packet->n == 0)
        return 0;
    if (packet->n < sizeof head)
        return -1;
    memcpy(&head, packet->p, sizeof head);
    skip(packet, sizeof head);
    if (head.status > KEYS_FAILED || head.size > KEYS_SIGNATURE_MAX
        || (head.status == KEYS_OK) != (head.size > 0)
        || !take_data(packet, head.size, &r->signature))
        return -1;
    r->id = head.id;
    r->status = (enum keys_status)head.status;
    return 1;
}
