/* The end: at once, or when the workers' connections are finished. */
#ifndef RPD_MASTER_STOP_H
#define RPD_MASTER_STOP_H

#include <stdbool.h>
#include "common/base/list.h"

struct client;
struct master;

struct stop {
    struct list waiting; /* clients that asked for it */
    bool is_done;        /* no child is left: the loop ends */
    bool leaves_others; /* workers of before stay: they are not ours to end */
};

void stop_init(struct stop *s);
/* TERM, INT, `stop`. Asked for again by a signal: nobody is waited for. */
void stop_now(struct master *m, struct client *client);
/* The start has failed, or was a trial: our own workers end, nobody is told. */
void stop_own(struct master *m);
/* QUIT, `quit`: listening ends, connections finish within shutdown_timeout. */
void stop_gently(struct master *m, struct client *client);
/* A child has ended. */
void stop_progress(struct master *m);

#endif
