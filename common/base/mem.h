/* malloc that cannot fail, for start-up, generation building and tools: running out of memory
 * there ends the process with a message. Never used for a connection's or a stream's memory. */
#ifndef RPD_BASE_MEM_H
#define RPD_BASE_MEM_H

#include <stddef.h>

void *xmalloc(size_t n);
/* Zeroed. */
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);

/* For processes that end by _exit(), which skips it: in sanitizer builds, ends the process with a
 * report if memory was lost; otherwise nothing. */
void mem_check_leaks(void);

#endif
