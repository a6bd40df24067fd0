/* The helper's backends and servers: what the configuration says of them, kept by name over its
 * generations, and where their health stands. */
#ifndef RPD_HELPER_SERVERS_H
#define RPD_HELPER_SERVERS_H

#include <stdbool.h>
#include "common/base/hash.h"
#include "common/base/list.h"
#include "common/core/conf.h"
#include "common/core/health.h"
#include "common/core/names.h"
#include "common/core/report.h"
#include "helper/check.h"
#include "helper/outlier.h"
#include "worker/io/tls.h"

struct helper_server {
    struct list link; /* of the backend */
    struct helper_backend *backend;
    char *name;
    const struct conf_server *conf;
    struct addr addr; /* len 0: not known, so it is not checked */
    char *tls_name;
    struct health health;
    struct check check;
    struct outlier_count before; /* the interval that outliers are judged by */
    bool is_counted;             /* `before` is set */
    uint64_t serial;  /* of the apply that it was last seen in */
};

struct helper_backend {
    struct list link;
    char *name;
    const struct conf_backend *conf; /* with the servers that names have at the moment */
    struct names_view *view;         /* which is where, if it has names */
    struct tls_back *tls; /* NULL: its checks are in the clear */
    struct stats_backend_shared *shared;
    struct list servers;
    struct smap by_name;
    struct check_queue queue;
    uint64_t serial;
};

struct servers {
    struct segment *segment;
    struct tls_process *tls;
    const struct names *names;
    struct checks checks;
    struct list backends;
    struct smap by_name;
    uint64_t serial;
};

/* `names`: the answers in force, which outlive it. */
void servers_init(struct servers *all, struct segment *segment, struct conn_pool *conns,
                  struct tls_process *tls, const struct names *names);
void servers_fini(struct servers *all);
/* Takes a configuration, which must outlive the next call; the one before is not used any more.
 * `keyring`: of the private keys, -1: they are elsewhere; stays the caller's. false: the report
 * says why, and nothing has changed. */
bool servers_apply(struct servers *all, const struct conf *conf, int keyring,
                   struct report *report);
/* A name of this backend, of the configuration that was taken last, has another answer: its servers
 * are others, in this backend only. */
void servers_change(struct servers *all, const struct conf_backend *conf);

static inline bool helper_backend_is_checked(const struct helper_backend *b)
{
    return b->conf->check.how != CONF_CHECK_OFF;
}

#endif
