/* What a reload changes, in short. */
#ifndef RPD_MASTER_CHANGES_H
#define RPD_MASTER_CHANGES_H

#include "common/core/conf.h"

/* Appends `listeners +1, routes -2 ~1, servers +3` (+ added, - removed, ~ altered; by name, what
 * did not change is left out), or `nothing changed`. Only [global] altered: `global`. */
void changes_describe(const struct conf *old, const struct conf *new, struct strbuf *out);

#endif
