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
    if (s->kind == CONF_KIND_route)
        return conf_setting_is_of(s, conf_route_use(section));
    return !conf_setting_is_idle(s, section);
}

static void print_section(enum conf_kind kind, const char *name, const void *section,
                          struct strbuf *out)
{
    strbuf_printf(out, "%s[%s%s%s]\n", out->n > 0 ? "\n" : "", conf_kinds[kind].name,
                  *name ? " " : "", name);
    for (size_t i = 0; i < conf_nsettings; i++) {
        const struct conf_setting *s = &conf_settings[i];

        if (s->kind == kind && is_of_use(s, section))
            print_setting(s, (const char *)section + s->offset, out);
    }
}

void conf_print(const struct conf *conf, struct strbuf *out)
{
    print_section(CONF_KIND_global, "", &conf->global, out);
    for (size_t i = 0; i < conf->nlisteners; i++)
        print_section(CONF_KIND_listener, conf->listeners[i].name, &conf->listeners[i], out);
    for (size_t i = 0; i < conf->nroutes; i++)
        print_section(CONF_KIND_route, conf->routes[i].name, &conf->routes[i], out);
    for (size_t i = 0; i < conf->nbackends; i++)
        print_section(CONF_KIND_backend, conf->backends[i].name, &conf->backends[i], out);
    for (size_t i = 0; i < conf->ncertificates; i++)
        print_section(CONF_KIND_certificate, conf->certificates[i].name, &conf->certificates[i],
                      out);
}
