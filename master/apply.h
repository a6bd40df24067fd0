/* `rpctl apply`: a configuration that goes back by itself unless it is confirmed, or when more
 * requests fail under it; tried by one worker first if wanted. Also `rpctl config diff`, which
 * waits for its turn at the reader like it (both: apply_queue.c). */
#ifndef RPD_MASTER_APPLY_H
#define RPD_MASTER_APPLY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "common/base/list.h"
#include "common/base/slice.h"
#include "common/base/strbuf.h"
#include "common/core/apply_request.h"
#include "common/core/report.h"
#include "master/config.h"
#include "master/events.h"
#include "master/logs.h"
#include "master/verdict.h"

struct client;
struct master;

/*
 *        put in force            workers have it               confirm
 *   NONE -----------> SWAPPING ------------------> PENDING ---------------> NONE
 *                        |                         ^  | time, bound,         ^
 *          worker 0 has  |                         |  | rollback             |
 *          it, alone     v       fit    all have it|  v                      |
 *                      TRIAL ---------> SPREADING -+ BACK -------------------+
 *                        | worse, bound, rollback     ^    workers have the old one
 *                        +----------------------------+
 *
 * Without --confirm NONE follows in place of PENDING. Going back is a swap like any other, to a
 * generation with a new number and the old text; when it fails (somebody else took an address
 * meanwhile) it is tried again each second. reload.c carries the swaps out. A worker that dies
 * gets, as its successor, what apply_generation() says for its index.
 */
enum apply_phase {
    APPLY_NONE,
    APPLY_SWAPPING,
    APPLY_TRIAL,
    APPLY_SPREADING,
    APPLY_PENDING,
    APPLY_BACK,
};

struct apply {
    enum apply_phase phase;
    struct apply_request request; /* its file is `file` */
    char *file, *diff_file;
    uid_t uid;

    bool is_kept;             /* the next install keeps what it replaces */
    bool is_tried;            /* the segment's objects are still those of `before` */
    bool is_back;             /* BACK: the old one is in force, workers are taking it */
    struct generation before; /* to go back to */
    struct logs before_logs;  /* trial: of the workers that have it */
    char *before_file;

    struct verdict_count first_from, others_from; /* TRIAL: at its beginning */
    struct verdict_count all_from;                /* PENDING: the same */
    uint64_t end_us;          /* of TRIAL or PENDING, clock_mono_us */
    uint64_t until_us;        /* the same by the clock on the wall */
    unsigned crashes;         /* of worker 0, before it got this one */
    struct deadline tick;

    struct strbuf answer;     /* so far */
    struct strbuf why;        /* it goes back */
    struct list queue;        /* clients whose turn has not come */
    struct list clients;      /* of the apply under way */
    struct list diffing;      /* of the diff being read */
    struct list backers;      /* of a rollback under way */
};

void apply_init(struct apply *a);
void apply_fini(struct apply *a);

/* ---- what clients ask for ---- */

/* `apply` and `config diff`: the client's args say what, and which. */
void apply_ask(struct client *c, struct slice args);
void apply_diff_ask(struct client *c, struct slice file);
void apply_confirm(struct client *c);
void apply_rollback(struct client *c);
/* How it stands, as lines of comment; nothing when there is nothing under way. */
void apply_print(const struct master *m, struct strbuf *out);

/* `, or at once if errors>1%`, when that was asked for. */
void apply_put_bound(const struct apply *a, struct strbuf *out);

/* ---- for the rest of the master ---- */

/* A configuration is on trial, unconfirmed or going back: no reload and no upgrade now. */
bool apply_is_pending(const struct master *m);
/* Why not: a line. */
void apply_reason(const struct master *m, struct strbuf *out);
/* The generation that the worker of this index should have, and its logs. */
const struct generation *apply_generation(const struct master *m, unsigned index);
const struct logs *apply_logs(const struct master *m, unsigned index);
/* The configuration whose objects the segment has; NULL at the start. */
const struct conf *apply_objects(const struct master *m);
/* install.c is about to replace the generation and its logs: keeps them, or frees them. */
void apply_keep(struct master *m);
/* Opens the logs of those that keep the configuration before anew; false with errors. */
bool apply_reopen(struct master *m, struct report *report);
/* An upgrade begins: nobody waits his turn any more. */
void apply_make_way(struct master *m);
/* rpd stops: whoever waits is told so, nothing goes back any more. */
void apply_stop(struct master *m);

/* ---- for reload.c ---- */

/* The reader is free: the next in the queue. */
void apply_next(struct master *m);
/* Before install() of an apply; it was refused; it or that of going back is in force. */
void apply_swap_begin(struct master *m);
void apply_swap_failed(struct master *m);
void apply_swapped(struct master *m);
void apply_swapped_back(struct master *m);
/* Workers have it, or it was refused. */
void apply_finished(struct master *m, bool is_ok, struct slice text);
/* Workers have the old one again. */
void apply_finished_back(struct master *m, struct slice text);
/* What the reader says of a diff's file; bundle and keyring (-1: none) are taken over. */
void apply_diffed(struct master *m, int bundle, int keyring, struct report *report);
/* The diff being read has to begin anew. */
void apply_diff_again(struct master *m);
/* A worker cannot take the generation it should have. */
void apply_worker_failed(struct master *m, unsigned index, struct slice why);

#endif
