/* `rpd: helper`: what its parts share. One loop, one thread; it carries no client's traffic and
 * holds no listening socket. */
#ifndef RPD_HELPER_HELPER_H
#define RPD_HELPER_HELPER_H

#include "common/core/conf.h"
#include "common/core/ipc.h"
#include "common/core/names.h"
#include "common/core/stats.h"
#include "helper/canaries.h"
#include "helper/ejections.h"
#include "helper/resolver.h"
#include "helper/servers.h"
#include "worker/io/buf.h"
#include "worker/io/conn.h"
#include "worker/io/keys.h"
#include "worker/io/loop.h"
#include "worker/io/tls.h"

struct helper {
    struct loop loop;
    struct buf_pool bufs;
    struct conn_pool conns;
    struct tls_keys keys;
    struct stats_worker keys_stats; /* that nobody reads */
    struct tls_process *tls;
    struct servers servers;
    struct ejections ejections;
    struct canaries canaries;
    struct timer tick;
    struct segment *segment;
    struct conf *conf; /* of the generation in force; NULL: none yet */
    int channel_fd, log_fd;
    struct watch channel;
    struct ipc_msg msg; /* too large for a stack */
    struct names names;       /* answers that the master has */
    struct names_users users; /* of those names, in conf */
    struct resolver resolver;
};

/* Tells the master; `text` may be empty. A message that it does not take now is lost, which the
 * log says. */
void helper_tell(struct helper *h, enum ipc_type type, uint64_t number, struct slice text);

/* names.c */
void helper_names_init(struct helper *h);
void helper_names_fini(struct helper *h);
/* A generation: which names are asked for. */
void helper_names_follow(struct helper *h, const struct conf *conf);
/* IPC_NAMES; the fds stay the caller's. */
void helper_names_take(struct helper *h, const struct ipc_msg *msg);

#endif
