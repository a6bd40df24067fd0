/* 64-bit keyed hash (SipHash-1-3: keys come from peers, so the seed must be secret) and a map
 * from byte strings to pointers. */
#ifndef RPD_BASE_HASH_H
#define RPD_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/slice.h"

/* Seed of this process, from getrandom at first use; inherited over fork. */
uint64_t hash_bytes(const void *p, size_t n);
/* ASCII letters folded: for hosts and field names. */
uint64_t hash_bytes_fold(const void *p, size_t n);
/* As hash_bytes, with a key of the caller's: for tests against the published vectors, and for what
 * has to be the same in every process and yet spread evenly. */
uint64_t hash_bytes_keyed(const void *p, size_t n, uint64_t k0, uint64_t k1);
/* Unkeyed and the same in every process and version (for names in shared memory). FNV-1a. */
uint64_t hash_stable(const void *p, size_t n);

/* Open addressing, grows at 7/8; keys are not copied and must outlive the map. */
struct smap_slot;
struct smap {
    struct smap_slot *slots;
    size_t count, cap;
    bool fold; /* keys compare without ASCII case */
};

void smap_init(struct smap *m, bool fold);
void smap_fini(struct smap *m);
/* NULL when absent. */
void *smap_get(const struct smap *m, struct slice key);
/* Sets; returns the value it replaced, or NULL. `value` is not NULL. */
void *smap_put(struct smap *m, struct slice key, void *value);
/* Takes the key out; returns its value, or NULL when it was absent. */
void *smap_remove(struct smap *m, struct slice key);
/* Calls fn for each entry in no order. */
void smap_each(const struct smap *m, void (*fn)(struct slice key, void *value, void *arg),
               void *arg);

#endif
