/* What `rpd: keys` makes of what comes over workers' channels: good questions of every kind, keys
 * that are not allowed, and nonsense. A real process, asked without OpenSSL between. */
#include <poll.h>
#include <openssl/core_names.h>
#include "t/unit/keys_fixture.h"

static struct process process;
static char packet[KEYS_REQUESTS_MAX + 8];

static void setup(void)
{
    process_start(&process);
    process_says(&process, IPC_READY, 0);
}

static struct keys_request question(int kind, enum keys_scheme scheme, enum keys_digest digest)
{
    static const char data[KEYS_MESSAGE_MAX] = "what is to be signed";
    size_t n = digest == KEYS_DIGEST_NONE ? 1000 : keys_digest_size(digest);

    return (struct keys_request){
        .id = 7, .scheme = scheme, .digest = digest, .key = keys_made[kind].id,
        .data = slice_of(data, n),
    };
}

static void say(int fd, size_t n)
{
    ck_assert_int_eq(send(fd, packet, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* A packet's bytes; 0 the channel has ended. */
static size_t hear(int fd, char *buf, size_t room)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    ssize_t n;

    ck_assert_int_eq(poll(&p, 1, 20000), 1);
    n = recv(fd, buf, room, 0);
    ck_assert(n >= 0 || errno == ECONNRESET);
    return n < 0 ? 0 : (size_t)n;
}

static struct keys_reply ask(int fd, const struct keys_request *r, char *buf)
{
    struct keys_reply reply;
    struct slice got;

    say(fd, keys_put_request(packet, 0, sizeof packet, r));
    got = slice_of(buf, hear(fd, buf, KEYS_REPLIES_MAX));
    ck_assert_int_eq(keys_take_reply(&got, &reply), 1);
    ck_assert_uint_eq(got.n, 0);
    ck_assert_uint_eq(reply.id, r->id);
    return reply;
}

/* By OpenSSL, with the certificate's key. */
static bool is_signature(int kind, const struct keys_request *r, struct slice signature)
{
    EVP_PKEY *public = X509_get0_pubkey(certs[kind]);
    const unsigned char *bytes = (const unsigned char *)signature.p;
    const unsigned char *data = (const unsigned char *)r->data.p;
    EVP_PKEY_CTX *ctx = NULL;
    EVP_MD_CTX *md = NULL;
    EVP_MD *digest = NULL;
    bool is_good;

    if (r->scheme == KEYS_ED25519) {
        md = EVP_MD_CTX_new();
        is_good = EVP_DigestVerifyInit(md, NULL, NULL, NULL, public) == 1
                  && EVP_DigestVerify(md, bytes, signature.n, data, r->data.n) == 1;
    } else {
        ctx = EVP_PKEY_CTX_new_from_pkey(NULL, public, NULL);
        digest = EVP_MD_fetch(NULL, keys_digest_name(r->digest), NULL);
        is_good = EVP_PKEY_verify_init(ctx) == 1
                  && (r->scheme != KEYS_RSA_PSS
                      || EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1)
                  && EVP_PKEY_CTX_set_signature_md(ctx, digest) == 1
                  && (r->scheme != KEYS_RSA_PSS
                      || EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1)
                  && EVP_PKEY_verify(ctx, bytes, signature.n, data, r->data.n) == 1;
    }
    EVP_MD_CTX_free(md);
    EVP_PKEY_CTX_free(ctx);
    EVP_MD_free(digest);
    return is_good;
}

static const struct { int kind; enum keys_scheme scheme; enum keys_digest digest; } good[] = {
    { KIND_RSA, KEYS_RSA_PKCS1, KEYS_SHA1 }, { KIND_RSA, KEYS_RSA_PKCS1, KEYS_SHA224 },
    { KIND_RSA, KEYS_RSA_PKCS1, KEYS_SHA256 }, { KIND_RSA, KEYS_RSA_PKCS1, KEYS_SHA512 },
    { KIND_RSA, KEYS_RSA_PSS, KEYS_SHA256 }, { KIND_RSA, KEYS_RSA_PSS, KEYS_SHA384 },
    { KIND_RSA, KEYS_RSA_PSS, KEYS_SHA512 }, { KIND_EC, KEYS_ECDSA, KEYS_SHA256 },
    { KIND_EC, KEYS_ECDSA, KEYS_SHA384 }, { KIND_EC, KEYS_ECDSA, KEYS_SHA512 },
    { KIND_ED25519, KEYS_ED25519, KEYS_DIGEST_NONE },
};

/* Each kind, twice, for contexts are kept; more kinds than there is room for. */
START_TEST(test_signatures)
{
    int fd = process_connect(&process, 1, RING_ALL);
    char buf[KEYS_REPLIES_MAX];

    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
            struct keys_request r = question(good[i].kind, good[i].scheme, good[i].digest);
            struct keys_reply reply = ask(fd, &r, buf);

            ck_assert_int_eq(reply.status, KEYS_OK);
            ck_assert(is_signature(good[i].kind, &r, reply.signature));
        }
    fd_close(&fd);
    process_stop(&process);
}
END_TEST

/* A scheme that the key is not for. */
START_TEST(test_wrong_kind)
{
    static const struct { int kind; enum keys_scheme scheme; enum keys_digest digest; } bad[] = {
        { KIND_EC, KEYS_RSA_PKCS1, KEYS_SHA256 }, { KIND_EC, KEYS_RSA_PSS, KEYS_SHA256 },
        { KIND_EC, KEYS_ED25519, KEYS_DIGEST_NONE }, { KIND_RSA, KEYS_ECDSA, KEYS_SHA256 },
        { KIND_RSA, KEYS_ED25519, KEYS_DIGEST_NONE }, { KIND_ED25519, KEYS_ECDSA, KEYS_SHA256 },
        { KIND_ED25519, KEYS_RSA_PSS, KEYS_SHA512 },
    };
    int fd = process_connect(&process, 1, RING_ALL);
    char buf[KEYS_REPLIES_MAX];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct keys_request r = question(bad[i].kind, bad[i].scheme, bad[i].digest);

        ck_assert_int_eq(ask(fd, &r, buf).status, KEYS_FAILED);
    }
    fd_close(&fd);
    process_stop(&process);
}
END_TEST

/* Each channel may use its worker's keys and no other's. */
START_TEST(test_two_channels)
{
    int some = process_connect(&process, 1, RING_ALL);
    int other = process_connect(&process, 2, RING_OTHER);
    int none = process_connect(&process, 3, 0);
    struct keys_request ec = question(KIND_EC, KEYS_ECDSA, KEYS_SHA256);
    struct keys_request p384 = question(KIND_OTHER, KEYS_ECDSA, KEYS_SHA384);
    char buf[KEYS_REPLIES_MAX];

    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(ask(some, &ec, buf).status, KEYS_OK);
        ck_assert_int_eq(ask(some, &p384, buf).status, KEYS_UNKNOWN);
        ck_assert_int_eq(ask(other, &ec, buf).status, KEYS_UNKNOWN);
        ck_assert_int_eq(ask(other, &p384, buf).status, KEYS_OK);
        ck_assert_int_eq(ask(none, &ec, buf).status, KEYS_UNKNOWN);
    }
    fd_close(&some);
    ck_assert_int_eq(ask(other, &p384, buf).status, KEYS_OK);
    fd_close(&other);
    fd_close(&none);
    process_stop(&process);
}
END_TEST

/* Nonsense ends the channel it comes over, after what was good before it. */
START_TEST(test_malformed)
{
    struct keys_request r = question(KIND_EC, KEYS_ECDSA, KEYS_SHA256);
    int well = process_connect(&process, 1, RING_ALL);
    char buf[KEYS_REPLIES_MAX];

    for (unsigned i = 0; i < 5; i++) {
        int fd = process_connect(&process, 2 + i, RING_ALL);
        size_t n = keys_put_request(packet, 0, sizeof packet, &r);

        if (i == 0)
            packet[12] = 9; /* scheme */
        else if (i == 1)
            n -= 8; /* cut */
        else if (i == 2)
            packet[8] = 33; /* size */
        else if (i == 3)
            n = sizeof packet; /* too large */
        else
            n = 1;
        say(fd, n);
        ck_assert_uint_eq(hear(fd, buf, sizeof buf), 0);
        fd_close(&fd);
        ck_assert_int_eq(ask(well, &r, buf).status, KEYS_OK);
    }
    fd_close(&well);
    process_stop(&process);
}
END_TEST

/* Many in one packet: all are answered, in as many packets as it takes. */
START_TEST(test_batch)
{
    int fd = process_connect(&process, 1, RING_ALL);
    bool is_answered[200] = { false };
    char buf[KEYS_REPLIES_MAX];
    size_t n = 0, answered = 0;

    for (unsigned i = 0; i < 200; i++) {
        struct keys_request r = question(i % 20 == 0 ? KIND_RSA : KIND_EC,
                                         i % 20 == 0 ? KEYS_RSA_PSS : KEYS_ECDSA, KEYS_SHA256);

        r.id = i;
        n = keys_put_request(packet, n, sizeof packet, &r);
        ck_assert_uint_gt(n, 0);
    }
    say(fd, n);
    while (answered < 200) {
        struct slice got = slice_of(buf, hear(fd, buf, sizeof buf));
        struct keys_reply reply;

        ck_assert_uint_gt(got.n, 0);
        while (keys_take_reply(&got, &reply) == 1) {
            ck_assert(reply.id < 200 && !is_answered[reply.id] && reply.status == KEYS_OK);
            is_answered[reply.id] = true;
            answered++;
        }
        ck_assert_uint_eq(got.n, 0);
    }
    fd_close(&fd);
    process_stop(&process);
}
END_TEST

/* What is no keyring is said so to the master, and the channel goes on with what it had. */
START_TEST(test_bad_keyring)
{
    struct keys_request r = question(KIND_EC, KEYS_ECDSA, KEYS_SHA256);
    int fd = process_connect(&process, 1, RING_ALL);
    int nonsense = memfd_create("nonsense", MFD_CLOEXEC);
    char buf[KEYS_REPLIES_MAX];

    process_tell(&process, IPC_KEYS_ALLOW, 1, nonsense, -1);
    process_says(&process, IPC_FAILED, 1);
    ck_assert_int_eq(ask(fd, &r, buf).status, KEYS_OK);
    /* Nor is a channel that is not there, or has gone, of any harm. */
    process_tell(&process, IPC_KEYS_ALLOW, 99, -1, -1);
    process_says(&process, IPC_READY, 99);
    fd_close(&nonsense);
    fd_close(&fd);
    process_stop(&process);
}
END_TEST

/* Its master is gone: it ends with the last worker. */
START_TEST(test_without_master)
{
    struct keys_request r = question(KIND_EC, KEYS_ECDSA, KEYS_SHA256);
    int fds[2] = { process_connect(&process, 1, RING_ALL),
                   process_connect(&process, 2, RING_ALL) };
    char buf[KEYS_REPLIES_MAX];

    fd_close(&process.channel);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ask(fds[i], &r, buf).status, KEYS_OK);
        fd_close(&fds[i]);
    }
    ck_assert_int_eq(process_end(&process), 0);
}
END_TEST

/* Nor is it kept by a worker that does not listen. */
START_TEST(test_stop_with_a_deaf_worker)
{
    struct keys_request r = question(KIND_EC, KEYS_ECDSA, KEYS_SHA256);
    int fd = process_connect(&process, 1, RING_ALL);
    struct timespec full_for = { .tv_nsec = 50 * 1000000 };
    size_t n = keys_put_request(packet, 0, sizeof packet, &r);

    for (int refusals = 0; refusals < 5;) /* until answers stand in questions' way */
        if (send(fd, packet, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            ck_assert_int_eq(errno, EAGAIN);
            refusals++;
            (void)nanosleep(&full_for, NULL);
        }
    process_stop(&process);
    fd_close(&fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keys_channel");
    TCase *tcase = tcase_create("keys_channel");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_unchecked_fixture(tcase, make_keys, free_keys);
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, test_signatures);
    tcase_add_test(tcase, test_wrong_kind);
    tcase_add_test(tcase, test_two_channels);
    tcase_add_test(tcase, test_malformed);
    tcase_add_test(tcase, test_batch);
    tcase_add_test(tcase, test_bad_keyring);
    tcase_add_test(tcase, test_without_master);
    tcase_add_test(tcase, test_stop_with_a_deaf_worker);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
