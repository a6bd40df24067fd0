/* Limits of requests and sessions: each of the route's must let one through, and one that is
 * refused gives back what it took of the others. What is held, of max_conns, is held until the
 * request or session ends. What keys have had is in memory that all workers share
 * (core/limit_table.h). */
#ifndef RPD_PROXY_LIMIT_H
#define RPD_PROXY_LIMIT_H

#include "common/core/limits.h"
#include "worker/proxy/exchange.h"
#include "worker/proxy/steps.h"

/* A limit of a generation, as this worker sees it. */
struct limit {
    const struct conf_limit *conf;
    struct limit_table table;
    struct limit_rule rule;
    struct stats_limit *stats;
    struct stats_limit_shared *shared;
};

/* What a request or session took; as many as its route has limits. */
struct limit_uses {
    unsigned n;
    struct limit_use {
        const struct limit *limit;
        struct limit_taken taken;
    } v[];
};

/* By conf_limit.index, malloc'd; NULL: reported. */
struct limit *limits_of_generation(struct limits *limits, const struct conf *conf,
                                   struct segment *segment, unsigned slot,
                                   struct report *report);
/* Once a second: how many keys there are. */
void limits_tick(const struct generation *g);

/* The steps. */
enum step_result limit_request(struct exchange *x);
enum step_result limit_request_after(struct exchange *x);
/* The exchange ends. */
void limit_request_over(struct exchange *x);
/* What is left, into the head of an answer, where a limit wants it said; false: memory
 * exhausted. */
bool limit_say_left(struct exchange *x, struct head *h) __attribute__((warn_unused_result));
__attribute__((warn_unused_result))
static inline bool limit_answer(struct exchange *x, struct head *h)
{
    return !x->limits || limit_say_left(x, h);
}

/* A session of a route that has limits begins: END_OK and *uses, malloc'd; or why it may not. */
enum end_reason limit_session(const struct generation *g, const struct conf_route *route,
                              const struct vars *v, uint64_t now_us, struct limit_uses **uses);
void limit_session_over(struct limit_uses **uses);

#endif
