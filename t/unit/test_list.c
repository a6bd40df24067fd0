/* The intrusive list. */
#include "common/base/list.h"

#include "t/unit/unit.h"

struct thing {
    int id;
    struct list node;
};

/* The ids in order as one decimal number; -1 if the ring is broken. */
static int ids(const struct list *l)
{
    int n = 0;

    LIST_EACH(it, l) {
        if (it->next->prev != it || it->prev->next != it)
            return -1;
        n = n * 10 + CONTAINER(it, struct thing, node)->id;
    }
    return n;
}

START_TEST(push_unshift_shift)
{
    struct list l = LIST_INIT(l);
    struct thing a = { .id = 1 }, b = { .id = 2 }, c = { .id = 3 };

    ck_assert(list_empty(&l));
    ck_assert_ptr_null(list_shift(&l));
    list_push(&l, &b.node);
    list_push(&l, &c.node);
    list_unshift(&l, &a.node);
    ck_assert_int_eq(ids(&l), 123);
    ck_assert_ptr_eq(list_shift(&l), &a.node);
    ck_assert(list_empty(&a.node));
    ck_assert_int_eq(ids(&l), 23);
}
END_TEST

START_TEST(remove_twice_is_harmless)
{
    struct list l = LIST_INIT(l);
    struct thing a = { .id = 1 }, b = { .id = 2 };

    list_push(&l, &a.node);
    list_push(&l, &b.node);
    list_remove(&a.node);
    list_remove(&a.node);
    ck_assert_int_eq(ids(&l), 2);
    list_remove(&b.node);
    ck_assert(list_empty(&l));
}
END_TEST

START_TEST(each_lets_the_body_remove)
{
    struct list l = LIST_INIT(l);
    struct thing t[4] = { { .id = 1 }, { .id = 2 }, { .id = 3 }, { .id = 4 } };

    for (int i = 0; i < 4; i++)
        list_push(&l, &t[i].node);
    LIST_EACH(it, &l) {
        if (CONTAINER(it, struct thing, node)->id % 2 == 0)
            list_remove(it);
    }
    ck_assert_int_eq(ids(&l), 13);
}
END_TEST

START_TEST(splice_moves_all)
{
    struct list to = LIST_INIT(to), from = LIST_INIT(from);
    struct thing t[4] = { { .id = 1 }, { .id = 2 }, { .id = 3 }, { .id = 4 } };

    list_splice(&to, &from);
    ck_assert(list_empty(&to));
    list_push(&from, &t[0].node);
    list_push(&from, &t[1].node);
    list_splice(&to, &from);
    ck_assert_int_eq(ids(&to), 12);
    ck_assert(list_empty(&from));
    list_push(&from, &t[2].node);
    list_push(&from, &t[3].node);
    list_splice(&to, &from);
    ck_assert_int_eq(ids(&to), 1234);
    list_splice(&to, &from);
    ck_assert_int_eq(ids(&to), 1234);
}
END_TEST

UNIT_MAIN("list", push_unshift_shift, remove_twice_is_harmless, each_lets_the_body_remove,
          splice_moves_all)
