/* Who may use which keys, and for how long. */
#include "t/unit/keys_fixture.h"
#include "helper/keys_ring.h"

static struct rings rings;
static struct grants grants;

static void setup(void)
{
    rings_init(&rings);
    memset(&grants, 0, sizeof grants);
}

static void teardown(void)
{
    (void)grants_expire(&grants, UINT64_MAX);
    ck_assert(list_empty(&rings.list));
}

static struct ring *load(unsigned which)
{
    int fd = make_ring(which);
    struct ring *r = ring_get(&rings, fd);

    ck_assert_ptr_nonnull(r);
    fd_close(&fd);
    return r;
}

static bool may(int kind)
{
    return grants_find(&grants, keys_made[kind].id) != NULL;
}

START_TEST(test_loaded_once)
{
    int fd = make_ring(RING_ALL);
    struct ring *a = ring_get(&rings, fd), *b = ring_get(&rings, fd), *c;

    ck_assert_ptr_eq(a, b);
    c = load(RING_ALL | RING_OTHER); /* another file with the same keys, and one more */
    ck_assert_ptr_ne(a, c);
    ck_assert_ptr_eq(keyring_find(&a->keys, keys_made[KIND_EC].id),
                     keyring_find(&c->keys, keys_made[KIND_EC].id));
    ring_put(&a);
    ck_assert_ptr_nonnull(keyring_find(&b->keys, keys_made[KIND_RSA].id));
    ring_put(&b);
    ck_assert_ptr_null(b);
    ck_assert_ptr_nonnull(keyring_find(&c->keys, keys_made[KIND_RSA].id));
    ring_put(&c);
    fd_close(&fd);
}
END_TEST

START_TEST(test_grace)
{
    ck_assert(!may(KIND_EC));
    grants_add(&grants, load(RING_ALL), 0);
    ck_assert(may(KIND_EC) && !may(KIND_OTHER));
    ck_assert_uint_eq(grants_next_us(&grants), UINT64_MAX);
    grants_add(&grants, load(RING_OTHER), 1000);
    ck_assert(may(KIND_EC) && may(KIND_OTHER));
    ck_assert_uint_eq(grants_next_us(&grants), 1000);
    ck_assert(!grants_expire(&grants, 999));
    ck_assert(grants_expire(&grants, 1000));
    ck_assert(!may(KIND_EC) && may(KIND_OTHER));
    grants_add(&grants, NULL, 2000); /* a configuration without certificates */
    ck_assert(may(KIND_OTHER));
    ck_assert(grants_expire(&grants, 2000));
    ck_assert(!may(KIND_OTHER));
    ck_assert_uint_eq(grants_next_us(&grants), UINT64_MAX);
}
END_TEST

/* What comes again has no end any more. */
START_TEST(test_again)
{
    int fd = make_ring(RING_ALL);

    grants_add(&grants, ring_get(&rings, fd), 0);
    grants_add(&grants, ring_get(&rings, fd), 10); /* names resolved: the same keyring */
    ck_assert_uint_eq(grants.n, 1);
    ck_assert_uint_eq(grants_next_us(&grants), UINT64_MAX);
    grants_add(&grants, load(RING_OTHER), 20);
    grants_add(&grants, ring_get(&rings, fd), 30);
    ck_assert_uint_eq(grants.n, 2);
    ck_assert(grants_expire(&grants, 30));
    ck_assert(may(KIND_EC) && !may(KIND_OTHER));
    fd_close(&fd);
}
END_TEST

/* A thousand reloads hold no more than so many. */
START_TEST(test_many)
{
    for (uint64_t i = 1; i <= 100; i++)
        grants_add(&grants, load(i % 2 ? RING_ALL : RING_OTHER), i);
    ck_assert_uint_eq(grants.n, GRANTS_MAX);
    ck_assert(may(KIND_EC) && may(KIND_OTHER));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keys_ring");
    TCase *tcase = tcase_create("keys_ring");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_unchecked_fixture(tcase, make_keys, free_keys);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_loaded_once);
    tcase_add_test(tcase, test_grace);
    tcase_add_test(tcase, test_again);
    tcase_add_test(tcase, test_many);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
