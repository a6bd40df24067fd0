/* Settings that have no effect where another one says off: they are warned of, or refused, and
 * `rpctl config` leaves them out, so that what it prints can be read again. */
#include "common/core/conf_impl.h"

#define ROUTE(field) { CONF_KIND_route, offsetof(struct conf_route, field) }
#define LISTENER(field) { CONF_KIND_listener, offsetof(struct conf_listener, field) }
#define BACKEND(field) { CONF_KIND_backend, offsetof(struct conf_backend, field) }

struct key {
    enum conf_kind kind;
    size_t offset;
};

static const struct key cors_keys[] = {
    ROUTE(cors_methods),     ROUTE(cors_headers),    ROUTE(cors_expose),
    ROUTE(cors_credentials), ROUTE(cors_max_age_ms),
};
static const struct key compress_keys[] = {
    ROUTE(compress_types),
    ROUTE(compress_min),
    ROUTE(compress_level),
};
static const struct key listener_keys[] = {
    LISTENER(certificate), LISTENER(strict_sni), LISTENER(tls_min_version),
    LISTENER(alpn),        LISTENER(client_ca),  LISTENER(client_verify),
};
static const struct key tls_keys[] = {
    BACKEND(tls_name),
    BACKEND(tls_ca),
    BACKEND(tls_verify),
    BACKEND(tls_certificate),
};
static const struct key rate_keys[] = { { CONF_KIND_limit, offsetof(struct conf_limit, burst) } };
static const struct key check_keys[] = {
    BACKEND(check_interval_ms),
    BACKEND(check_timeout_ms),
    BACKEND(rise),
    BACKEND(fall),
};

/* ---- what says off ---- */

static bool has_no_front_tls(const void *section)
{
    return !((const struct conf_listener *)section)->tls;
}

static bool has_no_cors(const void *section)
{
    return ((const struct conf_route *)section)->cors.n == 0;
}

static bool has_no_compress(const void *section)
{
    return ((const struct conf_route *)section)->compress.n == 0;
}

static bool has_no_back_tls(const void *section)
{
    return !((const struct conf_backend *)section)->tls;
}

static bool has_no_check(const void *section)
{
    return ((const struct conf_backend *)section)->check.how == CONF_CHECK_OFF;
}

static bool has_no_rate(const void *section)
{
    return ((const struct conf_limit *)section)->rate.count == 0;
}

#define WITHOUT_TLS "has no effect without tls = on"
#define KEYS(keys) keys, sizeof(keys) / sizeof *(keys)

static const struct idle {
    const struct key *keys;
    size_t n;
    bool (*is_off)(const void *section);
    const char *why;
    bool is_error;   /* unless the value is the default */
    bool is_certain; /* even if some value of the section was refused: maybe the one that says on */
} idles[] = {
    { KEYS(listener_keys), has_no_front_tls, WITHOUT_TLS, true, false },
    { KEYS(tls_keys), has_no_back_tls, WITHOUT_TLS, true, false },
    { KEYS(check_keys), has_no_check, "means nothing, for `check` is off", false, true },
    { KEYS(cors_keys), has_no_cors, "means nothing, for there is no `cors`", false, false },
    { KEYS(compress_keys), has_no_compress, "means nothing, for `compress` is off", false, false },
    { KEYS(rate_keys), has_no_rate, "means nothing, for `rate` is off", false, true },
};

/* ---- the questions ---- */

static bool is_among(const struct conf_setting *s, const struct idle *idle)
{
    for (size_t i = 0; i < idle->n; i++)
        if (idle->keys[i].kind == s->kind && idle->keys[i].offset == s->offset)
            return true;
    return false;
}

/* NULL: the setting has an effect. */
static const struct idle *find(const struct conf_setting *s, const void *section)
{
    for (size_t i = 0; i < sizeof idles / sizeof *idles; i++)
        if (is_among(s, &idles[i]))
            return idles[i].is_off(section) ? &idles[i] : NULL;
    return NULL;
}

bool conf_setting_is_idle(const struct conf_setting *s, const void *section)
{
    return find(s, section) != NULL;
}

/* Does the field hold what the table says? */
static bool is_default(const struct conf_setting *s, const void *section)
{
    const void *field = (const char *)section + s->offset;
    size_t n = s->type->count ? s->type->count(field) : 1;
    struct strbuf text;
    bool is_same;

    strbuf_init(&text);
    for (size_t i = 0; i < n; i++) {
        strbuf_adds(&text, i > 0 ? ", " : "");
        s->type->print(field, i, &text);
    }
    is_same = slice_eq(strbuf_slice(&text), slice_str(s->def));
    strbuf_fini(&text);
    return is_same;
}

void conf_check_idle(struct conf_builder *b, const struct conf_section *s)
{
    for (size_t i = 0; i < conf_nsettings; i++) {
        const struct conf_setting *setting = &conf_settings[i];
        const struct idle *idle;

        if (setting->kind != s->kind || !(s->set & (uint64_t)1 << setting->bit))
            continue;
        idle = find(setting, s->target);
        if (!idle || (s->has_errors && !idle->is_certain))
            continue;
        if (!idle->is_error)
            conf_section_warning(b, s, setting->key, "%s", idle->why);
        else if (!is_default(setting, s->target))
            conf_section_error(b, s, setting->key, "%s", idle->why);
    }
}
