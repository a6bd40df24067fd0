/* TLS of a worker, as the files tls_*.c and conn_tls.c share it. See tls.h. */
#ifndef RPD_IO_TLS_IMPL_H
#define RPD_IO_TLS_IMPL_H

#include <openssl/ssl.h>
#include "common/base/hash.h"
#include "common/base/vec.h"
#include "common/tls/chain.h"
#include "common/tls/tickets.h"
#include "worker/io/key_wait.h"
#include "worker/io/tls.h"

#define TLS_PLAIN_MAX 16384 /* of a record, RFC 8446 5.1 */
#define TLS_RECORD_MAX (TLS_PLAIN_MAX + 512)
/* What is gathered before it is sent: five records, or four and a bit of something else. */
#define TLS_STAGE_SIZE (5 * TLS_RECORD_MAX)

struct tls_process {
    struct conn_pool *conns;
    const struct tls_keys *keys;
    BIO_METHOD *method;
    BIO *bio;                 /* of all conns */
    struct tls_conn *current; /* whose it is now: for who calls OpenSSL to set */
    int site_index;      /* of a context's tls_site; -1: OpenSSL was not needed yet */
    struct tickets *shared;      /* the master's ticket keys; NULL: not heard of yet */
    struct tls_tickets *tickets; /* those */
    struct smap certs;   /* struct tls_cert, by digest */
    struct smap cas;     /* struct tls_ca */
    struct list warm;    /* struct tls_conn with OpenSSL's buffers, the one used last first */
    unsigned nwarm;
    struct timer cool;   /* takes buffers from those that fell idle */
    struct list starved; /* handshakes that found no job free to wait for a key in */
    /* Records made and not yet sent, of the one conn that is being worked on: empty between two
     * calls. */
    size_t stage_n;
    char stage[TLS_STAGE_SIZE];
    char gather[TLS_PLAIN_MAX];
};

/* A conn's TLS.
 *
 *   kernel -> first (what was read before TLS began) -> OpenSSL's buffer -> conn_read
 *   conn->out -> OpenSSL -> stage -> kernel, and `wire` what it did not take
 */
struct tls_conn {
    struct conn *conn;
    struct tls_process *process;
    SSL *ssl;
    struct tls_info *info;             /* once the handshake is done */
    struct tls_resumption *resumption; /* of a server */
    uint64_t made_for;                 /* of what it gives us */
    struct bufq first;
    struct bufq wire;                  /* goes before anything else */
    size_t ahead;                      /* bytes at the head of conn->out that are in `wire` */
    union {
        struct {                       /* until the handshake is done: */
            struct list starved;       /* in the process's */
            struct key_wait wait;
        };
        struct {                       /* and from then on (`info` is there): */
            struct list warm;          /* in the process's */
            uint64_t used_us;          /* last, while it is warm */
            uint64_t post_us;          /* since when */
            uint32_t post_read;        /* so many bytes came, */
            uint16_t post_messages;    /* and so many steps of handshake messages among them */
        };
    };
    const char *reason;                /* static */
    uint16_t error;                    /* errno of the socket, or of what was lacking */
    uint16_t send_error;               /* the same, of output alone: what came can still be read */
    uint16_t verify_error;             /* X509_V_ERR_ */
    uint8_t failure;                   /* enum tls_failure */
    bool is_remote : 1;                /* private keys of this handshake are in `rpd: keys` */
    bool was_asking : 1;               /* it was, in this handshake */
    bool is_direct : 1;                /* the record being made is the last: no need to gather */
    bool is_eof : 1;                   /* the socket's end was read */
    bool is_ended : 1;                 /* and so was the end of what is within */
    bool is_flooded : 1;               /* with handshake messages */
    bool is_mute : 1;                  /* output goes nowhere any more */
};

/* Kinds of key, of which a context has a certificate each. */
enum tls_kind { TLS_KIND_RSA, TLS_KIND_EC, TLS_KIND_OTHER };
#define TLS_KINDS (TLS_KIND_OTHER + 1)

/* An OCSP response. */
struct tls_staple {
    const X509 *leaf; /* whose */
    unsigned char *response;
    size_t size;
};

/* What a context carries: its own. */
struct tls_site {
    struct tls_tickets *tickets;
    unsigned char *alpn; /* offered, as on the wire: each with its length in front */
    unsigned alpn_size;
    struct tls_staple staples[TLS_KINDS];
    bool is_remote;      /* its private keys are in `rpd: keys` */
};

/* tls_context.c: with what all have; NULL: OpenSSL's queue says why. The site, with the process's
 * tickets, is the context's. */
SSL_CTX *tls_context_new(struct tls_process *p, bool is_server, enum conf_tls_version min,
                         struct tls_site **site);
struct tls_site *tls_site_of(const SSL *ssl);
void tls_site_free(void *ctx, void *value, CRYPTO_EX_DATA *data, int index, long number,
                   void *pointer);

/* Ticket keys as OpenSSL uses them: the process's, which follow the master's, or those of a file.
 * Counted by the contexts that have them. */
struct tls_tickets;

/* tls_process.c: gets from OpenSSL what it needs, once; -1: its queue says why. */
int tls_process_start(struct tls_process *p);
/* It is used now; it has no buffers to be taken. */
void tls_process_warm(struct tls_conn *t);
void tls_process_chill(struct tls_conn *t);

/* Within a callback of OpenSSL's: whose. */
static inline struct tls_conn *tls_conn_of(const SSL *ssl)
{
    const struct tls_process *p = BIO_get_data(SSL_get_rbio(ssl));

    return p->current;
}

/* tls_tickets.c */
struct tls_tickets *tls_tickets_new(void); /* no keys yet: none are issued; NULL: exhausted */
/* As a ticket_key_file has them; -1: it has none. */
int tls_tickets_set(struct tls_tickets *k, struct slice file);
/* Follows the keys that *shared has, whatever it is at the time. */
void tls_tickets_share(struct tls_tickets *k, struct tickets **shared);
struct tls_tickets *tls_tickets_ref(struct tls_tickets *k);
void tls_tickets_unref(struct tls_tickets **k);
/* A context whose tls_site (below) has them issues and takes tickets. */
void tls_tickets_use(SSL_CTX *ctx);

/* tls_certs.c */
#define TLS_DIGEST_SIZE 32

struct tls_cert {
    uint32_t refs;  /* of generations */
    unsigned char digest[TLS_DIGEST_SIZE];
    struct tls_chain chain;
    struct tls_names names;
    enum tls_kind kind;
    EVP_PKEY *key;
    bool is_remote; /* the key: in `rpd: keys` */
};

/* CA certificates. */
struct tls_ca {
    uint32_t refs;
    unsigned char digest[TLS_DIGEST_SIZE];
    STACK_OF(X509) *list;
    X509_STORE *store;
};

struct tls_certs {
    uint32_t refs;
    struct tls_process *process;
    struct tls_cert **v; /* by conf_certificate.index */
    size_t n;
    VEC(struct tls_ca *) cas;
};

const struct tls_cert *tls_certs_get(const struct tls_certs *certs,
                                     const struct conf_certificate *c);
/* Into a context; false: OpenSSL's queue says why. */
bool tls_cert_use(const struct tls_cert *cert, SSL_CTX *ctx);
/* Parsed once; theirs. NULL with a reason. */
const struct tls_ca *tls_certs_ca(struct tls_certs *certs, struct slice pem, char *why,
                                  size_t why_size);
/* In words what OpenSSL's queue, which is emptied, says; static. */
const char *tls_openssl_error(void);
struct tls_certs *tls_certs_ref(struct tls_certs *certs);

/* tls_bio.c */
BIO_METHOD *tls_bio_method(void);
BIO *tls_bio_new(const BIO_METHOD *method, struct tls_process *p);
/* Sends what was made: 0 all has left, EAGAIN the rest waits in `wire`, or an errno. */
int tls_send(struct tls_conn *t);

/* tls_info.c */
struct tls_info *tls_info_new(SSL *ssl);
/* What OpenSSL's error queue, which it empties, says of a handshake that failed. */
void tls_note_failure(struct tls_conn *t);

/* tls_back.c */
struct tls_resumption *tls_resumption_ref(struct tls_resumption *r); /* NULL is fine */
SSL_CTX *tls_back_context(const struct tls_back *b);
/* Name, verification, protocol and session of a new connection; -1: exhausted. */
int tls_back_prepare(const struct tls_back *b, struct tls_conn *t, const char *name,
                     struct slice alpn);

#endif
