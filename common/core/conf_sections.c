/* Sections of a conf_text: their types and names, and which struct of the conf each fills. First
 * steps of conf_build; no value is looked at. */
#include <string.h>
#include "common/core/conf_impl.h"

static void section_error(struct conf_builder *b, const struct conf_entry *e, const char *what)
{
    report_error_at(b->report, (struct report_place){ e->file, e->line, e->chain },
                    "[%s%s%s%s]: %s", e->is_defaults ? "defaults " : "", e->kind,
                    *e->name ? " " : "", e->name, what);
}

static void unknown_kind(struct conf_builder *b, const struct conf_entry *e)
{
    const char *names[CONF_KIND_COUNT + 32] = { "defaults" };
    struct strbuf what;
    size_t n = 1;

    if (e->is_defaults && !*e->kind) {
        section_error(b, e, "name a type of section: [defaults listener], [defaults route] or "
                      "[defaults backend]");
        return;
    }
    for (size_t i = 0; i < CONF_KIND_COUNT; i++)
        names[n++] = conf_kinds[i].name;
    for (size_t i = 0; i < conf_nlater_sections && n < sizeof names / sizeof names[0]; i++)
        names[n++] = conf_later_sections[i].name;
    strbuf_init(&what);
    strbuf_printf(&what, "there is no section of this type%s",
                  conf_did_you_mean(b, slice_str(e->kind), names, n));
    section_error(b, e, what.s);
    strbuf_fini(&what);
}

/* CONF_KIND_COUNT: none that is built, reported. */
static enum conf_kind find_kind(struct conf_builder *b, const struct conf_entry *e)
{
    for (size_t i = 0; i < conf_nlater_sections; i++) {
        if (strcmp(conf_later_sections[i].name, e->kind) == 0) {
            section_error(b, e, "not supported yet");
            return CONF_KIND_COUNT;
        }
    }
    for (size_t i = 0; i < CONF_KIND_COUNT; i++) {
        if (strcmp(conf_kinds[i].name, e->kind) == 0)
            return (enum conf_kind)i;
    }
    unknown_kind(b, e);
    return CONF_KIND_COUNT;
}

static const char *name_error(const struct conf_entry *e, enum conf_kind kind)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

    if (e->is_defaults && !conf_kinds[kind].is_named)
        return "a section there is one of needs no defaults";
    if (e->is_defaults || !conf_kinds[kind].is_named)
        return *e->name ? "this section takes no name" : NULL;
    if (!*e->name)
        return "this section needs a name";
    if (strpbrk(e->name, "\"'"))
        return "names are written without quotes";
    return e->name[strspn(e->name, good)] ? "a name holds letters, digits, '_', '.' and '-' only"
                                          : NULL;
}

/* Opens the section of the header entry i; false: its type is none that is built, reported. */
static bool open_section(struct conf_builder *b, size_t i)
{
    const struct conf_entry *e = &b->text->entries.v[i];
    enum conf_kind kind = find_kind(b, e);

    if (kind == CONF_KIND_COUNT)
        return false;

    const char *what = name_error(e, kind);
    if (what)
        section_error(b, e, what);
    *VEC_PUSH(&b->sections) = (struct conf_section){
        .kind = kind,
        .is_defaults = e->is_defaults,
        .is_refused = what != NULL,
        .name = conf_dup(b, slice_str(e->name)).p,
        .origin = conf_origin_of(b, e),
        .first = i + 1,
        .end = i + 1,
    };
    return true;
}

void conf_find_sections(struct conf_builder *b)
{
    bool is_open = false;

    for (size_t i = 0; i < b->text->entries.n; i++) {
        if (b->text->entries.v[i].is_section)
            is_open = open_section(b, i);
        else if (is_open)
            b->sections.v[b->sections.n - 1].end = i + 1;
    }
}

/* Names are known before any value is parsed: references may point forwards. */
void conf_name_sections(struct conf_builder *b)
{
    for (size_t i = 0; i < b->sections.n; i++) {
        struct conf_section *s = &b->sections.v[i];

        if (!conf_is_object(s) || s->is_refused)
            continue;
        struct conf_section *before = smap_get(&b->names[s->kind], slice_str(s->name));
        if (before) {
            s->is_refused = true;
            conf_section_error(b, s, NULL, "defined twice, first at %s:%u", before->origin.file,
                               before->origin.line);
        } else {
            smap_put(&b->names[s->kind], slice_str(s->name), s);
        }
    }
}

/* The conf's arrays, and each section's place in them. */
void conf_place_sections(struct conf_builder *b)
{
    char *arrays[CONF_KIND_COUNT];
    size_t counts[CONF_KIND_COUNT] = { 0 };
    struct conf *conf = b->conf;

    for (size_t i = 0; i < CONF_KIND_COUNT; i++)
        arrays[i] = conf_alloc(b, conf_kinds[i].size * (b->names[i].count + 1));
    for (size_t i = 0; i < b->sections.n; i++) {
        struct conf_section *s = &b->sections.v[i];
        size_t size = conf_kinds[s->kind].size;

        if (s->is_refused)
            s->target = conf_alloc(b, size);
        else if (!conf_is_object(s))
            s->target = s->is_defaults ? b->defaults[s->kind] : &conf->global;
        else
            s->target = arrays[s->kind] + size * (s->index = counts[s->kind]++);
    }
    conf->listeners = (void *)arrays[CONF_KIND_listener];
    conf->nlisteners = counts[CONF_KIND_listener];
    conf->routes = (void *)arrays[CONF_KIND_route];
    conf->nroutes = counts[CONF_KIND_route];
    conf->backends = (void *)arrays[CONF_KIND_backend];
    conf->nbackends = counts[CONF_KIND_backend];
    conf->certificates = (void *)arrays[CONF_KIND_certificate];
    conf->ncertificates = counts[CONF_KIND_certificate];
    conf->canaries = (void *)arrays[CONF_KIND_canary];
    conf->ncanaries = counts[CONF_KIND_canary];
    conf->limits = (void *)arrays[CONF_KIND_limit];
    conf->nlimits = counts[CONF_KIND_limit];
}
