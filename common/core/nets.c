/* Rules about networks into ranges. Prefixes nest or are disjoint, so a sweep with a stack of those
 * that are open gives each stretch of addresses the answer of the narrowest. */
#include "common/core/nets.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/mem.h"

#define DEPTH_MAX 130 /* prefixes one within the other, and what holds outside them all */

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

/* ---- rules ---- */

static int compare_rules(const void *a, const void *b)
{
    const struct net_rule *x = a, *y = b;
    int order = (x->net.family > y->net.family) - (x->net.family < y->net.family);

    if (order == 0)
        order = memcmp(x->net.b, y->net.b, sizeof x->net.b);
    if (order == 0)
        order = (int)x->net.bits - (int)y->net.bits;
    return order ? order : (int)x->is_allowed - (int)y->is_allowed;
}

void net_rules_sort(struct net_rule *rules, size_t n)
{
    if (n > 0)
        qsort(rules, n, sizeof *rules, compare_rules);
}

static bool is_same_net(const struct net *a, const struct net *b)
{
    return a->family == b->family && a->bits == b->bits && memcmp(a->b, b->b, sizeof a->b) == 0;
}

const struct net_rule *net_rules_contradiction(const struct net_rule *rules, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++)
        if (is_same_net(&rules[i].net, &rules[i + 1].net) &&
            rules[i].is_allowed != rules[i + 1].is_allowed)
            return &rules[i];
    return NULL;
}

/* ---- ranges ---- */

/* The sweep over the rules of one family. */
struct sweep {
    struct net_range6 *out;
    size_t n;
    struct {
        uint8_t after[16]; /* the first address behind it */
        bool has_after;    /* else it goes to the end of all addresses */
        bool is_allowed;
    } open[DEPTH_MAX];
    size_t depth;
};

/* A range that says what the one before it says is that one's; of an empty one the next is left. */
static void put(struct sweep *s, const uint8_t start[16], bool is_allowed)
{
    if (s->n > 0 && memcmp(s->out[s->n - 1].start, start, 16) == 0)
        s->n--;
    if (s->n > 0 && s->out[s->n - 1].is_allowed == is_allowed)
        return;
    memcpy(s->out[s->n].start, start, 16);
    s->out[s->n++].is_allowed = is_allowed;
}

/* Closes what ends at or before `at`; NULL: everything. */
static void close_open(struct sweep *s, const uint8_t *at)
{
    while (s->depth > 1) {
        size_t top = s->depth - 1;

        if (at && (!s->open[top].has_after || memcmp(s->open[top].after, at, 16) > 0))
            return;
        s->depth--;
        if (s->open[top].has_after)
            put(s, s->open[top].after, s->open[top - 1].is_allowed);
    }
}

/* false: there is no address behind the network. */
static bool address_after(const struct net *net, uint8_t after[16])
{
    unsigned bits = net->bits;

    if (bits == 0)
        return false;
    memcpy(after, net->b, 16);
    for (unsigned i = (bits - 1) / 8 + 1, carry = 1u << (7 - (bits - 1) % 8); i-- > 0;) {
        unsigned sum = after[i] + carry;

        after[i] = (uint8_t)sum;
        carry = sum >> 8;
        if (carry == 0)
            return true;
    }
    return false;
}

static size_t sweep(struct net_range6 *out, const struct net_rule *rules, size_t n,
                    bool otherwise)
{
    static const uint8_t zero[16];
    struct sweep s = { .out = out, .depth = 1 };

    s.open[0].is_allowed = otherwise;
    put(&s, zero, otherwise);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && is_same_net(&rules[i - 1].net, &rules[i].net))
            continue;
        close_open(&s, rules[i].net.b);
        assert(s.depth < DEPTH_MAX);
        s.open[s.depth].has_after = address_after(&rules[i].net, s.open[s.depth].after);
        s.open[s.depth++].is_allowed = rules[i].is_allowed;
        put(&s, rules[i].net.b, rules[i].is_allowed);
    }
    close_open(&s, NULL);
    return s.n;
}

static uint32_t low32(const uint8_t b[16])
{
    return (uint32_t)b[12] << 24 | (uint32_t)b[13] << 16 | (uint32_t)b[14] << 8 | b[15];
}

/* Without the mapping: what lies before 0.0.0.0 and behind 255.255.255.255 nobody asks for. */
static void build4(struct nets *out, const struct net_range6 *ranges, size_t n,
                   struct arena *arena)
{
    struct net_range4 *v = arena_xalloc(arena, n * sizeof *v);

    for (size_t i = 0; i < n; i++) {
        int side = memcmp(ranges[i].start, mapped, sizeof mapped);

        if (side > 0)
            break;
        if (side < 0 || low32(ranges[i].start) == 0)
            out->n4 = 0;
        v[out->n4++] = (struct net_range4){ side < 0 ? 0 : low32(ranges[i].start),
                                            ranges[i].is_allowed };
    }
    out->v4 = v;
}

static size_t count_of(const struct net_rule *rules, size_t n, uint8_t family)
{
    size_t i = 0;

    while (i < n && rules[i].net.family == family)
        i++;
    return i;
}

void nets_build(struct nets *out, const struct net_rule *rules, size_t n, bool otherwise,
                struct arena *arena)
{
    _Static_assert(AF_UNIX < AF_INET && AF_INET < AF_INET6, "the order of sorted rules");
    size_t nunix = count_of(rules, n, AF_UNIX), n4, n6;
    struct net_range6 *work;

    *out = (struct nets){ .is_unix_allowed = nunix > 0 ? rules[0].is_allowed : otherwise };
    rules += nunix;
    n -= nunix;
    n4 = count_of(rules, n, AF_INET);
    n6 = n - n4;
    work = xmalloc((2 * n + 1) * sizeof *work);
    build4(out, work, sweep(work, rules, n4, otherwise), arena);
    out->n6 = sweep(work, rules + n4, n6, otherwise);
    out->v6 = memcpy(arena_xalloc(arena, out->n6 * sizeof *work), work, out->n6 * sizeof *work);
    free(work);
}

/* ---- asking ---- */

static bool allow4(const struct nets *nets, uint32_t ip)
{
    size_t from = 0, to = nets->n4;

    while (to - from > 1) {
        size_t middle = from + (to - from) / 2;

        if (nets->v4[middle].start <= ip)
            from = middle;
        else
            to = middle;
    }
    return nets->v4[from].is_allowed;
}

static bool allow6(const struct nets *nets, const uint8_t ip[16])
{
    size_t from = 0, to = nets->n6;

    while (to - from > 1) {
        size_t middle = from + (to - from) / 2;

        if (memcmp(nets->v6[middle].start, ip, 16) <= 0)
            from = middle;
        else
            to = middle;
    }
    return nets->v6[from].is_allowed;
}

bool nets_allow(const struct nets *nets, const struct ip *ip)
{
    if (ip->family == AF_UNIX)
        return nets->is_unix_allowed;
    if (memcmp(ip->b, mapped, sizeof mapped) == 0)
        return allow4(nets, low32(ip->b));
    return allow6(nets, ip->b);
}
