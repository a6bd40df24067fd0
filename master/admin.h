/* What an operator changes of a server at run time: whether it takes requests, and its weight. */
#ifndef RPD_MASTER_ADMIN_H
#define RPD_MASTER_ADMIN_H

#include "common/base/slice.h"

struct client;

/* The command `server`, answered at once. args: BACKEND/NAME, then drain, ready, down or weight and
 * a number, with tabs between. */
void admin_server(struct client *c, struct slice args);

#endif
