/* Growing string. Owns its bytes until strbuf_take. Called by tools, start-up and reports; never
 * on the hot path, since it aborts when memory ends. */
#include "common/base/strbuf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include "common/base/mem.h"

/* What an empty buffer points at: one NUL that nobody writes (cap is 0). */
static char nothing[1];

/* Room for n more bytes and the NUL behind them. */
static void reserve(struct strbuf *b, size_t n)
{
    size_t want;

    assert(n < SIZE_MAX / 4 && b->n < SIZE_MAX / 4);
    if (b->n + n < b->cap)
        return;
    want = b->cap ? b->cap * 2 : 64;
    if (want < b->n + n + 1)
        want = b->n + n + 1;
    b->s = xrealloc(b->cap ? b->s : NULL, want);
    b->cap = want;
}

void strbuf_init(struct strbuf *b)
{
    *b = (struct strbuf){ .s = nothing };
}

void strbuf_fini(struct strbuf *b)
{
    if (b->cap)
        free(b->s);
    strbuf_init(b);
}

void strbuf_clear(struct strbuf *b)
{
    strbuf_cut(b, 0);
}

void strbuf_cut(struct strbuf *b, size_t n)
{
    assert(n <= b->n);
    b->n = n;
    if (b->cap)
        b->s[n] = '\0';
}

void strbuf_add(struct strbuf *b, struct slice s)
{
    if (s.n == 0)
        return;
    reserve(b, s.n);
    memcpy(b->s + b->n, s.p, s.n);
    b->n += s.n;
    b->s[b->n] = '\0';
}

void strbuf_adds(struct strbuf *b, const char *s)
{
    strbuf_add(b, slice_str(s));
}

void strbuf_addc(struct strbuf *b, char c)
{
    reserve(b, 1);
    b->s[b->n++] = c;
    b->s[b->n] = '\0';
}

void strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strbuf_vprintf(b, fmt, ap);
    va_end(ap);
}

void strbuf_vprintf(struct strbuf *b, const char *fmt, va_list ap)
{
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    assert(n >= 0);
    reserve(b, (size_t)n);
    (void)vsnprintf(b->s + b->n, (size_t)n + 1, fmt, again);
    va_end(again);
    b->n += (size_t)n;
}

char *strbuf_take(struct strbuf *b)
{
    char *s = b->cap ? b->s : xstrdup("");

    strbuf_init(b);
    return s;
}
