/* Signals of the master, taken in its loop through a signalfd. */
#ifndef RPD_MASTER_SIGNALS_H
#define RPD_MASTER_SIGNALS_H

#include "master/events.h"

struct master;

/* Blocks what the master handles and registers the signalfd; 0, or -1 with errno. */
int signals_init(struct master *m);
void signals_fini(struct master *m);
/* In a fresh child: everything at its default and unblocked. */
void signals_reset(void);
/* "SIGKILL" for 9; "signal 200" for what has no name. */
const char *signals_name(int number, char buf[32]);

#endif
