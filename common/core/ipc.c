/* One packet a message: the head of struct ipc_msg, then its data; descriptors as SCM_RIGHTS.
 * Called by the master and its children; never blocks, keeps nothing. */
#include "common/core/ipc.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "common/base/fd.h"

_Static_assert(IPC_LISTEN_MAX * sizeof(struct ipc_listen) <= IPC_DATA_MAX, "a batch fits");
_Static_assert(IPC_LISTEN_MAX <= IPC_FDS_MAX, "a descriptor for each");

/* What of struct ipc_msg goes over the wire before the data. */
#define HEAD_SIZE offsetof(struct ipc_msg, nfds)

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
};

int ipc_pair(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
}

static void put_fds(struct msghdr *mh, union control *control, const struct ipc_msg *msg)
{
    struct cmsghdr *c;

    if (msg->nfds == 0)
        return;
    mh->msg_control = control->bytes;
    mh->msg_controllen = CMSG_SPACE(sizeof(int) * msg->nfds);
    memset(control->bytes, 0, mh->msg_controllen);
    c = CMSG_FIRSTHDR(mh);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * msg->nfds);
    memcpy(CMSG_DATA(c), msg->fds, sizeof(int) * msg->nfds);
}

int ipc_send(int sock, const struct ipc_msg *msg)
{
    struct ipc_msg head = *msg;
    union control control;
    struct iovec iov[2] = {
        { .iov_base = &head, .iov_len = HEAD_SIZE },
        { .iov_base = head.data, .iov_len = msg->size },
    };
    struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };
    ssize_t n;

    assert(msg->nfds <= IPC_FDS_MAX && msg->size <= IPC_DATA_MAX);
    put_fds(&mh, &control, msg);
    do
        n = sendmsg(sock, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

static void take_fds(struct msghdr *mh, struct ipc_msg *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
        size_t n;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        assert(msg->nfds + n <= IPC_FDS_MAX); /* the control buffer holds no more */
        memcpy(msg->fds + msg->nfds, CMSG_DATA(c), n * sizeof(int));
        msg->nfds += (unsigned)n;
    }
}

int ipc_recv(int sock, struct ipc_msg *msg)
{
    union control control;
    struct iovec iov[2] = {
        { .iov_base = msg, .iov_len = HEAD_SIZE },
        { .iov_base = msg->data, .iov_len = sizeof msg->data },
    };
    struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes };
    ssize_t n;

    msg->nfds = 0;
    /* A peer that ended before it had read all is an error once, ahead of what it had said. */
    do
        n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0)
        return -1;
    if (n == 0)
        return 0;
    take_fds(&mh, msg);
    /* A descriptor that did not fit in this process's table is missing: MSG_CTRUNC. */
    if ((mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || (size_t)n < HEAD_SIZE
        || msg->size != (size_t)n - HEAD_SIZE) {
        ipc_close_fds(msg);
        errno = EPROTO;
        return -1;
    }
    return 1;
}

void ipc_close_fds(struct ipc_msg *msg)
{
    for (unsigned i = 0; i < msg->nfds; i++)
        fd_close(&msg->fds[i]);
    msg->nfds = 0;
}
