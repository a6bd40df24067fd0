/* Which networks may come in: many rules of which the most specific decides, made once into sorted
 * ranges so that an address is a binary search away from its answer. Built with the configuration;
 * asked by workers for each request of a route that has rules. */
#ifndef RPD_CORE_NETS_H
#define RPD_CORE_NETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/addr.h"
#include "common/base/arena.h"

struct net_rule {
    struct net net;
    bool is_allowed;
    const void *origin; /* the caller's, for telling of two that contradict each other */
};

/* From `start` on, up to the next. */
struct net_range4 {
    uint32_t start;
    bool is_allowed;
};
struct net_range6 {
    uint8_t start[16];
    bool is_allowed;
};

/* Of IPv4 addresses, mapped ones too, only rules of IPv4 networks decide. */
struct nets {
    const struct net_range4 *v4;
    const struct net_range6 *v6;
    size_t n4, n6;
    bool is_unix_allowed;
};

/* Sorts the rules, by address and the widest first. */
void net_rules_sort(struct net_rule *rules, size_t n);
/* Sorted rules: the first of them that says the contrary of the next about the same network, or
 * NULL. */
const struct net_rule *net_rules_contradiction(const struct net_rule *rules, size_t n);
/* From sorted rules; `otherwise` is for what none of them names. Memory is the arena's; aborts when
 * it ends. */
void nets_build(struct nets *out, const struct net_rule *rules, size_t n, bool otherwise,
                struct arena *arena);
bool nets_allow(const struct nets *nets, const struct ip *ip);

#endif
