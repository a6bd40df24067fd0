/* What a listener presents by the name that is asked for, whom it lets in, and sessions that resume
 * in another worker. */
#include <sys/mman.h>
#include "t/unit/tls_fixture.h"

static SSL_CTX *find(const char *sni, bool *is_known)
{
    return tls_front_find(w.front, slice_str(sni), is_known);
}

/* ---- names ---- */

static const struct identity *served(const char *sni)
{
    const struct identity *all[] = { &ec, &rsa, &wild, &old_ec };
    bool is_known;
    SSL_CTX *ctx = find(sni, &is_known);
    const X509 *leaf = ctx ? SSL_CTX_get0_certificate(ctx) : NULL;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (leaf && X509_cmp(leaf, all[i]->cert) == 0)
            return all[i];
    return NULL;
}

static bool knows(const char *sni)
{
    bool is_known;

    (void)find(sni, &is_known);
    return is_known;
}

START_TEST(test_names)
{
    world_certificate(&ec);
    world_certificate(&wild);
    world_build();
    ck_assert_ptr_eq(served("a.example"), &ec);
    ck_assert_ptr_eq(served("w.example"), &wild);
    ck_assert_ptr_eq(served("x.w.example"), &wild);
    ck_assert(knows("a.example") && knows("w.example") && knows("x.w.example"));
    /* A wildcard is one label wide, and not none. */
    ck_assert(!knows("x.y.w.example") && !knows(".w.example") && !knows("*.example"));
    ck_assert(!knows("example") && !knows("") && !knows(".") && !knows("b.example"));
    ck_assert_ptr_eq(served("b.example"), &ec);
    ck_assert_ptr_eq(served(""), &ec);
    bool is_known;
    ck_assert_ptr_eq(find("x.w.example", &is_known), find("y.w.example", &is_known));
    ck_assert_ptr_eq(find("x.w.example", &is_known), find("w.example", &is_known));
}
END_TEST

START_TEST(test_long_name)
{
    char name[400];

    memset(name, 'a', sizeof name);
    memcpy(name + 10, ".w.example", 10);
    name[20] = '\0';
    world_certificate(&wild);
    world_build();
    ck_assert(knows(name));
    memset(name, 'a', sizeof name);
    name[3] = '.';
    name[sizeof name - 1] = '\0';
    ck_assert(!knows(name));
}
END_TEST

START_TEST(test_no_certificate)
{
    bool is_known;

    world_build();
    ck_assert_ptr_null(find("a.example", &is_known));
    ck_assert_ptr_null(find("", &is_known));
    ck_assert(!is_known);
}
END_TEST

/* The first certificate of a name and a kind of key is the one. */
START_TEST(test_first_of_a_kind)
{
    world_certificate(&old_ec);
    world_certificate(&ec);
    world_build();
    ck_assert_ptr_eq(served("a.example"), &old_ec);
}
END_TEST

static int key_seen(void)
{
    X509 *cert = SSL_get0_peer_certificate(peer_ssl);

    return EVP_PKEY_get_base_id(X509_get0_pubkey(cert));
}

static void open_name(const char *sni)
{
    struct bufq first;
    bool is_known;

    conn_close(&u.c);
    peer_free();
    if (peer >= 0)
        close(peer);
    bufq_init(&first);
    open_tcp(true);
    u.connected = 0;
    u.got_n = 0;
    ck_assert_int_eq(conn_tls_accept(u.c, find(sni, &is_known), &first), 0);
    if (!peer_ctx)
        peer_context(true);
    peer_start();
    if (*sni)
        peer_name(sni);
    if (peer_session) { /* a copy: OpenSSL does not take one twice */
        SSL_SESSION *copy = SSL_SESSION_dup(peer_session);

        ck_assert_int_eq(SSL_set_session(peer_ssl, copy), 1);
        SSL_SESSION_free(copy);
    }
}

static void client_forces(const char *algorithms, int kind)
{
    peer_context(true);
    ck_assert_int_eq(SSL_CTX_set1_sigalgs_list(peer_ctx, (char *)(uintptr_t)algorithms), 1);
    open_name("a.example");
    ck_assert_int_eq(handshake(), 0);
    ck_assert_int_eq(key_seen(), kind);
}

START_TEST(test_ecdsa_and_rsa_for_one_name)
{
    world_certificate(&rsa);
    world_certificate(&ec);
    world_build();
    client_forces("ECDSA+SHA256", EVP_PKEY_EC);
    client_forces("rsa_pss_rsae_sha256", EVP_PKEY_RSA);
    /* Of this name there is only one. */
    peer_context(true);
    open_name("b.example");
    ck_assert_int_eq(handshake(), 0);
    ck_assert_int_eq(key_seen(), EVP_PKEY_RSA);
    /* Clients without a name have the choice as well. */
    peer_context(true);
    ck_assert_int_eq(SSL_CTX_set1_sigalgs_list(peer_ctx, (char *)(uintptr_t)"ECDSA+SHA256"), 1);
    open_name("");
    ck_assert_int_eq(handshake(), 0);
    ck_assert_int_eq(key_seen(), EVP_PKEY_EC);
}
END_TEST

/* ---- ALPN ---- */

static void alpn(const char *theirs, unsigned size)
{
    peer_context(true);
    ck_assert_int_eq(SSL_CTX_set_alpn_protos(peer_ctx, (const unsigned char *)theirs, size), 0);
    open_name("a.example");
}

START_TEST(test_alpn)
{
    struct slice offered[] = { SLICE("http/1.1"), SLICE("x") };

    w.listener.alpn = (struct conf_alpns){ offered, 2 };
    world_certificate(&ec);
    world_build();
    alpn("\x01x\x02h2\x08http/1.1", 14);
    ck_assert_int_eq(handshake(), 0);
    ck_assert(slice_eq(conn_tls(u.c)->alpn, SLICE("http/1.1")));
    alpn("\x02h2", 3); /* RFC 7301 3.2 */
    ck_assert_int_eq(peer_handshakes(), SSL_ERROR_SSL);
    ck_assert_int_eq(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    ERR_clear_error();
    UNTIL(u.connected);
    ck_assert_int_eq(u.connect_error, EPROTO);
    ck_assert_int_eq(conn_tls_failure(u.c), TLS_FAIL_OTHER);
    peer_context(true);
    open_name("a.example"); /* who does not ask is not told */
    ck_assert_int_eq(handshake(), 0);
    ck_assert_uint_eq(conn_tls(u.c)->alpn.n, 0);
}
END_TEST

/* ---- OCSP ---- */

static int on_staple(SSL *ssl, void *arg)
{
    const unsigned char *p;
    long n = SSL_get_tlsext_status_ocsp_resp(ssl, &p);

    ck_assert_int_eq(n, 6);
    ck_assert_mem_eq(p, "staple", 6);
    ++*(unsigned *)arg;
    return 1;
}

START_TEST(test_stapled)
{
    unsigned seen = 0;

    world_certificate(&rsa);
    world_certificate(&ec);
    w.certificates[1].ocsp.content = SLICE("staple");
    world_build();
    peer_context(true);
    SSL_CTX_set_tlsext_status_type(peer_ctx, TLSEXT_STATUSTYPE_ocsp);
    SSL_CTX_set_tlsext_status_cb(peer_ctx, on_staple);
    SSL_CTX_set_tlsext_status_arg(peer_ctx, &seen);
    ck_assert_int_eq(SSL_CTX_set1_sigalgs_list(peer_ctx, (char *)(uintptr_t)"ECDSA+SHA256"), 1);
    open_name("a.example");
    ck_assert_int_eq(handshake(), 0);
    ck_assert_uint_eq(seen, 1);
    /* The other certificate has none. */
    peer_context(true);
    SSL_CTX_set_tlsext_status_type(peer_ctx, TLSEXT_STATUSTYPE_ocsp);
    ck_assert_int_eq(SSL_CTX_set1_sigalgs_list(
                         peer_ctx, (char *)(uintptr_t)"rsa_pss_rsae_sha256"), 1);
    open_name("a.example");
    ck_assert_int_eq(handshake(), 0);
    const unsigned char *p;
    ck_assert_int_eq(SSL_get_tlsext_status_ocsp_resp(peer_ssl, &p), -1);
}
END_TEST

/* ---- client certificates ---- */

static void verify(enum conf_client_verify how)
{
    w.listener.client_verify = how;
    w.listener.client_ca = (struct conf_file){ .path = "ca.pem", .content = authority.pem };
    world_certificate(&ec);
    world_build();
}

START_TEST(test_client_certificate_optional)
{
    verify(CONF_CLIENT_VERIFY_OPTIONAL);
    open_name("a.example");
    ck_assert_int_eq(handshake(), 0);
    ck_assert(!conn_tls(u.c)->is_verified);
    ck_assert_uint_eq(conn_tls(u.c)->client_subject.n, 0);
    ck_assert_int_eq(sk_X509_NAME_num(SSL_get_client_CA_list(peer_ssl)), 1);
    peer_context(true);
    peer_shows(&client_id);
    open_name("a.example");
    ck_assert_int_eq(handshake(), 0);
    ck_assert(conn_tls(u.c)->is_verified);
    ck_assert(slice_eq(conn_tls(u.c)->client_subject, SLICE("CN=someone,O=rpd")));
    /* A bad one is worse than none. */
    peer_context(true);
    peer_shows(&stranger);
    open_name("a.example");
    ck_assert_int_eq(handshake(), EPROTO);
    ck_assert_int_eq(conn_tls_failure(u.c), TLS_FAIL_CERTIFICATE);
    ck_assert_int_eq(conn_tls_verify(u.c), TLS_VERIFY_UNTRUSTED);
}
END_TEST

START_TEST(test_client_certificate_required)
{
    verify(CONF_CLIENT_VERIFY_REQUIRED);
    open_name("a.example");
    ck_assert_int_eq(handshake(), EPROTO);
    ck_assert_int_eq(conn_tls_failure(u.c), TLS_FAIL_CERTIFICATE);
    ck_assert_int_eq(conn_tls_verify(u.c), TLS_VERIFY_MISSING);
    peer_context(true);
    peer_shows(&client_id);
    open_name("a.example");
    ck_assert_int_eq(handshake(), 0);
    ck_assert(conn_tls(u.c)->is_verified);
}
END_TEST

/* ---- sessions ---- */

static void get_session(int version)
{
    peer_context(true);
    SSL_CTX_set_max_proto_version(peer_ctx, version);
    open_name("a.example");
    ck_assert_int_eq(handshake(), 0);
    queue("x", 1);
    conn_flush(u.c);
    ck_assert_int_eq(peer_hears("x", 1), SSL_ERROR_NONE);
    ck_assert_ptr_nonnull(peer_session);
    ck_assert(SSL_SESSION_is_resumable(peer_session));
    SSL_set_shutdown(peer_ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

/* Whether the session is taken up. */
static bool resumes(void)
{
    SSL_SESSION *kept = peer_session;
    bool is_resumed;

    SSL_SESSION_up_ref(kept);
    open_name("a.example");
    ck_assert_int_eq(handshake(), 0);
    is_resumed = conn_tls(u.c)->is_resumed;
    ck_assert(is_resumed == (SSL_session_reused(peer_ssl) == 1));
    SSL_set_shutdown(peer_ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_SESSION_free(peer_session);
    peer_session = kept;
    return is_resumed;
}

/* As a worker started anew, or another one, has it: contexts of its own and the same keys. */
static void another_worker(void)
{
    conn_close(&u.c);
    spin(1);
    world_fini_front();
    tls_process_free(&w.process);
    w.process = tls_process_new(&pool, NULL);
    ck_assert_int_eq(tls_process_tickets(w.process, dup(tickets_fd(w.tickets))), 0);
    report_fini(&w.report);
    world_build();
}

static void resume_everywhere(int version)
{
    uint64_t now_us = clock_mono_us();

    world_certificate(&ec);
    world_build();
    get_session(version);
    ck_assert(resumes());
    another_worker();
    ck_assert(resumes());
    /* Old keys take what they gave for a day, and no longer. */
    ck_assert_int_eq(tickets_rotate(w.tickets, now_us + TICKETS_ROTATE_US), 0);
    ck_assert(resumes());
    ck_assert_int_eq(tickets_rotate(w.tickets, now_us + 2 * TICKETS_ROTATE_US), 0);
    another_worker();
    ck_assert(resumes());
    ck_assert_int_eq(tickets_rotate(w.tickets, now_us + 4 * TICKETS_ROTATE_US), 0);
    ck_assert(!resumes());
}

START_TEST(test_resumption_13)
{
    resume_everywhere(TLS1_3_VERSION);
}
END_TEST

START_TEST(test_resumption_12)
{
    resume_everywhere(TLS1_2_VERSION);
}
END_TEST

START_TEST(test_resumption_by_file)
{
    char keys[160];

    for (size_t i = 0; i < sizeof keys; i++)
        keys[i] = (char)i;
    w.conf.global.ticket_key_file = (struct conf_file){ .path = "t",
                                                        .content = slice_of(keys, 80) };
    world_certificate(&ec);
    world_build();
    get_session(TLS1_3_VERSION);
    tickets_free(&w.tickets);
    w.tickets = tickets_new(clock_mono_us());
    another_worker();
    ck_assert(resumes());
    /* A new one in front encrypts, the old one decrypts. */
    memmove(keys + 80, keys, 80);
    memset(keys, 'n', 80);
    w.conf.global.ticket_key_file.content = slice_of(keys, 160);
    another_worker();
    ck_assert(resumes());
    w.conf.global.ticket_key_file.content = slice_of(keys, 80);
    another_worker();
    ck_assert(!resumes());
}
END_TEST

/* A session is not verified again: it counts only where the same CAs are asked. */
START_TEST(test_no_resumption_past_other_cas)
{
    verify(CONF_CLIENT_VERIFY_REQUIRED);
    peer_context(true);
    peer_shows(&client_id);
    open_name("a.example");
    ck_assert_int_eq(handshake(), 0);
    queue("x", 1);
    conn_flush(u.c);
    ck_assert_int_eq(peer_hears("x", 1), SSL_ERROR_NONE);
    SSL_set_shutdown(peer_ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    another_worker();
    ck_assert(resumes());
    ck_assert(slice_eq(conn_tls(u.c)->client_subject, SLICE("CN=someone,O=rpd")));
    ck_assert(conn_tls(u.c)->is_verified);
    w.listener.client_ca.content = stranger.pem;
    another_worker();
    open_name("a.example");
    ck_assert_int_eq(handshake(), EPROTO);
    ck_assert_int_eq(conn_tls_failure(u.c), TLS_FAIL_CERTIFICATE);
}
END_TEST

START_TEST(test_no_tickets_without_keys)
{
    world_certificate(&ec);
    tls_process_free(&w.process);
    w.process = tls_process_new(&pool, NULL);
    world_build();
    open_name("a.example");
    ck_assert_int_eq(handshake(), 0);
    queue("x", 1);
    conn_flush(u.c);
    ck_assert_int_eq(peer_hears("x", 1), SSL_ERROR_NONE);
    ck_assert_ptr_null(peer_session);
}
END_TEST

/* ---- generations ---- */

/* What both have is parsed once; connections outlive what they began under. */
START_TEST(test_next_generation)
{
    struct tls_certs *old_certs;
    struct tls_front *old_front;
    bool is_known;

    world_certificate(&ec);
    world_build();
    open_name("a.example");
    spin(2);
    old_certs = w.certs;
    old_front = w.front;
    tls_back_unref(&w.back);
    report_fini(&w.report);
    world_certificate(&wild);
    world_build();
    ck_assert_uint_eq(w.process->certs.count, 2);
    ck_assert_uint_eq(w.process->cas.count, 1);
    ck_assert_ptr_eq(w.certs->v[0], old_certs->v[0]);
    ck_assert_ptr_ne(find("a.example", &is_known),
                     tls_front_find(old_front, SLICE("a.example"), &is_known));
    tls_front_free(&old_front);
    tls_certs_unref(&old_certs);
    ck_assert_int_eq(handshake(), 0);
    peer_says("ping", 4);
    UNTIL(u.got_n == 4);
    ck_assert_ptr_eq(served("w.example"), &wild);
    world_fini_front();
    ck_assert_uint_eq(w.process->certs.count, 0);
    ck_assert_uint_eq(w.process->cas.count, 0);
    peer_says("pong", 4);
    UNTIL(u.got_n == 8);
}
END_TEST

static void refused(const char *why, int keyring)
{
    report_init(&w.report);
    w.certs = tls_certs_new(w.process, &w.conf, keyring, &w.report);
    ck_assert_ptr_null(w.certs);
    ck_assert_msg(strstr(w.report.text.s, why), "%s", w.report.text.s);
    report_fini(&w.report);
    ck_assert_uint_eq(w.process->certs.count, 0);
}

START_TEST(test_what_cannot_be_used_is_refused)
{
    int keyring;

    world_certificate(&ec);
    keyring = keyring_write(w.keys, 1);
    w.certificates[0].cert.content = rsa.pem;
    refused("[certificate c] key: it is not in the keyring", keyring);
    w.certificates[0].cert.content = SLICE("-----BEGIN CERTIFICATE-----\n");
    refused("[certificate c] cert: ", keyring);
    close(keyring);
    w.certificates[0].cert.content = ec.pem;
    refused("[certificate c] key: there is no keyring", -1);
    keyring = memfd_create("test", 0);
    refused("[certificate c] key: keyring: ", keyring);
    close(keyring);
    report_init(&w.report);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_names, test_long_name, test_no_certificate, test_first_of_a_kind,
        test_ecdsa_and_rsa_for_one_name, test_alpn, test_stapled,
        test_client_certificate_optional, test_client_certificate_required, test_resumption_13,
        test_resumption_12, test_resumption_by_file, test_no_resumption_past_other_cas,
        test_no_tickets_without_keys, test_next_generation, test_what_cannot_be_used_is_refused,
    };

    return run_tls_tests("tls_front", tests, sizeof tests / sizeof tests[0]);
}
