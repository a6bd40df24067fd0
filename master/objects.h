/* The segment's objects of a configuration: listeners, routes, backends, servers and certificates,
 * with what the master writes about servers and certificates. */
#ifndef RPD_MASTER_OBJECTS_H
#define RPD_MASTER_OBJECTS_H

#include <stdbool.h>
#include "common/core/names.h"
#include "common/core/stats.h"

/* Makes the objects of `conf`, its servers as they are by the answers of `names`, and fills in
 * servers' shared parts. `old` is the configuration it
 * follows, or NULL: what an operator set for a server stays unless the configuration's own value
 * is another than before. false with errors in the report when the segment is full. */
bool objects_apply(struct segment *seg, const struct names *names, const struct conf *conf,
                   const struct conf *old, struct report *report);

/* For a worker that takes `conf` while the others stay at `old`: makes the objects that are not
 * there yet, and changes nothing of those that are. */
bool objects_add(struct segment *seg, const struct names *names, const struct conf *conf,
                 const struct conf *old, struct report *report);

struct objects_count { unsigned added, removed; };

/* A name has another answer: makes the servers of `now` (names_view) what those of `was` were not,
 * and takes those out that there are no more. false: there was no room, and the segment is as it
 * was but for servers that nobody uses. */
bool objects_change(struct segment *seg, const struct conf_backend *now,
                    const struct conf_backend *was, struct objects_count *count,
                    struct report *report);

#endif
