/* TLS of a worker, both roles: what a configuration makes of OpenSSL (contexts, found by name for
 * clients, one a backend for servers), and TLS over a conn. Everything is built from the
 * configuration in memory; no file is opened here.
 *
 *   tls_process   of the worker's life     ticket keys, buffers that all its conns share
 *   tls_certs     of a generation          certificates and their keys
 *   tls_front     of a listener in it      its contexts, by SNI
 *   tls_back      of a backend in it       its context; counted
 *   tls_info      of a connection          what its handshake came to; counted
 *
 * A conn that speaks TLS is used as any other: conn_read and conn->out carry what is within. */
#ifndef RPD_IO_TLS_H
#define RPD_IO_TLS_H

#include <openssl/types.h>
#include "common/core/conf.h"
#include "common/core/report.h"
#include "worker/io/conn.h"

struct keys;
struct key_wait;

/* ---- the worker's ---- */

/* The way to private keys that are not here (keys.h has these). */
struct tls_keys {
    struct keys *keys;
    /* SSL_do_handshake, or KEYS_WAITS, KEYS_CROWDED (key_wait.h). */
    int (*handshake)(struct keys *k, struct key_wait *wait, SSL *ssl);
    EVP_PKEY *(*key)(struct keys *k, const X509 *leaf, const unsigned char *id, char *why,
                     size_t why_size);
};

struct tls_process;

/* keys NULL: private keys are in the worker; else kept by pointer. Conns of the pool can speak TLS
 * from then on. Costs nothing before the first configuration with certificates or TLS. */
struct tls_process *tls_process_new(struct conn_pool *conns, const struct tls_keys *keys);
/* After conn_pool_fini; clears *p. */
void tls_process_free(struct tls_process **p);
/* The ticket keys that the master shares (common/tls/tickets.h), in place of those before; takes
 * the descriptor over. -1 with errno: those before stay. */
int tls_process_tickets(struct tls_process *p, int fd);
/* That descriptor, to hand on; -1: there is none. */
int tls_process_tickets_fd(const struct tls_process *p);

/* ---- a generation's ---- */

struct tls_certs;

/* Every certificate that the configuration has. Keys come from the keyring's descriptor, which
 * stays the caller's, or with -1 from `rpd: keys`. One reference. NULL: the report says why. */
struct tls_certs *tls_certs_new(struct tls_process *p, const struct conf *conf, int keyring,
                                struct report *report);
void tls_certs_unref(struct tls_certs **c);

struct tls_front;

/* For a listener with tls = on. The configuration must outlive it. NULL: the report says why. */
struct tls_front *tls_front_new(struct tls_process *p, const struct conf *conf,
                                const struct conf_listener *listener, struct tls_certs *certs,
                                struct report *report);
/* Connections that were accepted with its contexts stay as they are. */
void tls_front_free(struct tls_front **f);
/* Which context serves the name (lower case, no trailing dot; empty: none was sent): exactly that
 * name's, then its wildcard's, else the listener's first certificate's, and is_known is false.
 * It is the front's. NULL: the listener has no certificate, or memory is exhausted. */
SSL_CTX *tls_front_find(struct tls_front *f, struct slice sni, bool *is_known);

struct tls_back;

/* For a backend with tls = on; one reference. NULL: the report says why. */
struct tls_back *tls_back_new(struct tls_process *p, const struct conf *conf,
                              const struct conf_backend *backend, struct tls_certs *certs,
                              struct report *report);
/* Connections and sessions made by the one are as good as those made by the other. NULL, TLS off,
 * is the same as NULL only. */
bool tls_back_is_same(const struct tls_back *a, const struct tls_back *b);
struct tls_back *tls_back_ref(struct tls_back *b);
void tls_back_unref(struct tls_back **b);

/* ---- a server's: its name, and the session that the next handshake may resume ---- */

/* The host of an address as it was configured, as certificates have it: lower case, no root's dot;
 * of a Unix socket, "". The caller's to free. */
char *tls_host_of(const char *text);

struct tls_resumption;

struct tls_resumption *tls_resumption_new(void); /* NULL: exhausted */
void tls_resumption_unref(struct tls_resumption **r);

/* ---- a connection's ---- */

/* What a handshake came to. Slices are printable; empty: there is none. */
struct tls_info {
    uint32_t refs;
    bool is_resumed;
    bool is_verified;            /* the client (or server) showed a certificate that is good */
    const char *version;         /* "TLSv1.3" */
    const char *cipher;          /* "TLS_AES_128_GCM_SHA256" */
    struct slice sni;            /* lower case */
    struct slice alpn;
    struct slice client_subject; /* RFC 2253 */
};

struct tls_info *tls_info_ref(struct tls_info *i); /* NULL is fine */
void tls_info_unref(struct tls_info **i);

/* Why a handshake failed. */
enum tls_failure {
    TLS_FAIL_NONE,
    TLS_FAIL_HELLO,       /* the ClientHello makes no sense */
    TLS_FAIL_VERSION,     /* no version in common */
    TLS_FAIL_CIPHER,      /* no cipher, group or signature in common */
    TLS_FAIL_NAME,        /* strict_sni */
    TLS_FAIL_CERTIFICATE, /* the peer's: missing, or refused; tls_verify says why */
    TLS_FAIL_ALERT,       /* the peer gave up and said so */
    TLS_FAIL_CLOSED,      /* the peer went away */
    TLS_FAIL_TIMEOUT,
    TLS_FAIL_KEYS,        /* `rpd: keys` did not sign */
    TLS_FAIL_OTHER,
};
#define TLS_FAILURES (TLS_FAIL_OTHER + 1)

/* What is wrong with the peer's certificate. */
enum tls_verify {
    TLS_VERIFY_OK,
    TLS_VERIFY_MISSING,
    TLS_VERIFY_EXPIRED,
    TLS_VERIFY_NOT_YET, /* valid */
    TLS_VERIFY_NAME,    /* of another host */
    TLS_VERIFY_UNTRUSTED,
    TLS_VERIFY_OTHER,
};

/* Begins TLS with a client that was accepted; `first` are bytes read already and taken over. The
 * conn is CONNECTING from then on, its user's timer runs, and on_connected follows, never from
 * within this call: 0 when the handshake is done, an errno when it failed: conn_tls_failure says
 * why then, and an alert, if one is due, waits for conn_linger to let it leave. -1 (exhausted):
 * nothing has happened. */
int conn_tls_accept(struct conn *c, SSL_CTX *ctx, struct bufq *first);
/* The same with a server, after on_connected(c, 0). What is in c->out leaves in the clear first.
 * `name` goes out as SNI unless it is an address, and has to be in the certificate unless the
 * backend does not verify; then it may be "". alpn: the protocol to be spoken, empty: not said.
 * resumption may be NULL; a reference is taken. */
int conn_tls_connect(struct conn *c, const struct tls_back *back, const char *name,
                     struct slice alpn, struct tls_resumption *resumption);
/* NULL: in the clear, or no handshake done. Who wants it after the conn's end takes a reference. */
struct tls_info *conn_tls(const struct conn *c);

/* After on_connected(c, errno) of a conn with TLS, or when reading has failed since: in TLS 1.3 a
 * server that refuses our certificate says so only then. TLS_FAIL_NONE otherwise. */
enum tls_failure conn_tls_failure(const struct conn *c);
enum tls_verify conn_tls_verify(const struct conn *c);
/* In words, for the log: "sslv3 alert handshake failure"; static. */
const char *conn_tls_reason(const struct conn *c);

#endif
