/* A worker's root: what main.c and orphan.c share. */
#ifndef RPD_WORKER_SELF_H
#define RPD_WORKER_SELF_H

#include "common/core/ipc.h"
#include "worker/io/keys.h"
#include "worker/proxy/proxy.h"

/* A listening socket; it has an acceptor while some listener binds its address. */
struct socket {
    struct list link;
    struct acceptor acceptor;
    char key[128];
    uint32_t slot;
    bool is_shared;
    int fd;                  /* until the acceptor has it */
    struct listener *listener;
};

struct worker {
    struct proxy proxy;
    struct watch channel;
    int channel_fd;
    struct watch heir;       /* of the master to come, while there is none */
    int heir_fd;             /* -1: none to be had */
    bool is_heir_watched;
    struct tls_keys keys;    /* private keys that are elsewhere */
    struct tls_process *tls;
    int bundle;              /* of the generation in force, for that one */
    int keyring;             /* the same, with key_process = off; -1: none */
    unsigned index, slot;
    struct segment *segment;
    struct list sockets;
    struct list listeners;
    struct names names;      /* answers of name servers */
    struct names_users users; /* of those names, in the generation in force */
    struct timer tick, retire_check;
    uint64_t retire_from_us, retire_at_us;
    bool closes_idle;        /* while it retires */
    uint64_t cpu_before_us;  /* of this slot's earlier workers */
    int log_fd;              /* error log from the master, -1: descriptor 2 */
    struct ipc_msg msg;      /* too large for the stack */
    char name[24];           /* for the log */
};

/* main.c: to the master. */
void self_answer(struct worker *w, enum ipc_type type, uint64_t number, struct slice text);
/* An idle client's next request may be on its way: it is answered, and told that it was the last.
 * When all of rpd goes (closes_idle), nobody waits for that. */
void self_retire(struct worker *w, uint64_t within_ms, bool closes_idle);
/* Ends at once. */
void self_stop(struct worker *w);

/* names.c */
void self_names_init(struct worker *w);
void self_names_fini(struct worker *w);
/* A generation is in force. */
void self_names_follow(struct worker *w);
/* IPC_NAMES; the fds stay the caller's. */
void self_names_take(struct worker *w, const struct ipc_msg *msg);

/* orphan.c */
void orphan_init(struct worker *w);
/* The channel has ended: closes it, and waits for another master, or retires. */
void orphan_begin(struct worker *w);

#endif
