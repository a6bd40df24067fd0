/* Growing string for tools and start-up (configuration, reports, JSON): aborts when memory ends.
 * `s` is always NUL-terminated (a static empty string before the first byte). */
#ifndef RPD_BASE_STRBUF_H
#define RPD_BASE_STRBUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/slice.h"

struct strbuf {
    char *s;
    size_t n, cap;
};

void strbuf_init(struct strbuf *b);
void strbuf_fini(struct strbuf *b);
void strbuf_clear(struct strbuf *b);
/* Back to its first n bytes; n is at most b->n. */
void strbuf_cut(struct strbuf *b, size_t n);
void strbuf_add(struct strbuf *b, struct slice s);
void strbuf_adds(struct strbuf *b, const char *s);
void strbuf_addc(struct strbuf *b, char c);
void strbuf_printf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
/* The malloc'd string, the caller's to free(); the buffer is as after strbuf_init. */
char *strbuf_take(struct strbuf *b);

static inline struct slice strbuf_slice(const struct strbuf *b)
{
    return slice_of(b->s, b->n);
}

#endif
