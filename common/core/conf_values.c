/* Settings of one value that is a number, a text or a section's name. Reached through the rows of
 * the settings table only. */
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include "common/base/path.h"
#include "common/core/conf_words.h"
#include "common/core/units.h"

/* ---- numbers ---- */

typedef bool number_parser(struct slice text, uint64_t *value, struct strbuf *error);
typedef void number_printer(uint64_t value, struct strbuf *out);

static void print_number(uint64_t value, struct strbuf *out)
{
    strbuf_printf(out, "%" PRIu64, value);
}

/* Parses and holds against the setting's range and the field's `largest`. */
static bool parse_number(struct conf_cursor *c, struct slice text, number_parser *parse,
                         number_printer *print, uint64_t largest, uint64_t *value)
{
    const struct conf_setting *s = c->setting;
    uint64_t max = s->max ? s->max : largest;
    struct strbuf error;
    bool is_good;

    strbuf_init(&error);
    is_good = parse(text, value, &error);
    if (is_good && *value < s->min) {
        strbuf_printf(&error, "'%.*s' is below the least, ", SLICE_ARG(text));
        print(s->min, &error);
        is_good = false;
    } else if (is_good && *value > max) {
        strbuf_printf(&error, "'%.*s' is above the most, ", SLICE_ARG(text));
        print(max, &error);
        is_good = false;
    }
    if (!is_good)
        conf_value_error(c, "%s", error.s);
    strbuf_fini(&error);
    return is_good;
}

static void parse_count(struct conf_cursor *c, struct slice text, void *field)
{
    uint32_t *out = field;
    uint64_t value;

    if (parse_number(c, text, units_count, print_number, UINT32_MAX, &value))
        *out = (uint32_t)value;
}

static void print_count(const void *field, size_t i, struct strbuf *out)
{
    const uint32_t *value = field;

    (void)i;
    print_number(*value, out);
}

TYPE(COUNT, .name = "number", .parse = parse_count, .print = print_count);

static void parse_workers(struct conf_cursor *c, struct slice text, void *field)
{
    uint32_t *out = field;
    cpu_set_t cpus;

    if (!slice_eq(text, SLICE("auto"))) {
        parse_count(c, text, field);
        return;
    }
    int n = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    *out = (uint32_t)n > c->setting->max ? (uint32_t)c->setting->max : (uint32_t)n;
}

TYPE(WORKERS, .name = "number or auto", .parse = parse_workers, .print = print_count);

static void parse_size(struct conf_cursor *c, struct slice text, void *field)
{
    uint64_t *out = field;
    uint64_t value;

    if (parse_number(c, text, units_size, units_print_size, UINT64_MAX, &value))
        *out = value;
}

static void print_size(const void *field, size_t i, struct strbuf *out)
{
    const uint64_t *value = field;

    (void)i;
    units_print_size(*value, out);
}

TYPE(SIZE, .name = "size", .parse = parse_size, .print = print_size);

static void parse_duration(struct conf_cursor *c, struct slice text, void *field)
{
    uint32_t *out = field;
    uint64_t value;

    if (parse_number(c, text, units_duration, units_print_duration, UINT32_MAX, &value))
        *out = (uint32_t)value;
}

static void print_duration(const void *field, size_t i, struct strbuf *out)
{
    const uint32_t *value = field;

    (void)i;
    units_print_duration(*value, out);
}

TYPE(DURATION, .name = "duration", .parse = parse_duration, .print = print_duration);

static void parse_percent(struct conf_cursor *c, struct slice text, void *field)
{
    uint32_t *out = field;
    uint64_t value;

    if (parse_number(c, text, units_percent, units_print_percent, UINT32_MAX, &value))
        *out = (uint32_t)value;
}

static void print_percent(const void *field, size_t i, struct strbuf *out)
{
    const uint32_t *value = field;

    (void)i;
    units_print_percent(*value, out);
}

TYPE(PERCENT, .name = "percentage", .parse = parse_percent, .print = print_percent);

/* ---- texts ---- */

static void set_text(struct conf_cursor *c, struct slice text, void *field)
{
    const char **out = field;

    *out = conf_dup(c->b, text).p;
}

static void print_text(const void *field, size_t i, struct strbuf *out)
{
    const char *const *value = field;

    (void)i;
    conf_print_escaped(out, slice_str(*value));
}

static void parse_name(struct conf_cursor *c, struct slice text, void *field)
{
    if (strcspn(conf_dup(c->b, text).p, " \t:/") < text.n) {
        conf_value_error(c, "'%.*s' is no name of a %s", SLICE_ARG(text), c->setting->key);
        return;
    }
    set_text(c, text, field);
}

TYPE(NAME, .name = "name", .parse = parse_name, .print = print_text);

static void parse_run_dir(struct conf_cursor *c, struct slice text, void *field)
{
    const size_t most = sizeof ((struct sockaddr_un *)0)->sun_path - sizeof "/rpd.sock";

    if (text.n > most) {
        conf_value_error(c, "longer than %zu bytes: the control socket's name would not fit",
                         most);
        return;
    }
    set_text(c, text, field);
}

TYPE(RUN_DIR, .name = "directory", .parse = parse_run_dir, .print = print_text);

static const struct conf_word log_targets[] = {
    { "off", CONF_LOG_OFF, false },
    { "stderr", CONF_LOG_STDERR, false },
    { "stdout", CONF_LOG_STDOUT, false },
    { "syslog", CONF_LOG_SYSLOG, false },
};
static const struct conf_word error_logs[] = {
    { "stderr", CONF_LOG_STDERR, false },
    { "syslog", CONF_LOG_SYSLOG, false },
};
static const struct conf_word access_logs[] = {
    { "off", CONF_LOG_OFF, false },
    { "stdout", CONF_LOG_STDOUT, false },
    { "syslog", CONF_LOG_SYSLOG, false },
};

enum conf_log_target conf_log_target(const char *setting)
{
    int i = conf_find_word(slice_str(setting), log_targets, CONF_NWORDS(log_targets));

    return i < 0 ? CONF_LOG_FILE : (enum conf_log_target)log_targets[i].value;
}

static void parse_log(struct conf_cursor *c, struct slice text, const struct conf_word *words,
                      size_t n, void *field)
{
    if (conf_find_word(text, words, n) < 0 && slice_find(text, '/') == text.n) {
        conf_unknown_word(c, text, words, n, "a file's path, which has a '/'");
        return;
    }
    set_text(c, text, field);
}

static void parse_error_log(struct conf_cursor *c, struct slice text, void *field)
{
    parse_log(c, text, error_logs, CONF_NWORDS(error_logs), field);
}

static void parse_access_log(struct conf_cursor *c, struct slice text, void *field)
{
    parse_log(c, text, access_logs, CONF_NWORDS(access_logs), field);
}

TYPE(ERROR_LOG, .name = "log", .parse = parse_error_log, .print = print_text);
TYPE(ACCESS_LOG, .name = "log", .parse = parse_access_log, .print = print_text);

/* The reader of files has taken the includes in. */
static void parse_include(struct conf_cursor *c, struct slice text, void *field)
{
    (void)c;
    (void)text;
    (void)field;
}

static size_t count_none(const void *field)
{
    (void)field;
    return 0;
}

static void print_none(const void *field, size_t i, struct strbuf *out)
{
    (void)field;
    (void)i;
    (void)out;
}

static void clear_include(void *field)
{
    const char **out = field;

    *out = "";
}

TYPE(INCLUDE, .name = "list of files", .is_list = true, .takes_empty = true,
     .is_unprinted = true, .clear = clear_include, .parse = parse_include,
     .count = count_none, .print = print_none);

/* Visible ASCII but what ends a path (RFC 3986 3.3), and bytes above it. */
static bool is_path_char(unsigned char ch)
{
    return ch > 0x20 && ch != 0x7f && ch != '?' && ch != '#';
}

/* Into the form that requests' paths have when they are compared. false when reported. */
static bool normalise_path(struct conf_cursor *c, struct slice *text)
{
    char *escaped = conf_alloc(c->b, text->n * 3 + 1), *out = conf_alloc(c->b, text->n * 3 + 1);
    size_t n = 0;
    enum path_verdict verdict;

    for (size_t i = 0; i < text->n; i++) {
        unsigned char ch = (unsigned char)text->p[i];

        if (ch < 0x80)
            escaped[n++] = (char)ch;
        else
            n += (size_t)snprintf(escaped + n, 4, "%%%02X", ch);
    }
    verdict = path_normalise(slice_of(escaped, n), out, &n);
    if (verdict != PATH_GOOD) {
        conf_value_error(c, "'%.*s': %s", SLICE_ARG(*text), path_verdict_text(verdict));
        return false;
    }
    out[n] = '\0';
    *text = slice_of(out, n);
    return true;
}

bool conf_parse_path(struct conf_cursor *c, struct slice *text)
{
    if (*text->p != '/') {
        conf_value_error(c, "'%.*s' does not begin with '/'", SLICE_ARG(*text));
        return false;
    }
    for (size_t i = 0; i < text->n; i++) {
        if (!is_path_char((unsigned char)text->p[i])) {
            conf_value_error(c, "'%.*s': a path holds no '%c'", SLICE_ARG(*text), text->p[i]);
            return false;
        }
    }
    return normalise_path(c, text);
}

static void parse_path(struct conf_cursor *c, struct slice text, void *field)
{
    struct slice *out = field;

    if (slice_ends(text, SLICE("/*"))) {
        conf_value_error(c, "'%.*s': leave the '*' out, a path is a prefix", SLICE_ARG(text));
        return;
    }
    if (!conf_parse_path(c, &text))
        return;
    while (text.n > 1 && text.p[text.n - 1] == '/')
        text.n--;
    *out = text;
}

void conf_clear_text(void *field)
{
    struct slice *out = field;

    *out = SLICE("");
}

size_t conf_count_text(const void *field)
{
    const struct slice *text = field;

    return text->n > 0;
}

void conf_print_text(const void *field, size_t i, struct strbuf *out)
{
    const struct slice *text = field;

    (void)i;
    conf_print_escaped(out, *text);
}

TYPE(PATH, .name = "path", .takes_empty = true, .clear = conf_clear_text, .parse = parse_path,
     .count = conf_count_text, .print = conf_print_text);

/* ---- references ---- */

static void parse_backend(struct conf_cursor *c, struct slice text, void *field)
{
    const struct conf_backend **out = field;

    if (slice_find(text, ' ') < text.n || slice_find(text, ',') < text.n) {
        conf_value_error(c, "'%.*s': one backend stands here, without a weight",
                         SLICE_ARG(text));
        return;
    }
    struct conf_section *s = conf_find_section(c, CONF_KIND_backend, text);
    if (s)
        *out = s->target;
}

static size_t count_backend(const void *field)
{
    const struct conf_backend *const *value = field;

    return *value != NULL;
}

static void print_backend(const void *field, size_t i, struct strbuf *out)
{
    const struct conf_backend *const *value = field;

    (void)i;
    strbuf_adds(out, (*value)->name);
}

TYPE(BACKEND, .name = "backend", .takes_empty = true, .parse = parse_backend,
     .count = count_backend, .print = print_backend);
