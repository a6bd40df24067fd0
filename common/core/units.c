/* Durations, sizes, counts, percentages as text. The configuration and the command line call it. */
#include "common/core/units.h"

#include <inttypes.h>

struct unit {
    struct slice name;
    uint64_t factor;
};

/* Largest first. */
static const struct unit durations[] = {
    { SLICE_INIT("d"), 86400000 }, { SLICE_INIT("h"), 3600000 }, { SLICE_INIT("m"), 60000 },
    { SLICE_INIT("s"), 1000 },     { SLICE_INIT("ms"), 1 },
};
static const struct unit sizes[] = {
    { SLICE_INIT("g"), 1u << 30 },
    { SLICE_INIT("m"), 1u << 20 },
    { SLICE_INIT("k"), 1u << 10 },
};
#define NDURATIONS (sizeof durations / sizeof durations[0])
#define NSIZES (sizeof sizes / sizeof sizes[0])

static size_t span(struct slice s, bool want_digits)
{
    size_t n = 0;

    while (n < s.n && (s.p[n] >= '0' && s.p[n] <= '9') == want_digits)
        n++;
    return n;
}

static struct slice take(struct slice *rest, size_t n)
{
    struct slice head = slice_of(rest->p, n);

    *rest = slice_of(rest->p + n, rest->n - n);
    return head;
}

static bool add_scaled(uint64_t *sum, uint64_t number, uint64_t factor)
{
    uint64_t product;

    return !__builtin_mul_overflow(number, factor, &product) &&
           !__builtin_add_overflow(*sum, product, sum);
}

static size_t find_duration(struct slice name)
{
    size_t i = 0;

    while (i < NDURATIONS && !slice_eq(durations[i].name, name))
        i++;
    return i;
}

static size_t find_size(struct slice name)
{
    size_t i = 0;

    while (i < NSIZES && !slice_ieq(sizes[i].name, name))
        i++;
    return i;
}

bool units_duration(struct slice text, uint64_t *ms, struct strbuf *error)
{
    struct slice rest = text;
    size_t smallest = 0;

    *ms = 0;
    if (slice_eq(text, SLICE("0")))
        return true;
    do {
        uint64_t number;
        struct slice digits = take(&rest, span(rest, true));
        struct slice name = take(&rest, span(rest, false));

        if (digits.n > 0 && name.n == 0 && digits.n == text.n) {
            strbuf_printf(error, "'%.*s' has no unit: did you mean %.*ss or %.*sms?",
                          SLICE_ARG(text), SLICE_ARG(text), SLICE_ARG(text));
            return false;
        }
        size_t unit = find_duration(name);
        if (digits.n == 0 || unit < smallest || unit == NDURATIONS)
            goto bad;
        if (!slice_u64(digits, &number) || !add_scaled(ms, number, durations[unit].factor)) {
            strbuf_printf(error, "'%.*s' is too long", SLICE_ARG(text));
            return false;
        }
        smallest = unit + 1;
    } while (rest.n > 0);
    return true;
bad:
    strbuf_printf(error, "'%.*s' is no duration: write 500ms, 10s, 5m, 1m30s, 1h or 1d",
                  SLICE_ARG(text));
    return false;
}

bool units_size(struct slice text, uint64_t *bytes, struct strbuf *error)
{
    struct slice rest = text;
    struct slice digits = take(&rest, span(rest, true));
    size_t unit = find_size(rest);
    uint64_t number;

    *bytes = 0;
    if (digits.n == 0 || (rest.n > 0 && unit == NSIZES)) {
        strbuf_printf(error, "'%.*s' is no size: write bytes, or 8k, 16m, 1g", SLICE_ARG(text));
        return false;
    }
    if (!slice_u64(digits, &number) ||
        !add_scaled(bytes, number, rest.n > 0 ? sizes[unit].factor : 1)) {
        strbuf_printf(error, "'%.*s' is too large", SLICE_ARG(text));
        return false;
    }
    return true;
}

bool units_count(struct slice text, uint64_t *count, struct strbuf *error)
{
    if (slice_u64(text, count))
        return true;
    strbuf_printf(error, "'%.*s' is no whole number", SLICE_ARG(text));
    return false;
}

bool units_percent(struct slice text, uint64_t *hundredths, struct strbuf *error)
{
    struct slice rest = text, whole = take(&rest, span(rest, true)), part = SLICE_NONE;
    uint64_t number = 0, fraction = 0;

    if (rest.n > 1 && rest.p[0] == '.') {
        (void)take(&rest, 1);
        part = take(&rest, span(rest, true));
    }
    *hundredths = 0;
    if (!slice_eq(rest, SLICE("%")) || !slice_u64(whole, &number) || part.n > 2 ||
        (part.p && !slice_u64(part, &fraction))) {
        strbuf_printf(error, "'%.*s' is no percentage: write 5%% or 0.25%%", SLICE_ARG(text));
        return false;
    }
    if (part.n == 1)
        fraction *= 10;
    if (!add_scaled(hundredths, number, 100) || !add_scaled(hundredths, fraction, 1)) {
        strbuf_printf(error, "'%.*s' is too large", SLICE_ARG(text));
        return false;
    }
    return true;
}

void units_print_duration(uint64_t ms, struct strbuf *out)
{
    if (ms == 0) {
        strbuf_addc(out, '0');
        return;
    }
    for (size_t i = 0; i < NDURATIONS; i++) {
        const uint64_t factor = durations[i].factor;

        if (ms >= factor)
            strbuf_printf(out, "%" PRIu64 "%s", ms / factor, durations[i].name.p);
        ms %= factor;
    }
}

void units_print_size(uint64_t bytes, struct strbuf *out)
{
    for (size_t i = 0; i < NSIZES; i++) {
        if (bytes > 0 && bytes % sizes[i].factor == 0) {
            strbuf_printf(out, "%" PRIu64 "%s", bytes / sizes[i].factor, sizes[i].name.p);
            return;
        }
    }
    strbuf_printf(out, "%" PRIu64, bytes);
}

void units_print_percent(uint64_t hundredths, struct strbuf *out)
{
    const unsigned part = (unsigned)(hundredths % 100);

    strbuf_printf(out, "%" PRIu64, hundredths / 100);
    if (part > 0)
        strbuf_printf(out, part % 10 ? ".%02u" : ".%u", part % 10 ? part : part / 10);
    strbuf_addc(out, '%');
}
