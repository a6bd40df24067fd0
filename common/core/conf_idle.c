/* Settings that have no effect where another one says off: `rpctl config` leaves them out, for they
 * would be warned of, or refused, when it is read again. */
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
static const struct key check_keys[] = {
    BACKEND(check_interval_ms),
    BACKEND(check_timeout_ms),
    BACKEND(rise),
    BACKEND(fall),
};

static bool is_among(const struct conf_setting *s, const struct key *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (keys[i].kind == s->kind && keys[i].offset == s->offset)
            return true;
    return false;
}
#define IS_AMONG(s, keys) is_among(s, keys, sizeof(keys) / sizeof *(keys))

bool conf_setting_is_idle(const struct conf_setting *s, const void *section)
{
    const struct conf_listener *listener = section;
    const struct conf_backend *backend = section;
    const struct conf_route *route = section;
    const struct conf_limit *limit = section;

    switch (s->kind) {
    case CONF_KIND_listener:
        return !listener->tls && IS_AMONG(s, listener_keys);
    case CONF_KIND_route:
        return (route->cors.n == 0 && IS_AMONG(s, cors_keys)) ||
               (route->compress.n == 0 && IS_AMONG(s, compress_keys));
    case CONF_KIND_backend:
        return (!backend->tls && IS_AMONG(s, tls_keys)) ||
               (backend->check.how == CONF_CHECK_OFF && IS_AMONG(s, check_keys));
    case CONF_KIND_limit:
        return limit->rate.count == 0 && s->offset == offsetof(struct conf_limit, burst);
    case CONF_KIND_global:
    case CONF_KIND_certificate:
    case CONF_KIND_canary:
    case CONF_KIND_COUNT:
        break;
    }
    return false;
}
