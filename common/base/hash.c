/* Hashes of byte strings and the map from them. Owns the process's hash seed, and a map its
 * slots, never keys or values. Called by routing, pools and statistics' names; never hands out
 * the seed. SipHash after Aumasson and Bernstein (2012), with 1 and 3 rounds. */
#include "common/base/hash.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "common/base/mem.h"

/* The secret of this process and of those it forks. */
static struct {
    uint64_t k0, k1;
    bool is_set;
} seed;

struct sip {
    uint64_t v0, v1, v2, v3;
};

static void seed_set(void)
{
    uint64_t key[2];
    ssize_t n;

    do
        n = getrandom(key, sizeof key, 0);
    while (n < 0 && errno == EINTR);
    assert(n == (ssize_t)sizeof key);
    seed.k0 = key[0];
    seed.k1 = key[1];
    seed.is_set = true;
}

static inline uint64_t rotl(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

/* n < 8 bytes, the first lowest. */
static inline uint64_t load_tail(const unsigned char *p, size_t n)
{
    uint64_t w = 0;

    if (n > 0)
        memcpy(&w, p, n);
    return le64toh(w);
}

/* `fold` is a constant where this is inlined. */
static inline uint64_t sip(const void *bytes, size_t n, uint64_t k0, uint64_t k1, bool fold)
{
    struct sip s = {
        k0 ^ 0x736f6d6570736575ULL,
        k1 ^ 0x646f72616e646f6dULL,
        k0 ^ 0x6c7967656e657261ULL,
        k1 ^ 0x7465646279746573ULL,
    };
    const unsigned char *p = bytes;
    uint64_t word;
    size_t left = n;

    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        word = le64toh(word);
        sip_word(&s, fold ? ascii_lower8(word) : word);
    }
    word = load_tail(p, left);
    sip_word(&s, (fold ? ascii_lower8(word) : word) | (uint64_t)n << 56);
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t hash_bytes_keyed(const void *p, size_t n, uint64_t k0, uint64_t k1)
{
    return sip(p, n, k0, k1, false);
}

uint64_t hash_bytes(const void *p, size_t n)
{
    if (!seed.is_set)
        seed_set();
    return sip(p, n, seed.k0, seed.k1, false);
}

uint64_t hash_bytes_fold(const void *p, size_t n)
{
    if (!seed.is_set)
        seed_set();
    return sip(p, n, seed.k0, seed.k1, true);
}

uint64_t hash_stable(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t h = 0xcbf29ce484222325ULL;

    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3ULL;
    return h;
}

struct smap_slot {
    uint64_t hash;
    struct slice key;
    void *value; /* NULL = empty */
};

void smap_init(struct smap *m, bool fold)
{
    *m = (struct smap){ .fold = fold };
}

void smap_fini(struct smap *m)
{
    free(m->slots);
    smap_init(m, m->fold);
}

static uint64_t hash_key(const struct smap *m, struct slice key)
{
    return m->fold ? hash_bytes_fold(key.p, key.n) : hash_bytes(key.p, key.n);
}

/* The slot of the key, or the empty one where it would go. At least one slot is empty. */
static struct smap_slot *find_slot(const struct smap *m, struct slice key, uint64_t hash)
{
    size_t mask = m->cap - 1;

    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct smap_slot *slot = &m->slots[i];

        if (!slot->value)
            return slot;
        if (slot->hash == hash &&
            (m->fold ? slice_ieq(slot->key, key) : slice_eq(slot->key, key)))
            return slot;
    }
}

static void grow(struct smap *m)
{
    struct smap old = *m;

    m->cap = old.cap ? old.cap * 2 : 8;
    m->slots = xcalloc(m->cap, sizeof *m->slots);
    for (size_t i = 0; i < old.cap; i++)
        if (old.slots[i].value)
            *find_slot(m, old.slots[i].key, old.slots[i].hash) = old.slots[i];
    free(old.slots);
}

void *smap_get(const struct smap *m, struct slice key)
{
    return m->count ? find_slot(m, key, hash_key(m, key))->value : NULL;
}

void *smap_put(struct smap *m, struct slice key, void *value)
{
    uint64_t hash = hash_key(m, key);
    struct smap_slot *slot;
    void *old;

    assert(value);
    if (m->count + 1 > m->cap - m->cap / 8)
        grow(m);
    slot = find_slot(m, key, hash);
    old = slot->value;
    *slot = (struct smap_slot){ hash, key, value };
    m->count += old == NULL;
    return old;
}

/* What stands behind the hole moves up when its home is not between the hole and itself. */
void *smap_remove(struct smap *m, struct slice key)
{
    size_t mask = m->cap - 1, hole;
    struct smap_slot *slot;
    void *old;

    if (m->count == 0)
        return NULL;
    slot = find_slot(m, key, hash_key(m, key));
    old = slot->value;
    if (!old)
        return NULL;
    hole = (size_t)(slot - m->slots);
    for (size_t i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
        size_t home = m->slots[i].hash & mask;

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole].value = NULL;
    m->count--;
    return old;
}

void smap_each(const struct smap *m, void (*fn)(struct slice key, void *value, void *arg),
               void *arg)
{
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].value)
            fn(m->slots[i].key, m->slots[i].value, arg);
}
