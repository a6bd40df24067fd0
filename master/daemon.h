/* Going to the background (-d): the process that was called waits until the daemon is ready or has
 * failed, so that errors reach its terminal and its caller's exit status. */
#ifndef RPD_MASTER_DAEMON_H
#define RPD_MASTER_DAEMON_H

struct daemon {
    int status;   /* pipe to the waiting process; -1: none */
    int terminal; /* where messages of the start go: a copy of stderr, or 2 */
};

void daemon_init(struct daemon *d);
/* Returns in the daemon only; the first process exits with the daemon's outcome. -1 with errno
 * when it cannot. */
int daemon_fork(struct daemon *d);
/* 0-2 become /dev/null; `terminal` stays. -1 with errno. */
int daemon_detach(struct daemon *d);
/* The outcome is known: the waiting process exits, the terminal is left. */
void daemon_report(struct daemon *d, int exit_status);

#endif
