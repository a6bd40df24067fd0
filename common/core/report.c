/* Findings about a configuration and the guess at what was meant. Everything that reads a
 * configuration writes here; nothing here prints. */
#include "common/core/report.h"

#include <stdint.h>
#include <string.h>

/* Names longer than this get no suggestion. */
#define SUGGEST_LENGTH_MAX 63

void report_init(struct report *r)
{
    strbuf_init(&r->text);
    r->errors = r->warnings = 0;
}

void report_fini(struct report *r)
{
    strbuf_fini(&r->text);
}

static void begin_line(struct report *r, struct report_place at, bool is_error)
{
    if (is_error)
        r->errors++;
    else
        r->warnings++;
    if (at.line != 0)
        strbuf_printf(&r->text, "%s:%u: ", at.file, at.line);
    if (!is_error)
        strbuf_adds(&r->text, "warning: ");
}

static void end_line(struct report *r, struct report_place at)
{
    if (at.chain)
        strbuf_adds(&r->text, at.chain);
    strbuf_addc(&r->text, '\n');
}

void report_error(struct report *r, const char *fmt, ...)
{
    const struct report_place nowhere = { NULL, 0, NULL };
    va_list ap;

    begin_line(r, nowhere, true);
    va_start(ap, fmt);
    strbuf_vprintf(&r->text, fmt, ap);
    va_end(ap);
    end_line(r, nowhere);
}

void report_warning(struct report *r, const char *fmt, ...)
{
    const struct report_place nowhere = { NULL, 0, NULL };
    va_list ap;

    begin_line(r, nowhere, false);
    va_start(ap, fmt);
    strbuf_vprintf(&r->text, fmt, ap);
    va_end(ap);
    end_line(r, nowhere);
}

void report_error_at(struct report *r, struct report_place at, const char *fmt, ...)
{
    va_list ap;

    begin_line(r, at, true);
    va_start(ap, fmt);
    strbuf_vprintf(&r->text, fmt, ap);
    va_end(ap);
    end_line(r, at);
}

void report_warning_at(struct report *r, struct report_place at, const char *fmt, ...)
{
    va_list ap;

    begin_line(r, at, false);
    va_start(ap, fmt);
    strbuf_vprintf(&r->text, fmt, ap);
    va_end(ap);
    end_line(r, at);
}

static unsigned min_of(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, changes and swaps of neighbours that lead from a to b, ignoring ASCII
 * case; `limit` + 1 when there are more than `limit`. Both are at most SUGGEST_LENGTH_MAX long. */
static unsigned edit_distance(struct slice a, struct slice b, unsigned limit)
{
    unsigned rows[3][SUGGEST_LENGTH_MAX + 1];

    for (size_t j = 0; j <= b.n; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *twice = rows[(i + 1) % 3];
        unsigned best = row[0] = (unsigned)i;

        for (size_t j = 1; j <= b.n; j++) {
            char x = ascii_lower(a.p[i - 1]), y = ascii_lower(b.p[j - 1]);

            row[j] = min_of(above[j - 1] + (x != y), min_of(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && x == ascii_lower(b.p[j - 2]) && y == ascii_lower(a.p[i - 2]))
                row[j] = min_of(row[j], twice[j - 2] + 1);
            best = min_of(best, row[j]);
        }
        if (best > limit)
            return limit + 1;
    }
    return rows[a.n % 3][b.n];
}

const char *report_suggest(const char *wrong, const char *const *names, size_t n)
{
    struct slice a = slice_str(wrong);
    const char *found = NULL;

    if (a.n == 0 || a.n > SUGGEST_LENGTH_MAX)
        return NULL;

    /* One mistake in three letters, at most three. */
    unsigned limit = min_of((unsigned)(a.n + 2) / 3, 3);

    for (size_t i = 0; i < n; i++) {
        struct slice b = slice_str(names[i]);

        if (b.n == 0 || b.n > SUGGEST_LENGTH_MAX || b.n > a.n + limit || a.n > b.n + limit)
            continue;
        unsigned distance = edit_distance(a, b, limit);
        if (distance > limit || (distance == b.n && distance == a.n))
            continue;
        if (distance == 0)
            return names[i];
        found = names[i];
        limit = distance - 1;
    }
    return found;
}
