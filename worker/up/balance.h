/* The order of servers by whose turn it is: smooth weighted round robin or least connections, each
 * a heap of keys, so that a pick costs O(log n) with any number of servers.
 *
 * round robin: a key is the virtual time of the server's next turn; taking it adds 1/weight (the
 * earliest deadline first, which spreads a heavy server's turns evenly). least_conn: a key is
 * (active + 1) / weight, ties go to whoever waited longest. */
#ifndef RPD_UP_BALANCE_H
#define RPD_UP_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A weight of 1 in nodes' units: parts of it are for servers that start slowly. */
#define BALANCE_ONE 256

/* Embedded in a server. */
struct balance_node {
    uint64_t key;
    uint64_t turn;     /* order of arrival, breaks ties */
    uint32_t weight;   /* 1..65535 * BALANCE_ONE */
    uint32_t active;   /* of all workers, as far as known */
    uint32_t pos;      /* in the heap + 1; 0: not in it */
};

struct balance {
    struct balance_node **heap;
    size_t n, cap;
    uint64_t now;      /* round robin: virtual time */
    uint64_t turns;
    bool is_least_conn;
};

void balance_init(struct balance *b, bool is_least_conn);
void balance_fini(struct balance *b);
/* Room for n nodes, so that adding cannot fail later; aborts without memory (generation build). */
void balance_reserve(struct balance *b, size_t n);
void balance_add(struct balance *b, struct balance_node *node);
void balance_remove(struct balance *b, struct balance_node *node);
static inline bool balance_has(const struct balance_node *node)
{
    return node->pos != 0;
}
/* The best, still in the heap and not charged; NULL when empty. */
struct balance_node *balance_peek(const struct balance *b);
/* The node was chosen: its turn is used up, active rises. It need not be in the heap. */
void balance_take(struct balance *b, struct balance_node *node);
/* Another weight, not 0: at once, for the turn that is due as well. It need not be in the heap. */
void balance_weigh(struct balance *b, struct balance_node *node, uint32_t weight);
/* What was taken has ended: active falls. */
void balance_release(struct balance *b, struct balance_node *node);
/* least_conn: active as others have made it. It need not be in the heap. */
void balance_count(struct balance *b, struct balance_node *node, uint32_t active);

#endif
