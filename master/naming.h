/* Answers of name servers, on their way from `rpd: helper` to all who have servers by name. */
#ifndef RPD_MASTER_NAMING_H
#define RPD_MASTER_NAMING_H

#include <stdbool.h>
#include <stdint.h>

struct ipc_msg;
struct master;

/* The helper's message IPC_NAMES: makes the servers' objects and passes on what is new. The fds
 * stay the caller's. */
void naming_take(struct master *m, const struct ipc_msg *msg);
/* Makes `msg` (zeroed) what somebody lacks who has answers up to `serial`: true, and its one
 * descriptor is the caller's. false: nothing, or it cannot be made now, which is said. */
bool naming_message(const struct master *m, uint64_t serial, struct ipc_msg *msg);

#endif
