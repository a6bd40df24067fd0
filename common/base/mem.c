/* malloc that cannot fail. Owns nothing. Called at start-up, while a generation is built and by
 * tools; never for what a connection or a stream needs. */
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include "common/base/log.h"

static void *or_abort(void *p, size_t n)
{
    if (!p) {
        log_errorx("out of memory: %zu bytes wanted", n);
        abort();
    }
    return p;
}

void *xmalloc(size_t n)
{
    return or_abort(malloc(n ? n : 1), n);
}

void *xcalloc(size_t count, size_t size)
{
    if (count == 0 || size == 0)
        count = size = 1;
    return or_abort(calloc(count, size), size);
}

void *xrealloc(void *p, size_t n)
{
    return or_abort(realloc(p, n ? n : 1), n);
}

char *xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;

    return memcpy(xmalloc(n), s, n);
}

char *xstrndup(const char *s, size_t n)
{
    char *copy;

    n = strnlen(s, n);
    copy = xmalloc(n + 1);
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

/* LeakSanitizer's, where there is one. */
extern void __lsan_do_leak_check(void) __attribute__((weak));

void mem_check_leaks(void)
{
    if (__lsan_do_leak_check)
        __lsan_do_leak_check();
}
