/* One datagram per message to the socket that $NOTIFY_SOCKET names. Keeps nothing, waits for
 * nobody. Called by start.c, reload.c and stop.c. */
#include "master/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/log.h"

static void notify(const char *text)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    const char *path = getenv("NOTIFY_SOCKET");
    size_t n = path ? strlen(path) : 0;
    int fd;

    if (n < 2 || n >= sizeof un.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(un.sun_path, path, n);
    if (path[0] == '@')
        un.sun_path[0] = '\0'; /* the abstract name space */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0
        || sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&un,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
        log_warn("NOTIFY_SOCKET %s", path);
    fd_close(&fd);
}

void notify_ready(pid_t master)
{
    char text[64];

    (void)snprintf(text, sizeof text, "READY=1\nMAINPID=%d\n", (int)master);
    notify(text);
}

void notify_reloading(void)
{
    char text[64];

    (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n",
                   clock_mono_us());
    notify(text);
}

void notify_stopping(void)
{
    notify("STOPPING=1\n");
}
