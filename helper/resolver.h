/* Names of the configuration, asked for again and again: each when its TTL has passed (1 s to 5
 * min), after a failure with back-off (1 s to 30 s), all with some jitter. Blocks nowhere. */
#ifndef RPD_HELPER_RESOLVER_H
#define RPD_HELPER_RESOLVER_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/hash.h"
#include "common/core/names.h"
#include "worker/io/loop.h"

struct lookups;
struct resolver;

/* A good answer that is another than the one in `names`; false: it could not be taken, and is asked
 * for again. */
typedef bool resolver_fn(struct resolver *r, const char *name,
                         const struct conf_addresses *found);

struct resolver {
    struct loop *loop;
    const struct names *names; /* the answers in force */
    resolver_fn *on_answer;
    struct lookups *lookups;   /* NULL: there are no names */
    struct watch watch;        /* of lookups */
    struct timer tick;         /* lookups' time-outs */
    struct task start;         /* begins what is due */
    struct smap map;           /* by name, struct asked */
    struct list all;           /* struct asked */
    struct list due;
    unsigned running;
    struct conf_nameservers servers;
    uint64_t drawn;            /* jitter so far */
};

/* `names` has to outlive it. */
void resolver_init(struct resolver *r, struct loop *loop, const struct names *names,
                   resolver_fn *on_answer);
void resolver_fini(struct resolver *r);
/* From now on asks for the names of `conf`, and its name servers; /etc/resolv.conf is read anew.
 * `conf` may go afterwards. */
void resolver_follow(struct resolver *r, const struct conf *conf);

#endif
