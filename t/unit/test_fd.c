/* Helpers around descriptors. */
#include "common/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "t/unit/unit.h"

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

START_TEST(close_keeps_errno_and_clears)
{
    int fd = open("/dev/null", O_RDONLY), number = fd;

    errno = ENOENT;
    fd_close(&fd);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert(!is_open(number));
    errno = ENOENT;
    fd_close(&fd);
    ck_assert_int_eq(errno, ENOENT);
}
END_TEST

START_TEST(flags_are_set)
{
    int fd = open("/dev/null", O_RDWR | O_APPEND);

    ck_assert_int_eq(fd_nonblock(fd), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_APPEND), O_NONBLOCK | O_APPEND);
    ck_assert_int_eq(fd_cloexec(fd, true), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    ck_assert_int_eq(fd_cloexec(fd, false), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), 0);
    fd_close(&fd);
    ck_assert_int_eq(fd_nonblock(-1), -1);
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

/* More than a pipe holds, so that several writes are needed. */
START_TEST(write_all_writes_all)
{
    enum { SIZE = 300000 };
    char *data = malloc(SIZE);
    struct strbuf got;
    int p[2], status;
    pid_t pid;

    for (int i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7);
    ck_assert_int_eq(pipe(p), 0);
    pid = fork();
    if (pid == 0)
        _exit(fd_write_all(p[1], data, SIZE) == 0 ? 0 : 1);
    (void)close(p[1]);
    strbuf_init(&got);
    for (;;) {
        char chunk[5000];
        ssize_t n = read(p[0], chunk, sizeof chunk);

        if (n <= 0)
            break;
        strbuf_add(&got, slice_of(chunk, (size_t)n));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(got.n, SIZE);
    ck_assert(memcmp(got.s, data, SIZE) == 0);
    ck_assert_int_eq(fd_write_all(-1, "x", 1), -1);
    ck_assert_int_eq(fd_write_all(-1, "", 0), 0);
    strbuf_fini(&got);
    (void)close(p[0]);
    free(data);
}
END_TEST

START_TEST(read_file_appends_up_to_max)
{
    char path[] = "/tmp/rpd-test-fd-XXXXXX", data[20000];
    int fd = mkstemp(path);
    struct strbuf b;

    memset(data, 'd', sizeof data);
    ck_assert_int_eq(fd_write_all(fd, data, sizeof data), 0);
    fd_close(&fd);
    strbuf_init(&b);
    strbuf_adds(&b, "before");
    ck_assert_int_eq(fd_read_file(path, sizeof data - 1, &b), -1);
    ck_assert_int_eq(errno, EFBIG);
    ck_assert_str_eq(b.s, "before");
    ck_assert_int_eq(fd_read_file(path, sizeof data, &b), 0);
    ck_assert_uint_eq(b.n, 6 + sizeof data);
    ck_assert(memcmp(b.s + 6, data, sizeof data) == 0);
    (void)unlink(path);
    ck_assert_int_eq(fd_read_file(path, 10, &b), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(fd_read_file("/tmp", 10, &b), -1);
    ck_assert_int_eq(errno, EISDIR);
    strbuf_fini(&b);
}
END_TEST

START_TEST(read_at_gives_what_there_is)
{
    char got[16] = "";
    FILE *f = tmpfile();

    ck_assert_ptr_nonnull(f);
    fputs("0123456789", f);
    fflush(f);
    ck_assert_uint_eq(fd_read_at(fileno(f), got, 4, 3), 4);
    ck_assert_mem_eq(got, "3456", 4);
    ck_assert_uint_eq(fd_read_at(fileno(f), got, sizeof got, 8), 2);
    ck_assert_mem_eq(got, "89", 2);
    ck_assert_uint_eq(fd_read_at(fileno(f), got, 1, 10), 0);
    ck_assert_uint_eq(fd_read_at(fileno(f), got, 1, UINT64_MAX), 0);
    ck_assert_uint_eq(fd_read_at(-1, got, 1, 0), 0);
    fclose(f);
}
END_TEST

/* In a child: Check's own descriptors must survive. */
START_TEST(close_from_spares_what_is_kept)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        const int keep[] = { 107, 3, 101, 500, 101, 100 };
        bool good = true;

        for (int fd = 100; fd < 110; fd++)
            good &= dup2(0, fd) == fd;
        fd_close_from(100, keep, sizeof keep / sizeof keep[0]);
        for (int fd = 100; fd < 110; fd++)
            good &= is_open(fd) == (fd == 100 || fd == 101 || fd == 107);
        good &= is_open(0) && is_open(2);
        fd_close_from(100, NULL, 0);
        good &= !is_open(100) && !is_open(107) && is_open(2);
        _exit(good ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

UNIT_MAIN("fd", close_keeps_errno_and_clears, flags_are_set, write_all_writes_all,
          read_file_appends_up_to_max, read_at_gives_what_there_is,
          close_from_spares_what_is_kept)
