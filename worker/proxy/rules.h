/* Changes to heads on their way: the route's header rules, and what a proxy always adds. */
#ifndef RPD_PROXY_RULES_H
#define RPD_PROXY_RULES_H

#include "common/base/hash.h"
#include "common/core/conf.h"
#include "worker/proxy/vars.h"

/* false: memory exhausted. */
bool rules_apply(const struct conf_field_rules *rules, struct fields *f, const struct vars *v,
                 struct arena *arena) __attribute__((warn_unused_result));

/* Makes request ids, 32 digits: a number that never comes again in this process, scrambled, and
 * one that no other process has. */
struct request_ids {
    uint64_t next;
    char tail[16];
};
/* `worker` has to differ between processes, now and later; `seed` makes numbers hard to guess. */
void request_ids_init(struct request_ids *ids, uint64_t seed, uint64_t worker);

struct forwarded {
    struct ip client;        /* who the request is from, seen through trusted proxies */
    struct slice request_id;
    struct slice id_line;    /* the field that carries it, of an id made here; else p is NULL */
    struct slice scheme;     /* as the client used it */
    bool is_trusted;         /* the peer is in trusted_proxies */
};
/* Before routing: what X-Forwarded-* and X-Request-Id say, if `peer` is trusted; else the peer
 * itself and a new id. false: memory exhausted. */
bool forwarded_read(struct forwarded *fw, const struct head *h, const struct ip *peer,
                    const struct conf_nets *trusted, struct request_ids *ids,
                    struct arena *arena) __attribute__((warn_unused_result));
/* Before sending: X-Forwarded-For (appended, or replaced for the untrusted), -Proto, -Host,
 * X-Request-Id and Via (RFC 9110 7.6.3). */
bool forwarded_write(const struct forwarded *fw, struct head *h, const struct ip *peer,
                     struct arena *arena)
    __attribute__((warn_unused_result));
/* Via of a response. */
bool via_add(struct head *h) __attribute__((warn_unused_result));

#endif
