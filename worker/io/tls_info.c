/* What a handshake came to, for logs, variables and counters; or why it came to nothing. Called by
 * conn_tls.c when it is over. */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include "worker/io/tls_impl.h"

#define NAME_MAX_SIZE 255    /* of a host */
#define SUBJECT_MAX_SIZE 2048
/* Alerts that a peer sent are reasons from here on (openssl/sslerr.h). */
#define ALERT_REASONS SSL_AD_REASON_OFFSET
#define ALERT_REASONS_END (ALERT_REASONS + 256)

/* ---- done ---- */

static bool is_printable(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e)
            return false;
    return true;
}

static struct slice sni_of(const SSL *ssl)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    struct slice s = name ? slice_str(name) : SLICE_NONE;

    return s.n <= NAME_MAX_SIZE && is_printable(s) ? s : SLICE_NONE;
}

static struct slice alpn_of(const SSL *ssl)
{
    const unsigned char *p = NULL;
    unsigned n = 0;
    struct slice s;

    SSL_get0_alpn_selected(ssl, &p, &n);
    s = n > 0 ? slice_of((const char *)p, n) : SLICE_NONE;
    return is_printable(s) ? s : SLICE_NONE;
}

/* Escapes whatever is not printable ASCII. */
static BIO *subject_of(const SSL *ssl)
{
    X509 *peer = SSL_is_server(ssl) ? SSL_get0_peer_certificate(ssl) : NULL;
    BIO *text = peer ? BIO_new(BIO_s_mem()) : NULL;

    if (text && X509_NAME_print_ex(text, X509_get_subject_name(peer), 0, XN_FLAG_RFC2253) >= 0)
        return text;
    BIO_free(text);
    return NULL;
}

static struct slice keep(char **to, struct slice s)
{
    struct slice kept = slice_of(*to, s.n);

    if (s.n > 0)
        memcpy(*to, s.p, s.n);
    *to += s.n;
    return kept;
}

static void lower(struct slice s, char *p)
{
    for (size_t i = 0; i < s.n; i++)
        p[i] = ascii_lower(p[i]);
}

struct tls_info *tls_info_new(SSL *ssl)
{
    struct slice sni = sni_of(ssl), alpn = alpn_of(ssl), subject = SLICE_NONE;
    BIO *text = subject_of(ssl);
    struct tls_info *i;
    char *at = NULL;

    if (text)
        subject.n = (size_t)BIO_get_mem_data(text, &at);
    subject.p = at;
    if (subject.n > SUBJECT_MAX_SIZE)
        subject.n = SUBJECT_MAX_SIZE;
    i = malloc(sizeof *i + sni.n + alpn.n + subject.n);
    if (i) {
        *i = (struct tls_info){ .refs = 1, .is_resumed = SSL_session_reused(ssl) };
        i->version = SSL_get_version(ssl);
        i->cipher = SSL_get_cipher_name(ssl);
        i->is_verified = SSL_get0_peer_certificate(ssl)
                         && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE
                         && SSL_get_verify_result(ssl) == X509_V_OK;
        at = (char *)(i + 1);
        i->sni = keep(&at, sni);
        lower(i->sni, at - sni.n);
        i->alpn = keep(&at, alpn);
        i->client_subject = keep(&at, subject);
    }
    BIO_free(text);
    return i;
}

struct tls_info *tls_info_ref(struct tls_info *i)
{
    if (i)
        i->refs++;
    return i;
}

void tls_info_unref(struct tls_info **ip)
{
    struct tls_info *i = *ip;

    *ip = NULL;
    if (i && --i->refs == 0)
        free(i);
}

/* ---- failed ---- */

static enum tls_failure failure_of(const struct tls_conn *t, int reason)
{
    if (reason >= ALERT_REASONS && reason < ALERT_REASONS_END)
        return TLS_FAIL_ALERT;
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_INAPPROPRIATE_FALLBACK:
        return TLS_FAIL_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        return TLS_FAIL_CIPHER;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_NO_CERTIFICATES_RETURNED:
        return TLS_FAIL_CERTIFICATE;
    default:
        break;
    }
    if (reason == ERR_R_EVP_LIB && t->was_asking)
        return TLS_FAIL_KEYS;
    if (SSL_is_server(t->ssl) && SSL_get_state(t->ssl) == TLS_ST_BEFORE)
        return TLS_FAIL_HELLO;
    return TLS_FAIL_OTHER;
}

/* The first that TLS itself found, for what it was made of says less; or the first at all. */
static unsigned long take_error(void)
{
    unsigned long first = ERR_get_error(), error = first;

    while (error && ERR_GET_LIB(error) != ERR_LIB_SSL)
        error = ERR_get_error();
    ERR_clear_error();
    return error ? error : first;
}

void tls_note_failure(struct tls_conn *t)
{
    unsigned long error = take_error();

    if (t->failure != TLS_FAIL_NONE)
        return;
    if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
        t->failure = (uint8_t)failure_of(t, ERR_GET_REASON(error));
        t->reason = ERR_reason_error_string(error);
    } else if (t->is_eof || t->error || t->send_error) {
        int socket_error = t->error ? t->error : t->send_error;

        t->failure = TLS_FAIL_CLOSED;
        t->reason = socket_error ? strerrordesc_np(socket_error) : "closed";
    } else {
        t->failure = TLS_FAIL_OTHER;
        t->reason = ERR_reason_error_string(error);
    }
    t->verify_error = (uint16_t)SSL_get_verify_result(t->ssl);
    if (t->failure == TLS_FAIL_CERTIFICATE && t->verify_error != X509_V_OK)
        t->reason = X509_verify_cert_error_string(t->verify_error);
}

enum tls_verify conn_tls_verify(const struct conn *c)
{
    if (conn_tls_failure(c) != TLS_FAIL_CERTIFICATE)
        return TLS_VERIFY_OK;
    switch (c->tls->verify_error) {
    case X509_V_OK:
        return TLS_VERIFY_MISSING;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return TLS_VERIFY_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return TLS_VERIFY_NOT_YET;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return TLS_VERIFY_NAME;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_INVALID_CA:
        return TLS_VERIFY_UNTRUSTED;
    default:
        return TLS_VERIFY_OTHER;
    }
}
