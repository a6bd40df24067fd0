/* Binary heap of servers by key. Called by choose.c only; knows no connection and no state. */
#include "worker/up/balance.h"

#include <assert.h>
#include <stdlib.h>
#include "common/base/mem.h"

/* One turn of a node of weight 1; divisible by every small weight. */
#define TURN (5040000ull * BALANCE_ONE)

static bool before(const struct balance_node *a, const struct balance_node *b)
{
    return a->key != b->key ? a->key < b->key : a->turn < b->turn;
}

static void place(struct balance *b, size_t i, struct balance_node *node)
{
    b->heap[i] = node;
    node->pos = (uint32_t)i + 1;
}

static void sift_up(struct balance *b, size_t i, struct balance_node *node)
{
    while (i > 0 && before(node, b->heap[(i - 1) / 2])) {
        place(b, i, b->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(b, i, node);
}

static void sift_down(struct balance *b, size_t i, struct balance_node *node)
{
    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= b->n)
            break;
        if (child + 1 < b->n && before(b->heap[child + 1], b->heap[child]))
            child++;
        if (!before(b->heap[child], node))
            break;
        place(b, i, b->heap[child]);
        i = child;
    }
    place(b, i, node);
}

static void moved(struct balance *b, struct balance_node *node)
{
    size_t i = node->pos - 1;

    if (i > 0 && before(node, b->heap[(i - 1) / 2]))
        sift_up(b, i, node);
    else
        sift_down(b, i, node);
}

static uint64_t least_conn_key(const struct balance_node *node)
{
    return (node->active + 1ull) * TURN / node->weight;
}

void balance_init(struct balance *b, bool is_least_conn)
{
    *b = (struct balance){ .is_least_conn = is_least_conn };
}

void balance_fini(struct balance *b)
{
    free(b->heap);
    *b = (struct balance){ .heap = NULL };
}

void balance_reserve(struct balance *b, size_t n)
{
    if (n <= b->cap)
        return;
    b->heap = xrealloc(b->heap, n * sizeof *b->heap);
    b->cap = n;
}

void balance_add(struct balance *b, struct balance_node *node)
{
    assert(!balance_has(node) && b->n < b->cap && node->weight > 0);
    node->turn = ++b->turns;
    if (b->is_least_conn)
        node->key = least_conn_key(node);
    else if (node->key < b->now)
        node->key = b->now; /* who was away does not get the missed turns at once */
    sift_up(b, b->n++, node);
}

void balance_remove(struct balance *b, struct balance_node *node)
{
    size_t i = node->pos - 1;
    struct balance_node *last;

    assert(balance_has(node));
    node->pos = 0;
    last = b->heap[--b->n];
    if (last == node)
        return;
    place(b, i, last);
    moved(b, last);
}

struct balance_node *balance_peek(const struct balance *b)
{
    return b->n ? b->heap[0] : NULL;
}

void balance_take(struct balance *b, struct balance_node *node)
{
    node->active++;
    node->turn = ++b->turns;
    if (b->is_least_conn) {
        node->key = least_conn_key(node);
    } else {
        if (node->key > b->now)
            b->now = node->key;
        node->key = b->now + TURN / node->weight;
    }
    if (balance_has(node))
        moved(b, node);
}

void balance_weigh(struct balance *b, struct balance_node *node, uint32_t weight)
{
    assert(weight > 0);
    if (b->is_least_conn) {
        node->weight = weight;
        node->key = least_conn_key(node);
    } else {
        /* What is left of the wait for its turn is that part of the new, longer or shorter one. */
        if (node->key > b->now)
            node->key = b->now + (node->key - b->now) * node->weight / weight;
        node->weight = weight;
    }
    if (balance_has(node))
        moved(b, node);
}

void balance_release(struct balance *b, struct balance_node *node)
{
    assert(node->active > 0);
    node->active--;
    if (!b->is_least_conn)
        return;
    node->key = least_conn_key(node);
    if (balance_has(node))
        moved(b, node);
}

void balance_count(struct balance *b, struct balance_node *node, uint32_t active)
{
    if (node->active == active)
        return;
    node->active = active;
    node->key = least_conn_key(node);
    if (balance_has(node))
        moved(b, node);
}
