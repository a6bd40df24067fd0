/* Tells systemd how the service does (sd_notify(3), by hand): nothing without NOTIFY_SOCKET. */
#ifndef RPD_MASTER_NOTIFY_H
#define RPD_MASTER_NOTIFY_H

#include <sys/types.h>

void notify_ready(pid_t master);
void notify_reloading(void);
void notify_stopping(void);

#endif
