/* The words of `rpctl apply`. Pure. Called by ctl/act.c and master/apply.c. */
#include "common/core/apply_request.h"

#include "common/core/units.h"

#define TIME_MIN_MS 1000
#define TIME_MAX_MS (7u * 24 * 3600 * 1000)
#define DECIMALS 4 /* of a percentage: down to a millionth */
#define PERCENT (APPLY_MILLION / 100)

/* ---- the bound ---- */

static size_t digits(struct slice s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

/* `1`, `0.25`, `12.5` as millionths of hundred percent; what it took is cut off *rest. */
static bool take_percentage(struct slice *rest, uint64_t *millionths)
{
    struct slice number = slice_of(rest->p, digits(*rest));
    uint64_t scale = PERCENT;

    if (number.n == 0 || number.n > 3 || !slice_u64(number, millionths))
        return false;
    *millionths *= PERCENT;
    *rest = slice_of(rest->p + number.n, rest->n - number.n);
    if (rest->n == 0 || rest->p[0] != '.')
        return true;
    *rest = slice_of(rest->p + 1, rest->n - 1);
    number = slice_of(rest->p, digits(*rest));
    if (number.n == 0 || number.n > DECIMALS)
        return false;
    for (size_t i = 0; i < number.n; i++) {
        scale /= 10;
        *millionths += (uint64_t)(number.p[i] - '0') * scale;
    }
    *rest = slice_of(rest->p + number.n, rest->n - number.n);
    return true;
}

static bool take(struct slice *rest, struct slice prefix)
{
    if (!slice_starts(*rest, prefix))
        return false;
    *rest = slice_trim(slice_of(rest->p + prefix.n, rest->n - prefix.n));
    return true;
}

/* The first number in it, as a bound. */
static void suggest(struct slice text, struct strbuf *error)
{
    struct slice rest = text;
    uint64_t millionths;

    while (rest.n > 0 && digits(rest) == 0)
        rest = slice_of(rest.p + 1, rest.n - 1);
    strbuf_printf(error, "'%.*s' is no bound: ", SLICE_ARG(text));
    if (rest.n > 0 && take_percentage(&rest, &millionths) && millionths < APPLY_MILLION) {
        strbuf_adds(error, "did you mean '");
        apply_bound_print((uint32_t)millionths, error);
        strbuf_adds(error, "'?");
    } else
        strbuf_adds(error, "write 'errors>1%', the most of all requests that may fail");
}

bool apply_bound_parse(struct slice text, uint32_t *bound, struct strbuf *error)
{
    struct slice rest = slice_trim(text);
    uint64_t millionths = 0;

    if (!take(&rest, SLICE("errors")) || !take(&rest, SLICE(">"))
        || !take_percentage(&rest, &millionths) || !slice_eq(slice_trim(rest), SLICE("%"))) {
        suggest(text, error);
        return false;
    }
    if (millionths >= APPLY_MILLION) {
        strbuf_printf(error, "'%.*s': no share is larger than 100%%", SLICE_ARG(text));
        return false;
    }
    *bound = (uint32_t)millionths;
    return true;
}

void apply_bound_print(uint32_t bound, struct strbuf *out)
{
    uint32_t rest = bound % PERCENT, scale = PERCENT;

    strbuf_printf(out, "errors>%u", bound / PERCENT);
    if (rest > 0)
        strbuf_addc(out, '.');
    while (rest > 0) {
        scale /= 10;
        strbuf_addc(out, (char)('0' + rest / scale));
        rest %= scale;
    }
    strbuf_addc(out, '%');
}

/* ---- the words ---- */

static bool take_time(struct slice name, struct slice text, uint64_t *ms, struct strbuf *error)
{
    if (*ms != 0) {
        strbuf_printf(error, "%.*s is given twice", SLICE_ARG(name));
        return false;
    }
    strbuf_printf(error, "%.*s: ", SLICE_ARG(name));
    if (!units_duration(text, ms, error))
        return false;
    if (*ms < TIME_MIN_MS || *ms > TIME_MAX_MS) {
        strbuf_printf(error, "'%.*s' is not between 1s and 7d", SLICE_ARG(text));
        return false;
    }
    strbuf_clear(error);
    return true;
}

static bool take_bound(struct apply_request *r, struct slice name, struct slice text,
                       struct strbuf *error)
{
    if (r->has_bound) {
        strbuf_printf(error, "%.*s is given twice", SLICE_ARG(name));
        return false;
    }
    strbuf_printf(error, "%.*s: ", SLICE_ARG(name));
    if (!apply_bound_parse(text, &r->bound, error))
        return false;
    strbuf_clear(error);
    r->has_bound = true;
    return true;
}

static bool take_option(struct apply_request *r, struct slice name, struct slice value,
                        struct strbuf *error)
{
    if (!value.p)
        strbuf_printf(error, "%.*s needs a value", SLICE_ARG(name));
    else if (slice_eq(name, SLICE("--confirm")))
        return take_time(name, value, &r->confirm_ms, error);
    else if (slice_eq(name, SLICE("--first-worker")))
        return take_time(name, value, &r->first_worker_ms, error);
    else
        return take_bound(r, name, value, error);
    return false;
}

static bool is_option(struct slice word)
{
    return slice_eq(word, SLICE("--confirm")) || slice_eq(word, SLICE("--first-worker"))
           || slice_eq(word, SLICE("--abort-if"));
}

static bool take_file(struct apply_request *r, struct slice word, struct strbuf *error)
{
    if (word.n > 0 && word.p[0] == '-')
        strbuf_printf(error, "there is no option %.*s; there are --confirm, --abort-if and "
                      "--first-worker", SLICE_ARG(word));
    else if (r->file.n > 0)
        strbuf_printf(error, "one file, not '%.*s' and '%.*s'", SLICE_ARG(r->file),
                      SLICE_ARG(word));
    else
        r->file = word;
    return r->file.p == word.p;
}

bool apply_request_parse(struct apply_request *r, const struct slice *words, size_t n,
                         struct strbuf *error)
{
    *r = (struct apply_request){ .file = SLICE_NONE };
    for (size_t i = 0; i < n; i++) {
        if (!is_option(words[i])) {
            if (!take_file(r, words[i], error))
                return false;
        } else {
            struct slice value = i + 1 < n ? words[i + 1] : SLICE_NONE;

            if (!take_option(r, words[i], value, error))
                return false;
            i++;
        }
    }
    if (r->file.n == 0)
        strbuf_adds(error, "which file?");
    else if (r->has_bound && r->confirm_ms == 0 && r->first_worker_ms == 0)
        strbuf_adds(error, "--abort-if needs --confirm or --first-worker: for how long to watch");
    else
        return true;
    return false;
}
