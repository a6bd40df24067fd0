/* A child's last word, both ends. Called by reader.c and key_check.c. */
#include "master/answer.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include "common/base/fd.h"

static int memfd_of(const struct strbuf *text)
{
    int fd = memfd_create("rpd report", MFD_CLOEXEC);

    if (fd >= 0 && fd_write_all(fd, text->s, text->n) != 0)
        fd_close(&fd);
    return fd;
}

static void add_fd(struct ipc_msg *msg, unsigned flag, int fd)
{
    if (fd < 0)
        return;
    msg->flags |= flag;
    msg->fds[msg->nfds++] = fd;
}

int answer_send(int sock, const struct report *report, int bundle, int keyring)
{
    struct ipc_msg msg;
    int text = memfd_of(&report->text), rc;

    if (text < 0)
        return -1;
    memset(&msg, 0, offsetof(struct ipc_msg, fds));
    msg.type = IPC_CONFIG;
    msg.number = report->errors;
    msg.count = report->warnings;
    msg.fds[msg.nfds++] = text;
    if (report->errors == 0) {
        add_fd(&msg, IPC_HAS_BUNDLE, bundle);
        add_fd(&msg, IPC_HAS_KEYRING, keyring);
    }
    rc = ipc_send(sock, &msg);
    fd_close(&text);
    return rc;
}

/* What is in a memfd, whole. */
static void read_text(int fd, struct strbuf *out)
{
    char buf[4096];
    uint64_t at = 0;
    size_t n;

    while ((n = fd_read_at(fd, buf, sizeof buf, at)) > 0) {
        strbuf_add(out, slice_of(buf, n));
        at += n;
    }
}

static int take_fd(struct ipc_msg *msg, unsigned flag, unsigned *at)
{
    int fd;

    if (!(msg->flags & flag) || *at >= msg->nfds)
        return -1;
    fd = msg->fds[*at];
    msg->fds[(*at)++] = -1;
    return fd;
}

bool answer_take(struct ipc_msg *msg, struct report *report, int *bundle, int *keyring)
{
    bool is_good = msg->type == IPC_CONFIG && msg->nfds >= 1;
    unsigned at = 1;

    *bundle = *keyring = -1;
    if (is_good) {
        read_text(msg->fds[0], &report->text);
        report->errors += (unsigned)msg->number;
        report->warnings += msg->count;
        *bundle = take_fd(msg, IPC_HAS_BUNDLE, &at);
        *keyring = take_fd(msg, IPC_HAS_KEYRING, &at);
    }
    ipc_close_fds(msg);
    return is_good;
}
