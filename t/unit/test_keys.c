/* Handshakes whose key is in `rpd: keys`, and that process: a real one. */
#include "t/unit/keys_fixture.h"

static struct process process;

static void setup(void)
{
    process_start(&process);
    process_says(&process, IPC_READY, 0);
    worker_start();
}

static void teardown(void)
{
    worker_end();
}

START_TEST(test_each_kind)
{
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    int kind = _i / 2;
    struct shake s;

    keys_use_channel(keys, process_connect(&process, 1, RING_ALL));
    shake_init(&s, kind, versions[_i % 2]);
    shake_go(&s);
    ck_assert_uint_eq(s.waits, 1);
    ck_assert_uint_eq(stats.key_pending, 1);
    shake_wait(&s, 1);
    shake_go(&s);
    ck_assert(shake_is_done(&s));
    ck_assert_uint_eq(s.waits, 1);
    ck_assert_uint_eq(stats.key_pending, 0);
    ck_assert_uint_eq(stats.key_operations, 1);
    ck_assert_uint_eq(stats.key_failures, 0);
    ck_assert_uint_eq(stats.key_latency.count, 1);
    shake_fini(&s);
    process_stop(&process);
}
END_TEST

START_TEST(test_many_in_flight)
{
    enum { N = 100 };
    static struct shake s[N];
    unsigned done = 0;

    keys_use_channel(keys, process_connect(&process, 1, RING_ALL));
    for (int i = 0; i < N; i++) {
        shake_init(&s[i], i % 3, TLS1_3_VERSION);
        shake_go(&s[i]);
        ck_assert_uint_eq(s[i].waits, 1);
    }
    ck_assert_uint_eq(stats.key_pending, N);
    while (done < N) {
        ck_assert_int_eq(loop_once(&loop, 5000), 0);
        for (int i = 0; i < N; i++)
            if (s[i].wakes == 1 && !shake_is_done(&s[i])) {
                shake_go(&s[i]);
                ck_assert(shake_is_done(&s[i]));
                done++;
            }
    }
    ck_assert_uint_eq(stats.key_operations, N);
    for (int i = 0; i < N; i++)
        shake_fini(&s[i]);
    process_stop(&process);
}
END_TEST

/* What takes little does not wait for what takes long. */
START_TEST(test_quick_ones_first)
{
    enum { SLOW = 20 };
    static struct shake slow[SLOW], quick;

    keys_use_channel(keys, process_connect(&process, 1, RING_ALL));
    process_halt(&process);
    for (int i = 0; i < SLOW; i++) {
        shake_init(&slow[i], KIND_RSA, TLS1_3_VERSION);
        shake_go(&slow[i]);
        ck_assert_int_eq(loop_once(&loop, 0), 0); /* it leaves by itself */
    }
    shake_init(&quick, KIND_EC, TLS1_3_VERSION);
    shake_go(&quick);
    ck_assert_int_eq(loop_once(&loop, 0), 0);
    (void)kill(process.pid, SIGCONT);
    shake_wait(&quick, 1);
    ck_assert_uint_le(quick.place, 2); /* the thread may have had the first in its hands */
    for (int i = 0; i < SLOW; i++) {
        shake_wait(&slow[i], 1);
        shake_fini(&slow[i]);
    }
    shake_fini(&quick);
    process_stop(&process);
}
END_TEST

/* Questions wait for the process, and for the next one when it dies. */
START_TEST(test_death)
{
    struct shake s[4];

    for (int i = 0; i < 4; i++)
        shake_init(&s[i], i % 3, TLS1_3_VERSION);
    shake_go(&s[0]); /* before there is a channel */
    keys_use_channel(keys, process_connect(&process, 1, RING_ALL));
    shake_wait(&s[0], 1);
    process_halt(&process);
    shake_go(&s[1]); /* leaves, and is lost with the process */
    ck_assert_int_eq(loop_once(&loop, 0), 0);
    shake_go(&s[2]); /* may leave or not */
    process_kill(&process);
    shake_go(&s[3]);
    ck_assert_int_eq(loop_once(&loop, 1000), 0);
    ck_assert_uint_eq(stats.key_pending, 3);

    process_start(&process);
    process_says(&process, IPC_READY, 0);
    keys_use_channel(keys, process_connect(&process, 2, RING_ALL));
    for (int i = 0; i < 4; i++) {
        shake_wait(&s[i], 1);
        shake_go(&s[i]);
        ck_assert(shake_is_done(&s[i]));
        shake_fini(&s[i]);
    }
    ck_assert_uint_eq(stats.key_operations, 4);
    process_stop(&process);
}
END_TEST

/* Whoever goes while he waits is answered no more; the others are. */
START_TEST(test_cancel)
{
    struct shake s[3];

    keys_use_channel(keys, process_connect(&process, 1, RING_ALL));
    for (int i = 0; i < 3; i++) {
        shake_init(&s[i], i % 3, TLS1_3_VERSION);
        shake_go(&s[i]);
    }
    shake_fini(&s[1]); /* before it was asked */
    process_halt(&process);
    ck_assert_int_eq(loop_once(&loop, 0), 0);
    shake_fini(&s[2]); /* when it was, and before the answer */
    (void)kill(process.pid, SIGCONT);
    shake_wait(&s[0], 1);
    shake_go(&s[0]);
    ck_assert(shake_is_done(&s[0]));
    shake_fini(&s[0]);
    ck_assert_uint_eq(stats.key_pending, 0);
    ck_assert_uint_eq(stats.key_operations, 1);
    process_stop(&process);
}
END_TEST

/* A handshake that is told no fails. */
START_TEST(test_refused)
{
    struct shake s;

    keys_use_channel(keys, process_connect(&process, 1, RING_ALL));
    shake_init(&s, KIND_OTHER, TLS1_3_VERSION);
    shake_go(&s);
    shake_wait(&s, 1);
    shake_go(&s);
    ck_assert(s.has_failed);
    ck_assert_uint_eq(stats.key_failures, 1);
    shake_fini(&s);
    process_stop(&process);
}
END_TEST

/* A generation with another certificate: its keys can be used at once, those before for a while. */
START_TEST(test_another_generation)
{
    static const int kinds[] = { KIND_OTHER, KIND_EC };
    int ring;

    keys_use_channel(keys, process_connect(&process, 1, RING_ALL));
    ring = make_ring(RING_OTHER);
    process_tell(&process, IPC_KEYS_ALLOW, 1, ring, -1);
    fd_close(&ring);
    for (int i = 0; i < 2; i++) { /* without waiting for the answer */
        struct shake s;

        shake_init(&s, kinds[i], TLS1_3_VERSION);
        shake_go(&s);
        shake_wait(&s, 1);
        shake_go(&s);
        ck_assert(shake_is_done(&s));
        shake_fini(&s);
    }
    process_says(&process, IPC_READY, 1);
    process_stop(&process);
}
END_TEST

/* There are no more stacks than KEYS_WAITING_MAX; more handshakes have to come again. */
START_TEST(test_crowd)
{
    static struct shake s[KEYS_WAITING_MAX + 1];
    struct shake *last = &s[KEYS_WAITING_MAX];

    for (int i = 0; i <= KEYS_WAITING_MAX; i++) {
        shake_init(&s[i], KIND_EC, TLS1_3_VERSION);
        shake_go(&s[i]);
    }
    ck_assert_int_eq(last->server_r, KEYS_CROWDED);
    ck_assert_uint_eq(stats.key_pending, KEYS_WAITING_MAX);
    keys_use_channel(keys, process_connect(&process, 1, RING_ALL));
    shake_wait(&s[0], 1);
    shake_go(&s[0]);
    shake_go(last);
    shake_wait(last, 1);
    shake_go(last);
    ck_assert(shake_is_done(last));
    for (int i = 0; i <= KEYS_WAITING_MAX; i++)
        shake_fini(&s[i]);
    /* Idle again: the stacks go, and later ones come. */
    for (int i = 0; i < 70; i++)
        keys_tick(keys);
    shake_init(&s[0], KIND_EC, TLS1_3_VERSION);
    shake_go(&s[0]);
    shake_wait(&s[0], 1);
    shake_go(&s[0]);
    ck_assert(shake_is_done(&s[0]));
    shake_fini(&s[0]);
    process_stop(&process);
}
END_TEST

/* To sign outside of a handshake would mean to wait: that fails. */
START_TEST(test_outside)
{
    char why[64];
    EVP_PKEY *key = keys_key(keys, certs[KIND_EC], keys_made[KIND_EC].id, why, sizeof why);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char out[256];
    size_t n = sizeof out;

    keys_use_channel(keys, process_connect(&process, 1, RING_ALL));
    ck_assert_int_eq(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL), 1);
    ck_assert_int_le(EVP_DigestSign(ctx, out, &n, (const unsigned char *)"x", 1), 0);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    process_stop(&process);
}
END_TEST

/* The public half is the certificate's, the private one goes nowhere. */
START_TEST(test_key)
{
    char why[64];
    EVP_PKEY *key = keys_key(keys, certs[_i], keys_made[_i].id, why, sizeof why);
    unsigned char *der = NULL;

    ck_assert_int_eq(EVP_PKEY_eq(key, X509_get0_pubkey(certs[_i])), 1);
    ck_assert_int_eq(EVP_PKEY_get_bits(key), EVP_PKEY_get_bits(keys_made[_i].key));
    ck_assert_int_eq(EVP_PKEY_get_size(key), EVP_PKEY_get_size(keys_made[_i].key));
    ck_assert_int_eq(EVP_PKEY_get_security_bits(key),
                     EVP_PKEY_get_security_bits(keys_made[_i].key));
    ck_assert_int_le(i2d_PrivateKey(key, &der), 0);
    EVP_PKEY_free(key);
    process_stop(&process);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keys");
    TCase *tcase = tcase_create("keys");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_unchecked_fixture(tcase, make_keys, free_keys);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_each_kind, 0, 6);
    tcase_add_test(tcase, test_many_in_flight);
    tcase_add_test(tcase, test_quick_ones_first);
    tcase_add_test(tcase, test_death);
    tcase_add_test(tcase, test_cancel);
    tcase_add_test(tcase, test_refused);
    tcase_add_test(tcase, test_another_generation);
    tcase_add_test(tcase, test_crowd);
    tcase_add_test(tcase, test_outside);
    tcase_add_loop_test(tcase, test_key, 0, KINDS);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
