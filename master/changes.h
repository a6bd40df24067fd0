/* What a reload changes: counts, and names. */
#ifndef RPD_MASTER_CHANGES_H
#define RPD_MASTER_CHANGES_H

#include <stdbool.h>
#include "common/core/conf.h"

/* Appends to `counts` `listeners +1, routes -2 ~1, servers +3` (+ added, - removed, ~ altered; by
 * name, what did not change is left out), or `nothing changed`; only [global] altered: `global`.
 * Appends to `lines` what it is, a line each and at most 40:
 *
 *     ~ listener web: timeout_idle 1m -> 30s
 *     + route api
 *     - server app/b
 *     and 37 more
 *
 * Whether anything changes. */
bool changes_describe(const struct conf *old, const struct conf *new, struct strbuf *counts,
                      struct strbuf *lines);

#endif
