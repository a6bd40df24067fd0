/* A route's `fault`. Reached through the rows of the settings table only. */
#include "common/core/conf_words.h"
#include "common/core/units.h"

#define DELAY_MAX_MS 3600000u
#define WHOLE 10000u

enum fault_kind { FAULT_DELAY, FAULT_STATUS };

static const struct conf_word kinds[] = {
    { "delay", FAULT_DELAY, false },
    { "status", FAULT_STATUS, false },
};

/* false when reported. */
static bool parse_delay(struct conf_cursor *c, struct slice text, struct conf_fault *f)
{
    struct strbuf error;
    uint64_t ms;
    bool is_good;

    strbuf_init(&error);
    is_good = units_duration(text, &ms, &error);
    if (!is_good)
        conf_value_error(c, "%s", error.s);
    else if (ms == 0 || ms > DELAY_MAX_MS)
        conf_value_error(c, "'%.*s' is no delay from 1ms to 1h", SLICE_ARG(text));
    is_good = is_good && ms > 0 && ms <= DELAY_MAX_MS;
    if (is_good)
        f->delay_ms = (uint32_t)ms;
    strbuf_fini(&error);
    return is_good;
}

static bool parse_status(struct conf_cursor *c, struct slice text, struct conf_fault *f)
{
    uint64_t status;

    if (!slice_u64(text, &status) || status < 400 || status > 599) {
        conf_value_error(c, "'%.*s' is no status from 400 to 599", SLICE_ARG(text));
        return false;
    }
    f->status = (unsigned)status;
    return true;
}

static bool parse_share(struct conf_cursor *c, struct slice text, struct conf_fault *f)
{
    struct strbuf error;
    uint64_t share = WHOLE;
    bool is_good = true;

    strbuf_init(&error);
    if (text.n > 0 && !units_percent(text, &share, &error)) {
        conf_value_error(c, "%s", error.s);
        is_good = false;
    } else if (share > WHOLE) {
        conf_value_error(c, "'%.*s' is more than all requests", SLICE_ARG(text));
        is_good = false;
    }
    f->share = (uint32_t)share;
    strbuf_fini(&error);
    return is_good;
}

static void parse_fault(struct conf_cursor *c, struct slice text, void *field)
{
    struct conf_faults *list = field;
    struct conf_fault f = { .share = WHOLE };
    struct slice rest = text, word = conf_cut_word(&rest), what = conf_cut_word(&rest);
    int kind = conf_parse_word(c, word, kinds, CONF_NWORDS(kinds));

    if (kind < 0)
        return;
    if (what.n == 0) {
        conf_value_error(c, "'%.*s': write `delay 2s 5%%` or `status 503 1%%`", SLICE_ARG(text));
        return;
    }
    if (!(kind == FAULT_DELAY ? parse_delay(c, what, &f) : parse_status(c, what, &f)) ||
        !parse_share(c, rest, &f))
        return;
    f.text = arena_printf(&c->b->conf->memory->arena, "%.*s %.*s", SLICE_ARG(word),
                          SLICE_ARG(what));
    list->v = conf_grow(c, list->v, list->n, sizeof *list->v);
    list->v[list->n++] = f;
}

static void print_fault(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_faults *list = field;

    strbuf_add(out, list->v[i].text);
    strbuf_addc(out, ' ');
    units_print_percent(list->v[i].share, out);
}

COUNT_OF(FAULTS)
LIST_TYPE(FAULTS, .name = "list of faults", .parse = parse_fault, .count = count_FAULTS,
          .print = print_fault);
