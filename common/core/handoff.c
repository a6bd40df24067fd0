/* Writing and reading hand-off records: handoff.h. Owns nothing. Called by the master, for its
 * successor, and by workers that have lost theirs. */
#include "common/core/handoff.h"

#define FIRST "rpd-handoff"
#define ESCAPE '%'

void handoff_begin(struct strbuf *out)
{
    strbuf_adds(out, FIRST "\n");
}

void handoff_kind(struct strbuf *out, const char *kind)
{
    strbuf_adds(out, kind);
}

void handoff_number(struct strbuf *out, const char *key, uint64_t value)
{
    strbuf_printf(out, "\t%s=%llu", key, (unsigned long long)value);
}

void handoff_text(struct strbuf *out, const char *key, struct slice value)
{
    strbuf_printf(out, "\t%s=", key);
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];

        if (c < ' ' || c == ESCAPE)
            strbuf_printf(out, "%c%02x", ESCAPE, c);
        else
            strbuf_addc(out, (char)c);
    }
}

void handoff_end(struct strbuf *out)
{
    strbuf_addc(out, '\n');
}

bool handoff_is_one(struct slice *text)
{
    return slice_eq(slice_cut(text, '\n'), SLICE(FIRST));
}

bool handoff_next(struct slice *text, struct slice *kind, struct slice *words)
{
    if (!text->p || text->n == 0)
        return false;
    *words = slice_cut(text, '\n');
    *kind = slice_cut(words, '\t');
    return true;
}

static bool find(struct slice words, const char *key, struct slice *value)
{
    while (words.p) {
        struct slice word = slice_cut(&words, '\t');

        if (!slice_eq(slice_cut(&word, '='), slice_str(key)) || !word.p)
            continue;
        *value = word;
        return true;
    }
    return false;
}

bool handoff_get(struct slice words, const char *key, uint64_t *value)
{
    struct slice text;
    uint64_t n;

    if (!find(words, key, &text) || !slice_u64(text, &n))
        return false;
    *value = n;
    return true;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool handoff_get_text(struct slice words, const char *key, struct strbuf *value)
{
    struct slice text;

    if (!find(words, key, &text))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        int high = -1, low = -1;

        if (text.p[i] == ESCAPE && text.n - i > 2) {
            high = digit(text.p[i + 1]);
            low = digit(text.p[i + 2]);
        }
        if (high < 0 || low < 0) {
            strbuf_addc(value, text.p[i]);
            continue;
        }
        strbuf_addc(value, (char)(high << 4 | low));
        i += 2;
    }
    return true;
}
