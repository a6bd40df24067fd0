/* Binds one listening socket. */
#ifndef RPD_MASTER_BIND_H
#define RPD_MASTER_BIND_H

#include <stdbool.h>
#include <sys/types.h>
#include "common/base/addr.h"

struct bind_socket {
    int fd;
    dev_t dev; /* of a Unix socket's file */
    ino_t ino;
};

/* A listening, non-blocking, close-on-exec socket; -1 with errno. `is_dual`: [::] takes IPv4 as
 * well (or stands for 0.0.0.0 where there is no IPv6). `is_sharing`: some socket of ours has the
 * port already, and this one listens from bind_start on; without, nobody else may have it, not even
 * by SO_REUSEPORT. The file of a Unix socket nobody listens on any more is replaced; it gets
 * `mode`. */
int bind_listen(struct bind_socket *b, const struct addr *a, bool is_dual, bool is_sharing,
                mode_t mode);
/* From now on the kernel gives it connections of the port's: closing would reset them. -1 with
 * errno. */
int bind_start(const struct bind_socket *b);
/* A socket that is bound already, taken over; `is_ours`: and the file of a Unix one. */
void bind_adopt(struct bind_socket *b, const struct addr *a, int fd, bool is_ours);
/* Closes, and removes the Unix socket's file if it is still that one. */
void bind_close(struct bind_socket *b, const struct addr *a);
/* Whether one would meet the other: the same port, and the same address or a wildcard. */
bool bind_overlaps(const struct addr *a, const struct addr *b);

#endif
