/* Expansion of environment variables in configuration values. Only the reader of files calls it;
 * workers get expanded text and never look at their environment. */
#include "common/core/conf_env.h"

#include <stdlib.h>
#include "common/base/mem.h"

static bool is_name_char(char c, bool is_first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (!is_first && c >= '0' && c <= '9');
}

static bool add_environment(struct slice name, const char *value, struct strbuf *out,
                            struct strbuf *error)
{
    for (const char *c = value; *c; c++) {
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f) {
            strbuf_printf(error, "environment variable %.*s holds a control character",
                          SLICE_ARG(name));
            return false;
        }
        if (*c == '$')
            strbuf_addc(out, '$');
        strbuf_addc(out, *c);
    }
    return true;
}

/* `inner` is what stands between the braces. */
static bool expand_one(struct slice inner, struct strbuf *out, struct strbuf *error)
{
    size_t n = 0;

    while (n < inner.n && is_name_char(inner.p[n], n == 0))
        n++;

    struct slice name = slice_of(inner.p, n);
    struct slice rest = slice_of(inner.p + n, inner.n - n);
    bool has_fallback = slice_starts(rest, SLICE(":-"));

    if (n == 0 || (rest.n > 0 && !has_fallback)) {
        strbuf_printf(error, "'${%.*s}' is neither ${NAME} nor ${NAME:-fallback}",
                      SLICE_ARG(inner));
        return false;
    }

    char *text = xstrndup(name.p, name.n);
    const char *value = getenv(text);
    free(text);
    if (has_fallback && (!value || !*value)) {
        strbuf_add(out, slice_of(rest.p + 2, rest.n - 2));
        return true;
    }
    if (!value) {
        strbuf_printf(error,
                      "environment variable %.*s is not set (a fallback is written "
                      "${%.*s:-fallback})",
                      SLICE_ARG(name), SLICE_ARG(name));
        return false;
    }
    return add_environment(name, value, out, error);
}

bool conf_env_expand(const char *value, struct strbuf *out, struct strbuf *error)
{
    struct slice rest = slice_str(value);

    strbuf_clear(error);
    while (rest.n > 0) {
        size_t literal = slice_find(rest, '$');

        strbuf_add(out, slice_of(rest.p, literal));
        rest = slice_of(rest.p + literal, rest.n - literal);
        if (slice_starts(rest, SLICE("${"))) {
            size_t end = slice_find(rest, '}');
            struct slice inner = slice_of(rest.p + 2, end - 2);

            if (end == rest.n) {
                strbuf_adds(error, "no '}' ends '${'");
                return false;
            }
            if (slice_find(inner, '{') < inner.n) {
                strbuf_adds(error, "'${' within '${': a fallback holds no variable");
                return false;
            }
            if (!expand_one(inner, out, error))
                return false;
            rest = slice_of(rest.p + end + 1, rest.n - end - 1);
        } else if (rest.n > 0) {
            /* `$$` stays as it is, so that "$${X}" is no environment variable. */
            size_t n = slice_starts(rest, SLICE("$$")) ? 2 : 1;

            strbuf_add(out, slice_of(rest.p, n));
            rest = slice_of(rest.p + n, rest.n - n);
        }
    }
    return true;
}
