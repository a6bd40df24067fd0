/* Asking name servers, by c-ares: who has a loop watches lookups_fd, who may block polls it. One
 * thread; nothing here blocks, but for the reading of /etc/hosts and /etc/resolv.conf. */
#ifndef RPD_NET_LOOKUP_H
#define RPD_NET_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/vec.h"
#include "common/core/names.h"

/* As many as name servers and sockets' buffers take without loss, which costs seconds. */
#define LOOKUPS_AT_ONCE 32

/* A channel to the name servers, and what is under way by it. */
struct lookups;

/* To the servers of the list; where it is empty, to those of /etc/resolv.conf as it is now. NULL,
 * with why (static). */
struct lookups *lookups_new(const struct conf_nameservers *servers, const char **why);
/* What is under way is dropped: it is not done, and due to lookup_fini. */
void lookups_free(struct lookups **l);
/* Readable (epoll; edges will do): lookups_process is due. */
int lookups_fd(const struct lookups *l);
/* Milliseconds until lookups_process is due for time's sake; -1: nothing is under way. */
int lookups_wait_ms(struct lookups *l);
/* Goes on with what came in and what has run out of time; calls `done` of what is. */
void lookups_process(struct lookups *l);

enum lookup_outcome {
    LOOKUP_FOUND,  /* found has at least one */
    LOOKUP_NONE,   /* there is no such name, or it has no address */
    LOOKUP_FAILED, /* no answer, or none that says anything */
};

struct lookup;
struct lookup_question;
typedef void lookup_fn(struct lookup *k);

/* One name: its IPv4 and IPv6 addresses; of `srv:` those of all targets. Where some questions
 * brought addresses and others were not answered, what these gave before, by `known`, stays. */
struct lookup {
    lookup_fn *done;                     /* set by the caller; may begin and end others */
    const struct names *known;           /* or NULL; has to stay until it is done */
    /* set when it is done, valid until lookup_fini */
    enum lookup_outcome outcome;
    bool is_partial;             /* some question was not answered */
    bool is_cut;                 /* there were more than CONF_ADDRESSES_MAX */
    const char *why;             /* not found: why, in words; static */
    uint32_t ttl_s;              /* the least of all records */
    struct conf_addresses found; /* sorted, none twice */
    /* of this module */
    struct lookups *owner;
    char *text;
    unsigned pending;
    bool is_srv;
    bool is_asking;
    size_t targets, targets_asked; /* of SRV records: questions 1 on */
    VEC(struct lookup_question *) questions;
    VEC(struct conf_address) all;
    size_t fresh; /* of them: not those of before */
    const char *problem, *nothing;
};

/* Asks for `text`: `name:port` or `srv:name`, of the configuration's syntax. Fill in what is the
 * caller's, zero the rest. May call `done` from within. */
void lookup_begin(struct lookups *l, struct lookup *k, const char *text);
/* Not while it is under way. */
void lookup_fini(struct lookup *k);

#endif
