/* The process title. Owns the memory where the kernel put argv and environ. Called by main first
 * and by each process once it knows its role; never by anything later. */
#include "common/base/proctitle.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "common/base/mem.h"

#define COMM_MAX 16 /* what PR_SET_NAME takes, NUL included */

/* Where ps(1) reads this process's title, and the copy of what was there. */
static struct {
    char *start, *copy;
    size_t room;
} title;

/* The strings of argv and environ lie behind each other; another program may have moved some. */
static char *extend(char *end, char *s)
{
    return s == end ? s + strlen(s) + 1 : end;
}

/* The same string in the copy; those elsewhere stay. */
static char *moved(char *s)
{
    size_t at = (size_t)((uintptr_t)s - (uintptr_t)title.start);

    return at < title.room ? title.copy + at : s;
}

void proctitle_init(int argc, char **argv)
{
    size_t n = 0;
    char *end, *slash, **env;

    if (argc < 1 || !argv[0])
        return;
    end = argv[0];
    for (int i = 0; i < argc; i++)
        end = extend(end, argv[i]);
    while (environ && environ[n])
        end = extend(end, environ[n++]);
    title.start = argv[0];
    title.room = (size_t)(end - argv[0]);
    title.copy = xmalloc(title.room);
    memcpy(title.copy, title.start, title.room);

    for (int i = 0; i < argc; i++)
        argv[i] = moved(argv[i]);
    env = xcalloc(n + 1, sizeof *env);
    for (size_t i = 0; i < n; i++)
        env[i] = moved(environ[i]);
    environ = env;
    /* error(3), syslog(3) and warn(3) read these, which pointed into argv[0]. */
    slash = strrchr(argv[0], '/');
    program_invocation_name = argv[0];
    program_invocation_short_name = slash ? slash + 1 : argv[0];
}

void proctitle_set(const char *fmt, ...)
{
    char text[256], comm[COMM_MAX];
    size_t n;
    va_list ap;

    if (!title.start)
        return;
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof text, fmt, ap) < 0)
        text[0] = '\0';
    va_end(ap);

    n = strnlen(text, title.room - 1);
    memcpy(title.start, text, n);
    memset(title.start + n, 0, title.room - n);
    (void)snprintf(comm, sizeof comm, "%.15s", text);
    (void)prctl(PR_SET_NAME, comm);
}
