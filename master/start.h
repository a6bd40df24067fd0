/* From arguments to ready, and from the last child's end to the exit status. */
#ifndef RPD_MASTER_START_H
#define RPD_MASTER_START_H

#include <stdbool.h>

struct master;

/* The master's whole life; returns its exit status. `m` is zeroed. */
int start_run(struct master *m, const char *file, bool is_background);
/* `rpd -t`: what start-up checks, and nothing bound or written. Returns the exit status. */
int start_check(const char *file);

/* A worker has become ready. */
void start_progress(struct master *m);
/* The start cannot go on: says why, ends what runs. Harmless afterwards. */
void start_failed(struct master *m, const char *why);

#endif
