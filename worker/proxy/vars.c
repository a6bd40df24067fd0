/* Expands templates. Called for redirects, header rules, canned replies and the access log. */
#include "worker/proxy/vars.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include "common/base/clock.h"

#define SCRATCH 128
/* Room that values of an escaped text get at first. */
#define VALUES_GUESS 256

struct out {
    char *p;
    size_t cap, n; /* n may pass cap: what it would have been */
};

static void put(struct out *o, struct slice s)
{
    if (s.n > 0 && o->n < o->cap) {
        size_t room = o->cap - o->n;

        memcpy(o->p + o->n, s.p, s.n < room ? s.n : room);
    }
    o->n += s.n;
}

static struct slice seconds(char scratch[SCRATCH], uint64_t us)
{
    if (us == UINT64_MAX)
        return SLICE_NONE;
    return slice_of(scratch, (size_t)snprintf(scratch, SCRATCH, "%" PRIu64 ".%03" PRIu64,
                                              us / 1000000, us / 1000 % 1000));
}

static struct slice ip_text(char scratch[SCRATCH], const struct ip *ip)
{
    return slice_of(scratch, ip_format(ip, scratch));
}

/* Asked of the kernel, so only when somebody wants it. */
static struct slice local_text(char scratch[SCRATCH], const struct vars *v, bool is_ip)
{
    struct ip local;

    if (!v->conn)
        return SLICE_NONE;
    local = conn_local(v->conn);
    return is_ip ? ip_text(scratch, &local) : slice_decimal(scratch, local.port);
}

static struct slice field_value(const struct vars *v, enum field_id id)
{
    const struct field *f = v->request ? fields_find(&v->request->fields, id) : NULL;

    return f ? f->value : SLICE_NONE;
}

/* $header_x_beta: the argument's underscores stand for dashes too. */
static struct slice named_field(const struct vars *v, struct slice name)
{
    if (!v->request)
        return SLICE_NONE;
    FIELDS_EACH(f, &v->request->fields) {
        size_t i = 0;

        if (f->name.n != name.n)
            continue;
        while (i < name.n && (ascii_lower(f->name.p[i]) == ascii_lower(name.p[i]) ||
                              (name.p[i] == '_' && f->name.p[i] == '-')))
            i++;
        if (i == name.n)
            return f->value;
    }
    return SLICE_NONE;
}

struct slice vars_cookie(const struct vars *v, struct slice name)
{
    if (!v->request)
        return SLICE_NONE;
    FIELDS_EACH(f, &v->request->fields) {
        struct slice rest = f->value;

        while (f->id == FIELD_COOKIE && rest.p) {
            struct slice pair = slice_trim(slice_cut(&rest, ';'));
            struct slice key = slice_cut(&pair, '=');

            if (pair.p && slice_eq(key, name))
                return pair;
        }
    }
    return SLICE_NONE;
}

static struct slice path_of(const struct vars *v)
{
    return v->request ? slice_of(v->request->path.p, slice_find(v->request->path, '?'))
                      : SLICE_NONE;
}

static struct slice query_of(const struct vars *v)
{
    struct slice rest = v->request ? v->request->path : SLICE_NONE;

    if (rest.p)
        slice_cut(&rest, '?');
    return rest.p ? rest : SLICE_NONE;
}

static struct slice time_text(char scratch[SCRATCH], const struct vars *v, enum var_id id)
{
    if (id == VAR_TIME_LOCAL && v->time_local.n > 0)
        return v->time_local;
    static_assert(CLOCK_TEXT_MAX <= SCRATCH, "a time fits");
    return slice_of(scratch, id == VAR_TIME_LOCAL ? clock_local(scratch, clock_wall_us())
                                                  : clock_iso8601(scratch, clock_wall_us()));
}

static struct slice client_verify(const struct tls_info *tls)
{
    if (!tls)
        return SLICE_NONE;
    return tls->is_verified ? SLICE("ok") : SLICE("none");
}

static struct slice capture_of(const struct vars *v, struct slice digit)
{
    return v->captures ? v->captures->v[*digit.p - '0'] : SLICE_NONE;
}

static struct slice value_of(const struct template_part *part, const struct vars *v,
                             char scratch[SCRATCH])
{
    const struct head *h = v->request;

    switch (part->var) {
    case VAR_LITERAL: return part->text;
    case VAR_CLIENT_IP: return ip_text(scratch, &v->client);
    case VAR_CLIENT_PORT: return slice_decimal(scratch, v->client.port);
    case VAR_SERVER_IP: return local_text(scratch, v, true);
    case VAR_SERVER_PORT: return local_text(scratch, v, false);
    case VAR_SCHEME: return v->scheme;
    case VAR_METHOD: return h ? h->method_text : SLICE_NONE;
    case VAR_HOST: return h ? authority_host(h->authority) : SLICE_NONE;
    case VAR_URI: return h ? h->path : SLICE_NONE;
    case VAR_PATH: return path_of(v);
    case VAR_QUERY: return query_of(v);
    case VAR_HEADER: return named_field(v, part->text);
    case VAR_COOKIE: return vars_cookie(v, part->text);
    case VAR_AUTH_USER: return v->auth_user;
    case VAR_JWT: return v->claims ? jwt_claim(v->claims, part->text) : SLICE_NONE;
    case VAR_REQUEST_ID: return v->request_id;
    case VAR_LISTENER: return v->listener;
    case VAR_ROUTE: return v->route;
    case VAR_BACKEND: return v->backend;
    case VAR_SERVER: return v->server;
    case VAR_STATUS: return slice_decimal(scratch, v->status);
    case VAR_BYTES_IN: return slice_decimal(scratch, v->bytes_in);
    case VAR_BYTES_OUT: return slice_decimal(scratch, v->bytes_out);
    case VAR_DURATION: return seconds(scratch, v->duration_us);
    case VAR_RESPONSE_TIME: return seconds(scratch, v->response_us);
    case VAR_CONNECT_TIME: return seconds(scratch, v->connect_us);
    case VAR_RETRIES: return slice_decimal(scratch, v->retries);
    case VAR_PROTOCOL:
        return !h ? SLICE_NONE : h->minor ? SLICE("HTTP/1.1") : SLICE("HTTP/1.0");
    case VAR_TIME_ISO8601:
    case VAR_TIME_LOCAL: return time_text(scratch, v, part->var);
    case VAR_REFERER: return field_value(v, FIELD_REFERER);
    case VAR_USER_AGENT: return field_value(v, FIELD_USER_AGENT);
    case VAR_FAULT: return v->fault;
    case VAR_END_REASON: return slice_str(end_reason_text(v->end));
    case VAR_TLS_VERSION: return v->tls ? slice_str(v->tls->version) : SLICE_NONE;
    case VAR_TLS_CIPHER: return v->tls ? slice_str(v->tls->cipher) : SLICE_NONE;
    case VAR_TLS_RESUMED: return v->tls && v->tls->is_resumed ? SLICE("1") : SLICE_NONE;
    case VAR_SNI: return v->tls ? v->tls->sni : v->sni;
    case VAR_TLS_CLIENT_SUBJECT: return v->tls ? v->tls->client_subject : SLICE_NONE;
    case VAR_TLS_CLIENT_VERIFY: return client_verify(v->tls);
    case VAR_CAPTURE: return capture_of(v, part->text);
    case VAR_CACHE_STATUS:
    case VAR_COUNT: break; /* no cache here */
    }
    return SLICE_NONE;
}

/* What was put from `from` on, as far as there was room. */
static void lower_since(struct out *o, size_t from)
{
    for (size_t i = from; i < o->n && i < o->cap; i++)
        o->p[i] = ascii_lower(o->p[i]);
}

static void put_escaped(struct out *o, struct slice s, vars_escape_fn *escape)
{
    size_t room = o->n < o->cap ? o->cap - o->n : 0;
    size_t n = escape(o->p + (room ? o->n : 0), room, s);

    /* Not fitting is told apart from being empty: n stays above cap for good. */
    o->n = s.n > 0 && n == 0 ? o->cap + s.n : o->n + n;
}

size_t vars_expand(const struct template *t, const struct vars *v, char *buf, size_t cap,
                   bool dash, vars_escape_fn *escape)
{
    struct out o = { buf, cap, 0 };
    char scratch[SCRATCH];

    for (size_t i = 0; i < t->n; i++) {
        const struct template_part *part = &t->parts[i];
        struct slice s = value_of(part, v, scratch);
        size_t from = o.n;

        if (v->value_max && part->var != VAR_LITERAL && s.n > v->value_max)
            s.n = v->value_max;
        if (s.n == 0 && dash && part->var != VAR_LITERAL)
            put(&o, SLICE("-"));
        else if (part->var == VAR_LITERAL || !escape)
            put(&o, s);
        else
            put_escaped(&o, s, escape);
        if (part->var == VAR_HOST) /* whatever the client wrote */
            lower_since(&o, from);
    }
    return o.n;
}

struct slice vars_text(const struct template *t, const struct vars *v, struct arena *arena)
{
    size_t n = vars_expand(t, v, NULL, 0, false, NULL);
    char *p = arena_alloc(arena, n + 1);

    if (!p)
        return SLICE_NONE;
    vars_expand(t, v, p, n, false, NULL);
    p[n] = '\0';
    return slice_of(p, n);
}

struct slice vars_escaped(const struct template *t, const struct vars *v, struct arena *arena,
                          vars_escape_fn *escape)
{
    size_t cap = t->source.n + VALUES_GUESS;

    for (;;) {
        char *text = arena_alloc(arena, cap);
        size_t n;

        if (!text)
            return SLICE_NONE;
        n = vars_expand(t, v, text, cap, false, escape);
        if (n <= cap)
            return slice_of(text, n);
        cap *= 2;
    }
}
