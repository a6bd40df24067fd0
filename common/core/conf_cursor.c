/* What every value's parser needs while a conf is built: memory that the conf owns, messages with
 * their place, names of other sections. */
#include <stdlib.h>
#include "common/base/regex.h"
#include "common/core/conf_impl.h"

/* ---- memory ---- */

static void *need(void *p)
{
    if (!p)
        abort(); /* as xmalloc: there is no generation without memory */
    return p;
}

void *conf_alloc(struct conf_builder *b, size_t n)
{
    return need(arena_zalloc(&b->conf->memory->arena, n));
}

struct slice conf_dup(struct conf_builder *b, struct slice s)
{
    struct slice copy = arena_dup(&b->conf->memory->arena, s);

    need((void *)(uintptr_t)copy.p);
    return copy;
}

/* Capacities are powers of two, so that n alone tells whether there is room. */
void *conf_grow(struct conf_cursor *c, const void *v, size_t n, size_t size)
{
    size_t cap = 1;

    if (!c->is_fresh && n > 0 && (n & (n - 1)) != 0)
        return (void *)(uintptr_t)v;
    while (cap <= n)
        cap *= 2;

    void *room = conf_alloc(c->b, cap * size);
    if (n > 0)
        memcpy(room, v, n * size);
    c->is_fresh = false;
    return room;
}

bool conf_parse_template(struct conf_cursor *c, struct slice source, struct template *t)
{
    struct strbuf error;
    bool is_good;

    strbuf_init(&error);
    is_good = template_parse(t, source, &error);
    if (is_good && template_captures(t) > 0 && !c->setting->type->takes_captures) {
        template_fini(t);
        strbuf_adds(&error, "$0 to $9 are what a pattern caught, and there is no pattern here (a "
                    "dollar sign is written '$$')");
        is_good = false;
    }
    if (is_good)
        *VEC_PUSH(&c->b->conf->memory->templates) = *t;
    else
        conf_value_error(c, "%s", error.s);
    strbuf_fini(&error);
    return is_good;
}

const struct regex *conf_parse_regex(struct conf_cursor *c, struct slice pattern,
                                     unsigned options)
{
    struct regex_error error;
    struct regex *re = regex_new(pattern, options, &error);

    if (re)
        *VEC_PUSH(&c->b->conf->memory->regexes) = re;
    else
        conf_value_error(c, "'%.*s' is no pattern: %s, behind '%.*s'", SLICE_ARG(pattern),
                         error.text, (int)error.at, pattern.p);
    return re;
}

static const char *intern(struct conf_builder *b, const char *s)
{
    char *known = smap_get(&b->strings, slice_str(s));

    if (!known) {
        struct slice copy = conf_dup(b, slice_str(s));

        known = (char *)(uintptr_t)copy.p;
        smap_put(&b->strings, copy, known);
    }
    return known;
}

struct conf_origin conf_origin_of(struct conf_builder *b, const struct conf_entry *e)
{
    return (struct conf_origin){ intern(b, e->file), intern(b, e->chain), e->line };
}

/* ---- messages ---- */

static void print_label(struct strbuf *out, const struct conf_section *s, const char *key)
{
    strbuf_printf(out, "[%s%s%s%s]", s->is_defaults ? "defaults " : "", conf_kinds[s->kind].name,
                  *s->name ? " " : "", s->name);
    if (key)
        strbuf_printf(out, " %s", key);
    strbuf_adds(out, ": ");
}

__attribute__((format(printf, 3, 0)))
static void value_message(struct conf_cursor *c, bool is_error, const char *fmt, va_list ap)
{
    struct strbuf line;

    strbuf_init(&line);
    print_label(&line, c->section, c->setting->key);
    strbuf_vprintf(&line, fmt, ap);
    if (is_error)
        report_error_at(c->b->report, conf_place(&c->origin), "%s", line.s);
    else
        report_warning_at(c->b->report, conf_place(&c->origin), "%s", line.s);
    strbuf_fini(&line);
}

void conf_value_error(struct conf_cursor *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    value_message(c, true, fmt, ap);
    va_end(ap);
}

void conf_value_warning(struct conf_cursor *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    value_message(c, false, fmt, ap);
    va_end(ap);
}

/* Where the key stands in the section, or the section itself. */
static struct report_place section_place(struct conf_builder *b, const struct conf_section *s,
                                         const char *key)
{
    for (size_t i = s->first; key && i < s->end; i++) {
        const struct conf_entry *e = &b->text->entries.v[i];

        if (strcmp(e->key, key) == 0)
            return (struct report_place){ e->file, e->line, e->chain };
    }
    return conf_place(&s->origin);
}

__attribute__((format(printf, 5, 0)))
static void section_message(struct conf_builder *b, const struct conf_section *s,
                            const char *key, bool is_error, const char *fmt, va_list ap)
{
    struct report_place at = section_place(b, s, key);
    struct strbuf line;

    strbuf_init(&line);
    print_label(&line, s, key);
    strbuf_vprintf(&line, fmt, ap);
    if (is_error)
        report_error_at(b->report, at, "%s", line.s);
    else
        report_warning_at(b->report, at, "%s", line.s);
    strbuf_fini(&line);
}

void conf_section_error(struct conf_builder *b, const struct conf_section *s, const char *key,
                        const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    section_message(b, s, key, true, fmt, ap);
    va_end(ap);
}

void conf_section_warning(struct conf_builder *b, const struct conf_section *s, const char *key,
                          const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    section_message(b, s, key, false, fmt, ap);
    va_end(ap);
}

const char *conf_did_you_mean(struct conf_builder *b, struct slice wrong,
                              const char *const *names, size_t n)
{
    if (b->suggestions_left == 0)
        return "";
    b->suggestions_left--;

    const char *near = report_suggest(conf_dup(b, wrong).p, names, n);
    if (!near)
        return "";
    return need((void *)(uintptr_t)
                arena_printf(&b->conf->memory->arena, " (did you mean '%s'?)", near).p);
}

/* ---- other sections ---- */

struct conf_section *conf_find_section(struct conf_cursor *c, enum conf_kind kind,
                                       struct slice name)
{
    struct conf_builder *b = c->b;
    struct conf_section *found = smap_get(&b->names[kind], name);
    VEC(const char *) names = { NULL, 0, 0 };

    if (found)
        return found;
    for (size_t i = 0; b->suggestions_left > 0 && i < b->sections.n; i++) {
        const struct conf_section *s = &b->sections.v[i];

        if (s->kind == kind && !s->is_defaults)
            *VEC_PUSH(&names) = s->name;
    }
    conf_value_error(c, "there is no [%s %.*s]%s", conf_kinds[kind].name, SLICE_ARG(name),
                     conf_did_you_mean(b, name, names.v, names.n));
    free((void *)names.v);
    return NULL;
}

const void *conf_find_once(struct conf_cursor *c, enum conf_kind kind, struct slice name,
                           const void *list, size_t n)
{
    const struct conf_section *s = conf_find_section(c, kind, name);

    for (size_t i = 0; s && i < n; i++) {
        if (memcmp((const char *)list + i * sizeof s->target, &s->target, sizeof s->target) == 0) {
            conf_value_error(c, "'%.*s' is named twice", SLICE_ARG(name));
            return NULL;
        }
    }
    return s ? s->target : NULL;
}

struct slice conf_cut_word(struct slice *text)
{
    struct slice rest = slice_trim(*text);
    size_t n = 0;

    while (n < rest.n && rest.p[n] != ' ' && rest.p[n] != '\t')
        n++;
    *text = slice_trim(slice_of(rest.p + n, rest.n - n));
    return slice_of(rest.p, n);
}
