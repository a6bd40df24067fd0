/* Names that servers are given by: the latest answer of each, and the servers that a backend has
 * by them. Master, workers and the helper each have a table of their own; who asks name servers
 * (helper/resolver.h) tells the master, and that all the others, with a memfd:
 *
 *   helper --names_seal_one--> master --names_seal--> workers, helper
 *
 * An entry with one address is one server of the entry's name; one with several is as many, each
 * named for its address; one with none is a server without address, which is down. */
#ifndef RPD_CORE_NAMES_H
#define RPD_CORE_NAMES_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/arena.h"
#include "common/base/hash.h"
#include "common/base/list.h"
#include "common/core/conf.h"

struct name_answer {
    struct list link; /* in names->order */
    char *name;
    uint64_t serial;  /* of the change that brought it; 0: it came with a configuration */
    struct conf_addresses addresses; /* sorted, none twice, at least one */
};

struct names {
    struct smap map;   /* -> struct name_answer */
    struct list order; /* the last changed last */
    uint64_t serial;   /* changes so far */
};

void names_init(struct names *n);
void names_fini(struct names *n);

/* Takes a copy; false: that is what it was before (order and duplicates do not matter), or it is
 * empty, and nothing is changed. */
bool names_set(struct names *n, struct slice name, const struct conf_addresses *addresses);
/* Makes the name's answer what it is in `kept`: none, where it is not there. */
void names_restore(struct names *n, struct slice name, const struct names *kept);
/* NULL: there was no answer yet. Valid until the name is set again. */
const struct conf_addresses *names_get(const struct names *n, struct slice name);
/* Forgets names that `conf` does not have; of those without answer takes what it came with. */
void names_follow(struct names *n, const struct conf *conf);
/* Sorts by address, IPv4 first, and takes out what is there twice. */
void names_sort(struct conf_addresses *addresses);

/* ---- handing on ---- */

/* Sealed memfds (close-on-exec), the caller's: one answer; all from the change `serial` on (0: all
 * that there are). -1 with errno. */
int names_seal_one(struct slice name, const struct conf_addresses *addresses);
int names_seal(const struct names *n, uint64_t serial);
/* Adds what is in one to *n; the fd stays the caller's. -1 with errno, EINVAL when it is malformed
 * or not sealed: *n may have some of it then. */
int names_open(int fd, struct names *n);

/* ---- what they make of backends ---- */

struct names_view {
    struct conf_backend backend;
    struct arena arena;
};

/* `b` with its servers as they are at the moment, by the answers of `n` (NULL: as they were when
 * the configuration was read): `b` itself where it has no names. Valid as long as `b` and the view;
 * names_view_fini is due in any case. */
const struct conf_backend *names_view(struct names_view *v, const struct names *n,
                                      const struct conf_backend *b);
void names_view_fini(struct names_view *v);

/* Which backends of a configuration have a name. */
struct names_users {
    struct smap map; /* -> struct names_user */
    struct arena arena;
};

/* Indexes of backends; each once. */
struct names_user {
    VEC(size_t) backends;
};

void names_users_init(struct names_users *u, const struct conf *conf);
void names_users_fini(struct names_users *u);
/* NULL: none has it. */
const struct names_user *names_users_of(const struct names_users *u, struct slice name);

#endif
