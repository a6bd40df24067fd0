/* Tokens: of every algorithm, tampered with, of other keys, too old, for somebody else; and keys
 * from PEM and JWK sets. */
#include <openssl/core_names.h>
#include "t/unit/jwt_fixture.h"

static const char *const algorithms[] = { "RS256", "RS384", "RS512", "PS256",
                                          "ES256", "ES384", "EdDSA" };
#define ALGORITHMS (sizeof algorithms / sizeof *algorithms)
static const struct jwt_policy any = { 0 };

static struct jwt_keys *keys_of(struct slice file)
{
    struct jwt_keys *keys = jwt_keys_new();
    char why[JWT_WHY_MAX];

    ck_assert_msg(jwt_keys_add(keys, file, why), "%s", why);
    return keys;
}

static enum jwt_verdict judge(struct jwt_keys *keys, struct slice token,
                              const struct jwt_policy *policy)
{
    struct jwt jwt;

    return jwt_verify(keys, token, policy, NOW_S, &arena, &jwt);
}

START_TEST(every_algorithm_and_no_other_key)
{
    struct signer s = signer_of(algorithms[_i]);
    struct jwt_keys *keys = keys_of(pem_of(s.key)), *others;
    struct slice token = simple_token(&s, "{\"sub\":\"a\"}");
    struct signer other = signer_of(algorithms[_i]);
    struct jwt jwt;

    ck_assert_int_eq(jwt_verify(keys, token, &any, NOW_S, &arena, &jwt), JWT_GOOD);
    ck_assert(slice_eq(jwt.claims, SLICE("{\"sub\":\"a\"}")));
    ck_assert_uint_eq(jwt.expires_s, UINT64_MAX);
    others = keys_of(pem_of(other.key));
    ck_assert_int_eq(judge(others, token, &any), JWT_BAD_SIGNATURE);
    jwt_keys_free(&keys);
    jwt_keys_free(&others);
    EVP_PKEY_free(s.key);
    EVP_PKEY_free(other.key);
}
END_TEST

START_TEST(no_bit_of_it_may_differ)
{
    struct signer s = signer_of(_i ? "EdDSA" : "ES256");
    struct jwt_keys *keys = keys_of(pem_of(s.key));
    struct slice token = simple_token(&s, "{\"sub\":\"a\",\"exp\":1800000000}");

    for (size_t i = 0; i < token.n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct slice other = arena_dup(&arena, token);

            ((char *)(uintptr_t)other.p)[i] ^= (char)(1 << bit);
            ck_assert_msg(judge(keys, other, &any) != JWT_GOOD, "%zu: %d", i, bit);
        }
        ck_assert_int_ne(judge(keys, slice_of(token.p, i), &any), JWT_GOOD);
    }
    jwt_keys_free(&keys);
    EVP_PKEY_free(s.key);
}
END_TEST

/* The key says how a signature is checked, not the token. */
START_TEST(the_token_does_not_choose_its_check)
{
    static const struct {
        const char *header;
        enum jwt_verdict verdict;
    } rows[] = {
        { "{\"alg\":\"none\"}", JWT_UNSUPPORTED },
        { "{\"alg\":\"None\"}", JWT_UNSUPPORTED },
        { "{\"alg\":\"HS256\"}", JWT_UNSUPPORTED },
        { "{\"alg\":\"rs256\"}", JWT_UNSUPPORTED },
        { "{\"alg\":null}", JWT_UNSUPPORTED },
        { "{\"alg\":1}", JWT_UNSUPPORTED },
        { "{}", JWT_UNSUPPORTED },
        { "{\"alg\":\"RS256\",\"crit\":[\"exp\"]}", JWT_UNSUPPORTED },
        { "{\"alg\":\"RS256\",\"crit\":[]}", JWT_UNSUPPORTED },
        { "{\"alg\":\"ES256\"}", JWT_NO_KEY },
        { "{\"alg\":\"EdDSA\"}", JWT_NO_KEY },
        { "{\"alg\":\"PS256\"}", JWT_BAD_SIGNATURE },
        { "{\"alg\":\"RS512\"}", JWT_BAD_SIGNATURE },
        { "{\"alg\":\"RS256\",\"alg\":\"RS256\"}", JWT_MALFORMED },
        { "{\"alg\":\"RS256\",\"\\u0061lg\":\"RS256\"}", JWT_MALFORMED },
        { "{\"alg\":\"RS256\"", JWT_MALFORMED },
        { "[\"RS256\"]", JWT_MALFORMED },
        { "{\"\\u0061lg\":\"RS256\",\"typ\":\"JWT\"}", JWT_GOOD },
        { "{\"alg\":\"RS256\",\"kid\":\"unknown\"}", JWT_GOOD }, /* PEM keys have no names */
    };
    struct signer s = signer_of("RS256");
    struct jwt_keys *keys = keys_of(pem_of(s.key));

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum jwt_verdict v = judge(keys, token_of(&s, rows[i].header, "{}"), &any);

        ck_assert_msg(v == rows[i].verdict, "%s: %s", rows[i].header, jwt_verdict_text(v));
    }
    jwt_keys_free(&keys);
    EVP_PKEY_free(s.key);
}
END_TEST

START_TEST(a_secret_made_of_the_public_key_signs_nothing)
{
    struct signer s = signer_of("RS256");
    struct slice pem = pem_of(s.key), h = b64url_text("{\"alg\":\"HS256\"}"), c = b64url_text("{}");
    struct slice text = arena_printf(&arena, "%.*s.%.*s", SLICE_ARG(h), SLICE_ARG(c));
    struct jwt_keys *keys = keys_of(pem);
    unsigned char mac[EVP_MAX_MD_SIZE];
    size_t n;
    struct slice signature;

    ck_assert_ptr_nonnull(EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, pem.p, pem.n,
                                    (const unsigned char *)text.p, text.n, mac, sizeof mac, &n));
    signature = b64url(mac, n);
    ck_assert_int_eq(judge(keys,
                           arena_printf(&arena, "%.*s.%.*s", SLICE_ARG(text), SLICE_ARG(signature)),
                           &any),
                     JWT_UNSUPPORTED);
    jwt_keys_free(&keys);
    EVP_PKEY_free(s.key);
}
END_TEST

START_TEST(what_claims_say)
{
    static const struct slice audiences[] = { SLICE_INIT("api"), SLICE_INIT("web") };
    static const struct jwt_policy strict = { SLICE_INIT("us"), audiences, 2, 30 };
    static const struct {
        const char *claims;
        enum jwt_verdict verdict;
    } rows[] = {
        { "{\"iss\":\"us\",\"aud\":\"api\"}", JWT_GOOD },
        { "{\"iss\":\"us\",\"aud\":[\"x\",\"web\"]}", JWT_GOOD },
        { "{\"iss\":\"u\\u0073\",\"aud\":\"api\",\"exp\":1700000001}", JWT_GOOD },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"exp\":1699999971}", JWT_GOOD },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"exp\":1699999971.5}", JWT_GOOD },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"nbf\":1700000030,\"iat\":1700000030}", JWT_GOOD },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"exp\":1699999970}", JWT_EXPIRED },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"exp\":0}", JWT_EXPIRED },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"exp\":-5}", JWT_EXPIRED },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"nbf\":1700000031}", JWT_TOO_EARLY },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"iat\":1700000031}", JWT_TOO_EARLY },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"exp\":\"1800000000\"}", JWT_MALFORMED },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"exp\":1e300}", JWT_MALFORMED },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"exp\":null}", JWT_MALFORMED },
        { "{\"iss\":\"us\",\"aud\":\"api\",\"exp\":99999999999999999999}", JWT_MALFORMED },
        { "{\"iss\":\"us\",\"iss\":\"us\",\"aud\":\"api\"}", JWT_MALFORMED },
        { "{\"iss\":\"US\",\"aud\":\"api\"}", JWT_ISSUER },
        { "{\"iss\":[\"us\"],\"aud\":\"api\"}", JWT_ISSUER },
        { "{\"aud\":\"api\"}", JWT_ISSUER },
        { "{\"iss\":\"us\"}", JWT_AUDIENCE },
        { "{\"iss\":\"us\",\"aud\":\"x\"}", JWT_AUDIENCE },
        { "{\"iss\":\"us\",\"aud\":[]}", JWT_AUDIENCE },
        { "{\"iss\":\"us\",\"aud\":[[\"api\"]]}", JWT_AUDIENCE },
        { "{\"iss\":\"us\",\"aud\":{\"api\":1}}", JWT_AUDIENCE },
        { "[]", JWT_MALFORMED },
        { "\"us\"", JWT_MALFORMED },
        { "{\"a\":[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}", JWT_MALFORMED },
    };
    struct signer s = signer_of("ES256");
    struct jwt_keys *keys = keys_of(pem_of(s.key));

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum jwt_verdict v = judge(keys, simple_token(&s, rows[i].claims), &strict);

        ck_assert_msg(v == rows[i].verdict, "%s: %s", rows[i].claims, jwt_verdict_text(v));
    }
    ck_assert_int_eq(judge(keys, simple_token(&s, "{\"aud\":\"x\",\"iss\":\"y\"}"), &any),
                     JWT_GOOD);
    jwt_keys_free(&keys);
    EVP_PKEY_free(s.key);
}
END_TEST

START_TEST(texts_that_are_no_tokens)
{
    struct signer s = signer_of("ES256");
    struct jwt_keys *keys = keys_of(pem_of(s.key));
    struct slice good = simple_token(&s, "{}");
    char *huge = arena_alloc(&arena, JWT_MAX + 1);
    const struct slice rows[] = {
        SLICE(""), SLICE("."), SLICE(".."), SLICE("a.b"), SLICE("a.b.c"), SLICE("e30.e30."),
        SLICE("e30..e30"), SLICE(".e30.e30"), SLICE("e30.e30.e30.e30"), SLICE("\0.\0.\0"),
        arena_printf(&arena, "%.*s.", SLICE_ARG(good)),
        arena_printf(&arena, "%.*s=", SLICE_ARG(good)),
        arena_printf(&arena, " %.*s", SLICE_ARG(good)),
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_int_eq(judge(keys, rows[i], &any), JWT_MALFORMED);
    memset(huge, 'a', JWT_MAX + 1);
    huge[5] = huge[9] = '.';
    ck_assert_int_eq(judge(keys, slice_of(huge, JWT_MAX + 1), &any), JWT_MALFORMED);
    jwt_keys_free(&keys);
    EVP_PKEY_free(s.key);
}
END_TEST

/* ---- keys ---- */

static struct slice number(EVP_PKEY *key, const char *what)
{
    unsigned char bytes[512];
    BIGNUM *n = NULL;
    int size;

    ck_assert_int_eq(EVP_PKEY_get_bn_param(key, what, &n), 1);
    size = BN_bn2bin(n, bytes);
    BN_free(n);
    return b64url(bytes, (size_t)size);
}

static struct slice jwk_of(EVP_PKEY *key, const char *more)
{
    unsigned char bytes[256];
    size_t n = sizeof bytes;
    struct slice x, y;

    if (EVP_PKEY_is_a(key, "RSA")) {
        x = number(key, OSSL_PKEY_PARAM_RSA_N);
        y = number(key, OSSL_PKEY_PARAM_RSA_E);
        return arena_printf(&arena, "{\"kty\":\"RSA\",\"n\":\"%.*s\",\"e\":\"%.*s\"%s}",
                            SLICE_ARG(x), SLICE_ARG(y), more);
    }
    if (EVP_PKEY_is_a(key, "ED25519")) {
        ck_assert_int_eq(EVP_PKEY_get_raw_public_key(key, bytes, &n), 1);
        x = b64url(bytes, n);
        return arena_printf(&arena, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%.*s\"%s}",
                            SLICE_ARG(x), more);
    }
    ck_assert_int_eq(
        EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, bytes, sizeof bytes, &n), 1);
    x = b64url(bytes + 1, n / 2);
    y = b64url(bytes + 1 + n / 2, n / 2);
    return arena_printf(&arena, "{\"kty\":\"EC\",\"crv\":\"P-%zu\",\"x\":\"%.*s\","
                        "\"y\":\"%.*s\"%s}", n / 2 * 8, SLICE_ARG(x), SLICE_ARG(y), more);
}

static struct slice token_with_kid(const struct signer *s, const char *kid)
{
    return token_of(s, arena_printf(&arena, "{\"alg\":\"%s\",\"kid\":\"%s\"}", s->alg, kid).p,
                    "{}");
}

START_TEST(a_jwk_of_every_kind)
{
    struct signer s = signer_of(algorithms[_i]);
    struct slice set = jwk_of(s.key, ",\"kid\":\"a\",\"use\":\"sig\"");
    struct jwt_keys *alone = keys_of(set), *keys;

    keys = keys_of(arena_printf(&arena, " {\"keys\" : [%.*s]}\n", SLICE_ARG(set)));
    ck_assert_int_eq(judge(alone, simple_token(&s, "{}"), &any), JWT_GOOD);
    ck_assert_int_eq(judge(keys, simple_token(&s, "{}"), &any), JWT_GOOD);
    ck_assert_int_eq(judge(keys, token_with_kid(&s, "a"), &any), JWT_GOOD);
    ck_assert_int_eq(judge(keys, token_with_kid(&s, "b"), &any), JWT_NO_KEY);
    jwt_keys_free(&alone);
    jwt_keys_free(&keys);
    EVP_PKEY_free(s.key);
}
END_TEST

START_TEST(what_of_a_set_is_left_out)
{
    static const char ignored[] =
        "{\"kty\":\"oct\",\"k\":\"AAAA\"},{\"kty\":\"EC\",\"crv\":\"secp256k1\"},{},3,"
        "{\"kty\":\"RSA\",\"use\":\"enc\"},{\"kty\":\"RSA\",\"alg\":\"RSA-OAEP\"}";
    struct signer s = signer_of("ES256");
    struct slice good = jwk_of(s.key, "");
    struct jwt_keys *keys = keys_of(
        arena_printf(&arena, "{\"keys\":[%s,%.*s]}", ignored, SLICE_ARG(good)));

    ck_assert_uint_eq(jwt_keys_count(keys), 1);
    jwt_keys_free(&keys);
    EVP_PKEY_free(s.key);
}
END_TEST

START_TEST(a_jwk_says_which_algorithm_it_is_for)
{
    struct signer s = signer_of("RS256");
    struct jwt_keys *keys = keys_of(jwk_of(s.key, ",\"alg\":\"RS256\""));
    struct signer pss = { "PS256", "SHA256", true, 0, s.key };

    ck_assert_int_eq(judge(keys, simple_token(&s, "{}"), &any), JWT_GOOD);
    ck_assert_int_eq(judge(keys, simple_token(&pss, "{}"), &any), JWT_NO_KEY);
    jwt_keys_free(&keys);
    EVP_PKEY_free(s.key);
}
END_TEST

START_TEST(files_that_are_refused)
{
    EVP_PKEY *weak = EVP_RSA_gen(1024), *odd = EVP_EC_gen("P-521");
    struct slice ec = jwk_of(odd, "");
    BIO *out = BIO_new(BIO_s_mem());
    char *private;
    const struct {
        struct slice file;
        const char *why;
    } rows[] = {
        { SLICE(""), "no public key" },
        { SLICE("hello"), "no public key" },
        { SLICE("{"), "no JWK set" },
        { SLICE("{}"), "none of its keys" },
        { SLICE("{\"keys\":[]}"), "none of its keys" },
        { SLICE("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\"}]}"), "malformed" },
        { SLICE("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQAB\"}]}"), "malformed" },
        { SLICE("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQAB\",\"y\":\"AQAB\"}]}"),
          "malformed" },
        { ec, "none of its keys" },
        { pem_of(weak), "1024 bits" },
        { jwk_of(weak, ""), "1024 bits" },
        { pem_of(odd), "of a kind" },
        { SLICE("-----BEGIN FOO-----\nAAAA\n-----END FOO-----\n"), "`FOO`" },
    };
    struct jwt_keys *keys = jwt_keys_new();
    char why[JWT_WHY_MAX];
    long n;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_assert(!jwt_keys_add(keys, rows[i].file, why));
        ck_assert_msg(strstr(why, rows[i].why), "%zu: %s", i, why);
    }
    ck_assert_int_eq(PEM_write_bio_PrivateKey(out, weak, NULL, NULL, 0, NULL, NULL), 1);
    n = BIO_get_mem_data(out, &private);
    ck_assert(!jwt_keys_add(keys, slice_of(private, (size_t)n), why));
    ck_assert_ptr_nonnull(strstr(why, "private key"));
    BIO_free(out);
    ck_assert_uint_eq(jwt_keys_count(keys), 0);
    jwt_keys_free(&keys);
    EVP_PKEY_free(weak);
    EVP_PKEY_free(odd);
}
END_TEST

START_TEST(claims_as_values)
{
    static const struct slice claims = SLICE_INIT(
        "{\"s\":\"a\\u00e9\\\"\",\"n\":12.5,\"t\":true,\"f\":false,\"z\":null,\"o\":{\"a\":1},"
        "\"e\":\"\","
        "\"l\":[\"a\",1,true,null,[2],\"b\"],\"x\":\"a\\nb\",\"\\u0071\":\"quoted\",\"m\":[],"
        "\"a-b_c\":1}");
    static const char *const rows[][2] = {
        { "s", "a\xc3\xa9\"" }, { "n", "12.5" }, { "t", "true" }, { "f", "false" }, { "z", "" },
        { "o", "" },            { "e", "" },     { "l", "a,1,true,b" }, { "x", "" },
        { "q", "quoted" },
        { "m", "" },            { "none", "" },  { "a_b_c", "1" },
    };
    struct jwt jwt = { .claims = claims };
    struct jwt_claims all;

    ck_assert(jwt_claims_of(&all, &jwt, &arena));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ck_assert_msg(slice_eq(jwt_claim(&all, slice_str(rows[i][0])), slice_str(rows[i][1])),
                      "%s", rows[i][0]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_token_does_not_choose_its_check,
        a_secret_made_of_the_public_key_signs_nothing,
        what_claims_say,
        texts_that_are_no_tokens,
        what_of_a_set_is_left_out,
        a_jwk_says_which_algorithm_it_is_for,
        files_that_are_refused,
        claims_as_values,
    };
    Suite *suite = suite_create("jwt");
    TCase *tcase = tcase_create("jwt");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_test(tcase, tests[i]);
    tcase_add_loop_test(tcase, every_algorithm_and_no_other_key, 0, (int)ALGORITHMS);
    tcase_add_loop_test(tcase, a_jwk_of_every_kind, 0, (int)ALGORITHMS);
    tcase_add_loop_test(tcase, no_bit_of_it_may_differ, 0, 2);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
