/* [canary], and a route's `canary`: its values, and what is wrong between them. Reached through the
 * rows of the settings table, but for conf_check_canaries, a step of conf_build. */
#include <inttypes.h>
#include "common/core/conf_words.h"
#include "common/core/units.h"

#define WHOLE 10000 /* hundredths of a percent */

/* ---- steps ---- */

static void parse_step(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_steps *list = field;
    uint64_t share = 0, last = list->n > 0 ? list->v[list->n - 1] : 0;
    struct strbuf error;

    strbuf_init(&error);
    if (!units_percent(text, &share, &error))
        conf_value_error(c, "%s", error.s);
    else if (share == 0 || share > WHOLE)
        conf_value_error(c, "'%.*s': a step is a share above 0%% and up to 100%%",
                         SLICE_ARG(text));
    else if (share <= last)
        conf_value_error(c, "'%.*s' is not above the step before it: clients only ever move to the "
                         "canary", SLICE_ARG(text));
    else {
        list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
        list->v[list->n++] = (uint32_t)share;
    }
    strbuf_fini(&error);
}

COUNT_OF(STEPS)

static void print_step(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_steps *list = field;

    units_print_percent(list->v[i], out);
}

LIST_TYPE(STEPS, .name = "list of percentages", .parse = parse_step, .count = count_STEPS,
          .print = print_step);

/* ---- max_p99 ---- */

/* `1.5x`, in hundredths; 0: it is none. */
static uint32_t parse_times(struct slice text)
{
    struct strbuf percent, error;
    uint64_t hundredths = 0;

    strbuf_init(&percent);
    strbuf_init(&error);
    strbuf_printf(&percent, "%.*s%%", (int)text.n - 1, text.p);
    if (!units_percent(strbuf_slice(&percent), &hundredths, &error) || hundredths > UINT32_MAX)
        hundredths = 0;
    strbuf_fini(&percent);
    strbuf_fini(&error);
    return (uint32_t)hundredths;
}

static void parse_slowest(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_slowest *out = field, value = { .ms = 0 };
    struct strbuf error;
    uint64_t ms = 0;

    strbuf_init(&error);
    if (slice_ends(text, SLICE("x")))
        value.times = parse_times(text);
    else if (units_duration(text, &ms, &error) && ms <= UINT32_MAX)
        value.ms = (uint32_t)ms;
    if (value.times > 0 && value.times < 100)
        conf_value_error(c, "'%.*s': the canary would have to be faster than the stable backend",
                         SLICE_ARG(text));
    else if (value.ms > 0 || value.times > 0 || slice_eq(text, SLICE("off")))
        *out = value;
    else
        conf_value_error(c, "'%.*s' is neither off, a duration (500ms) nor a multiple of the "
                         "stable backend's (1.5x)", SLICE_ARG(text));
    strbuf_fini(&error);
}

static void print_slowest(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_slowest *value = field;

    (void)i;
    if (value->ms > 0)
        units_print_duration(value->ms, out);
    else if (value->times > 0)
        strbuf_printf(out, "%" PRIu32 ".%02" PRIu32 "x", value->times / 100, value->times % 100);
    else
        strbuf_adds(out, "off");
}

TYPE(SLOWEST, .name = "off, duration or multiple", .parse = parse_slowest,
     .print = print_slowest);

/* ---- testers ---- */

static void parse_mark(struct conf_cursor *c, struct slice text, char separator,
                       const char *example, void *field)
{
    struct conf_mark *out = field;
    struct slice value = text, name = slice_trim(slice_cut(&value, separator));

    if (!slice_is_token(name)) {
        conf_value_error(c, "'%.*s' has no good name: write `%s`", SLICE_ARG(text), example);
        return;
    }
    out->name = conf_dup(c->b, name);
    out->value = value.p ? conf_dup(c->b, slice_trim(value)) : SLICE_NONE;
}

static void parse_header_mark(struct conf_cursor *c, struct slice text, void *field)
{
    parse_mark(c, text, ':', "X-Canary: yes", field);
}

static void parse_cookie_mark(struct conf_cursor *c, struct slice text, void *field)
{
    parse_mark(c, text, '=', "canary=yes", field);
}

static size_t count_mark(const void *field)
{
    const struct conf_mark *mark = field;

    return mark->name.n > 0;
}

static void print_mark(const struct conf_mark *mark, const char *separator, struct strbuf *out)
{
    strbuf_add(out, mark->name);
    if (!mark->value.p)
        return;
    strbuf_adds(out, separator);
    conf_print_escaped(out, mark->value);
}

static void print_header_mark(const void *field, size_t i, struct strbuf *out)
{
    (void)i;
    print_mark(field, ": ", out);
}

static void print_cookie_mark(const void *field, size_t i, struct strbuf *out)
{
    (void)i;
    print_mark(field, "=", out);
}

TYPE(HEADER_MARK, .name = "field", .takes_empty = true, .parse = parse_header_mark,
     .count = count_mark, .print = print_header_mark);
TYPE(COOKIE_MARK, .name = "cookie", .takes_empty = true, .parse = parse_cookie_mark,
     .count = count_mark, .print = print_cookie_mark);

/* ---- on_change, start ---- */

static void parse_program(struct conf_cursor *c, struct slice text, void *field)
{
    const char **out = field;

    if (slice_find(text, ' ') < text.n)
        conf_value_error(c, "'%.*s': a program alone, its arguments are the canary's name, the "
                         "event and the weight", SLICE_ARG(text));
    else
        *out = conf_file_of(c, text).path;
}

static void clear_program(void *field)
{
    const char **out = field;

    *out = "";
}

static size_t count_program(const void *field)
{
    const char *const *value = field;

    return **value != '\0';
}

static void print_program(const void *field, size_t i, struct strbuf *out)
{
    const char *const *value = field;

    (void)i;
    conf_print_escaped(out, slice_str(*value));
}

TYPE(PROGRAM, .name = "program", .takes_empty = true, .clear = clear_program,
     .parse = parse_program, .count = count_program, .print = print_program);

static const struct conf_word starts[] = {
    { "auto", CONF_CANARY_AUTO, false },
    { "manual", CONF_CANARY_MANUAL, false },
};

static void parse_start(struct conf_cursor *c, struct slice text, void *field)
{
    enum conf_canary_start *out = field;
    int value = conf_parse_word(c, text, starts, CONF_NWORDS(starts));

    if (value >= 0)
        *out = (enum conf_canary_start)value;
}

static void print_start(const void *field, size_t i, struct strbuf *out)
{
    const enum conf_canary_start *value = field;

    (void)i;
    conf_print_word(out, (int)*value, starts, CONF_NWORDS(starts));
}

TYPE(CANARY_START, .name = "word", .parse = parse_start, .print = print_start);

/* ---- a route's ---- */

static void parse_canary(struct conf_cursor *c, struct slice text, void *field)
{
    const struct conf_canary **out = field;
    struct conf_section *s = conf_find_section(c, CONF_KIND_canary, text);

    if (s)
        *out = s->target;
}

static size_t count_canary(const void *field)
{
    const struct conf_canary *const *value = field;

    return *value != NULL;
}

static void print_canary(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_canary *const *value = field;

    (void)i;
    strbuf_adds(out, (*value)->name);
}

TYPE(CANARY, .name = "canary", .takes_empty = true, .parse = parse_canary,
     .count = count_canary, .print = print_canary);

/* ---- checks ---- */

static void check_canary(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_canary *canary = s->target;

    if (canary->stable && canary->stable == canary->canary)
        conf_section_error(b, s, "canary", "is the stable backend as well: '%s'",
                           canary->canary->name);
    if (canary->steps.n == 0 && !s->has_errors)
        conf_section_error(b, s, "steps", "needs a step");
    for (size_t i = 0; i < b->conf->nroutes; i++)
        if (b->conf->routes[i].canary == canary)
            return;
    conf_section_warning(b, s, NULL, "nothing uses it");
}

void conf_check_canaries(struct conf_builder *b)
{
    for (size_t i = 0; i < b->sections.n; i++) {
        const struct conf_section *s = &b->sections.v[i];

        if (s->kind == CONF_KIND_canary && !s->is_defaults && !s->is_refused)
            check_canary(b, s);
    }
}
