/* A new process with a channel to it, for each of the master's kinds of children. */
#ifndef RPD_MASTER_CHILD_H
#define RPD_MASTER_CHILD_H

#include <sys/types.h>
#include "master/events.h"

/* Forks. In the master: the process, whose channel `e` watches for input from then on; or -1 with
 * errno, and nothing has happened. In the child: 0, and its end of the channel in *end; all else is
 * as the master has it. */
pid_t child_fork(struct events *ev, struct event *e, event_fn *fn, int *end);

/* A message to the child (`name`, for the log) was not sent, for errno: with EAGAIN `e` tells when
 * there is room; else it is tried again when `retry` is due. */
void child_tell_later(struct events *ev, struct event *e, struct deadline *retry,
                      const char *name);

#endif
