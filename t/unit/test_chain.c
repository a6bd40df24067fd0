/* Certificates: parsed, named, dated and ordered as they should be, and whatever else is refused
 * with a reason. */
#include "common/tls/chain.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include "common/base/clock.h"
#include "common/base/strbuf.h"
#include "common/tls/ocsp.h"
#include "t/unit/cert_fixture.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct identity root, below, leaf;
static struct strbuf pem;
static char why[TLS_WHY_MAX];

static void setup(void)
{
    root = identity_make("EC", "root", NULL, NULL, 100 * DAY_S);
    below = identity_make_as(&(struct identity_spec){ .cn = "below", .issuer = &root,
                                                      .is_ca = true });
    leaf = identity_make_as(&(struct identity_spec){
        .cn = "a.example", .names = "DNS:A.example,DNS:*.b.example", .issuer = &below });
    strbuf_init(&pem);
}

static void teardown(void)
{
    identity_free(&root);
    identity_free(&below);
    identity_free(&leaf);
    strbuf_fini(&pem);
    ck_assert_uint_eq(ERR_peek_error(), 0); /* nothing is left behind for others */
}

static struct tls_chain parsed(void)
{
    struct tls_chain chain;

    ck_assert_msg(tls_chain_parse(&chain, strbuf_slice(&pem), why, sizeof why) == 0, "%s", why);
    return chain;
}

static void refused(const char *text, size_t n, const char *reason)
{
    struct tls_chain chain;

    ck_assert_int_eq(tls_chain_parse(&chain, slice_of(text, n), why, sizeof why), -1);
    ck_assert_msg(strstr(why, reason) != NULL, "'%s' is not '%s'", why, reason);
    ck_assert_ptr_null(chain.leaf);
}

/* ---- parsing ---- */

START_TEST(test_chain_is_parsed)
{
    struct tls_chain chain;
    unsigned char id[TLS_KEY_ID_SIZE];
    char subject[TLS_SUBJECT_MAX];

    strbuf_adds(&pem, "what stands before is no harm\n");
    strbuf_add(&pem, leaf.pem);
    strbuf_add(&pem, below.pem);
    chain = parsed();
    ck_assert_uint_eq(tls_chain_count(&chain), 2);
    ck_assert_int_eq(X509_cmp(chain.leaf, leaf.cert), 0);
    ck_assert_int_eq(X509_cmp(tls_chain_at(&chain, 1), below.cert), 0);
    ck_assert_str_eq(tls_subject(chain.leaf, subject, sizeof subject), "CN=a.example,O=rpd");
    tls_key_id(leaf.cert, id);
    ck_assert_mem_eq(chain.key_id, id, sizeof id);
    tls_key_id(below.cert, id);
    ck_assert_mem_ne(chain.key_id, id, sizeof id);
    tls_chain_fini(&chain);
    ck_assert_ptr_null(chain.leaf);
}
END_TEST

START_TEST(test_what_is_no_chain)
{
    static const char request[] = "-----BEGIN CERTIFICATE REQUEST-----\nMA==\n"
                                  "-----END CERTIFICATE REQUEST-----\n";
    unsigned char *der = NULL;
    int n = i2d_X509(leaf.cert, &der);

    refused("", 0, "it is empty");
    refused("hello\n", 6, "no certificate in it (PEM)");
    refused(request, sizeof request - 1, "a request for one");
    refused((const char *)der, (size_t)n, "looks like DER");
    OPENSSL_free(der);
    strbuf_add(&pem, leaf.pem);
    refused(pem.s, pem.n / 2, "certificate 1 of it is malformed");
    strbuf_add(&pem, below.pem);
    pem.s[leaf.pem.n + 100] = '!';
    refused(pem.s, pem.n, "certificate 2 of it is malformed");
    ck_assert_ptr_null(tls_certificates_parse(SLICE("x"), why, sizeof why));
}
END_TEST

/* Whatever byte is another, and wherever the file ends: a chain or a reason. */
START_TEST(test_damage_is_survived)
{
    char *copy;

    strbuf_add(&pem, leaf.pem);
    strbuf_add(&pem, below.pem);
    copy = malloc(pem.n);
    for (size_t i = 0; i < pem.n; i++) {
        struct tls_chain chain;
        size_t n = i % 3 == 0 ? i : pem.n;

        memcpy(copy, pem.s, pem.n);
        copy[i] = (char)(copy[i] ^ (i % 3 == 1 ? 0x01 : 0x10));
        if (tls_chain_parse(&chain, slice_of(copy, n), why, sizeof why) != 0)
            continue;
        struct tls_names names;
        char subject[TLS_SUBJECT_MAX];

        tls_names_of(chain.leaf, &names);
        tls_names_fini(&names);
        (void)tls_chain_break(&chain);
        (void)tls_not_after_us(chain.leaf);
        (void)tls_subject(chain.leaf, subject, sizeof subject);
        (void)tls_key_is_usable(chain.leaf, why, sizeof why);
        (void)tls_signature_is_usable(chain.leaf, why, sizeof why);
        ERR_clear_error();
        tls_chain_fini(&chain);
    }
    free(copy);
}
END_TEST

/* ---- names ---- */

static void expect_names(const struct identity *id, const char *const *expected, size_t n)
{
    struct tls_names names;

    tls_names_of(id->cert, &names);
    ck_assert_uint_eq(names.n, n);
    for (size_t i = 0; i < n; i++)
        ck_assert_str_eq(names.v[i], expected[i]);
    tls_names_fini(&names);
}

START_TEST(test_names)
{
    static const char *const own[] = { "a.example", "*.b.example" }, *const common[] = { "c.test" };
    struct identity cn = identity_make("EC", "C.test", NULL, &root, DAY_S);
    struct identity both = identity_make("EC", "c.test", "DNS:not a host,DNS:**.x", &root, DAY_S);
    struct identity nobody = identity_make("EC", "Some Body", NULL, &root, DAY_S);
    struct identity address = identity_make("EC", "c.test", "IP:127.0.0.1", &root, DAY_S);

    expect_names(&leaf, own, 2);
    expect_names(&cn, common, 1);
    expect_names(&both, NULL, 0); /* there are dNSNames: the common name does not count */
    expect_names(&nobody, NULL, 0);
    expect_names(&address, common, 1);
    identity_free(&cn);
    identity_free(&both);
    identity_free(&nobody);
    identity_free(&address);
}
END_TEST

START_TEST(test_names_match)
{
    static const struct {
        struct slice host;
        bool is_match;
    } hosts[] = {
        { SLICE_INIT("a.example"), true },    { SLICE_INIT("x.b.example"), true },
        { SLICE_INIT("b.example"), false },   { SLICE_INIT("x.y.b.example"), false },
        { SLICE_INIT(".b.example"), false },  { SLICE_INIT("xa.example"), false },
        { SLICE_INIT(""), false },            { SLICE_INIT("example"), false },
    };
    struct tls_names names;

    tls_names_of(leaf.cert, &names);
    for (size_t i = 0; i < COUNT(hosts); i++)
        ck_assert_msg(tls_names_match(&names, hosts[i].host) == hosts[i].is_match, "%s",
                      hosts[i].host.p);
    tls_names_fini(&names);
}
END_TEST

/* ---- dates and order ---- */

START_TEST(test_dates)
{
    const uint64_t day_us = (uint64_t)DAY_S * 1000000;
    uint64_t now = clock_wall_us(), until = tls_not_after_us(leaf.cert);
    X509 *x = X509_new();

    ck_assert_uint_gt(until, now + 89 * day_us);
    ck_assert_uint_lt(until, now + 91 * day_us);
    ck_assert_uint_lt(tls_not_before_us(leaf.cert), now - 9 * day_us);
    ASN1_TIME_set_string(X509_getm_notBefore(x), "19500101000000Z");
    ASN1_TIME_set_string(X509_getm_notAfter(x), "99991231235959Z");
    ck_assert_uint_eq(tls_not_before_us(x), 0);
    ck_assert_uint_eq(tls_not_after_us(x), 253402300799000000ull);
    X509_free(x);
}
END_TEST

static size_t break_of(const struct identity *const *order, size_t n)
{
    struct tls_chain chain;
    size_t at;

    strbuf_clear(&pem);
    for (size_t i = 0; i < n; i++)
        strbuf_add(&pem, order[i]->pem);
    chain = parsed();
    at = tls_chain_break(&chain);
    tls_chain_fini(&chain);
    return at;
}

START_TEST(test_order)
{
    const struct identity *good[] = { &leaf, &below, &root }, *swapped[] = { &leaf, &root, &below };
    const struct identity *reversed[] = { &below, &leaf }, *twice[] = { &leaf, &leaf, &below };

    ck_assert_uint_eq(break_of(good, 3), 2);
    ck_assert_uint_eq(break_of(good, 2), 1);
    ck_assert_uint_eq(break_of(good, 1), 0);
    ck_assert_uint_eq(break_of(swapped, 3), 0);
    ck_assert_uint_eq(break_of(reversed, 2), 0);
    ck_assert_uint_eq(break_of(twice, 3), 0);
}
END_TEST

/* ---- strength ---- */

START_TEST(test_keys_that_can_be_used)
{
    static const struct {
        struct identity_spec spec;
        const char *reason; /* NULL: it can be */
    } keys[] = {
        { { .kind = "EC" }, NULL },
        { { .kind = "EC", .curve = "P-384" }, NULL },
        { { .kind = "EC", .curve = "P-521" }, NULL },
        { { .kind = "ED25519" }, NULL },
        { { .kind = "RSA" }, NULL },
        { { .kind = "RSA", .bits = 1024 }, "its RSA key has 1024 bits" },
        { { .kind = "EC", .curve = "secp256k1" }, "curve secp256k1" },
        { { .kind = "EC", .curve = "P-224" }, "curve secp224r1" },
        { { .kind = "ED448" }, "kind ED448" },
    };

    for (size_t i = 0; i < COUNT(keys); i++) {
        struct identity_spec spec = keys[i].spec;
        struct identity id;

        spec.issuer = &root;
        id = identity_make_as(&spec);
        *why = '\0';
        ck_assert_msg(tls_key_is_usable(id.cert, why, sizeof why) == !keys[i].reason, "%zu", i);
        ck_assert_msg(!keys[i].reason || strstr(why, keys[i].reason), "%s", why);
        identity_free(&id);
    }
}
END_TEST

START_TEST(test_signatures_that_can_be_used)
{
    struct identity weak = identity_make_as(&(struct identity_spec){ .issuer = &root,
                                                                     .digest = EVP_sha1() });
    struct identity own = identity_make_as(&(struct identity_spec){ .cn = "x", .is_ca = true,
                                                                    .digest = EVP_sha1() });

    ck_assert(tls_signature_is_usable(leaf.cert, why, sizeof why));
    ck_assert(!tls_signature_is_usable(weak.cert, why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "SHA1"));
    ck_assert(tls_signature_is_usable(own.cert, why, sizeof why)); /* nobody looks at a root's */
    identity_free(&weak);
    identity_free(&own);
}
END_TEST

/* ---- OCSP ---- */

static struct strbuf response_for(const struct identity *id, int status, long from_s, long until_s)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *cid = OCSP_cert_to_id(EVP_sha1(), id->cert, below.cert);
    ASN1_TIME *from = X509_gmtime_adj(NULL, from_s), *until = X509_gmtime_adj(NULL, until_s);
    OCSP_RESPONSE *response;
    unsigned char *der = NULL;
    struct strbuf out;
    int n;

    ck_assert_ptr_nonnull(OCSP_basic_add1_status(basic, cid, status, 0, from, from, until));
    ck_assert_int_eq(OCSP_basic_sign(basic, below.cert, below.key, EVP_sha256(), NULL, 0), 1);
    response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    n = i2d_OCSP_RESPONSE(response, &der);
    strbuf_init(&out);
    strbuf_add(&out, slice_of((char *)der, (size_t)n));
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(cid);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    return out;
}

static void expect_ocsp(struct strbuf der, const struct tls_chain *chain, enum tls_ocsp expected,
                        const char *reason)
{
    *why = '\0';
    ck_assert_int_eq(tls_ocsp_check(strbuf_slice(&der), chain, clock_wall_us(), why, sizeof why),
                     expected);
    ck_assert_msg(strstr(why, reason) != NULL, "%s", why);
    strbuf_fini(&der);
}

START_TEST(test_ocsp)
{
    const int good = V_OCSP_CERTSTATUS_GOOD;
    struct strbuf junk;
    struct tls_chain chain, alone;

    strbuf_add(&pem, leaf.pem);
    alone = parsed();
    strbuf_add(&pem, below.pem);
    chain = parsed();
    expect_ocsp(response_for(&leaf, good, -DAY_S, DAY_S), &chain, TLS_OCSP_GOOD, "");
    expect_ocsp(response_for(&leaf, good, -DAY_S, DAY_S), &alone, TLS_OCSP_GOOD, "");
    expect_ocsp(response_for(&leaf, good, -2 * DAY_S, -DAY_S), &chain, TLS_OCSP_DOUBTFUL,
                "too old");
    expect_ocsp(response_for(&leaf, good, DAY_S, 2 * DAY_S), &chain, TLS_OCSP_DOUBTFUL,
                "not valid yet");
    expect_ocsp(response_for(&leaf, V_OCSP_CERTSTATUS_UNKNOWN, -DAY_S, DAY_S), &chain,
                TLS_OCSP_DOUBTFUL, "unknown");
    expect_ocsp(response_for(&root, good, -DAY_S, DAY_S), &chain, TLS_OCSP_BAD,
                "about another certificate");
    strbuf_init(&junk);
    strbuf_adds(&junk, "-----BEGIN");
    expect_ocsp(junk, &chain, TLS_OCSP_BAD, "no OCSP response");
    strbuf_init(&junk);
    expect_ocsp(junk, &chain, TLS_OCSP_BAD, "no OCSP response");
    tls_chain_fini(&chain);
    tls_chain_fini(&alone);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_chain_is_parsed, test_what_is_no_chain, test_damage_is_survived, test_names,
        test_names_match, test_dates, test_order, test_keys_that_can_be_used,
        test_signatures_that_can_be_used, test_ocsp,
    };
    Suite *suite = suite_create("chain");
    TCase *tcase = tcase_create("chain");

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < COUNT(tests); i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
