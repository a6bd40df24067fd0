/* ipc: messages, descriptors, ends, peers that do not read, and packets that are no message. */
#include "common/core/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "t/unit/unit.h"

static struct ipc_msg out, in;

static void pair(int fds[2])
{
    memset(&out, 0, sizeof out);
    memset(&in, 0xff, sizeof in);
    ck_assert_int_eq(ipc_pair(fds), 0);
}

static bool same_file(int a, int b)
{
    struct stat x, y;

    ck_assert_int_eq(fstat(a, &x), 0);
    ck_assert_int_eq(fstat(b, &y), 0);
    return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

START_TEST(test_pair_is_nonblocking_and_closed_on_exec)
{
    int fds[2];

    pair(fds);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_ne(fcntl(fds[i], F_GETFL) & O_NONBLOCK, 0);
        ck_assert_int_ne(fcntl(fds[i], F_GETFD) & FD_CLOEXEC, 0);
    }
    ck_assert_int_eq(ipc_recv(fds[0], &in), -1);
    ck_assert_int_eq(errno, EAGAIN);
}
END_TEST

START_TEST(test_message_arrives_whole)
{
    int fds[2];

    pair(fds);
    out.type = IPC_FAILED;
    out.flags = 5;
    out.number = UINT64_C(1) << 40;
    out.count = 7;
    out.size = IPC_DATA_MAX;
    memset(out.data, 'x', sizeof out.data);
    ck_assert_int_eq(ipc_send(fds[0], &out), 0);
    ck_assert_int_eq(ipc_recv(fds[1], &in), 1);
    ck_assert_uint_eq(in.type, IPC_FAILED);
    ck_assert_uint_eq(in.flags, 5);
    ck_assert_uint_eq(in.number, UINT64_C(1) << 40);
    ck_assert_uint_eq(in.count, 7);
    ck_assert_uint_eq(in.size, IPC_DATA_MAX);
    ck_assert_uint_eq(in.nfds, 0);
    ck_assert_mem_eq(in.data, out.data, sizeof out.data);
}
END_TEST

START_TEST(test_messages_keep_their_bounds_and_order)
{
    int fds[2];

    pair(fds);
    for (unsigned i = 0; i < 5; i++) {
        out.number = i;
        out.size = i;
        ck_assert_int_eq(ipc_send(fds[0], &out), 0);
    }
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(ipc_recv(fds[1], &in), 1);
        ck_assert_uint_eq(in.number, i);
        ck_assert_uint_eq(in.size, i);
    }
}
END_TEST

START_TEST(test_most_descriptors_arrive_in_order)
{
    int fds[2], ends[2];

    pair(fds);
    ck_assert_int_eq(pipe(ends), 0);
    out.nfds = IPC_FDS_MAX;
    for (unsigned i = 0; i < IPC_FDS_MAX; i++)
        out.fds[i] = i == 3 ? fds[0] : ends[i % 2];
    ck_assert_int_eq(ipc_send(fds[0], &out), 0);
    ck_assert_int_eq(ipc_recv(fds[1], &in), 1);
    ck_assert_uint_eq(in.nfds, IPC_FDS_MAX);
    for (unsigned i = 0; i < IPC_FDS_MAX; i++) {
        ck_assert(same_file(in.fds[i], out.fds[i]));
        ck_assert_int_ne(fcntl(in.fds[i], F_GETFD) & FD_CLOEXEC, 0);
    }
    ck_assert_int_ge(fcntl(ends[0], F_GETFD), 0); /* the sender's stay open */
    ipc_close_fds(&in);
    ck_assert_uint_eq(in.nfds, 0);
}
END_TEST

START_TEST(test_end_is_seen_after_what_was_said)
{
    int fds[2];

    pair(fds);
    out.type = IPC_READY;
    ck_assert_int_eq(ipc_send(fds[0], &out), 0);
    close(fds[0]);
    ck_assert_int_eq(ipc_recv(fds[1], &in), 1);
    ck_assert_int_eq(ipc_recv(fds[1], &in), 0);
    ck_assert_int_eq(ipc_send(fds[1], &out), -1); /* and no SIGPIPE */
    ck_assert_int_eq(errno, EPIPE);
}
END_TEST

/* It ended without having read what it was told: its last words count all the same. */
START_TEST(test_last_words_of_one_who_did_not_listen)
{
    int fds[2];

    pair(fds);
    out.type = IPC_STOP;
    ck_assert_int_eq(ipc_send(fds[1], &out), 0);
    out.type = IPC_FAILED;
    ck_assert_int_eq(ipc_send(fds[0], &out), 0);
    close(fds[0]);
    ck_assert_int_eq(ipc_recv(fds[1], &in), 1);
    ck_assert_uint_eq(in.type, IPC_FAILED);
    ck_assert_int_eq(ipc_recv(fds[1], &in), 0);
}
END_TEST

START_TEST(test_peer_that_does_not_read_is_eagain)
{
    int fds[2], sent = 0;

    pair(fds);
    out.size = IPC_DATA_MAX;
    while (sent < 10000 && ipc_send(fds[0], &out) == 0)
        sent++;
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_gt(sent, 0);
    for (int i = 0; i < sent; i++)
        ck_assert_int_eq(ipc_recv(fds[1], &in), 1);
    ck_assert_int_eq(ipc_send(fds[0], &out), 0);
}
END_TEST

static void is_refused(const void *packet, size_t n)
{
    int fds[2];

    pair(fds);
    ck_assert_int_eq(send(fds[0], packet, n, 0), (ssize_t)n);
    ck_assert_int_eq(ipc_recv(fds[1], &in), -1);
    ck_assert_int_eq(errno, EPROTO);
    ck_assert_uint_eq(in.nfds, 0);
    close(fds[0]);
    close(fds[1]);
}

START_TEST(test_what_is_no_message_is_refused)
{
    static char big[sizeof out + IPC_DATA_MAX];
    struct ipc_msg liar = { .size = 10 }; /* but nothing follows */

    is_refused("x", 1);
    is_refused(big, offsetof(struct ipc_msg, nfds) - 1);
    is_refused(big, sizeof big);
    is_refused(&liar, offsetof(struct ipc_msg, nfds));
    liar.size = UINT32_MAX;
    is_refused(&liar, offsetof(struct ipc_msg, nfds));
}
END_TEST

START_TEST(test_descriptors_that_find_no_room_are_an_error)
{
    struct rlimit limit;
    int fds[2];

    pair(fds);
    out.nfds = 2;
    out.fds[0] = out.fds[1] = fds[0];
    ck_assert_int_eq(ipc_send(fds[0], &out), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)fds[1] + 2;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(ipc_recv(fds[1], &in), -1);
    ck_assert_int_eq(errno, EPROTO);
    ck_assert_int_eq(fcntl(fds[1] + 1, F_GETFD), -1); /* the one that fitted is closed */
}
END_TEST

UNIT_MAIN("ipc", test_pair_is_nonblocking_and_closed_on_exec, test_message_arrives_whole,
          test_messages_keep_their_bounds_and_order, test_most_descriptors_arrive_in_order,
          test_end_is_seen_after_what_was_said, test_last_words_of_one_who_did_not_listen,
          test_peer_that_does_not_read_is_eagain,
          test_what_is_no_message_is_refused, test_descriptors_that_find_no_room_are_an_error)
