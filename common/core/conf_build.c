/* conf_text to conf: sections are found and named, defaults laid under them, and each value goes
 * through the parser of its row in the settings table. Every process that has a generation calls
 * conf_build; it opens no file. What concerns several sections is in conf_check.c. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/regex.h"
#include "common/core/conf_impl.h"

/* Looking for similar names costs: a file full of mistakes gets no more than this. */
#define SUGGESTIONS_MAX 100

/* Where a section set each setting first. */
struct first_entries {
    const struct conf_entry *of[CONF_SETTINGS_MAX];
};

/* What a key names. */
struct key_info {
    const struct conf_setting *setting;
    const struct conf_later *later; /* if no setting */
};

/* ---- values ---- */

void conf_clear(const struct conf_type *type, void *field)
{
    if (type->clear)
        type->clear(field);
    else
        memset(field, 0, type->size);
}

/* Makes `$$` of a value without variables `$`. false: a variable, reported. */
static bool unescape(struct conf_cursor *c, struct slice *text)
{
    if (c->setting->type->takes_variables || slice_find(*text, '$') == text->n)
        return true;

    struct slice copy = conf_dup(c->b, *text);
    char *out = (char *)(uintptr_t)copy.p;
    for (size_t i = 0; i < text->n; i++) {
        if (text->p[i] == '$' && (i + 1 == text->n || text->p[++i] != '$')) {
            conf_value_error(c, "'%.*s': no request variable can stand here (a dollar sign is "
                             "written '$$')", SLICE_ARG(*text));
            return false;
        }
        *out++ = text->p[i];
    }
    *out = '\0';
    *text = slice_of(copy.p, (size_t)(out - copy.p));
    return true;
}

static void parse_one(struct conf_cursor *c, struct slice text, void *field)
{
    const struct conf_type *type = c->setting->type;

    text = slice_trim(text);
    if (text.n > 0) {
        if (unescape(c, &text))
            type->parse(c, text, field);
    } else if (type->takes_empty) {
        conf_clear(type, field);
    } else {
        conf_value_error(c, "needs a value");
    }
}

static void parse_items(struct conf_cursor *c, struct slice text, void *field)
{
    const struct conf_type *type = c->setting->type;
    struct slice item;

    if (!unescape(c, &text))
        return;
    while (type->next_item ? type->next_item(&text, &item) : slice_next_item(&text, &item))
        type->parse(c, item, field);
}

/* An indented `key = value` was meant as a setting of its own, not to continue the one above. */
static bool is_stray_key(struct conf_cursor *c, const struct conf_entry *e)
{
    struct slice text = slice_str(e->value);
    size_t equals = slice_find(text, '=');
    struct slice key = slice_trim(slice_of(text.p, equals));

    if (equals == text.n || !smap_get(&c->b->keys[c->section->kind], key))
        return false;
    conf_value_error(c, "an indented line continues the value above it: begin '%.*s' at the start "
                     "of its line", SLICE_ARG(key));
    return true;
}

/* The setting's value: entries first..end, of which the first has the key and the others continue
 * it. */
static void parse_list(struct conf_cursor *c, size_t first, size_t end, void *field)
{
    const struct conf_entry *entries = c->b->text->entries.v;

    if (end - first == 1 && !*entries[first].value && !entries[first].is_bad) {
        conf_clear(c->setting->type, field);
        return;
    }
    for (size_t i = first; i < end; i++) {
        c->origin = conf_origin_of(c->b, &entries[i]);
        if (!entries[i].is_bad && (i == first || !is_stray_key(c, &entries[i])))
            parse_items(c, slice_str(entries[i].value), field);
    }
}

static void parse_scalar(struct conf_cursor *c, size_t first, size_t end, void *field)
{
    const struct conf_entry *entries = c->b->text->entries.v;
    struct strbuf joined;

    strbuf_init(&joined);
    for (size_t i = first; i < end; i++) {
        if (i > first) {
            c->origin = conf_origin_of(c->b, &entries[i]);
            if (is_stray_key(c, &entries[i]))
                continue;
            strbuf_addc(&joined, ' ');
        }
        strbuf_adds(&joined, entries[i].value);
    }
    c->origin = conf_origin_of(c->b, &entries[first]);
    parse_one(c, strbuf_slice(&joined), field);
    strbuf_fini(&joined);
}

/* ---- keys ---- */

static void index_keys(struct conf_builder *b)
{
    for (size_t i = 0; i < conf_nsettings; i++) {
        struct key_info *info = conf_alloc(b, sizeof *info);

        info->setting = &conf_settings[i];
        smap_put(&b->keys[conf_settings[i].kind], slice_str(conf_settings[i].key), info);
    }
    for (size_t i = 0; i < conf_nlaters; i++) {
        struct key_info *info = conf_alloc(b, sizeof *info);

        info->later = &conf_laters[i];
        smap_put(&b->keys[conf_laters[i].kind], slice_str(conf_laters[i].key), info);
    }
}

/* The section a key belongs to that is unknown in this one; NULL: none. */
static const char *kind_with_key(struct conf_builder *b, const char *key)
{
    for (size_t i = 0; i < CONF_KIND_COUNT; i++) {
        if (smap_get(&b->keys[i], slice_str(key)))
            return conf_kinds[i].name;
    }
    return NULL;
}

static void unknown_key(struct conf_builder *b, const struct conf_section *s,
                        const struct conf_entry *e)
{
    VEC(const char *) names = { NULL, 0, 0 };
    struct report_place at = { e->file, e->line, e->chain };
    const char *other = kind_with_key(b, e->key), *near = "";

    for (size_t i = 0; i < conf_nsettings; i++) {
        if (conf_settings[i].kind == s->kind)
            *VEC_PUSH(&names) = conf_settings[i].key;
    }
    for (size_t i = 0; i < conf_nlaters; i++) {
        if (conf_laters[i].kind == s->kind)
            *VEC_PUSH(&names) = conf_laters[i].key;
    }
    if (!other)
        near = conf_did_you_mean(b, slice_str(e->key), names.v, names.n);
    report_error_at(b->report, at, "[%s%s%s%s] %s: unknown key%s%s%s%s",
                    s->is_defaults ? "defaults " : "", conf_kinds[s->kind].name,
                    *s->name ? " " : "", s->name, e->key, near,
                    other ? ": it belongs to [" : "", other ? other : "", other ? "]" : "");
    free((void *)names.v);
}

/* A scalar may be set once. */
static bool was_set(struct conf_cursor *c, const struct conf_entry *first)
{
    if (!first || c->setting->type->is_list)
        return false;
    conf_value_error(c, "set twice, first at %s:%u", first->file, first->line);
    return true;
}

/* Entries i..end: a setting and what continues it. */
static void build_setting(struct conf_cursor *c, struct conf_section *s, size_t i, size_t end,
                          struct first_entries *first)
{
    const struct conf_setting *setting = c->setting;
    const struct conf_entry *entries = c->b->text->entries.v;
    void *field = conf_field(setting, s->target);
    const uint64_t bit = (uint64_t)1 << setting->bit;
    bool is_bad = false;

    s->set |= bit;
    if (was_set(c, first->of[setting->bit]))
        return;
    for (size_t k = i; k < end; k++)
        is_bad |= entries[k].is_bad;
    s->has_errors |= is_bad;
    /* A section adds to [defaults], but not to what the table says. */
    bool has_defaults = !s->is_defaults && (c->b->defaults_set[s->kind] & bit) != 0;
    if (setting->type->is_list && !first->of[setting->bit] && !has_defaults)
        conf_clear(setting->type, field);
    first->of[setting->bit] = &entries[i];
    c->is_fresh = !(s->grown & bit);
    if (setting->type->is_list)
        parse_list(c, i, end, field);
    else if (!is_bad)
        parse_scalar(c, i, end, field);
    if (!c->is_fresh)
        s->grown |= bit;
}

static void build_entry(struct conf_builder *b, struct conf_section *s, size_t i, size_t end,
                        struct first_entries *first)
{
    const struct conf_entry *e = &b->text->entries.v[i];
    const struct key_info *info = smap_get(&b->keys[s->kind], slice_str(e->key));
    struct conf_cursor c = { .b = b, .section = s, .origin = conf_origin_of(b, e) };

    if (!info) {
        unknown_key(b, s, e);
    } else if (info->setting) {
        c.setting = info->setting;
        build_setting(&c, s, i, end, first);
    } else {
        conf_section_error(b, s, e->key, "not supported yet");
    }
}

static void build_section(struct conf_builder *b, struct conf_section *s,
                          struct first_entries *first)
{
    const struct conf_entry *entries = b->text->entries.v;
    unsigned errors = b->report->errors;

    for (size_t i = s->first, end; i < s->end; i = end) {
        for (end = i + 1; end < s->end && entries[end].is_continued; end++)
            ;
        build_entry(b, s, i, end, first);
    }
    s->has_errors |= b->report->errors != errors;
}

/* ---- defaults ---- */

/* What the table says. */
static void build_table_defaults(struct conf_builder *b)
{
    unsigned errors = b->report->errors;

    for (size_t i = 0; i < CONF_KIND_COUNT; i++)
        b->defaults[i] = conf_alloc(b, conf_kinds[i].size);
    for (size_t i = 0; i < conf_nsettings; i++) {
        const struct conf_setting *s = &conf_settings[i];
        const struct conf_section section = { .kind = s->kind, .name = "", .is_defaults = true };
        struct conf_cursor c = { .b = b, .section = &section, .setting = s, .is_fresh = true };
        void *field = conf_field(s, b->defaults[s->kind]);

        conf_clear(s->type, field);
        if (s->def && *s->def && s->type->is_list)
            parse_items(&c, slice_str(s->def), field);
        else if (s->def && *s->def)
            parse_one(&c, slice_str(s->def), field);
    }
    assert(b->report->errors == errors);
    memcpy(&b->conf->global, b->defaults[CONF_KIND_global], sizeof b->conf->global);
}

/* [global] and [defaults], which may come in several pieces. */
static void build_common_sections(struct conf_builder *b)
{
    struct first_entries first[CONF_KIND_COUNT];

    memset(first, 0, sizeof first);
    for (size_t i = 0; i < b->sections.n; i++) {
        struct conf_section *s = &b->sections.v[i];

        if (conf_is_object(s))
            continue;
        if (s->kind == CONF_KIND_global && b->conf->global.origin.line == 0)
            b->conf->global.origin = s->origin;
        build_section(b, s, &first[s->kind]);
        if (s->is_defaults)
            b->defaults_set[s->kind] |= s->set;
    }
}

/* default_backend takes the timeouts and rules of [defaults route], but is its own answer. */
static void build_route_defaults(struct conf_builder *b)
{
    struct conf_route *route = &b->conf->route_defaults;

    memcpy(route, b->defaults[CONF_KIND_route], sizeof *route);
    route->name = "";
    route->backend = NULL;
    route->split = (struct conf_split){ NULL, 0 };
    route->canary = NULL;
    route->respond.status = route->redirect.status = 0;
    route->respond_file = (struct conf_file){ .path = "" };
    route->tls = CONF_ROUTE_TERMINATE;
    route->path = route->path_exact = SLICE("");
    route->path_regex = CONF_NO_PATTERN;
}

/* ---- objects ---- */

static void set_identity(struct conf_section *s)
{
    struct conf_listener *listener = s->target;
    struct conf_route *route = s->target;
    struct conf_backend *backend = s->target;
    struct conf_certificate *certificate = s->target;
    struct conf_canary *canary = s->target;
    struct conf_limit *limit = s->target;

    switch (s->kind) {
    case CONF_KIND_listener:
        listener->name = s->name, listener->index = s->index, listener->origin = s->origin;
        break;
    case CONF_KIND_route:
        route->name = s->name, route->index = s->index, route->origin = s->origin;
        break;
    case CONF_KIND_backend:
        backend->name = s->name, backend->index = s->index, backend->origin = s->origin;
        break;
    case CONF_KIND_certificate:
        certificate->name = s->name, certificate->index = s->index;
        certificate->origin = s->origin;
        break;
    case CONF_KIND_canary:
        canary->name = s->name, canary->index = s->index, canary->origin = s->origin;
        break;
    case CONF_KIND_limit:
        limit->name = s->name, limit->index = s->index, limit->origin = s->origin;
        break;
    case CONF_KIND_global:
    case CONF_KIND_COUNT:
        assert(!"an object");
    }
}

uint64_t conf_bit(enum conf_kind kind, size_t offset)
{
    for (size_t i = 0; i < conf_nsettings; i++) {
        if (conf_settings[i].kind == kind && conf_settings[i].offset == offset)
            return (uint64_t)1 << conf_settings[i].bit;
    }
    assert(!"a setting's field");
    return 0;
}

/* A route that says how it answers does not take another way from [defaults route]. */
static void settle_answer(struct conf_section *s)
{
    struct conf_route *route = s->target;
    const uint64_t backend = conf_bit(CONF_KIND_route, offsetof(struct conf_route, split));
    const uint64_t canary = conf_bit(CONF_KIND_route, offsetof(struct conf_route, canary));
    const uint64_t respond = conf_bit(CONF_KIND_route, offsetof(struct conf_route, respond));
    const uint64_t redirect = conf_bit(CONF_KIND_route, offsetof(struct conf_route, redirect));
    const uint64_t file = conf_bit(CONF_KIND_route, offsetof(struct conf_route, respond_file));

    if (!(s->set & (backend | canary | respond | file | redirect)))
        return;
    if (!(s->set & backend))
        route->split = (struct conf_split){ NULL, 0 };
    if (!(s->set & canary))
        route->canary = NULL;
    if (!(s->set & respond))
        route->respond = (struct conf_respond){ .status = 0 };
    if (!(s->set & file))
        route->respond_file = (struct conf_file){ .path = "" };
    if (!(s->set & redirect))
        route->redirect.status = 0;
}

/* Nor does another kind of path from there stand beside its own. */
static void settle_paths(struct conf_section *s)
{
    struct conf_route *r = s->target;
    const uint64_t prefix = conf_bit(CONF_KIND_route, offsetof(struct conf_route, path));
    const uint64_t exact = conf_bit(CONF_KIND_route, offsetof(struct conf_route, path_exact));
    const uint64_t regex = conf_bit(CONF_KIND_route, offsetof(struct conf_route, path_regex));

    if (!(s->set & (prefix | exact | regex)))
        return;
    if (!(s->set & prefix))
        r->path = SLICE("");
    if (!(s->set & exact))
        r->path_exact = SLICE("");
    if (!(s->set & regex))
        r->path_regex = CONF_NO_PATTERN;
}

static void check_required(struct conf_builder *b, struct conf_section *s)
{
    for (size_t i = 0; i < conf_nsettings; i++) {
        const struct conf_setting *setting = &conf_settings[i];

        if (setting->kind != s->kind || setting->def)
            continue;
        bool is_set = (s->set | b->defaults_set[s->kind]) & (uint64_t)1 << setting->bit;
        size_t n = setting->type->count(conf_field(setting, s->target));
        /* A value that was refused is reported already. */
        if (n == 0 && (!is_set || !s->has_errors))
            conf_section_error(b, s, NULL, "has no %s, and needs one", setting->key);
    }
}

static void build_objects(struct conf_builder *b)
{
    for (size_t i = 0; i < b->sections.n; i++) {
        struct conf_section *s = &b->sections.v[i];
        struct first_entries first = { { NULL } };

        if (!conf_is_object(s))
            continue;
        memcpy(s->target, b->defaults[s->kind], conf_kinds[s->kind].size);
        set_identity(s);
        build_section(b, s, &first);
        if (s->kind == CONF_KIND_route) {
            settle_answer(s);
            settle_paths(s);
        }
        check_required(b, s);
    }
}

/* ---- the whole ---- */

static void builder_init(struct conf_builder *b, const struct conf_text *text,
                         struct report *report)
{
    memset(b, 0, sizeof *b);
    b->text = text;
    b->report = report;
    b->suggestions_left = SUGGESTIONS_MAX;
    b->conf = xcalloc(1, sizeof *b->conf);
    b->conf->memory = xcalloc(1, sizeof *b->conf->memory);
    arena_init(&b->conf->memory->arena, NULL);
    smap_init(&b->resolved, false);
    smap_init(&b->files, false);
    smap_init(&b->strings, false);
    for (size_t i = 0; i < CONF_KIND_COUNT; i++) {
        smap_init(&b->names[i], false);
        smap_init(&b->keys[i], false);
    }
    for (size_t i = text->resolved.n; i-- > 0;)
        smap_put(&b->resolved, slice_str(text->resolved.v[i].name), &text->resolved.v[i]);
    /* One copy of each, however many settings name it. */
    for (size_t i = 0; i < text->files.n; i++) {
        struct slice *content = conf_alloc(b, sizeof *content);

        *content = conf_dup(b, text->files.v[i].content);
        smap_put(&b->files, slice_str(text->files.v[i].path), content);
    }
}

static void builder_fini(struct conf_builder *b)
{
    VEC_FREE(&b->sections);
    smap_fini(&b->resolved);
    smap_fini(&b->files);
    smap_fini(&b->strings);
    for (size_t i = 0; i < CONF_KIND_COUNT; i++) {
        smap_fini(&b->names[i]);
        smap_fini(&b->keys[i]);
    }
}

struct conf *conf_build_partial(const struct conf_text *text, struct report *report)
{
    struct conf_builder b;

    builder_init(&b, text, report);
    index_keys(&b);
    conf_find_sections(&b);
    conf_name_sections(&b);
    build_table_defaults(&b);
    conf_place_sections(&b);
    b.conf->system_ca = conf_file_content(&b, SLICE(""));
    build_common_sections(&b);
    build_route_defaults(&b);
    build_objects(&b);
    conf_settle_tls(&b);
    conf_settle_pages(&b);
    conf_settle_splits(b.conf);
    conf_settle_access(&b);
    conf_settle_cors(&b);
    conf_settle_auth(&b);
    conf_settle_limits(&b);
    conf_settle_steps(b.conf);
    conf_check(&b);
    builder_fini(&b);
    return b.conf;
}

struct conf *conf_build(const struct conf_text *text, struct report *report)
{
    struct conf *conf = conf_build_partial(text, report);

    if (report->errors > 0)
        conf_free(&conf);
    return conf;
}

void conf_free(struct conf **conf)
{
    struct conf *c = *conf;

    *conf = NULL;
    if (!c)
        return;
    for (size_t i = 0; i < c->memory->templates.n; i++)
        template_fini(&c->memory->templates.v[i]);
    VEC_FREE(&c->memory->templates);
    for (size_t i = 0; i < c->memory->regexes.n; i++)
        regex_free(&c->memory->regexes.v[i]);
    VEC_FREE(&c->memory->regexes);
    arena_reset(&c->memory->arena);
    free(c->memory);
    free(c);
}
