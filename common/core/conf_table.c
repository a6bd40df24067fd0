/* settings.def as data. Parser, printer, help and manual are driven by it. */
#include "common/core/conf_impl.h"

const struct conf_kind_info conf_kinds[CONF_KIND_COUNT] = {
#define SECTION(kind, is_named, help)                                                          \
    [CONF_KIND_##kind] = { #kind, is_named, sizeof(struct conf_##kind), help },
#define SETTING(kind, field, key, TYPE, def, lo, hi, when, help)
#define LATER(kind, key, help)
#include "common/core/settings.def"
#undef SECTION
#undef SETTING
};

/* Settings counted; FIRST_x is the number of the first one of section x. */
enum setting_number {
#define SECTION(kind, is_named, help) FIRST_##kind, BEFORE_##kind = FIRST_##kind - 1,
#define SETTING(kind, field, key, TYPE, def, lo, hi, when, help) NUMBER_##kind##_##field,
#include "common/core/settings.def"
#undef SECTION
#undef SETTING
    SETTING_COUNT
};
_Static_assert(FIRST_route - FIRST_global < CONF_SETTINGS_MAX, "a mask per kind");
_Static_assert(FIRST_backend - FIRST_route < CONF_SETTINGS_MAX, "a mask per kind");
_Static_assert(FIRST_certificate - FIRST_backend < CONF_SETTINGS_MAX, "a mask per kind");
_Static_assert(SETTING_COUNT - FIRST_certificate < CONF_SETTINGS_MAX, "a mask per kind");

const struct conf_setting conf_settings[] = {
#define SECTION(kind, is_named, help)
#define SETTING(kind_, field, key_, TYPE, def_, lo, hi, when_, help_)                          \
    { .kind = CONF_KIND_##kind_,                                                               \
      .bit = NUMBER_##kind_##_##field - FIRST_##kind_,                                         \
      .key = key_,                                                                             \
      .type = &conf_type_##TYPE,                                                               \
      .offset = offsetof(struct conf_##kind_, field),                                          \
      .def = def_,                                                                             \
      .min = lo,                                                                               \
      .max = hi,                                                                               \
      .when = CONF_WHEN_##when_,                                                               \
      .help = help_ },
#include "common/core/settings.def"
#undef SETTING
};
const size_t conf_nsettings = sizeof conf_settings / sizeof conf_settings[0];

#undef LATER
const struct conf_later conf_laters[] = {
#define SETTING(kind, field, key, TYPE, def, lo, hi, when, help)
#define LATER(kind, key, help) { CONF_KIND_##kind, key, help },
#include "common/core/settings.def"
#undef SECTION
#undef SETTING
#undef LATER
};
const size_t conf_nlaters = sizeof conf_laters / sizeof conf_laters[0];

const struct conf_later_section conf_later_sections[] = {
#define LATER_SECTION(kind, is_named) { #kind, is_named },
#include "common/core/sections_later.def"
#undef LATER_SECTION
};
const size_t conf_nlater_sections = sizeof conf_later_sections / sizeof conf_later_sections[0];

enum conf_route_use conf_route_use(const struct conf_route *r)
{
    if (r->tls == CONF_ROUTE_PASSTHROUGH)
        return CONF_USE_SNI;
    if (r->listener.n == 0 || r->listener.v[0]->mode == CONF_MODE_HTTP)
        return CONF_USE_HTTP;
    return r->listener.v[0]->tls ? CONF_USE_SNI : CONF_USE_TCP;
}

bool conf_setting_is_of(const struct conf_setting *s, enum conf_route_use use)
{
    static const size_t of_sessions[] = {
        offsetof(struct conf_route, listener),
        offsetof(struct conf_route, tls),
        offsetof(struct conf_route, allow),
        offsetof(struct conf_route, deny),
        offsetof(struct conf_route, split),
        offsetof(struct conf_route, split_sticky),
        offsetof(struct conf_route, canary),
        offsetof(struct conf_route, timeout_connect_ms),
        offsetof(struct conf_route, timeout_response_ms),
        offsetof(struct conf_route, timeout_stream_ms),
        offsetof(struct conf_route, retries),
        offsetof(struct conf_route, retry_on),
        offsetof(struct conf_route, access_log),
        offsetof(struct conf_route, limit),
    };

    if (use == CONF_USE_HTTP ||
        (use == CONF_USE_SNI && s->offset == offsetof(struct conf_route, host)))
        return true;
    for (size_t i = 0; i < sizeof of_sessions / sizeof of_sessions[0]; i++) {
        if (s->offset == of_sessions[i])
            return true;
    }
    return false;
}
