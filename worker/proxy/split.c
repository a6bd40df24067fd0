/* Called by steps.c, canary.c, l4.c and attempt.c. Keeps nothing but where the proxy's even
 * sequence is. */
#include "worker/proxy/split.h"

#include "worker/proxy/affinity.h"

/* 2^64 over the golden ratio: its multiples cover the line evenly, however many there are. */
#define GOLDEN 0x9e3779b97f4a7c15u

static uint64_t draw(struct proxy *p)
{
    return p->draws += GOLDEN;
}

/* Another line for each name, so that one client's points have nothing to do with each other. */
static uint64_t point_of(const void *p, size_t n, const char *name)
{
    uint64_t both[2] = { ring_hash(p, n), ring_hash(name, strlen(name)) };

    return ring_hash(both, sizeof both);
}

static uint64_t point_of_source(const struct ip *ip, const char *name)
{
    return point_of(ip->b, sizeof ip->b, name);
}

/* A new client gets a value, and by it its point. */
static uint64_t point_of_cookie(struct exchange *x, struct slice cookie, const char *name)
{
    const struct vars v = { .request = &x->stream.request };
    uint64_t mark = affinity_value(vars_cookie(&v, cookie));

    if (mark == 0) {
        uint64_t seed = draw(x->proxy);

        mark = ring_hash(&seed, sizeof seed) | 1;
        x->mark = mark;
    }
    return point_of(&mark, sizeof mark, name);
}

uint64_t split_point(struct exchange *x, const struct conf_sticky_value *sticky, const char *name)
{
    switch (sticky->how) {
    case CONF_STICKY_COOKIE: return point_of_cookie(x, sticky->cookie, name);
    case CONF_STICKY_SOURCE: return point_of_source(&x->forwarded.client, name);
    case CONF_STICKY_OFF: break;
    }
    return draw(x->proxy);
}

uint64_t split_session_point(struct proxy *p, const struct ip *peer, const char *name)
{
    return peer ? point_of_source(peer, name) : draw(p);
}

/* `point` of 2^64, as a part of the sum of the weights. */
static const struct conf_backend *share_at(const struct conf_split *split, uint64_t point)
{
    uint64_t at = (point >> 32) * split->v[split->n - 1].below >> 32;
    size_t low = 0, high = split->n - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (at < split->v[middle].below)
            high = middle;
        else
            low = middle + 1;
    }
    return split->v[low].backend;
}

enum step_result split_request(struct exchange *x)
{
    const struct conf_route *r = x->route;

    x->backend = share_at(&r->split, split_point(x, &r->split_sticky, r->name));
    return STEP_NEXT;
}

const struct conf_backend *split_session(struct proxy *p, const struct conf_route *route,
                                         const struct ip *peer)
{
    bool is_sticky = route->split_sticky.how == CONF_STICKY_SOURCE;

    return share_at(&route->split, split_session_point(p, is_sticky ? peer : NULL, route->name));
}

bool split_set_cookie(struct exchange *x, struct head *h)
{
    const struct conf_route *r = x->route;

    return affinity_put_cookie(x, h, r->canary ? r->canary->sticky.cookie : r->split_sticky.cookie,
                               x->mark);
}
