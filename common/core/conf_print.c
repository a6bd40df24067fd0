/* A conf as one rpd.ini with the defaults filled in, for `rpctl config` and for comparing two.
 * conf_build of what it prints gives the same conf again. */
#include "common/core/conf_impl.h"

void conf_print_escaped(struct strbuf *out, struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '$')
            strbuf_addc(out, '$');
        strbuf_addc(out, text.p[i]);
    }
}

/* Files keep their names when what is in them changes. The hash has this process's secret in it: of
 * a file of keys it gives nothing away. */
static void print_content(const struct conf_setting *s, const struct conf_file *file,
                          struct strbuf *out)
{
    if (file->content.p)
        strbuf_printf(out, "%s content = %016llx\n", s->key,
                      (unsigned long long)hash_bytes(file->content.p, file->content.n));
}

static void print_contents(const struct conf_setting *s, const void *field, struct strbuf *out)
{
    size_t n = s->type->file ? s->type->count(field) : 0;

    for (size_t i = 0; i < n; i++)
        print_content(s, s->type->file(field, i), out);
}

static void print_setting(const struct conf_setting *s, const void *field, struct strbuf *out)
{
    size_t n = s->type->count ? s->type->count(field) : 1;

    /* No value is worth a line only where the table has one. */
    if (n == 0 && s->def && *s->def && !s->type->is_unprinted)
        strbuf_printf(out, "%s =\n", s->key);
    for (size_t i = 0; i < n; i++) {
        strbuf_printf(out, "%s = ", s->key);
        s->type->print(field, i, out);
        strbuf_addc(out, '\n');
    }
}

/* Others would be refused when this is read again. */
static bool is_of_use(const struct conf_setting *s, const void *section)
{
    if (s->kind == CONF_KIND_route && !conf_setting_is_of(s, conf_route_use(section)))
        return false;
    return !conf_setting_is_idle(s, section);
}

static void print_section(enum conf_kind kind, const char *name, const void *section,
                          bool has_contents, struct strbuf *out)
{
    strbuf_printf(out, "%s[%s%s%s]\n", out->n > 0 ? "\n" : "", conf_kinds[kind].name,
                  *name ? " " : "", name);
    for (size_t i = 0; i < conf_nsettings; i++) {
        const struct conf_setting *s = &conf_settings[i];

        const void *field = (const char *)section + s->offset;

        if (s->kind != kind || !is_of_use(s, section))
            continue;
        print_setting(s, field, out);
        if (has_contents)
            print_contents(s, field, out);
    }
}

static void print_all(const struct conf *conf, bool has_contents, struct strbuf *out)
{
    print_section(CONF_KIND_global, "", &conf->global, has_contents, out);
    for (size_t i = 0; i < conf->nlisteners; i++)
        print_section(CONF_KIND_listener, conf->listeners[i].name, &conf->listeners[i],
                      has_contents, out);
    for (size_t i = 0; i < conf->nroutes; i++)
        print_section(CONF_KIND_route, conf->routes[i].name, &conf->routes[i], has_contents, out);
    for (size_t i = 0; i < conf->nbackends; i++)
        print_section(CONF_KIND_backend, conf->backends[i].name, &conf->backends[i],
                      has_contents, out);
    for (size_t i = 0; i < conf->ncertificates; i++)
        print_section(CONF_KIND_certificate, conf->certificates[i].name, &conf->certificates[i],
                      has_contents, out);
    for (size_t i = 0; i < conf->ncanaries; i++)
        print_section(CONF_KIND_canary, conf->canaries[i].name, &conf->canaries[i], has_contents,
                      out);
    for (size_t i = 0; i < conf->nlimits; i++)
        print_section(CONF_KIND_limit, conf->limits[i].name, &conf->limits[i], has_contents, out);
}

void conf_print(const struct conf *conf, struct strbuf *out)
{
    print_all(conf, false, out);
}

void conf_print_contents(const struct conf *conf, struct strbuf *out)
{
    print_all(conf, true, out);
}
