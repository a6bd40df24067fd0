/* One check of one server, from connect to a result, on a connection of its own. */
#ifndef RPD_HELPER_PROBE_H
#define RPD_HELPER_PROBE_H

#include "common/core/conf.h"
#include "common/core/stats.h"
#include "helper/check_http.h"
#include "worker/io/conn.h"
#include "worker/io/tls.h"

/* What is checked and how; outlives the probe. */
struct probe_target {
    const struct conf_backend *conf; /* its check, check_timeout, send_proxy */
    const char *address;             /* as configured */
    struct addr addr;
    const struct tls_back *tls;      /* NULL: in the clear */
    const char *tls_name;
};

#define PROBE_DETAIL_MAX 160
struct probe_outcome {
    enum check_result result; /* CHECK_NONE: it could not be made, for want of memory or the like */
    unsigned status;          /* that it was answered with, 0: none */
    uint64_t took_us;
    char detail[PROBE_DETAIL_MAX]; /* of a bad one, in words */
};

struct probe;
/* From the loop. The probe frees itself: it is not the owner's any more. */
typedef void probe_fn(void *owner, const struct probe_outcome *outcome);

/* A kind of check. One that is not decided yet says CHECK_NONE. NULL: it has no use for that. */
struct check_ops {
    struct slice alpn; /* over TLS; empty: not said */
    void (*init)(struct probe *p);
    void (*fini)(struct probe *p);
    void (*moved)(struct probe *p); /* see probe_moved */
    /* Connected, and the handshake done: puts what it sends into the conn's `out`. */
    enum check_result (*begin)(struct probe *p);
    /* All of `out` has left. */
    enum check_result (*sent)(struct probe *p);
    enum check_result (*take)(struct probe *p, struct slice bytes);
    /* The server ended its output. */
    enum check_result (*end)(struct probe *p);
};

struct probe {
    struct loop *loop;
    const struct probe_target *target;
    const struct check_ops *ops;
    struct conn *conn;
    uint64_t started_us;
    bool is_tls;        /* its handshake has begun, or is done */
    probe_fn *done;
    void *owner;
    struct task ending; /* `outcome` is there */
    struct dead dead;
    struct probe_outcome outcome;
    struct check_http http;
};

/* `done` follows, never from within this call. Aborts when memory ends. */
struct probe *probe_start(struct conn_pool *conns, const struct probe_target *target,
                          probe_fn *done, void *owner);
/* What the target points to is elsewhere now, and says the same. */
void probe_moved(struct probe *p);
/* `done` does not come any more. Clears *p; NULL is fine. */
void probe_cancel(struct probe **p);

#endif
