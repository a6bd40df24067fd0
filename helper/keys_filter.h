/* The system calls that `rpd: keys` has left. */
#ifndef RPD_HELPER_KEYS_FILTER_H
#define RPD_HELPER_KEYS_FILTER_H

/* For this thread and those it makes, for good; no new rights have to be ruled out before
 * (PR_SET_NO_NEW_PRIVS). -1 with errno: the kernel has no seccomp, or this machine no table. */
int keys_filter_install(void);

#endif
