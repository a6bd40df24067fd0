/* libFuzzer target: tokens. The first byte says what the rest is: a token of a stranger, which must
 * never be good; claims, which are signed here and read as a good token's; or a file of keys. */
#include "t/fuzz/fuzz.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include "common/jwt/jwt.h"

#define NOW_S UINT64_C(1700000000)

static const struct slice audiences[] = { SLICE_INIT("api") };
static const struct jwt_policy policies[] = { { .leeway_s = 30 },
                                              { SLICE_INIT("us"), audiences, 1, 30 } };

static EVP_PKEY *signer;
static struct jwt_keys *keys;

/* The public key as a JWK. */
static struct slice jwk(struct arena *arena, struct slice x)
{
    return arena_printf(arena, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%.*s\"}",
                        SLICE_ARG(x));
}

static struct slice b64url(struct arena *arena, const unsigned char *bytes, size_t n)
{
    char *out = arena_alloc(arena, n * 4 / 3 + 5);
    int length;

    FUZZ_CHECK(out);
    length = EVP_EncodeBlock((unsigned char *)out, bytes, (int)n);
    while (length > 0 && out[length - 1] == '=')
        length--;
    for (int i = 0; i < length; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    return slice_of(out, (size_t)length);
}

static void begin(struct arena *arena)
{
    unsigned char raw[32];
    size_t n = sizeof raw;
    char why[JWT_WHY_MAX];

    if (keys)
        return;
    signer = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    keys = jwt_keys_new();
    FUZZ_CHECK(signer && EVP_PKEY_get_raw_public_key(signer, raw, &n) == 1);
    FUZZ_CHECK(jwt_keys_add(keys, jwk(arena, b64url(arena, raw, n)), why));
}

static struct slice sign(struct arena *arena, struct slice claims)
{
    struct slice body = b64url(arena, (const unsigned char *)claims.p, claims.n), signature;
    struct slice text = arena_printf(arena, "eyJhbGciOiJFZERTQSJ9.%.*s", SLICE_ARG(body));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char raw[64];
    size_t n = sizeof raw;

    FUZZ_CHECK(EVP_DigestSignInit_ex(context, NULL, NULL, NULL, NULL, signer, NULL) == 1);
    FUZZ_CHECK(EVP_DigestSign(context, raw, &n, (const unsigned char *)text.p, text.n) == 1);
    EVP_MD_CTX_free(context);
    signature = b64url(arena, raw, n);
    return arena_printf(arena, "%.*s.%.*s", SLICE_ARG(text), SLICE_ARG(signature));
}

static void read_claims(const struct jwt *jwt, struct arena *arena)
{
    struct jwt_claims all;
    struct json_value value;

    FUZZ_CHECK(json_read(jwt->claims, &value) && value.kind == JSON_OBJECT);
    FUZZ_CHECK(jwt->expires_s > NOW_S - 30);
    FUZZ_CHECK(jwt_claims_of(&all, jwt, arena) && all.n <= JWT_CLAIMS_MAX);
    for (size_t i = 0; i < all.n; i++) {
        FUZZ_CHECK(all.v[i].value.n > 0);
        for (size_t k = 0; k < all.v[i].value.n; k++)
            FUZZ_CHECK((unsigned char)all.v[i].value.p[k] >= 0x20);
    }
}

static void judge(struct slice token, bool is_ours, struct arena *arena)
{
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        struct jwt jwt;
        enum jwt_verdict v = jwt_verify(keys, token, &policies[i], NOW_S, arena, &jwt);

        FUZZ_CHECK(is_ours || v != JWT_GOOD);
        FUZZ_CHECK(!is_ours || (v != JWT_BAD_SIGNATURE && v != JWT_NO_KEY));
        if (v == JWT_GOOD)
            read_claims(&jwt, arena);
    }
}

static void add_keys(struct slice file)
{
    struct jwt_keys *some = jwt_keys_new();
    char why[JWT_WHY_MAX] = "";

    if (jwt_keys_add(some, file, why))
        FUZZ_CHECK(jwt_keys_count(some) > 0);
    else
        FUZZ_CHECK(why[0]);
    jwt_keys_free(&some);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct slice rest;

    if (size == 0)
        return 0;
    arena_init(&arena, NULL);
    begin(&arena);
    rest = fuzz_exact(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0: judge(rest, false, &arena); break;
    case 1:
        if (rest.n < JWT_MAX / 2)
            judge(sign(&arena, rest), true, &arena);
        break;
    default: add_keys(rest); break;
    }
    arena_reset(&arena);
    fuzz_exact_free(rest);
    return 0;
}
