/* Keyrings: keys that went in come out again, in another process, and nothing else does; and
 * private keys in PEM. */
#include "common/tls/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "t/unit/cert_fixture.h"

#define NKEYS 4

static struct identity ids[NKEYS];
static struct keyring_key keys[NKEYS];
static char why[TLS_WHY_MAX];

static void setup(void)
{
    static const char *const kinds[NKEYS] = { "RSA", "EC", "ED25519", "EC" };

    for (size_t i = 0; i < NKEYS; i++) {
        ids[i] = identity_make_as(&(struct identity_spec){ .kind = kinds[i], .cn = "x" });
        keys[i].key = ids[i].key;
        tls_key_id(ids[i].cert, keys[i].id);
    }
}

static void teardown(void)
{
    for (size_t i = 0; i < NKEYS; i++)
        identity_free(&ids[i]);
    ck_assert_uint_eq(ERR_peek_error(), 0);
}

static int sealed(void)
{
    int fd = keyring_write(keys, NKEYS);

    ck_assert_int_ge(fd, 0);
    return fd;
}

/* ---- there and back ---- */

/* What one signs the other verifies. */
static void expect_same(EVP_PKEY *key, EVP_PKEY *original)
{
    const EVP_MD *digest = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char signature[512];
    size_t n = sizeof signature;

    ck_assert_int_eq(EVP_PKEY_eq(key, original), 1);
    ck_assert_int_eq(EVP_DigestSignInit(ctx, NULL, digest, NULL, key), 1);
    ck_assert_int_eq(EVP_DigestSign(ctx, signature, &n, (const unsigned char *)"text", 4), 1);
    EVP_MD_CTX_reset(ctx);
    ck_assert_int_eq(EVP_DigestVerifyInit(ctx, NULL, digest, NULL, original), 1);
    ck_assert_int_eq(EVP_DigestVerify(ctx, signature, n, (const unsigned char *)"text", 4), 1);
    EVP_MD_CTX_free(ctx);
}

START_TEST(test_written_and_opened)
{
    unsigned char unknown[TLS_KEY_ID_SIZE] = { 0 };
    struct keyring ring;
    int fd = sealed();

    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(keyring_open(fd, &ring), 0);
    close(fd);
    ck_assert_uint_eq(ring.n, NKEYS);
    for (size_t i = 0; i < NKEYS; i++) {
        ck_assert_ptr_nonnull(keyring_find(&ring, keys[i].id));
        expect_same(keyring_find(&ring, keys[i].id), keys[i].key);
    }
    for (size_t i = 1; i < ring.n; i++)
        ck_assert_int_lt(memcmp(ring.v[i - 1].id, ring.v[i].id, TLS_KEY_ID_SIZE), 0);
    ck_assert_ptr_null(keyring_find(&ring, unknown));
    keyring_fini(&ring);
    ck_assert_ptr_null(keyring_find(&ring, keys[0].id));
}
END_TEST

/* Two certificates of one key. */
START_TEST(test_an_id_is_kept_once)
{
    struct keyring_key twice[] = { keys[0], keys[1], keys[0] };
    struct keyring ring;
    int fd = keyring_write(twice, 3);

    ck_assert_int_eq(keyring_open(fd, &ring), 0);
    ck_assert_uint_eq(ring.n, 2);
    keyring_fini(&ring);
    close(fd);
}
END_TEST

START_TEST(test_empty)
{
    struct keyring ring;
    int fd = keyring_write(NULL, 0);

    ck_assert_int_eq(keyring_open(fd, &ring), 0);
    ck_assert_uint_eq(ring.n, 0);
    ck_assert_ptr_null(keyring_find(&ring, keys[0].id));
    keyring_fini(&ring);
    close(fd);
}
END_TEST

/* ---- nothing else ---- */

START_TEST(test_nobody_changes_it)
{
    int fd = sealed();

    ck_assert_int_eq(pwrite(fd, "x", 1, 0), -1);
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_int_eq(ftruncate(fd, 1 << 20), -1);
    ck_assert_ptr_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    close(fd);
}
END_TEST

/* A memfd of these bytes, sealed or not, is refused; or opened, where that may be. */
static void expect_refused(const char *bytes, size_t n, bool is_sealed, bool may_open)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct keyring ring;
    int rc;

    ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
    if (is_sealed)
        ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE |
                                                    F_SEAL_SEAL), 0);
    errno = 0;
    rc = keyring_open(fd, &ring);
    close(fd);
    if (rc == 0) {
        ck_assert(may_open);
        keyring_fini(&ring);
    } else {
        ck_assert_int_eq(errno, EINVAL);
        ck_assert_ptr_null(ring.v);
    }
}

static char *bytes_of(int fd, size_t *n)
{
    struct stat st;
    char *bytes;

    ck_assert_int_eq(fstat(fd, &st), 0);
    *n = (size_t)st.st_size;
    bytes = malloc(*n + 1);
    ck_assert_int_eq(pread(fd, bytes, *n, 0), (ssize_t)*n);
    return bytes;
}

START_TEST(test_unsealed_and_short_are_refused)
{
    int fd = sealed();
    size_t n;
    char *bytes = bytes_of(fd, &n);

    close(fd);
    expect_refused(bytes, n, false, false);
    for (size_t i = 0; i < n; i += i < 300 ? 1 : 37)
        expect_refused(bytes, i, true, false);
    bytes[n] = 'x';
    expect_refused(bytes, n + 1, true, false);
    free(bytes);
}
END_TEST

/* A flip within a key's DER may be a key nevertheless, but leads nowhere else. */
START_TEST(test_damage_is_survived)
{
    int fd = sealed();
    size_t n;
    char *bytes = bytes_of(fd, &n);

    close(fd);
    for (size_t i = 0; i < n; i += i < 200 ? 1 : 11) {
        bytes[i] ^= (char)(i % 2 ? 0x80 : 0x01);
        expect_refused(bytes, n, true, i >= 8);
        bytes[i] ^= (char)(i % 2 ? 0x80 : 0x01);
    }
    free(bytes);
}
END_TEST

/* ---- PEM ---- */

static void expect_no_key(struct slice pem, const char *reason)
{
    ck_assert_ptr_null(tls_key_parse(pem, why, sizeof why));
    ck_assert_msg(strstr(why, reason) != NULL, "%s", why);
}

START_TEST(test_keys_in_pem)
{
    for (size_t i = 0; i < NKEYS; i++) {
        struct slice pem = key_pem_of(keys[i].key, NULL);
        EVP_PKEY *key = tls_key_parse(pem, why, sizeof why);

        ck_assert_msg(key != NULL, "%s", why);
        ck_assert_int_eq(EVP_PKEY_eq(key, keys[i].key), 1);
        EVP_PKEY_free(key);
        free((char *)(uintptr_t)pem.p);
    }
}
END_TEST

START_TEST(test_what_is_no_key)
{
    struct slice encrypted = key_pem_of(keys[1].key, "secret");
    struct slice good = key_pem_of(keys[1].key, NULL);
    char *cut = strndup(good.p, good.n);

    expect_no_key(SLICE(""), "it is empty");
    expect_no_key(SLICE("hello\n"), "no private key in it (PEM)");
    expect_no_key(encrypted, "it is encrypted");
    expect_no_key(ids[0].pem, "but a certificate");
    expect_no_key(SLICE("-----BEGIN PUBLIC KEY-----\n"), "but a public one");
    expect_no_key(SLICE("\x30\x82\x01"), "looks like DER");
    cut[40] = '!';
    expect_no_key(slice_of(cut, good.n), "malformed");
    free(cut);
    free((char *)(uintptr_t)encrypted.p);
    free((char *)(uintptr_t)good.p);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_written_and_opened, test_an_id_is_kept_once, test_empty, test_nobody_changes_it,
        test_unsealed_and_short_are_refused, test_damage_is_survived, test_keys_in_pem,
        test_what_is_no_key,
    };
    Suite *suite = suite_create("keyring");
    TCase *tcase = tcase_create("keyring");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
