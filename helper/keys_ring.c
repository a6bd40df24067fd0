/* Keyrings in memory: keys_ring.h. Owns the loaded keys. Called by keys.c and keys_channel.c, under
 * the locks that they say. */
#include "helper/keys_ring.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "common/base/mem.h"

/* ---- rings ---- */

void rings_init(struct rings *all)
{
    list_init(&all->list);
}

static struct ring *ring_of(struct list *it)
{
    return CONTAINER(it, struct ring, link);
}

static EVP_PKEY *find_loaded(const struct rings *all, const unsigned char *id)
{
    LIST_EACH(it, &all->list) {
        EVP_PKEY *key = keyring_find(&ring_of(it)->keys, id);

        if (key)
            return key;
    }
    return NULL;
}

/* A reload that changed nothing about a key has brought it a second time. */
static void share(const struct rings *all, struct keyring *keys)
{
    for (size_t i = 0; i < keys->n; i++) {
        EVP_PKEY *same = find_loaded(all, keys->v[i].id);

        if (!same || EVP_PKEY_up_ref(same) != 1)
            continue;
        EVP_PKEY_free(keys->v[i].key);
        keys->v[i].key = same;
    }
}

struct ring *ring_get(struct rings *all, int fd)
{
    struct ring *r;
    struct stat st;

    if (fstat(fd, &st) != 0)
        return NULL;
    LIST_EACH(it, &all->list) {
        r = ring_of(it);
        if (r->dev == st.st_dev && r->ino == st.st_ino) {
            r->refs++;
            return r;
        }
    }
    r = xcalloc(1, sizeof *r);
    if (keyring_open(fd, &r->keys) != 0) {
        free(r);
        return NULL;
    }
    share(all, &r->keys);
    r->refs = 1;
    r->dev = st.st_dev;
    r->ino = st.st_ino;
    list_push(&all->list, &r->link);
    return r;
}

void ring_put(struct ring **rp)
{
    struct ring *r = *rp;

    *rp = NULL;
    if (!r || --r->refs > 0)
        return;
    list_remove(&r->link);
    keyring_fini(&r->keys);
    free(r);
}

/* ---- grants ---- */

static void drop(struct grants *g, unsigned i)
{
    ring_put(&g->v[i].ring);
    g->n--;
    memmove(&g->v[i], &g->v[i + 1], (g->n - i) * sizeof g->v[0]);
}

void grants_add(struct grants *g, struct ring *ring, uint64_t until_us)
{
    for (unsigned i = g->n; i-- > 0;)
        if (g->v[i].ring == ring)
            drop(g, i);
    if (g->n > 0 && g->v[0].until_us == UINT64_MAX)
        g->v[0].until_us = until_us;
    if (!ring)
        return;
    if (g->n == GRANTS_MAX)
        drop(g, GRANTS_MAX - 1);
    memmove(&g->v[1], &g->v[0], g->n * sizeof g->v[0]);
    g->v[0] = (struct grant){ ring, UINT64_MAX };
    g->n++;
}

bool grants_expire(struct grants *g, uint64_t now_us)
{
    unsigned before = g->n;

    for (unsigned i = g->n; i-- > 0;)
        if (g->v[i].until_us <= now_us)
            drop(g, i);
    return g->n < before;
}

uint64_t grants_next_us(const struct grants *g)
{
    uint64_t next_us = UINT64_MAX;

    for (unsigned i = 0; i < g->n; i++)
        if (g->v[i].until_us < next_us)
            next_us = g->v[i].until_us;
    return next_us;
}

EVP_PKEY *grants_find(const struct grants *g, const unsigned char *id)
{
    for (unsigned i = 0; i < g->n; i++) {
        EVP_PKEY *key = keyring_find(&g->v[i].ring->keys, id);

        if (key)
            return key;
    }
    return NULL;
}
