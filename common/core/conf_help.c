/* The settings table for people: on the terminal, in rpd.ini(5), as a commented sample. */
#include "common/core/conf_impl.h"

#include <string.h>

struct var_help {
    const char *name, *help;
    bool takes_argument;
};

static const struct var_help var_helps[] = {
#define VAR(ID, name, help) { name, help, false },
#define VAR_PREFIX(ID, name, help) { name, help, true },
#include "common/core/vars.def"
#undef VAR
#undef VAR_PREFIX
};
#define NVARS (sizeof var_helps / sizeof var_helps[0])

/* "; from 1 to 256"; nothing for a setting without range. */
static void print_range(const struct conf_setting *s, struct strbuf *out)
{
    union {
        uint32_t u32;
        uint64_t u64;
    } min = { .u64 = s->min }, max = { .u64 = s->max };

    if (s->min == 0 && s->max == 0)
        return;
    if (s->type->size == sizeof(uint32_t)) {
        min.u32 = (uint32_t)s->min;
        max.u32 = (uint32_t)s->max;
    }
    strbuf_adds(out, s->max ? "; from " : "; at least ");
    s->type->print(&min, 0, out);
    if (s->max) {
        strbuf_adds(out, " to ");
        s->type->print(&max, 0, out);
    }
}

/* "required" or "default 10s; at least 1ms; only a restart changes it". */
static void print_facts(const struct conf_setting *s, struct strbuf *out)
{
    if (!s->def)
        strbuf_adds(out, "required");
    else
        strbuf_printf(out, "default %s", *s->def ? s->def : "none");
    print_range(s, out);
    if (s->when == CONF_WHEN_RESTART)
        strbuf_adds(out, "; only a restart changes it");
}

/* Keys of the kind that are refused as not supported yet, with commas. */
static bool print_laters(enum conf_kind kind, struct strbuf *out)
{
    bool has_some = false;

    for (size_t i = 0; i < conf_nlaters; i++) {
        if (conf_laters[i].kind != kind)
            continue;
        strbuf_printf(out, "%s%s", has_some ? ", " : "", conf_laters[i].key);
        has_some = true;
    }
    return has_some;
}

/* ---- on the terminal ---- */

static void text_kind(enum conf_kind kind, struct strbuf *out)
{
    struct strbuf laters;

    strbuf_printf(out, "[%s%s]  %s\n", conf_kinds[kind].name,
                  conf_kinds[kind].is_named ? " NAME" : "", conf_kinds[kind].help);
    for (size_t i = 0; i < conf_nsettings; i++) {
        const struct conf_setting *s = &conf_settings[i];

        if (s->kind != kind)
            continue;
        strbuf_printf(out, "  %s = %s  (", s->key, s->type->name);
        print_facts(s, out);
        strbuf_printf(out, ")\n      %s\n", s->help);
    }
    strbuf_init(&laters);
    if (print_laters(kind, &laters))
        strbuf_printf(out, "  not supported yet: %s\n", laters.s);
    strbuf_fini(&laters);
    strbuf_addc(out, '\n');
}

static void help_text(struct strbuf *out)
{
    for (size_t i = 0; i < CONF_KIND_COUNT; i++)
        text_kind((enum conf_kind)i, out);
    strbuf_adds(out, "Request variables\n");
    for (size_t i = 0; i < NVARS; i++)
        strbuf_printf(out, "  $%s%s  %s\n", var_helps[i].name,
                      var_helps[i].takes_argument ? "NAME" : "", var_helps[i].help);
}

/* ---- rpd.ini(5) ---- */

/* Text as mdoc takes it: no control line by accident, `quoted` with quotes of the terminal. */
static void mdoc_text(struct strbuf *out, const char *text)
{
    bool is_open = false;

    if (*text == '.' || *text == '\'')
        strbuf_adds(out, "\\&");
    for (; *text; text++) {
        if (*text == '\\') {
            strbuf_adds(out, "\\e");
        } else if (*text == '`') {
            strbuf_adds(out, is_open ? "\\(cq" : "\\(oq");
            is_open = !is_open;
        } else {
            strbuf_addc(out, *text);
        }
    }
}

static void mdoc_setting(const struct conf_setting *s, struct strbuf *out)
{
    struct strbuf facts;

    strbuf_init(&facts);
    print_facts(s, &facts);
    strbuf_printf(out, ".It Ic %s No = Ar %s\n", s->key, s->type->name);
    mdoc_text(out, s->help);
    strbuf_adds(out, "\n.Pq ");
    mdoc_text(out, facts.s);
    strbuf_addc(out, '\n');
    strbuf_fini(&facts);
}

static void mdoc_kind(enum conf_kind kind, struct strbuf *out)
{
    struct strbuf laters;

    strbuf_printf(out, ".Ss [%s%s]\n", conf_kinds[kind].name,
                  conf_kinds[kind].is_named ? " NAME" : "");
    mdoc_text(out, conf_kinds[kind].help);
    strbuf_adds(out, ".\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < conf_nsettings; i++) {
        if (conf_settings[i].kind == kind)
            mdoc_setting(&conf_settings[i], out);
    }
    strbuf_adds(out, ".El\n");
    strbuf_init(&laters);
    if (print_laters(kind, &laters))
        strbuf_printf(out, ".Pp\nNot supported yet, and refused:\n%s.\n", laters.s);
    strbuf_fini(&laters);
}

static void help_mdoc(struct strbuf *out)
{
    strbuf_adds(out, ".Sh SECTIONS\n");
    for (size_t i = 0; i < CONF_KIND_COUNT; i++)
        mdoc_kind((enum conf_kind)i, out);
    strbuf_adds(out, ".Pp\nSections that are not supported yet, and refused:\n");
    for (size_t i = 0; i < conf_nlater_sections; i++)
        strbuf_printf(out, "%s[%s%s]", i > 0 ? ", " : "", conf_later_sections[i].name,
                      conf_later_sections[i].is_named ? " NAME" : "");
    strbuf_adds(out, ".\n.Sh REQUEST VARIABLES\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < NVARS; i++) {
        strbuf_printf(out, ".It Va $%s%s\n", var_helps[i].name,
                      var_helps[i].takes_argument ? "NAME" : "");
        mdoc_text(out, var_helps[i].help);
        strbuf_addc(out, '\n');
    }
    strbuf_adds(out, ".El\n");
}

/* ---- the sample ---- */

/* What the sample sets; everything else stands there as a comment, and so does a whole section of
 * a kind that a configuration does well without. */
static const struct {
    const char *kind, *name; /* of the section */
    const char *key, *value;
} examples[] = {
    { "listener", "web", "bind", "127.0.0.1:8080" },
    { "route", "all", "backend", "app" },
    { "backend", "app", "server", "127.0.0.1:3000" },
    { "certificate", "www", "cert", "/etc/rpd/tls/www.pem" },
    { "certificate", "www", "key", "/etc/rpd/tls/www.key" },
    { "canary", "release", "stable", "app" },
    { "canary", "release", "canary", "app-next" },
    { "limit", "each", "rate", "10/s" },
};
#define NEXAMPLES (sizeof examples / sizeof examples[0])

static const char *example_name(enum conf_kind kind)
{
    for (size_t i = 0; i < NEXAMPLES; i++) {
        if (strcmp(examples[i].kind, conf_kinds[kind].name) == 0)
            return examples[i].name;
    }
    return "";
}

static const char *example_value(const struct conf_setting *s)
{
    for (size_t i = 0; i < NEXAMPLES; i++) {
        if (strcmp(examples[i].kind, conf_kinds[s->kind].name) == 0 &&
            strcmp(examples[i].key, s->key) == 0)
            return examples[i].value;
    }
    return NULL;
}

static bool is_optional(enum conf_kind kind)
{
    return kind == CONF_KIND_certificate || kind == CONF_KIND_canary || kind == CONF_KIND_limit;
}

static void sample_setting(const struct conf_setting *s, struct strbuf *out)
{
    const char *value = example_value(s);
    const char *text = value ? value : s->def ? s->def : "";
    bool is_comment = !value || is_optional(s->kind);

    strbuf_printf(out, "\n; %s", s->help);
    if (s->when == CONF_WHEN_RESTART)
        strbuf_adds(out, "\n; (only a restart changes it)");
    strbuf_printf(out, "\n%s%s =%s%s\n", is_comment ? ";" : "", s->key, *text ? " " : "", text);
}

static void help_sample(struct strbuf *out)
{
    strbuf_adds(out,
                "; rpd.ini: every setting with its default. `rpd -t` checks a file; rpd.ini(5) "
                "explains it.\n"
                "; A line may be continued by indented ones; `;` or `#` begins a comment line.\n"
                "; [defaults listener], [defaults route] and [defaults backend] set what sections"
                " of that type begin\n"
                "; with.\n");
    for (size_t i = 0; i < CONF_KIND_COUNT; i++) {
        const char *name = example_name((enum conf_kind)i);
        bool is_comment = is_optional((enum conf_kind)i);

        strbuf_printf(out, "\n; ---- %s ----\n%s[%s%s%s]\n", conf_kinds[i].help,
                      is_comment ? ";" : "", conf_kinds[i].name, *name ? " " : "", name);
        for (size_t k = 0; k < conf_nsettings; k++) {
            if (conf_settings[k].kind == (enum conf_kind)i)
                sample_setting(&conf_settings[k], out);
        }
    }
}

void conf_help(enum conf_help_format format, struct strbuf *out)
{
    switch (format) {
    case CONF_HELP_TEXT:
        help_text(out);
        return;
    case CONF_HELP_MDOC:
        help_mdoc(out);
        return;
    case CONF_HELP_SAMPLE:
        help_sample(out);
        return;
    }
}
