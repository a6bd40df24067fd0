/* A handshake that may have to wait for an operation with a private key: what conn_tls.c, whose
 * handshake it is, and keys.c, the way to `rpd: keys`, know of each other. Zeroed but for `wake`
 * to begin with. */
#ifndef RPD_IO_KEY_WAIT_H
#define RPD_IO_KEY_WAIT_H

struct key_op;

struct key_wait {
    void (*wake)(struct key_wait *w);   /* never from within keys_handshake of it */
    struct key_op *op;                  /* NULL: there is no question */
    void (*cancel)(struct key_wait *w); /* set with op: no answer is wanted; the handshake, gone on
                                         * with once more, fails. wake is not called. */
    void *job;                          /* OpenSSL's, paused; NULL: there is none */
};

/* What runs a handshake says, beside what SSL_do_handshake does: an answer is waited for, `wake`
 * comes, then again; too many wait, again once the handshake of another has gone on. */
#define KEYS_WAITS (-2)
#define KEYS_CROWDED (-3)

#endif
