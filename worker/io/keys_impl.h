/* What keys.c, keys_job.c and keys_provider.c share. See keys.h. */
#ifndef RPD_IO_KEYS_IMPL_H
#define RPD_IO_KEYS_IMPL_H

#include <openssl/async.h>
#include <openssl/evp.h>
#include "common/base/demand.h"
#include "common/tls/keys_message.h"
#include "worker/io/fibre.h"
#include "worker/io/keys.h"

/* Packets of replies taken in one go. */
#define KEYS_BATCH 8

enum key_op_state {
    KEY_OP_ASKED, /* in `queue` or in `sent` */
    KEY_OP_DONE,
    KEY_OP_FAILED,
};

/* A question, in the frame of the provider's function that asks it, which is paused meanwhile. */
struct key_op {
    struct list node;
    struct keys *keys;
    struct key_wait *wait;
    enum key_op_state state;
    struct keys_request request; /* id: the serial number of the question, and its place */
    uint64_t asked_us;
    unsigned char *signature;    /* the asker's, with room for signature_max bytes */
    size_t signature_max, signature_n;
};

struct keys {
    struct loop *loop;
    struct stats_worker *stats;
    struct watch watch;
    struct task flush;
    bool is_started;           /* what is below and OpenSSL's is there */
    unsigned nkeys;            /* EVP_PKEYs */
    int fd;                    /* -1: there is no process */
    bool is_full;              /* the channel, until answers come */
    bool had_channel;
    struct list queue, sent;   /* of struct key_op, in the order asked */
    uint64_t serial;           /* of the last question */
    struct key_op *ops[KEYS_WAITING_MAX]; /* by place */
    uint16_t free_places[KEYS_WAITING_MAX];
    unsigned nfree;

    ASYNC_WAIT_CTX *wait_ctx;  /* OpenSSL wants one; nothing is in it */
    struct key_wait *running;  /* whose job is on */
    uint64_t turns;            /* that jobs had */
    struct fibre fibre;
    struct demand jobs;        /* paused */
    unsigned calm;             /* ticks until the stacks of idle jobs go; 0: they are few */

    OSSL_PROVIDER *defaults, *provider;
    EVP_MD *digests[KEYS_DIGESTS];
    EVP_MD_CTX *digest_ctx;

    char out[KEYS_REQUESTS_MAX];
    char in[KEYS_BATCH][KEYS_REPLIES_MAX];
};

/* keys.c: for the first key; 0, or -1: OpenSSL cannot do it here. */
int keys_start(struct keys *k);
/* Asks, within a job. false: no answer, or a refusal. */
bool keys_ask(struct keys *k, struct key_op *op);

/* keys_job.c */
int keys_jobs_init(struct keys *k);
void keys_jobs_fini(struct keys *k);
void keys_jobs_tick(struct keys *k);
/* Ends the job's turn until its handshake is gone on with. false: that cannot be. */
bool keys_pause(struct keys *k);

/* keys_provider.c */
int keys_provider_init(struct keys *k);
void keys_provider_fini(struct keys *k);

#endif
