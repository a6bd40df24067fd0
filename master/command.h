/* What the control socket's clients may ask for. */
#ifndef RPD_MASTER_COMMAND_H
#define RPD_MASTER_COMMAND_H

#include "common/base/slice.h"

struct client;

/* A client's line, without its end: a command and its arguments, tabs between. Answered by
 * control_answer(), from within or later. */
void command_run(struct client *c, struct slice line);

#endif
