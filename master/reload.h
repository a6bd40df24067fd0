/* Reload: a reader child reads the configuration, the master puts it in force and waits for the
 * workers to say that they have it. The same for an apply and for going back (apply.h). */
#ifndef RPD_MASTER_RELOAD_H
#define RPD_MASTER_RELOAD_H

#include <stdbool.h>
#include <sys/types.h>
#include "common/base/list.h"
#include "common/base/slice.h"
#include "common/base/strbuf.h"
#include "master/events.h"
#include "master/reader.h"

struct client;
struct master;
struct worker;

/*
 *   IDLE --request--> READING --accepted--> APPLYING --all workers ready, or 10 s--> IDLE
 *                        +------refused, or read only (RELOAD_DIFF)----------------->
 *
 * RELOAD_BACK reads nothing: from any state straight to APPLYING; what was being read is begun anew
 * afterwards.
 */
enum reload_phase { RELOAD_IDLE, RELOAD_READING, RELOAD_APPLYING };

enum reload_kind {
    RELOAD_FILES, /* the file of the start, anew */
    RELOAD_APPLY, /* the file of an apply */
    RELOAD_DIFF,  /* read and compared, nothing more */
    RELOAD_BACK,  /* the configuration before an apply */
};

struct reload {
    enum reload_phase phase;
    enum reload_kind kind;    /* of the one under way */
    uid_t uid;                /* who asked for it; (uid_t)-1: a signal */
    bool is_wanted;           /* asked for again meanwhile: once more afterwards */
    struct list waiting;      /* clients, for the one under way */
    struct list next;         /* clients, for the one afterwards */
    struct deadline deadline; /* of the workers' answers */
    struct strbuf answer;
};

void reload_init(struct master *m);
void reload_fini(struct master *m);
/* `client` gets the outcome; NULL: a signal. */
void reload_request(struct master *m, struct client *client);
/* The start is done: from now on requests are served. */
void reload_allow(struct master *m);
/* None is under way. */
bool reload_is_idle(const struct master *m);
/* No more: whoever waits is told that rpd stops. */
void reload_stop(struct master *m);

/* The reader's outcome; bundle and keyring (-1: none) are taken over. */
void reload_read(struct master *m, int bundle, int keyring, struct report *report);
void reload_reader_gone(struct master *m);
/* A worker has taken a generation, or has ended; has refused it. */
void reload_progress(struct master *m);
void reload_worker_failed(struct master *m, const struct worker *w, struct slice why);
/* Something is not as it should be with what is being put in force. */
void reload_warn(struct master *m, const char *text);

/* ---- for apply.c ---- */

/* Whether something new may be read now. */
bool reload_is_free(const struct master *m);
/* Somebody waits for that. */
void reload_poke(struct master *m);
/* Reads `file` (which stays until the outcome): RELOAD_APPLY or RELOAD_DIFF. */
void reload_begin(struct master *m, enum reload_kind kind, const char *file);
/* What is being read is given up, to be begun anew. */
void reload_interrupt(struct master *m);
/* Puts *next in force (it is empty then) and waits for the workers; false with errors in the
 * report: all is as before. */
bool reload_swap(struct master *m, enum reload_kind kind, struct generation *next,
                 struct report *report);
/* The generation in force is for every worker now: waits for them. */
void reload_spread(struct master *m);

#endif
