/* Messages between workers and `rpd: keys`. */
#include <string.h>
#include "t/unit/unit.h"
#include "common/tls/keys_message.h"

static char packet[KEYS_REQUESTS_MAX];
static const unsigned char key[KEYS_ID_SIZE] = "an id of thirty-two bytes......";
static const char digest[KEYS_DIGEST_MAX] = "digest";

static struct keys_request ask(uint64_t id, enum keys_scheme scheme, enum keys_digest d)
{
    return (struct keys_request){
        .id = id, .scheme = scheme, .digest = d, .key = key,
        .data = d == KEYS_DIGEST_NONE ? SLICE("a message") : slice_of(digest, keys_digest_size(d)),
    };
}

static void check_same(const struct keys_request *a, const struct keys_request *b)
{
    ck_assert_uint_eq(a->id, b->id);
    ck_assert_int_eq(a->scheme, b->scheme);
    ck_assert_int_eq(a->digest, b->digest);
    ck_assert_mem_eq(a->key, b->key, KEYS_ID_SIZE);
    ck_assert(slice_eq(a->data, b->data));
}

START_TEST(test_requests)
{
    const struct keys_request asked[] = {
        ask(1, KEYS_RSA_PKCS1, KEYS_SHA1), ask(UINT64_MAX, KEYS_RSA_PSS, KEYS_SHA512),
        ask(3, KEYS_ECDSA, KEYS_SHA224), ask(0, KEYS_ED25519, KEYS_DIGEST_NONE),
        ask(5, KEYS_ECDSA, KEYS_SHA384),
    };
    const size_t count = sizeof asked / sizeof *asked;
    struct keys_request got;
    struct slice rest;
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        n = keys_put_request(packet, n, sizeof packet, &asked[i]);
        ck_assert_uint_gt(n, 0);
        ck_assert_uint_eq(n % 8, 0);
    }
    rest = slice_of(packet, n);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(keys_take_request(&rest, &got), 1);
        check_same(&asked[i], &got);
    }
    ck_assert_int_eq(keys_take_request(&rest, &got), 0);
}
END_TEST

START_TEST(test_replies)
{
    const struct keys_reply said[] = {
        { 7, KEYS_OK, SLICE("signature") }, { 8, KEYS_UNKNOWN, SLICE_NONE },
        { 9, KEYS_FAILED, SLICE_NONE },
    };
    struct keys_reply got;
    struct slice rest;
    size_t n = 0;

    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_gt(n = keys_put_reply(packet, n, KEYS_REPLIES_MAX, &said[i]), 0);
    rest = slice_of(packet, n);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(keys_take_reply(&rest, &got), 1);
        ck_assert_uint_eq(got.id, said[i].id);
        ck_assert_int_eq(got.status, said[i].status);
        ck_assert(slice_eq(got.signature, said[i].signature));
    }
    ck_assert_int_eq(keys_take_reply(&rest, &got), 0);
}
END_TEST

START_TEST(test_room)
{
    struct keys_request r = ask(1, KEYS_ECDSA, KEYS_SHA256);
    struct keys_reply reply = { 1, KEYS_OK, slice_of(packet, KEYS_SIGNATURE_MAX + 1) };

    ck_assert_uint_eq(keys_put_request(packet, 0, 79, &r), 0);
    ck_assert_uint_eq(keys_put_request(packet, 0, 80, &r), 80);
    ck_assert_uint_eq(keys_put_request(packet, 80, 159, &r), 0);
    r = ask(1, KEYS_ED25519, KEYS_DIGEST_NONE);
    r.data = slice_of(packet + 64, KEYS_MESSAGE_MAX + 1);
    ck_assert_uint_eq(keys_put_request(packet, 0, sizeof packet, &r), 0);
    ck_assert_uint_eq(keys_put_reply(packet, 0, sizeof packet, &reply), 0);
}
END_TEST

/* Each byte of a head, and of what fills up, changed on its own. */
START_TEST(test_malformed_requests)
{
    static const struct { size_t at; unsigned char to; } bad[] = {
        { 8, 21 }, { 8, 0 }, { 11, 0x80 }, /* size */
        { 12, 0 }, { 12, 5 }, { 12, KEYS_ED25519 }, /* scheme */
        { 13, KEYS_DIGEST_NONE }, { 13, KEYS_DIGESTS }, { 13, KEYS_SHA256 }, /* digest */
        { 14, 1 }, { 15, 1 }, /* zero */
        { 68, 1 }, { 71, 255 }, /* filling */
    };
    struct keys_request r = ask(1, KEYS_ECDSA, KEYS_SHA1), got;
    struct slice rest;
    size_t n;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        n = keys_put_request(packet, 0, sizeof packet, &r);
        ck_assert_uint_eq(n, 72);
        packet[bad[i].at] = (char)bad[i].to;
        rest = slice_of(packet, n);
        ck_assert_int_eq(keys_take_request(&rest, &got), -1);
    }
    for (size_t cut = 1; cut < 72; cut++) {
        (void)keys_put_request(packet, 0, sizeof packet, &r);
        rest = slice_of(packet, cut);
        ck_assert_int_eq(keys_take_request(&rest, &got), -1);
    }
    r = ask(1, KEYS_ED25519, KEYS_DIGEST_NONE);
    (void)keys_put_request(packet, 0, sizeof packet, &r);
    packet[9] = 0x7f; /* more than a message has */
    rest = slice_of(packet, sizeof packet);
    ck_assert_int_eq(keys_take_request(&rest, &got), -1);
}
END_TEST

START_TEST(test_malformed_replies)
{
    static const struct { size_t at; unsigned char to; } bad[] = {
        { 8, 3 }, { 11, 1 }, { 8, KEYS_FAILED }, { 12, 0 }, { 12, 200 }, { 13, 0x90 }, { 31, 1 },
    };
    const struct keys_reply said = { 1, KEYS_OK, SLICE("signature") };
    struct keys_reply got;
    struct slice rest;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_uint_eq(keys_put_reply(packet, 0, sizeof packet, &said), 32);
        packet[bad[i].at] = (char)bad[i].to;
        rest = slice_of(packet, 32);
        ck_assert_int_eq(keys_take_reply(&rest, &got), -1);
    }
    for (size_t cut = 1; cut < 32; cut++) {
        (void)keys_put_reply(packet, 0, sizeof packet, &said);
        rest = slice_of(packet, cut);
        ck_assert_int_eq(keys_take_reply(&rest, &got), -1);
    }
}
END_TEST

UNIT_MAIN("keys_message", test_requests, test_replies, test_room, test_malformed_requests,
          test_malformed_replies)
