/* Private keys that `rpd: keys` has loaded, and who may use them. */
#ifndef RPD_HELPER_KEYS_RING_H
#define RPD_HELPER_KEYS_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "common/base/list.h"
#include "common/tls/keyring.h"

/* A keyring; its number of references is for who holds the process's lock. A key that several
 * have is in memory once. */
struct ring {
    struct list link; /* of struct rings */
    unsigned refs;
    dev_t dev;        /* of its file, by which it is known again */
    ino_t ino;
    struct keyring keys;
};

struct rings {
    struct list list;
};

void rings_init(struct rings *all);
/* The ring that this descriptor (which stays the caller's) is of, loaded if it is not yet; one
 * reference. NULL with errno. */
struct ring *ring_get(struct rings *all, int fd);
void ring_put(struct ring **r);

#define GRANTS_MAX 16

/* What one channel may use: the ring of its worker's generation, and for a while those of before,
 * for handshakes that began with them. */
struct grants {
    struct grant {
        struct ring *ring;
        uint64_t until_us; /* UINT64_MAX: as long as there is no other */
    } v[GRANTS_MAX];       /* the one in force first */
    unsigned n;
};

/* Takes the reference over; NULL: none from now on. Those of before stay until `until_us`, if there
 * is room. */
void grants_add(struct grants *g, struct ring *ring, uint64_t until_us);
/* Drops those whose time is over; UINT64_MAX: all. Whether there were any. */
bool grants_expire(struct grants *g, uint64_t now_us);
/* When the next one's time will be over; UINT64_MAX: there is none. */
uint64_t grants_next_us(const struct grants *g);
/* NULL: it may not use that key. */
EVP_PKEY *grants_find(const struct grants *g, const unsigned char *id);

#endif
