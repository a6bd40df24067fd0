/* Hashes, and the map from byte strings. */
#include "common/base/hash.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "t/unit/unit.h"

#define MANY 5000

/* SipHash-1-3 of 00 01 .. n-1. With the key zero Python 3.11's hash() of bytes gives the same under
 * PYTHONHASHSEED=0; with the key 00 01 .. 0f these are the reference code's. */
START_TEST(siphash_vectors)
{
    static const struct {
        size_t n;
        uint64_t hash;
    } zero_key[] = {
        { 1, 0x68a914128e01e473ULL },  { 7, 0x2f098ab0c751325aULL },
        { 8, 0xead411e67ebe2eeaULL },  { 9, 0x75927f9d95124362ULL },
        { 15, 0xf30eb725bb91c9eaULL }, { 16, 0x8972188433a5c5b7ULL },
        { 63, 0x385d3e39e5f37359ULL },
    };
    const uint64_t k0 = 0x0706050403020100ULL, k1 = 0x0f0e0d0c0b0a0908ULL;
    unsigned char in[64];

    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof zero_key / sizeof zero_key[0]; i++)
        ck_assert_msg(hash_bytes_keyed(in, zero_key[i].n, 0, 0) == zero_key[i].hash, "n=%zu",
                      zero_key[i].n);
    ck_assert(hash_bytes_keyed(in, 0, k0, k1) == 0xabac0158050fc4dcULL);
    ck_assert(hash_bytes_keyed(in, 1, k0, k1) == 0xc9f49bf37d57ca93ULL);
    ck_assert(hash_bytes_keyed(in, 7, k0, k1) == 0xd3927d989bb11140ULL);
}
END_TEST

START_TEST(fnv_vectors)
{
    ck_assert(hash_stable("", 0) == 0xcbf29ce484222325ULL);
    ck_assert(hash_stable("a", 1) == 0xaf63dc4c8601ec8cULL);
    ck_assert(hash_stable("foobar", 6) == 0x85944171f73967e8ULL);
}
END_TEST

START_TEST(fold_ignores_ascii_case_alone)
{
    for (size_t n = 0; n < 40; n++) {
        char *lower = malloc(n + 1), *mixed = malloc(n + 1);

        for (size_t i = 0; i < n; i++) {
            lower[i] = (char)('a' + i % 26);
            mixed[i] = i % 3 ? lower[i] : (char)(lower[i] - 0x20);
        }
        ck_assert(hash_bytes_fold(lower, n) == hash_bytes_fold(mixed, n));
        ck_assert(hash_bytes_fold(lower, n) == hash_bytes(lower, n));
        if (n > 0) {
            ck_assert(hash_bytes(lower, n) != hash_bytes(mixed, n));
            mixed[n - 1] = '[';
            lower[n - 1] = '{'; /* 0x20 apart, but no letters */
            ck_assert(hash_bytes_fold(lower, n) != hash_bytes_fold(mixed, n));
        }
        free(lower);
        free(mixed);
    }
}
END_TEST

/* A child forked after first use has the same seed; what length and place mean is minded. */
START_TEST(seed_goes_with_fork)
{
    uint64_t mine = hash_bytes("key", 3), theirs = 0;
    int pipe_fd[2], status;
    pid_t pid;

    ck_assert_int_eq(pipe(pipe_fd), 0);
    pid = fork();
    if (pid == 0) {
        theirs = hash_bytes("key", 3);
        _exit(write(pipe_fd[1], &theirs, sizeof theirs) == (ssize_t)sizeof theirs ? 0 : 1);
    }
    ck_assert_int_eq(read(pipe_fd[0], &theirs, sizeof theirs), (int)sizeof theirs);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert(mine == theirs);
    ck_assert(hash_bytes("\0", 1) != hash_bytes("\0\0", 2));
    (void)close(pipe_fd[0]);
    (void)close(pipe_fd[1]);
}
END_TEST

static void count_entry(struct slice key, void *value, void *arg)
{
    size_t *sum = arg;

    ck_assert_ptr_eq(key.p, value);
    *sum += 1;
}

START_TEST(map_keeps_many)
{
    static char key[MANY][16];
    struct smap m;
    size_t sum = 0;

    smap_init(&m, false);
    ck_assert_ptr_null(smap_get(&m, SLICE("absent")));
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(key[i], sizeof key[i], "key-%d", i);
        ck_assert_ptr_null(smap_put(&m, slice_str(key[i]), key[i]));
        ck_assert_uint_lt(m.count, m.cap);
    }
    ck_assert_uint_eq(m.count, MANY);
    for (int i = 0; i < MANY; i++)
        ck_assert_ptr_eq(smap_get(&m, slice_str(key[i])), key[i]);
    ck_assert_ptr_null(smap_get(&m, SLICE("key-5000")));
    ck_assert_ptr_null(smap_get(&m, SLICE("KEY-1")));
    smap_each(&m, count_entry, &sum);
    ck_assert_uint_eq(sum, MANY);
    smap_fini(&m);
    ck_assert_ptr_null(smap_get(&m, SLICE("key-1")));
}
END_TEST

START_TEST(put_gives_what_it_replaced)
{
    struct smap m;
    int a, b;

    smap_init(&m, true);
    ck_assert_ptr_null(smap_put(&m, SLICE("Host"), &a));
    ck_assert_ptr_eq(smap_get(&m, SLICE("hOST")), &a);
    ck_assert_ptr_eq(smap_put(&m, SLICE("HOST"), &b), &a);
    ck_assert_ptr_eq(smap_get(&m, SLICE("host")), &b);
    ck_assert_uint_eq(m.count, 1);
    ck_assert_ptr_null(smap_put(&m, SLICE(""), &a));
    ck_assert_ptr_eq(smap_get(&m, SLICE_NONE), &a);
    smap_fini(&m);
}
END_TEST

UNIT_MAIN("hash", siphash_vectors, fnv_vectors, fold_ignores_ascii_case_alone, seed_goes_with_fork,
          map_keeps_many, put_gives_what_it_replaced)
