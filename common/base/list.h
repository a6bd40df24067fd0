/* Intrusive doubly-linked list: a ring through its head; a node is unlinked when it points at
 * itself. Every operation is O(1). */
#ifndef RPD_BASE_LIST_H
#define RPD_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define LIST_INIT(l) { &(l), &(l) }
/* The struct of type T whose member M is *ptr. */
#define CONTAINER(ptr, T, M) ((T *)(void *)((char *)(ptr) - offsetof(T, M)))
/* Safe against removal of `it` within the body. */
#define LIST_EACH(it, l)                                                                       \
    for (struct list *it = (l)->next, *it##_next = it->next; it != (l);                        \
         it = it##_next, it##_next = it->next)

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

/* At the tail. */
static inline void list_push(struct list *l, struct list *node)
{
    node->prev = l->prev;
    node->next = l;
    l->prev->next = node;
    l->prev = node;
}

/* At the head. */
static inline void list_unshift(struct list *l, struct list *node)
{
    list_push(l->next, node);
}

/* Leaves the node pointing at itself; removing twice is harmless. */
static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* The head's node unlinked, or NULL. */
static inline struct list *list_shift(struct list *l)
{
    struct list *node = l->next;

    if (node == l)
        return NULL;
    list_remove(node);
    return node;
}

/* Moves all of `from` to the tail of `to`; `from` ends empty. */
static inline void list_splice(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
