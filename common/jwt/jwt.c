/* Reads tokens and judges them. The order is that of trust: form, algorithm and key, signature,
 * and only then what the claims say. */
#include "common/jwt/jwt.h"

#include <string.h>
#include "common/base/base64.h"
#include "common/jwt/jwt_impl.h"

#define KEYS_TRIED_MAX 8 /* of a token that does not name its key */

const char *jwt_verdict_text(enum jwt_verdict v)
{
    switch (v) {
    case JWT_GOOD: return "";
    case JWT_MALFORMED: return "the token is malformed";
    case JWT_UNSUPPORTED: return "the token's algorithm is not supported";
    case JWT_NO_KEY: return "no key for the token";
    case JWT_BAD_SIGNATURE: return "the token's signature is wrong";
    case JWT_EXPIRED: return "the token expired";
    case JWT_TOO_EARLY: return "the token is not valid yet";
    case JWT_ISSUER: return "the token is of another issuer";
    case JWT_AUDIENCE: return "the token is for another audience";
    case JWT_EXHAUSTED: return "memory is exhausted";
    }
    return "";
}

/* ---- objects ---- */

/* The member, or false. */
static bool find(struct slice object, struct slice name, struct json_value *value)
{
    struct slice key;

    while (json_next_member(&object, &key, value))
        if (json_name_is(key, name))
            return true;
    return false;
}

/* A string's bytes; p == NULL: there is none, or no memory. */
static struct slice text_of(const struct json_value *value, struct arena *arena)
{
    char *text;

    if (value->kind != JSON_STRING)
        return SLICE_NONE;
    text = arena_alloc(arena, value->text.n + 1);
    return text ? slice_of(text, json_unescape(value->text, text)) : SLICE_NONE;
}

static struct slice member_text(struct slice object, struct slice name, struct arena *arena)
{
    struct json_value value;

    return find(object, name, &value) ? text_of(&value, arena) : SLICE_NONE;
}

/* Two members of one name would be read differently by different readers (RFC 7519 4). */
static bool is_unambiguous(struct slice object, struct arena *arena)
{
    struct slice names[JWT_CLAIMS_MAX], name;
    struct json_value value;
    size_t n = 0;

    while (json_next_member(&object, &name, &value)) {
        char *text = arena_alloc(arena, name.n + 1);

        if (!text || n == JWT_CLAIMS_MAX)
            return false;
        names[n] = slice_of(text, json_unescape(name, text));
        for (size_t i = 0; i < n; i++)
            if (slice_eq(names[i], names[n]))
                return false;
        n++;
    }
    return true;
}

/* One of the token's parts as an object. p == NULL: it is none. */
static struct slice object_of(struct slice part, struct arena *arena)
{
    unsigned char *text = arena_alloc(arena, part.n + 3);
    struct json_value value;
    size_t n;

    if (!text || !base64_read(BASE64_URL, part, text, &n) ||
        !json_read(slice_of((const char *)text, n), &value) || value.kind != JSON_OBJECT ||
        !is_unambiguous(value.text, arena))
        return SLICE_NONE;
    return value.text;
}

/* ---- the signature ---- */

struct parts {
    struct slice header, claims, signature, signed_text;
};

static bool cut(struct slice token, struct parts *p)
{
    struct slice rest = token;

    if (token.n > JWT_MAX)
        return false;
    p->header = slice_cut(&rest, '.');
    p->claims = slice_cut(&rest, '.');
    p->signature = rest;
    p->signed_text = slice_of(token.p, p->header.n + 1 + p->claims.n);
    return p->header.n > 0 && p->claims.n > 0 && rest.n > 0 && slice_find(rest, '.') == rest.n;
}

/* A key with a name is for tokens of that name; one without, for all. */
static bool may_be(const struct jwt_key *key, enum jwt_algorithm algorithm, struct slice kid)
{
    return key->algorithms >> algorithm & 1 &&
           (!kid.p || !key->kid || slice_eq(kid, slice_str(key->kid)));
}

static enum jwt_verdict check_signature(struct jwt_keys *keys, const struct parts *p,
                                        struct slice header, struct arena *arena)
{
    unsigned char *signature = arena_alloc(arena, p->signature.n + 3);
    struct slice kid = member_text(header, SLICE("kid"), arena);
    enum jwt_algorithm algorithm =
        jwt_algorithm_of(member_text(header, SLICE("alg"), arena));
    struct json_value critical;
    unsigned tried = 0;
    size_t n;

    if (!signature)
        return JWT_EXHAUSTED;
    if (!base64_read(BASE64_URL, p->signature, signature, &n))
        return JWT_MALFORMED;
    if (algorithm == JWT_ALGORITHMS || find(header, SLICE("crit"), &critical))
        return JWT_UNSUPPORTED;
    for (size_t i = 0; i < keys->n && tried < KEYS_TRIED_MAX; i++) {
        if (!may_be(&keys->v[i], algorithm, kid))
            continue;
        tried++;
        if (jwt_signature_is_good(keys, &keys->v[i], algorithm, p->signed_text, signature, n))
            return JWT_GOOD;
    }
    return tried ? JWT_BAD_SIGNATURE : JWT_NO_KEY;
}

/* ---- claims ---- */

/* A NumericDate. false: it is there, and none. *at_s stays as it was where there is none. */
static bool date_of(struct slice claims, struct slice name, int64_t *at_s)
{
    struct json_value value;

    return !find(claims, name, &value) || json_whole(&value, at_s);
}

static enum jwt_verdict check_times(struct slice claims, const struct jwt_policy *policy,
                                    uint64_t now_s, struct jwt *out)
{
    int64_t expires = INT64_MAX, from = 0, issued = 0;
    int64_t now = (int64_t)now_s, leeway = policy->leeway_s;

    if (!date_of(claims, SLICE("exp"), &expires) || !date_of(claims, SLICE("nbf"), &from) ||
        !date_of(claims, SLICE("iat"), &issued))
        return JWT_MALFORMED;
    if (expires <= now - leeway)
        return JWT_EXPIRED;
    if (from > now + leeway || issued > now + leeway)
        return JWT_TOO_EARLY;
    out->expires_s = expires == INT64_MAX ? UINT64_MAX : (uint64_t)expires;
    return JWT_GOOD;
}

static bool is_audience(const struct json_value *value, const struct jwt_policy *policy,
                        struct arena *arena)
{
    struct slice text = text_of(value, arena);

    for (size_t i = 0; text.p && i < policy->naudiences; i++)
        if (slice_eq(text, policy->audiences[i]))
            return true;
    return false;
}

/* A string, or an array of them (RFC 7519 4.1.3). */
static bool has_audience(struct slice claims, const struct jwt_policy *policy,
                         struct arena *arena)
{
    struct json_value value, item;
    struct slice items;

    if (!find(claims, SLICE("aud"), &value))
        return false;
    if (value.kind != JSON_ARRAY)
        return is_audience(&value, policy, arena);
    for (items = value.text; json_next_item(&items, &item);)
        if (is_audience(&item, policy, arena))
            return true;
    return false;
}

enum jwt_verdict jwt_verify(struct jwt_keys *keys, struct slice token,
                            const struct jwt_policy *policy, uint64_t now_s, struct arena *arena,
                            struct jwt *out)
{
    struct parts parts;
    struct slice header, issuer;
    enum jwt_verdict verdict;

    if (!cut(token, &parts))
        return JWT_MALFORMED;
    header = object_of(parts.header, arena);
    if (!header.p)
        return JWT_MALFORMED;
    verdict = check_signature(keys, &parts, header, arena);
    if (verdict != JWT_GOOD)
        return verdict;
    out->claims = object_of(parts.claims, arena);
    if (!out->claims.p)
        return JWT_MALFORMED;
    verdict = check_times(out->claims, policy, now_s, out);
    if (verdict != JWT_GOOD)
        return verdict;
    issuer = member_text(out->claims, SLICE("iss"), arena);
    if (policy->issuer.n > 0 && !slice_eq(issuer, policy->issuer))
        return JWT_ISSUER;
    if (policy->naudiences > 0 && !has_audience(out->claims, policy, arena))
        return JWT_AUDIENCE;
    return JWT_GOOD;
}

/* ---- values ---- */

static bool is_field_text(struct slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7f)
            return false;
    return true;
}

static struct slice simple_text(const struct json_value *value, struct arena *arena)
{
    switch (value->kind) {
    case JSON_STRING: return text_of(value, arena);
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE: return value->text;
    case JSON_NULL:
    case JSON_OBJECT:
    case JSON_ARRAY: break;
    }
    return SLICE_NONE;
}

/* What stands in the array has brackets, quotes and escapes more than what it becomes. */
static struct slice joined(struct slice items, struct arena *arena)
{
    char *text = arena_alloc(arena, items.n), *at = text;
    struct json_value item;

    while (text && json_next_item(&items, &item)) {
        struct slice one = simple_text(&item, arena);

        if (!one.p)
            continue;
        if (at != text)
            *at++ = ',';
        at = slice_put(at, one);
    }
    return slice_of(text, (size_t)(at - text));
}

bool jwt_claims_of(struct jwt_claims *out, const struct jwt *jwt, struct arena *arena)
{
    struct slice rest = jwt->claims, name, text;
    struct json_value value;

    out->n = 0;
    out->v = arena_alloc(arena, JWT_CLAIMS_MAX * sizeof *out->v);
    while (out->v && json_next_member(&rest, &name, &value)) {
        char *bytes = arena_alloc(arena, name.n + 1);

        if (!bytes)
            return false;
        text = value.kind == JSON_ARRAY ? joined(value.text, arena) : simple_text(&value, arena);
        if (text.n == 0 || !is_field_text(text))
            continue;
        name = slice_of(bytes, json_unescape(name, bytes));
        out->v[out->n++] = (struct jwt_claim){ name, text };
    }
    return out->v != NULL;
}

static bool is_named(struct slice claim, struct slice name)
{
    for (size_t i = 0; i < name.n && claim.n == name.n; i++)
        if (claim.p[i] != name.p[i] && (name.p[i] != '_' || claim.p[i] != '-'))
            return false;
    return claim.n == name.n;
}

struct slice jwt_claim(const struct jwt_claims *claims, struct slice name)
{
    for (size_t i = 0; i < claims->n; i++)
        if (is_named(claims->v[i].name, name))
            return claims->v[i].value;
    return SLICE_NONE;
}
