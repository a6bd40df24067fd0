/* What a crash leaves in the log, and that the process still dies of it. */
#include "common/base/backtrace.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/base/log.h"
#include "t/unit/unit.h"

#ifdef __has_feature
#define HAS_FEATURE(f) __has_feature(f)
#else
#define HAS_FEATURE(f) 0
#endif

static char text[16384];

/* Runs fn in a child whose log is a pipe; returns its wait status, `text` is what it wrote. */
static int crash_of(void (*fn)(void))
{
    size_t n = 0;
    ssize_t got;
    int p[2], status;
    pid_t pid;

    ck_assert_int_eq(pipe(p), 0);
    pid = fork();
    if (pid == 0) {
        const struct rlimit none = { 0, 0 };

        (void)setrlimit(RLIMIT_CORE, &none);
        log_open(LOG_TO_FD, p[1], LOG_LEVEL_NOTICE, "crasher");
        backtrace_install("crasher");
        fn();
        _exit(0);
    }
    (void)close(p[1]);
    while ((got = read(p[0], text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    (void)close(p[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_died(int status, int signo, const char *words)
{
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), signo);
    ck_assert_msg(strstr(text, " error crasher[") != NULL, "%s", text);
    ck_assert_msg(strstr(text, words) != NULL, "%s", text);
    /* At least the handler's, the raiser's and main's frames. */
    ck_assert_msg(strstr(text, "backtrace:\n") != NULL, "%s", text);
    ck_assert_uint_gt(strlen(strstr(text, "backtrace:\n")), 60);
}

START_TEST(abort_is_told)
{
    assert_died(crash_of(abort), SIGABRT, "dies of SIGABRT sent by pid ");
}
END_TEST

static void live(void)
{
}

START_TEST(nothing_is_written_without_a_crash)
{
    ck_assert_int_eq(crash_of(live), 0);
    ck_assert_str_eq(text, "");
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !HAS_FEATURE(address_sanitizer)

static void write_nowhere(void)
{
    volatile char *volatile nowhere = (volatile char *)16;

    *nowhere = 1;
}

static unsigned recurse(volatile unsigned depth)
{
    volatile char room[4096];

    room[0] = (char)depth;
    return depth == 0xffffffff ? 0 : recurse(depth + 1) + (unsigned)room[0];
}

static void run_out_of_stack(void)
{
    const struct rlimit small = { 1 << 20, 1 << 20 };

    (void)setrlimit(RLIMIT_STACK, &small);
    (void)recurse(0);
}

static void send_bus(void)
{
    (void)raise(SIGBUS);
}

START_TEST(a_fault_is_told_with_its_address)
{
    assert_died(crash_of(write_nowhere), SIGSEGV, "dies of SIGSEGV at 0x10;");
}
END_TEST

START_TEST(a_stack_overflow_is_told)
{
    assert_died(crash_of(run_out_of_stack), SIGSEGV, "dies of SIGSEGV at 0x");
}
END_TEST

START_TEST(a_sent_signal_is_told)
{
    assert_died(crash_of(send_bus), SIGBUS, "dies of SIGBUS sent by pid ");
}
END_TEST

UNIT_MAIN("backtrace", abort_is_told, nothing_is_written_without_a_crash,
          a_fault_is_told_with_its_address, a_stack_overflow_is_told, a_sent_signal_is_told)

#else

UNIT_MAIN("backtrace", abort_is_told, nothing_is_written_without_a_crash)

#endif
