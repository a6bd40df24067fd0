/* The growing array. */
#include "common/base/vec.h"

#include "t/unit/unit.h"

struct item {
    int a;
    char pad[37];
};

START_TEST(pushes_are_zeroed_and_kept)
{
    VEC(struct item) v = { NULL, 0, 0 };

    for (int i = 0; i < 1000; i++) {
        struct item *it = VEC_PUSH(&v);

        ck_assert_int_eq(it->a, 0);
        for (size_t k = 0; k < sizeof it->pad; k++)
            ck_assert_int_eq(it->pad[k], 0);
        *it = (struct item){ .a = i, .pad = "dirty" };
        ck_assert_uint_eq(v.n, (size_t)i + 1);
        ck_assert_uint_ge(v.cap, v.n);
    }
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(v.v[i].a, i);
    v.n = 10; /* what was there before is cleared again */
    ck_assert_int_eq(VEC_PUSH(&v)->a, 0);
    VEC_FREE(&v);
    ck_assert_ptr_null(v.v);
    ck_assert_uint_eq(v.cap, 0);
    VEC_FREE(&v);
}
END_TEST

UNIT_MAIN("vec", pushes_are_zeroed_and_kept)
