/* Parsing of texts with request variables. Configuration building calls it; expanding is the
 * proxy's. It knows no request. */
#include "common/core/template.h"

#include <stdlib.h>
#include "common/base/mem.h"
#include "common/base/vec.h"
#include "common/core/report.h"

struct var_info {
    enum var_id id;
    bool takes_argument;
    struct slice name;
};

static const struct var_info vars[] = {
#define VAR(ID, name, help) { VAR_##ID, false, SLICE_INIT(name) },
#define VAR_PREFIX(ID, name, help) { VAR_##ID, true, SLICE_INIT(name) },
#include "common/core/vars.def"
#undef VAR
#undef VAR_PREFIX
};
#define NVARS (sizeof vars / sizeof vars[0])

struct parser {
    VEC(struct template_part) parts;
    struct slice rest;
    char *literal; /* where the literal text being gathered began, and ends */
    char *at;
    struct strbuf *error;
};

static void end_literal(struct parser *p)
{
    if (p->at == p->literal)
        return;
    struct template_part *part = VEC_PUSH(&p->parts);
    part->var = VAR_LITERAL;
    part->text = slice_of(p->literal, (size_t)(p->at - p->literal));
    p->literal = p->at;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static const struct var_info *find_var(struct slice word)
{
    for (size_t i = 0; i < NVARS; i++) {
        if (vars[i].takes_argument ? slice_starts(word, vars[i].name)
                                   : slice_eq(word, vars[i].name))
            return &vars[i];
    }
    return NULL;
}

static void unknown_var(struct strbuf *error, struct slice word)
{
    const char *names[NVARS];
    char *text = xstrndup(word.p, word.n);

    for (size_t i = 0; i < NVARS; i++)
        names[i] = vars[i].name.p;
    const char *near = report_suggest(text, names, NVARS);
    strbuf_printf(error, "'$%s' is no variable", text);
    if (near)
        strbuf_printf(error, " (did you mean '$%s'?)", near);
    free(text);
}

static void parse_capture(struct parser *p)
{
    struct template_part *part = VEC_PUSH(&p->parts);

    part->var = VAR_CAPTURE;
    part->text = slice_of(p->rest.p, 1);
    p->rest = slice_of(p->rest.p + 1, p->rest.n - 1);
}

/* After the dollar sign. */
static bool parse_var(struct parser *p)
{
    size_t n = 0;

    if (p->rest.n > 0 && *p->rest.p >= '0' && *p->rest.p <= '9') {
        parse_capture(p);
        return true;
    }
    while (n < p->rest.n && is_word(p->rest.p[n]))
        n++;
    if (n == 0) {
        strbuf_adds(p->error, "a '$' that begins no variable: a dollar sign is written '$$'");
        return false;
    }

    struct slice word = slice_of(p->rest.p, n);
    const struct var_info *var = find_var(word);

    if (!var) {
        unknown_var(p->error, word);
        return false;
    }
    if (var->takes_argument && word.n == var->name.n) {
        strbuf_printf(p->error, "'$%.*s' needs a name behind it", SLICE_ARG(word));
        return false;
    }

    struct template_part *part = VEC_PUSH(&p->parts);
    part->var = var->id;
    if (var->takes_argument)
        part->text = slice_of(word.p + var->name.n, word.n - var->name.n);
    p->rest = slice_of(p->rest.p + n, p->rest.n - n);
    return true;
}

static bool parse_parts(struct parser *p)
{
    while (p->rest.n > 0) {
        char c = *p->rest.p;

        p->rest = slice_of(p->rest.p + 1, p->rest.n - 1);
        if (c != '$') {
            *p->at++ = c;
        } else if (p->rest.n > 0 && *p->rest.p == '$') {
            *p->at++ = '$';
            p->rest = slice_of(p->rest.p + 1, p->rest.n - 1);
        } else {
            end_literal(p);
            if (!parse_var(p))
                return false;
        }
    }
    end_literal(p);
    return true;
}

bool template_parse(struct template *t, struct slice source, struct strbuf *error)
{
    /* One block: the source, a NUL, the literal texts without their escapes. */
    char *block = xmalloc(2 * source.n + 1);
    struct parser p = { .error = error };

    strbuf_clear(error);
    if (source.n > 0)
        memcpy(block, source.p, source.n);
    block[source.n] = '\0';
    p.rest = slice_of(block, source.n);
    p.literal = p.at = block + source.n + 1;

    bool is_good = parse_parts(&p);
    t->parts = p.parts.v;
    t->n = p.parts.n;
    t->source = slice_of(block, source.n);
    if (!is_good)
        template_fini(t);
    return is_good;
}

unsigned template_captures(const struct template *t)
{
    unsigned n = 0;

    for (size_t i = 0; i < t->n; i++) {
        unsigned digit = t->parts[i].var == VAR_CAPTURE ? (unsigned)(*t->parts[i].text.p - '0') : 0;

        if (t->parts[i].var == VAR_CAPTURE && digit >= n)
            n = digit + 1;
    }
    return n;
}

void template_fini(struct template *t)
{
    free(t->parts);
    free((void *)(uintptr_t)t->source.p);
    *t = (struct template){ NULL, 0, SLICE_NONE };
}
