/* Reload: a reader child reads the configuration, the master puts it in force and waits for the
 * workers to say that they have it. */
#ifndef RPD_MASTER_RELOAD_H
#define RPD_MASTER_RELOAD_H

#include <stdbool.h>
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
 *                        +------refused-------------------------------------------->
 */
enum reload_phase { RELOAD_IDLE, RELOAD_READING, RELOAD_APPLYING };

struct reload {
    enum reload_phase phase;
    bool is_quiet;            /* no file was read: names resolved at last */
    bool is_wanted;           /* asked for again meanwhile: once more afterwards */
    struct list waiting;      /* clients, for the one under way */
    struct list next;         /* clients, for the one afterwards */
    struct deadline deadline; /* of the workers' answers */
    struct deadline resolve;  /* when to try names again */
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

/* The reader's outcome; the bundle (-1: none) is taken over. */
void reload_read(struct master *m, enum reader_task task, int bundle, struct report *report);
void reload_reader_gone(struct master *m);
/* A worker has taken a generation, or has ended; has refused it. */
void reload_progress(struct master *m);
void reload_worker_failed(struct master *m, const struct worker *w, struct slice why);

#endif
