/* The error log's lines. Each test reads back what one message wrote to a packet socket, where
 * two writes would be two packets. */
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "t/unit/unit.h"

static int ends[2];
static char line[4096];

static void open_log(enum log_level level)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    log_open(LOG_TO_FD, ends[0], level, "worker 3");
}

static void close_log(void)
{
    log_open(LOG_TO_FD, 2, LOG_LEVEL_NOTICE, "test");
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* The next packet, NUL-terminated; its length, or -1 when there is none. */
static ssize_t next_line(void)
{
    ssize_t n = read(ends[1], line, sizeof line - 1);

    line[n > 0 ? n : 0] = '\0';
    return n;
}

/* What follows the head of the next line, without its newline. */
static const char *next_text(void)
{
    ssize_t n = next_line();
    char *text;

    ck_assert_int_gt(n, 0);
    ck_assert_int_le(n, LOG_LINE_MAX);
    ck_assert_int_eq(line[n - 1], '\n');
    line[n - 1] = '\0';
    ck_assert_ptr_null(strchr(line, '\n'));
    text = strstr(line, "]: ");
    ck_assert_ptr_nonnull(text);
    return text + 3;
}

START_TEST(a_line_has_its_head)
{
    char head[64];

    open_log(LOG_LEVEL_NOTICE);
    log_notice("hello %d", 5);
    ck_assert_str_eq(next_text(), "hello 5");
    (void)snprintf(head, sizeof head, "Z notice worker 3[%d]: hello 5", (int)getpid());
    ck_assert_str_eq(line + 23, head);
    ck_assert_int_eq(line[10], 'T');
    log_process("master");
    log_warnx("x");
    (void)next_text();
    ck_assert_ptr_nonnull(strstr(line, " warning master["));
    close_log();
}
END_TEST

START_TEST(levels_filter)
{
    open_log(LOG_LEVEL_WARNING);
    ck_assert(!log_enabled(LOG_LEVEL_NOTICE));
    ck_assert(log_enabled(LOG_LEVEL_WARNING));
    log_debug("no");
    log_info("no");
    log_notice("no");
    ck_assert_int_eq(next_line(), -1);
    log_warnx("w");
    ck_assert_str_eq(next_text(), "w");
    log_errorx("e");
    ck_assert_str_eq(next_text(), "e");
    close_log();
    open_log(LOG_LEVEL_DEBUG);
    log_debug("d");
    ck_assert_str_eq(next_text(), "d");
    log_info("i");
    ck_assert_str_eq(next_text(), "i");
    close_log();
}
END_TEST

START_TEST(errno_is_told_and_kept)
{
    open_log(LOG_LEVEL_NOTICE);
    errno = ENOENT;
    log_warn("open %s", "/x");
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_str_eq(next_text(), "open /x: No such file or directory");
    errno = EACCES;
    log_error("bind");
    ck_assert_int_eq(errno, EACCES);
    ck_assert_str_eq(next_text(), "bind: Permission denied");
    errno = EACCES;
    log_errorx("plain");
    ck_assert_int_eq(errno, EACCES);
    ck_assert_str_eq(next_text(), "plain");
    close_log();
    /* Nor does a write that fails change it. */
    log_open(LOG_TO_FD, -1, LOG_LEVEL_NOTICE, "test");
    errno = ENOENT;
    log_notice("lost");
    ck_assert_int_eq(errno, ENOENT);
    log_open(LOG_TO_FD, 2, LOG_LEVEL_NOTICE, "test");
}
END_TEST

START_TEST(nothing_injects)
{
    open_log(LOG_LEVEL_NOTICE);
    log_notice("a\nb\r\tc\x1b[2J\x7f %s", "\x01");
    ck_assert_str_eq(next_text(), "a\\nb\\r\\tc\\x1b[2J\\x7f \\x01");
    log_notice("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    ck_assert_str_eq(next_text(), "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    log_notice("\xff \xc3 \xe2\x82 \xc0\x8a");
    ck_assert_str_eq(next_text(), "\\xff \\xc3 \\xe2\\x82 \\xc0\\x8a");
    log_notice("\xc2\x9b" "31m \xc2\xa0"); /* C1's CSI; a no-break space stays */
    ck_assert_str_eq(next_text(), "\\xc2\\x9b31m \xc2\xa0");
    close_log();
}
END_TEST

/* Long messages of each length around the limit, of single bytes and of escapes. */
START_TEST(too_long_is_cut_and_says_so)
{
    static const char *const unit[] = { "x", "\n", "\xff", "\xe2\x82\xac" };
    char text[3000];

    open_log(LOG_LEVEL_NOTICE);
    for (size_t k = 0; k < 4; k++) {
        size_t len = strlen(unit[k]);

        for (size_t n = 200; n < 1100; n++) {
            const char *out;

            for (size_t i = 0; i < n; i++)
                text[i] = unit[k][i % len];
            text[n] = '\0';
            errno = ENOENT;
            log_error("%s", text);
            out = next_text();
            ck_assert_ptr_nonnull(strstr(out, ": No such file or directory"));
            if (n > 1000)
                ck_assert_ptr_nonnull(strstr(out, "...: No such"));
            if (k == 0 && n < 900)
                ck_assert_ptr_null(strstr(out, "..."));
        }
    }
    close_log();
}
END_TEST

START_TEST(level_names_both_ways)
{
    for (int i = LOG_LEVEL_DEBUG; i <= LOG_LEVEL_ERROR; i++)
        ck_assert_int_eq(log_level_of(log_level_name((enum log_level)i)), i);
    ck_assert_str_eq(log_level_name(LOG_LEVEL_WARNING), "warning");
    ck_assert_int_eq(log_level_of("loud"), -1);
    ck_assert_int_eq(log_level_of(""), -1);
}
END_TEST

START_TEST(fd_is_the_one_in_use)
{
    ck_assert_int_eq(log_fd(), 2);
    open_log(LOG_LEVEL_NOTICE);
    ck_assert_int_eq(log_fd(), ends[0]);
    log_open(LOG_TO_SYSLOG, -1, LOG_LEVEL_NOTICE, "test");
    ck_assert_int_eq(log_fd(), 2);
    log_info("below the level, and nothing listens on the test machine's /dev/log");
    close_log();
}
END_TEST

/* Several processes, one file in append mode: every line is whole. */
START_TEST(lines_of_processes_do_not_mix)
{
    char path[] = "/tmp/rpd-test-log-XXXXXX";
    int fd = mkstemp(path), status;
    FILE *in;
    char text[LOG_LINE_MAX + 2];
    int lines = 0;

    ck_assert_int_ge(fd, 0);
    (void)fcntl(fd, F_SETFL, O_APPEND);
    log_open(LOG_TO_FD, fd, LOG_LEVEL_NOTICE, "p");
    for (int i = 0; i < 4; i++) {
        if (fork() == 0) {
            for (int k = 0; k < 300; k++)
                log_notice("begin 0%0*d end", 1 + k * 3 % 600, i);
            _exit(0);
        }
    }
    while (wait(&status) > 0)
        ck_assert_int_eq(status, 0);
    in = fopen(path, "r");
    ck_assert_ptr_nonnull(in);
    while (fgets(text, sizeof text, in)) {
        ck_assert_ptr_nonnull(strstr(text, "]: begin 0"));
        ck_assert_str_eq(text + strlen(text) - 5, " end\n");
        lines++;
    }
    ck_assert_int_eq(lines, 1200);
    (void)fclose(in);
    (void)close(fd);
    (void)unlink(path);
    log_open(LOG_TO_FD, 2, LOG_LEVEL_NOTICE, "test");
}
END_TEST

UNIT_MAIN("log", a_line_has_its_head, levels_filter, errno_is_told_and_kept, nothing_injects,
          too_long_is_cut_and_says_so, level_names_both_ways, fd_is_the_one_in_use,
          lines_of_processes_do_not_mix)
