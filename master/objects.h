/* The segment's objects of a configuration: listeners, routes, backends, servers and certificates,
 * with what the master writes about servers and certificates. */
#ifndef RPD_MASTER_OBJECTS_H
#define RPD_MASTER_OBJECTS_H

#include <stdbool.h>
#include "common/core/conf.h"
#include "common/core/stats.h"

/* Makes the objects of `conf` and fills in servers' shared parts. `old` is the configuration it
 * follows, or NULL: what an operator set for a server stays unless the configuration's own value
 * is another than before. false with errors in the report when the segment is full. */
bool objects_apply(struct segment *seg, const struct conf *conf, const struct conf *old,
                   struct report *report);

/* For a worker that takes `conf` while the others stay at `old`: makes the objects that are not
 * there yet, and changes nothing of those that are. */
bool objects_add(struct segment *seg, const struct conf *conf, const struct conf *old,
                 struct report *report);

#endif
