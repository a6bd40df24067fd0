/* What settings of TLS say together: clients and servers that cannot be
 * verified, protocols that are not spoken, certificates nobody uses. A step of conf_build. */
#include <stdlib.h>
#include "common/core/conf_impl.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static bool is_own(const struct conf_section *s, size_t offset)
{
    return (s->set & conf_bit(s->kind, offset)) != 0;
}

/* What the section says itself, or what [defaults] say. */
static bool is_said(const struct conf_builder *b, const struct conf_section *s, size_t offset)
{
    return ((s->set | b->defaults_set[s->kind]) & conf_bit(s->kind, offset)) != 0;
}

/* ---- listeners ---- */

static void check_clients(struct conf_builder *b, const struct conf_section *s,
                          const struct conf_listener *l)
{
    bool has_ca = *l->client_ca.path != '\0';

    if (l->client_verify != CONF_CLIENT_VERIFY_OFF && !has_ca)
        conf_section_error(b, s, "client_verify", "needs a client_ca, by which clients' "
                           "certificates are verified");
    else if (l->client_verify == CONF_CLIENT_VERIFY_OFF && has_ca &&
             !is_said(b, s, offsetof(struct conf_listener, client_verify)))
        conf_section_error(b, s, "client_ca", "has no effect without client_verify (required, or "
                           "optional)");
}

static void check_listener(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_listener *l = s->target;

    if (s->has_errors)
        return; /* what it was to say is unknown */
    if (l->tls)
        check_clients(b, s, l);
}

/* ---- protocols ---- */

static const char *const http_protocols[] = { "http/1.1", "http/1.0" };

static bool is_spoken(struct slice protocol)
{
    for (size_t i = 0; i < COUNT(http_protocols); i++)
        if (slice_eq(protocol, slice_str(http_protocols[i])))
            return true;
    return false;
}

/* Of http's protocols those that are spoken here are offered. */
static void settle_http(struct conf_builder *b, const struct conf_section *s,
                        struct conf_listener *l, bool is_said_here)
{
    struct conf_alpns offered = { conf_alloc(b, (l->alpn.n + 1) * sizeof *l->alpn.v), 0 };

    for (size_t i = 0; i < l->alpn.n; i++) {
        struct slice protocol = l->alpn.v[i];

        if (is_spoken(protocol))
            offered.v[offered.n++] = protocol;
        else if (!slice_eq(protocol, SLICE("h2")))
            conf_section_error(b, s, "alpn", "'%.*s' is not spoken in http mode%s",
                               SLICE_ARG(protocol), conf_did_you_mean(b, protocol, http_protocols,
                                                                      COUNT(http_protocols)));
        else if (is_said_here)
            conf_section_warning(b, s, "alpn", "h2 is not supported yet, and not offered");
    }
    l->alpn = offered;
}

void conf_settle_tls(struct conf_builder *b)
{
    for (size_t i = 0; i < b->sections.n; i++) {
        struct conf_section *s = &b->sections.v[i];
        struct conf_listener *l = s->target;

        if (s->kind != CONF_KIND_listener || s->is_defaults || s->is_refused || !l->tls)
            continue;
        bool is_said_here = is_said(b, s, offsetof(struct conf_listener, alpn));
        if (l->mode == CONF_MODE_HTTP)
            settle_http(b, s, l, is_said_here);
        else if (!is_said_here)
            l->alpn = (struct conf_alpns){ NULL, 0 }; /* the default is http's */
    }
}

/* ---- backends ---- */

/* Of a socket's path no certificate can say that it is the server's. */
static void check_server_names(struct conf_builder *b, const struct conf_backend *backend)
{
    for (size_t i = 0; i < backend->server.n; i++) {
        const struct conf_server *server = &backend->server.v[i];

        if (!slice_starts(slice_str(server->text), SLICE("unix:")))
            continue;
        report_error_at(b->report, conf_place(&server->origin), "[backend %s] server: '%s' has no "
                        "host that its certificate could name: set tls_name", backend->name,
                        server->text);
    }
}

static void check_backend(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf_backend *backend = s->target;

    if (s->has_errors)
        return;
    if (!backend->tls)
        return;
    if (backend->tls_verify && !*backend->tls_name)
        check_server_names(b, backend);
    if (backend->tls_verify)
        return;
    conf_section_warning(b, s, "tls_verify", "is off: whoever answers in a server's place is "
                         "believed, and can read and change everything");
    if (is_own(s, offsetof(struct conf_backend, tls_ca)) && *backend->tls_ca.path)
        conf_section_warning(b, s, "tls_ca", "has no effect with tls_verify = off");
}

/* ---- certificates ---- */

static void check_use(struct conf_builder *b, const struct conf_section *s)
{
    const struct conf *conf = b->conf;
    bool is_used = false;

    for (size_t i = 0; !is_used && i < conf->nlisteners; i++)
        for (size_t k = 0; !is_used && k < conf->listeners[i].certificate.n; k++)
            is_used = conf->listeners[i].certificate.v[k] == s->target;
    for (size_t i = 0; !is_used && i < conf->nbackends; i++)
        is_used = conf->backends[i].tls_certificate == s->target;
    if (!is_used)
        conf_section_warning(b, s, NULL, "nothing uses it");
}

/* ---- the whole ---- */

void conf_check_tls(struct conf_builder *b)
{
    for (size_t i = 0; i < b->sections.n; i++) {
        const struct conf_section *s = &b->sections.v[i];

        if (s->is_defaults || s->is_refused)
            continue;
        switch (s->kind) {
        case CONF_KIND_listener:
            check_listener(b, s);
            break;
        case CONF_KIND_backend:
            check_backend(b, s);
            break;
        case CONF_KIND_certificate:
            check_use(b, s);
            break;
        case CONF_KIND_global:
        case CONF_KIND_route:
        case CONF_KIND_canary:
        case CONF_KIND_limit:
        case CONF_KIND_COUNT:
            break;
        }
    }
}
