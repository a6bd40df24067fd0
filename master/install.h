/* Puts a generation in force: the one way of start and reload. */
#ifndef RPD_MASTER_INSTALL_H
#define RPD_MASTER_INSTALL_H

#include <stdbool.h>
#include "common/core/report.h"
#include "master/config.h"

struct master;

/* Settings that only a restart changes, as they were at start. */
#define KEPT_MAX 8
struct kept {
    char *v[KEPT_MAX];
};

void kept_init(struct kept *kept, const struct conf *conf);
void kept_fini(struct kept *kept);
/* `conf` gets the values in force (it leads into *kept then), with a warning for each of its own
 * that is another. */
void kept_restore(const struct kept *kept, struct conf *conf, struct report *report);

/* Binds, opens logs, makes statistics; then takes *next over (which becomes empty) and begins to
 * hand it to the workers. false with errors in the report: all is as before, *next the caller's.
 * `wait_ms` as for listen_prepare. */
bool install(struct master *m, struct generation *next, unsigned wait_ms, struct report *report);

#endif
