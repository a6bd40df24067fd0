/* malloc that cannot fail: what it gives, and how it ends. */
#include "common/base/mem.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "t/unit/unit.h"

START_TEST(gives_memory)
{
    char *p = xmalloc(0);
    unsigned char *z = xcalloc(8, 4);

    ck_assert_ptr_nonnull(p);
    p = xrealloc(p, 100);
    memset(p, 1, 100);
    for (int i = 0; i < 32; i++)
        ck_assert_uint_eq(z[i], 0);
    p = xrealloc(p, 0);
    ck_assert_ptr_nonnull(p);
    free(p);
    free(z);
    p = xcalloc(0, 8);
    ck_assert_ptr_nonnull(p);
    free(p);
}
END_TEST

START_TEST(copies_strings)
{
    char *a = xstrdup("abc"), *b = xstrndup("abcdef", 3), *c = xstrndup("ab", 10);

    ck_assert_str_eq(a, "abc");
    ck_assert_str_eq(b, "abc");
    ck_assert_str_eq(c, "ab");
    free(a);
    free(b);
    free(c);
}
END_TEST

/* ASan's own malloc ends the process first, with words of its own. */
#ifdef __has_feature
#define HAS_FEATURE(f) __has_feature(f)
#else
#define HAS_FEATURE(f) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !HAS_FEATURE(address_sanitizer)

START_TEST(running_out_ends_the_process_with_a_message)
{
    static volatile size_t too_much = SIZE_MAX / 2;
    char text[256] = "";
    int out[2], status;
    pid_t pid;

    ck_assert_int_eq(pipe(out), 0);
    pid = fork();
    if (pid == 0) {
        (void)dup2(out[1], STDERR_FILENO);
        _exit(xmalloc(too_much) != NULL);
    }
    (void)close(out[1]);
    ck_assert_int_gt(read(out[0], text, sizeof text - 1), 0);
    (void)close(out[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_ptr_nonnull(strstr(text, "out of memory"));
}
END_TEST

UNIT_MAIN("mem", gives_memory, copies_strings, running_out_ends_the_process_with_a_message)

#else

UNIT_MAIN("mem", gives_memory, copies_strings)

#endif
