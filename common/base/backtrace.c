/* What a process writes when it crashes. Owns the handlers of the fatal signals and their stack:
 * the one work in a signal handler that rpd does. Installed by every role at its start. The
 * handler calls nothing that is not async-signal-safe: no malloc, no stdio, no lock. */
#include "common/base/backtrace.h"

#include <execinfo.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/log.h"

#define FRAMES_MAX 64
#define STACK_SIZE 65536

#ifdef __has_feature
#define HAS_FEATURE(f) __has_feature(f)
#else
#define HAS_FEATURE(f) 0
#endif

static const struct {
    int signo;
    const char *name;
} fatal[] = {
    { SIGABRT, "SIGABRT" },
#if !defined(__SANITIZE_ADDRESS__) && !HAS_FEATURE(address_sanitizer)
    { SIGSEGV, "SIGSEGV" },
    { SIGBUS, "SIGBUS" },
    { SIGFPE, "SIGFPE" },
    { SIGILL, "SIGILL" },
#endif
};

#define FATAL_COUNT (sizeof fatal / sizeof fatal[0])

/* Appends, cutting at cap. */
static size_t put(char *line, size_t n, size_t cap, const char *text)
{
    while (*text && n < cap)
        line[n++] = *text++;
    return n;
}

static size_t put_number(char *line, size_t n, size_t cap, unsigned long value, unsigned base)
{
    static const char digit[] = "0123456789abcdef";
    char text[24];
    size_t at = sizeof text - 1;

    text[at] = '\0';
    do
        text[--at] = digit[value % base];
    while ((value /= base) > 0);
    return put(line, n, cap, text + at);
}

static const char *signal_name(int signo)
{
    for (size_t i = 0; i < FATAL_COUNT; i++)
        if (fatal[i].signo == signo)
            return fatal[i].name;
    return "signal";
}

static void write_line(int fd, int signo, const siginfo_t *info)
{
    char when[CLOCK_TEXT_MAX], line[256];
    const size_t cap = sizeof line - 1; /* the newline's place */
    size_t n;

    (void)clock_iso8601_utc(when, clock_wall_us());
    n = put(line, 0, cap, when);
    n = put(line, n, cap, " error ");
    n = put(line, n, cap, log_process_name());
    n = put(line, n, cap, "[");
    n = put_number(line, n, cap, (unsigned long)getpid(), 10);
    n = put(line, n, cap, "]: dies of ");
    n = put(line, n, cap, signal_name(signo));
    if (info->si_code > 0) { /* the kernel's, with an address */
        n = put(line, n, cap, " at 0x");
        n = put_number(line, n, cap, (unsigned long)info->si_addr, 16);
    } else {
        n = put(line, n, cap, " sent by pid ");
        n = put_number(line, n, cap, (unsigned long)info->si_pid, 10);
    }
    n = put(line, n, cap, "; backtrace:");
    line[n++] = '\n';
    if (write(fd, line, n) < 0)
        return; /* nobody is left to tell */
}

/* Installed with SA_RESETHAND: raise leaves the signal pending with its default action, which
 * ends the process when this returns. */
static void on_fatal(int signo, siginfo_t *info, void *context)
{
    void *frames[FRAMES_MAX];
    int count, fd = log_fd();

    (void)context;
    write_line(fd, signo, info);
    count = backtrace(frames, FRAMES_MAX);
    backtrace_symbols_fd(frames, count, fd);
    (void)raise(signo);
}

/* A stack of their own for the handlers, for when the other ran out. Inherited over fork. */
static void set_stack(void)
{
    stack_t stack;

    if (sigaltstack(NULL, &stack) < 0 || !(stack.ss_flags & SS_DISABLE))
        return;
    stack = (stack_t){ .ss_size = STACK_SIZE };
    stack.ss_sp = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack.ss_sp != MAP_FAILED)
        (void)sigaltstack(&stack, NULL);
}

void backtrace_install(const char *process)
{
    struct sigaction action = {
        .sa_sigaction = on_fatal,
        .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND,
    };
    void *frame;

    log_process(process);
    /* The first call loads libgcc, which allocates: not in the handler. */
    (void)backtrace(&frame, 1);
    set_stack();
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < FATAL_COUNT; i++)
        (void)sigaction(fatal[i].signo, &action, NULL);
}
