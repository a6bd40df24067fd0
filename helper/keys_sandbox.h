/* What `rpd: keys` gives up before it takes the first key. */
#ifndef RPD_HELPER_KEYS_SANDBOX_H
#define RPD_HELPER_KEYS_SANDBOX_H

#include <stddef.h>

/* As root: becomes `user` and leaves the network. For good: nothing this process has can be dumped,
 * traced or got more rights; memory for keys is locked as far as that is allowed; and of system
 * calls it has those it needs, by which it can open nothing and connect to nobody. Any other ends
 * it. user NULL: stays who it is. -1 with a reason. */
int keys_sandbox_enter(const char *user, char *why, size_t why_size);

#endif
