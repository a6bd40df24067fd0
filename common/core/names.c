/* The table of answers, and servers made of it. Owns its copies. */
#include "common/core/names.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- addresses ---- */

static int compare_addr(const struct addr *a, const struct addr *b)
{
    int order;

    if (a->sa.sa_family != b->sa.sa_family)
        return a->sa.sa_family == AF_INET ? -1 : 1;
    if (a->sa.sa_family == AF_INET)
        order = memcmp(&a->in4.sin_addr, &b->in4.sin_addr, sizeof a->in4.sin_addr);
    else
        order = memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr);
    if (order != 0)
        return order;
    /* The port is at one place in both. */
    return (int)ntohs(a->in4.sin_port) - (int)ntohs(b->in4.sin_port);
}

/* Of two records of one address that of the better priority comes first, then the heavier. */
static int compare(const void *left, const void *right)
{
    const struct conf_address *a = left, *b = right;
    int order = compare_addr(&a->addr, &b->addr);

    if (order != 0)
        return order;
    if (a->is_backup != b->is_backup)
        return a->is_backup ? 1 : -1;
    if (a->weight != b->weight)
        return a->weight > b->weight ? -1 : 1;
    return strcmp(a->host, b->host);
}

void names_sort(struct conf_addresses *addresses)
{
    size_t n = 0;

    if (addresses->n < 2)
        return;
    qsort(addresses->v, addresses->n, sizeof *addresses->v, compare);
    for (size_t i = 0; i < addresses->n; i++)
        if (n == 0 || compare_addr(&addresses->v[n - 1].addr, &addresses->v[i].addr) != 0)
            addresses->v[n++] = addresses->v[i];
    addresses->n = n;
}

static bool is_same(const struct conf_addresses *a, const struct conf_addresses *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (compare(&a->v[i], &b->v[i]) != 0)
            return false;
    return true;
}

/* Sorted, on the heap, with hosts of its own. */
static struct conf_addresses copy_of(const struct conf_addresses *from)
{
    struct conf_addresses to = { xcalloc(from->n + 1, sizeof *to.v), from->n };

    assert(from->n <= CONF_ADDRESSES_MAX);
    memcpy(to.v, from->v, from->n * sizeof *to.v);
    names_sort(&to);
    for (size_t i = 0; i < to.n; i++)
        to.v[i].host = xstrdup(to.v[i].host);
    return to;
}

static void addresses_fini(struct conf_addresses *a)
{
    for (size_t i = 0; i < a->n; i++)
        free((char *)(uintptr_t)a->v[i].host);
    free(a->v);
    *a = (struct conf_addresses){ NULL, 0 };
}

/* ---- the table ---- */

void names_init(struct names *n)
{
    *n = (struct names){ .serial = 0 };
    smap_init(&n->map, false);
    list_init(&n->order);
}

static void answer_free(struct names *n, struct name_answer *a)
{
    (void)smap_remove(&n->map, slice_str(a->name));
    list_remove(&a->link);
    addresses_fini(&a->addresses);
    free(a->name);
    free(a);
}

void names_fini(struct names *n)
{
    LIST_EACH(it, &n->order)
        answer_free(n, CONTAINER(it, struct name_answer, link));
    smap_fini(&n->map);
}

static struct name_answer *answer_of(struct names *n, struct slice name)
{
    struct name_answer *a = smap_get(&n->map, name);

    if (a)
        return a;
    a = xcalloc(1, sizeof *a);
    a->name = xstrndup(name.p, name.n);
    list_push(&n->order, &a->link);
    (void)smap_put(&n->map, slice_str(a->name), a);
    return a;
}

bool names_set(struct names *n, struct slice name, const struct conf_addresses *addresses)
{
    struct conf_addresses copy;
    struct name_answer *a;

    if (addresses->n == 0)
        return false;
    copy = copy_of(addresses);
    a = answer_of(n, name);
    if (is_same(&a->addresses, &copy)) {
        addresses_fini(&copy);
        return false;
    }
    addresses_fini(&a->addresses);
    a->addresses = copy;
    a->serial = ++n->serial;
    list_remove(&a->link);
    list_push(&n->order, &a->link);
    return true;
}

void names_restore(struct names *n, struct slice name, const struct names *kept)
{
    const struct conf_addresses *was = names_get(kept, name);
    struct name_answer *a = smap_get(&n->map, name);

    if (was)
        (void)names_set(n, name, was);
    else if (a)
        answer_free(n, a);
}

const struct conf_addresses *names_get(const struct names *n, struct slice name)
{
    const struct name_answer *a = smap_get(&n->map, name);

    return a ? &a->addresses : NULL;
}

static void learn(struct names *n, const struct conf_server *s)
{
    struct name_answer *a;

    if (!s->is_name || s->found.n == 0 || smap_get(&n->map, slice_str(s->text)))
        return;
    a = answer_of(n, slice_str(s->text));
    a->addresses = copy_of(&s->found);
    list_remove(&a->link);
    list_unshift(&n->order, &a->link);
}

void names_follow(struct names *n, const struct conf *conf)
{
    struct names_users users;

    names_users_init(&users, conf);
    LIST_EACH(it, &n->order) {
        struct name_answer *a = CONTAINER(it, struct name_answer, link);

        if (!names_users_of(&users, slice_str(a->name)))
            answer_free(n, a);
    }
    names_users_fini(&users);
    for (size_t i = 0; i < conf->nbackends; i++)
        for (size_t k = 0; k < conf->backends[i].server.n; k++)
            learn(n, &conf->backends[i].server.v[k]);
}

/* ---- backends ---- */

static const struct conf_addresses *addresses_of(const struct names *n,
                                                 const struct conf_server *s)
{
    const struct conf_addresses *a = n ? names_get(n, slice_str(s->text)) : NULL;

    return a ? a : &s->found;
}

static bool has_names(const struct conf_backend *b)
{
    for (size_t i = 0; i < b->server.n; i++)
        if (b->server.v[i].is_name)
            return true;
    return false;
}

/* The text of one that memory was found for. */
static const char *kept(struct slice s)
{
    assert(s.p);
    return s.p;
}

/* The server at one of the entry's addresses. */
static struct conf_server server_at(struct names_view *v, const struct conf_server *entry,
                                    const struct conf_address *a, bool is_alone)
{
    struct conf_server s = *entry;
    char text[ADDR_TEXT_MAX];

    s.addr = a->addr;
    s.is_backup |= a->is_backup;
    if (a->weight > 0)
        s.weight = a->weight;
    if (!is_alone)
        s.name = kept(arena_dup(&v->arena, slice_str(addr_format(&a->addr, text))));
    if (*a->host)
        s.text = kept(arena_printf(&v->arena, "%s:%u", a->host,
                                   (unsigned)ntohs(a->addr.in4.sin_port)));
    return s;
}

static void add(struct conf_servers *list, struct smap *seen, const struct conf_server *s)
{
    if (smap_get(seen, slice_str(s->name)))
        return; /* another entry has led there already */
    list->v[list->n] = *s;
    (void)smap_put(seen, slice_str(s->name), &list->v[list->n]);
    list->n++;
}

static size_t most_servers(const struct names *n, const struct conf_backend *b)
{
    size_t most = b->server.n;

    for (size_t i = 0; i < b->server.n; i++)
        if (b->server.v[i].is_name)
            most += addresses_of(n, &b->server.v[i])->n;
    return most;
}

const struct conf_backend *names_view(struct names_view *v, const struct names *n,
                                      const struct conf_backend *b)
{
    struct smap seen;

    arena_init(&v->arena, NULL);
    v->backend = *b;
    v->backend.server = (struct conf_servers){ NULL, 0 };
    if (!has_names(b))
        return b;
    v->backend.server.v = xcalloc(most_servers(n, b), sizeof(struct conf_server));
    smap_init(&seen, false);
    for (size_t i = 0; i < b->server.n; i++) {
        const struct conf_server *entry = &b->server.v[i];
        const struct conf_addresses *a = addresses_of(n, entry);

        if (!entry->is_name || a->n == 0)
            add(&v->backend.server, &seen, entry);
        for (size_t k = 0; entry->is_name && k < a->n; k++) {
            struct conf_server s = server_at(v, entry, &a->v[k], a->n == 1);

            add(&v->backend.server, &seen, &s);
        }
    }
    smap_fini(&seen);
    return &v->backend;
}

void names_view_fini(struct names_view *v)
{
    free(v->backend.server.v);
    v->backend.server = (struct conf_servers){ NULL, 0 };
    arena_reset(&v->arena);
}

/* ---- users ---- */

static void add_user(struct names_users *u, struct slice name, size_t backend)
{
    struct names_user *user = smap_get(&u->map, name);

    if (!user) {
        user = xcalloc(1, sizeof *user);
        (void)smap_put(&u->map, slice_of(kept(arena_dup(&u->arena, name)), name.n), user);
    }
    if (user->backends.n == 0 || user->backends.v[user->backends.n - 1] != backend)
        *VEC_PUSH(&user->backends) = backend;
}

void names_users_init(struct names_users *u, const struct conf *conf)
{
    smap_init(&u->map, false);
    arena_init(&u->arena, NULL);
    for (size_t i = 0; i < conf->nbackends; i++) {
        const struct conf_servers *list = &conf->backends[i].server;

        for (size_t k = 0; k < list->n; k++)
            if (list->v[k].is_name)
                add_user(u, slice_str(list->v[k].text), i);
    }
}

static void free_user(struct slice key, void *value, void *arg)
{
    struct names_user *user = value;

    (void)key;
    (void)arg;
    VEC_FREE(&user->backends);
    free(user);
}

void names_users_fini(struct names_users *u)
{
    smap_each(&u->map, free_user, NULL);
    smap_fini(&u->map);
    arena_reset(&u->arena);
}

const struct names_user *names_users_of(const struct names_users *u, struct slice name)
{
    return smap_get(&u->map, name);
}
