/* Messages between the master and its children over a SOCK_SEQPACKET pair, descriptors with them.
 * One message, one packet, laid out as the struct. After an upgrade the two ends are of different
 * builds: the struct, IPC_RETIRE, IPC_STOP, IPC_LOGS and what an orphan says stay as they are. */
#ifndef RPD_CORE_IPC_H
#define RPD_CORE_IPC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define IPC_FDS_MAX 64
#define IPC_DATA_MAX 8192

enum ipc_type {
    /* master -> worker */
    IPC_LISTEN,     /* `count` sockets to accept from: fds, one per struct ipc_listen in data. From
                     * then on, or from the generation on that binds the address. */
    IPC_GENERATION, /* number = generation; fds = bundle, then the error log's file if `flags` has
                     * IPC_HAS_LOG, then the access log's if it has IPC_HAS_ACCESS_LOG, then the
                     * keyring if it has IPC_HAS_KEYRING (key_process = off): no holes.
                     * Without IPC_HAS_LOG the error log is stderr or syslog, as the configuration
                     * says. The worker has got every socket it needs before, once; it closes those
                     * whose address the generation does not bind any more, and answers IPC_READY
                     * or IPC_FAILED (text in data). */
    IPC_LOGS,       /* reopen: flags and fds as in IPC_GENERATION, the bundle in force among them */
    IPC_RETIRE,     /* stop accepting, finish within number milliseconds, exit 0; with
                     * IPC_CLOSE_IDLE without waiting for one more request of those that are idle.
                     * May come again with that flag. */
    IPC_STOP,       /* exit 0 now */
    /* worker -> master */
    IPC_READY,      /* number = generation now in force */
    IPC_FAILED,     /* number = generation refused; data = why */
    /* reader -> master */
    IPC_CONFIG,     /* number = errors, count = warnings; fds = text of the report, then a bundle
                     * if `flags` has IPC_HAS_BUNDLE, then the keyring if it has IPC_HAS_KEYRING */
    /* master -> worker */
    IPC_HEIR,       /* fds = a listening socket, for the master to come if this one is killed */
    /* worker without master -> the next one: this, then what it listens on as IPC_LISTEN, then
     * IPC_READY; from then on the channel is like any other. */
    IPC_ORPHAN,     /* data = words as in a hand-off: index, slot, generation, told (that it is to
                     * retire); fds = the segment it counts in, the bundle in force, and if it
                     * has one the ticket keys' memory */
    /* master -> worker */
    IPC_UNLISTEN,   /* `count` struct ipc_listen in data: another worker accepts from these now */
    IPC_KEYS,       /* fds = a channel to `rpd: keys`, in place of the one before. From a worker,
                     * without fds: its channel has ended, it needs another. */
    IPC_TICKETS,    /* fds = the ticket keys' memory */
    /* master -> `rpd: keys`, which gets IPC_KEYS too: number = the channel's, fds = its other end,
     * then the keyring it may use, if any; answered by IPC_READY or IPC_FAILED (text in data) with
     * that number. Of IPC_LOGS it gets the error log's file alone, number = its level. */
    IPC_KEYS_ALLOW, /* number = a channel's; fds = the keyring that it may use from now on, or none;
                     * answered in the same way */
    /* `rpd: helper` -> master -> worker, helper */
    IPC_NAMES,      /* fds = answers of name servers (names.h), those that are new */
    /* `rpd: helper` -> master */
    IPC_CANARY,     /* what the evidence of a canary comes to: count = CANARY_STEP, it is good, or
                     * CANARY_ROLLBACK; number = its `changes` that this was judged at; data = its
                     * name, a tab, the reason */
};

#define IPC_HAS_LOG 1u
#define IPC_HAS_ACCESS_LOG 2u
#define IPC_HAS_BUNDLE 4u
#define IPC_CLOSE_IDLE 8u
#define IPC_HAS_KEYRING 16u

/* One listening socket. `key` names the bound address (addr_format text): the socket stays the
 * same over generations while some listener binds that address. */
struct ipc_listen {
    char key[128];
    uint32_t slot;  /* the worker index the socket was made for: a worker may hold orphans' too */
    uint32_t is_shared; /* one socket for all workers (unix:) */
};

/* Most struct ipc_listen of one message. */
#define IPC_LISTEN_MAX 60

struct ipc_msg {
    uint32_t type;
    uint32_t flags;
    uint64_t number;
    uint32_t count;
    uint32_t size;  /* of data */
    unsigned nfds;
    int fds[IPC_FDS_MAX];
    char data[IPC_DATA_MAX];
};

/* A close-on-exec, non-blocking pair; -1 with errno. */
int ipc_pair(int fds[2]);
/* 0; -1 with errno, EAGAIN when the peer does not read. The fds stay the caller's. */
int ipc_send(int sock, const struct ipc_msg *msg);
/* 1 a message; 0 the peer is gone; -1 with errno (EAGAIN: none now; EPROTO: malformed). The fds
 * are close-on-exec and the caller's. */
int ipc_recv(int sock, struct ipc_msg *msg);
void ipc_close_fds(struct ipc_msg *msg);

#endif
