/* Tokens of requests: found in Authorization, verified by common/jwt, refused as RFC 6750 says. */
#include "worker/proxy/jwt.h"

#include <stdlib.h>
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"
#include "common/base/vec.h"
#include "common/jwt/jwt.h"

/* ---- keys ---- */

struct jwt_rings {
    struct jwt_keys **by_route; /* by conf_route.index, then of route_defaults; NULL: none */
    size_t nroutes;
    VEC(struct jwt_keys *) all;
};

/* What tells one list of files from another; the caller's to free. */
static char *name_of(const struct conf_route *r)
{
    struct strbuf name;

    strbuf_init(&name);
    for (size_t i = 0; i < r->jwt_key.n; i++) {
        strbuf_adds(&name, r->jwt_key.v[i].path);
        strbuf_addc(&name, '\n');
    }
    return strbuf_take(&name);
}

static struct jwt_keys *read_keys(const struct conf_route *r, struct report *report)
{
    struct jwt_keys *keys = jwt_keys_new();
    char why[JWT_WHY_MAX];

    for (size_t i = 0; i < r->jwt_key.n; i++) {
        if (jwt_keys_add(keys, r->jwt_key.v[i].content, why))
            continue;
        report_error_at(report, conf_place(&r->jwt_key.v[i].origin), "'%s': %s",
                        r->jwt_key.v[i].path, why);
        jwt_keys_free(&keys);
        return NULL;
    }
    return keys;
}

/* false: reported. */
static bool add_route(struct jwt_rings *rings, size_t at, const struct conf_route *r,
                      struct smap *known, struct report *report)
{
    struct jwt_keys *keys;
    char *name;

    if (r->jwt_key.n == 0)
        return true;
    name = name_of(r);
    keys = smap_get(known, slice_str(name));
    if (!keys && (keys = read_keys(r, report))) {
        *VEC_PUSH(&rings->all) = keys;
        (void)smap_put(known, slice_str(name), keys);
        name = NULL; /* the map's */
    }
    free(name);
    rings->by_route[at] = keys;
    return keys != NULL;
}

static void free_name(struct slice name, void *value, void *arg)
{
    (void)value;
    (void)arg;
    free((void *)(uintptr_t)name.p);
}

struct jwt_rings *jwt_rings_new(const struct conf *conf, struct report *report)
{
    struct jwt_rings *rings = xcalloc(1, sizeof *rings);
    struct smap known;
    bool is_good;

    rings->nroutes = conf->nroutes;
    rings->by_route = xcalloc(conf->nroutes + 1, sizeof *rings->by_route);
    smap_init(&known, false);
    is_good = add_route(rings, conf->nroutes, &conf->route_defaults, &known, report);
    for (size_t i = 0; i < conf->nroutes; i++)
        is_good &= add_route(rings, i, &conf->routes[i], &known, report);
    smap_each(&known, free_name, NULL);
    smap_fini(&known);
    if (!is_good)
        jwt_rings_free(&rings);
    return rings;
}

void jwt_rings_free(struct jwt_rings **rings)
{
    if (!*rings)
        return;
    for (size_t i = 0; i < (*rings)->all.n; i++)
        jwt_keys_free(&(*rings)->all.v[i]);
    VEC_FREE(&(*rings)->all);
    free((*rings)->by_route);
    free(*rings);
    *rings = NULL;
}

static struct jwt_keys *keys_for(const struct exchange *x)
{
    const struct jwt_rings *rings = x->generation->jwt;
    bool is_default = x->route == &x->generation->conf->route_defaults;

    return rings->by_route[is_default ? rings->nroutes : x->route->index];
}

/* ---- refusing ---- */

/* RFC 6750 3: without a token nothing is said about one. */
static enum step_result refuse(struct exchange *x, enum end_reason why, const char *text)
{
    struct slice challenge = SLICE("Bearer");
    struct field field = { SLICE("WWW-Authenticate"), challenge, FIELD_WWW_AUTHENTICATE, false };

    if (x->route_stats)
        stat_inc(&x->route_stats->unauthorized);
    if (why == END_BAD_TOKEN) {
        x->detail = text;
        field.value = arena_printf(&x->stream.arena, "Bearer error=\"invalid_token\", "
                                   "error_description=\"%s\"", text);
    }
    if (field.value.p)
        reply_error_with(x, why, 0, &field, 1);
    else
        exchange_fail(x, END_EXHAUSTED);
    return STEP_DONE;
}

/* ---- the step ---- */

/* false: the field is there twice, or is not a token's. p == NULL: it is not there. */
static bool find_token(const struct exchange *x, struct slice *token)
{
    static const struct slice scheme = SLICE_INIT("bearer ");
    const struct field *found = NULL;

    *token = SLICE_NONE;
    FIELDS_EACH (f, &x->stream.request.fields) {
        if (f->id != FIELD_AUTHORIZATION)
            continue;
        if (found)
            return false;
        found = f;
    }
    if (!found || !slice_istarts(found->value, scheme))
        return true; /* another scheme is no token */
    *token = slice_trim(slice_of(found->value.p + scheme.n, found->value.n - scheme.n));
    return token->n > 0;
}

enum step_result jwt_step(struct exchange *x)
{
    const struct conf_route *r = x->route;
    struct jwt_policy policy = { r->jwt_issuer, r->jwt_audience.v, r->jwt_audience.n,
                                 r->jwt_leeway_ms / 1000 };
    struct arena *arena = &x->stream.arena;
    struct jwt_claims *claims;
    enum jwt_verdict verdict = JWT_MALFORMED;
    struct slice token;
    struct jwt jwt;

    if (find_token(x, &token)) {
        if (!token.p)
            return refuse(x, END_NO_TOKEN, NULL);
        verdict = jwt_verify(keys_for(x), token, &policy, clock_wall_us() / 1000000, arena, &jwt);
    }
    claims = arena_alloc(arena, sizeof *claims);
    if (verdict == JWT_EXHAUSTED || !claims ||
        (verdict == JWT_GOOD && !jwt_claims_of(claims, &jwt, arena))) {
        exchange_fail(x, END_EXHAUSTED);
        return STEP_DONE;
    }
    if (verdict != JWT_GOOD)
        return refuse(x, END_BAD_TOKEN, jwt_verdict_text(verdict));
    x->claims = claims;
    return STEP_NEXT;
}
