/* From arguments to ready, and from the last child's end to the exit status. */
#ifndef RPD_MASTER_START_H
#define RPD_MASTER_START_H

#include <stdbool.h>

struct master;

/* The master's whole life; returns its exit status. `m` is zeroed; `program` is the path by which
 * an upgrade finds its successor. */
int start_run(struct master *m, const char *program, const char *file, bool is_background);
/* `rpd -t`: what start-up checks, and nothing bound or written. Returns the exit status. */
int start_check(const char *file);

/* A new segment, without counts, and where readers find it; false with the reason logged. */
bool master_make_segment(struct master *m);
bool master_publish_segment(struct master *m);
/* It is this process's: version, pid, and since when unless that was carried over. */
void master_sign_segment(struct master *m);

/* A worker has become ready. */
void start_progress(struct master *m);
/* The start cannot go on: says why, ends what runs. Harmless afterwards. */
void start_failed(struct master *m, const char *why);

#endif
