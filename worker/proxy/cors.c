/* The step of preflights, and the fields of answers. Called by steps.c, attempt.c and reply.c. */
#include "worker/proxy/cors.h"

static const struct slice allow_origin = SLICE_INIT("Access-Control-Allow-Origin");
static const struct slice allow_credentials = SLICE_INIT("Access-Control-Allow-Credentials");
static const struct slice allow_methods = SLICE_INIT("Access-Control-Allow-Methods");
static const struct slice allow_headers = SLICE_INIT("Access-Control-Allow-Headers");
static const struct slice expose_headers = SLICE_INIT("Access-Control-Expose-Headers");
static const struct slice max_age = SLICE_INIT("Access-Control-Max-Age");

/* ---- whose request it is ---- */

static bool is_host_text(struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
            return false;
    }
    return text.n > 0;
}

static bool is_of(const struct conf_cors_origin *o, struct slice origin)
{
    size_t ends = o->text.n + o->tail.n;

    if (!o->is_wildcard)
        return o->is_any || slice_eq(origin, o->text);
    return origin.n > ends && slice_starts(origin, o->text) && slice_ends(origin, o->tail) &&
           is_host_text(slice_of(origin.p + o->text.n, origin.n - ends));
}

/* What Access-Control-Allow-Origin says; p NULL: nothing. */
static struct slice allowed(const struct exchange *x, const struct field *origin)
{
    const struct conf_cors_origins *list = &x->route->cors;

    if (x->route->cors_texts->is_any)
        return SLICE("*");
    for (size_t i = 0; origin && i < list->n; i++)
        if (is_of(&list->v[i], origin->value))
            return origin->value;
    return SLICE_NONE;
}

/* Once, before rules change the request's fields. */
static void look(struct exchange *x)
{
    const struct head *h = &x->stream.request;
    const struct field *origin = fields_find_name(&h->fields, SLICE("Origin"));

    if (x->is_cors_known)
        return;
    x->is_cors_known = true;
    x->cors_origin = allowed(x, origin);
    x->is_preflight = h->method == METHOD_OPTIONS && origin &&
                      fields_find_name(&h->fields, SLICE("Access-Control-Request-Method"));
}

enum step_result cors_step(struct exchange *x)
{
    look(x);
    if (!x->is_preflight)
        return STEP_NEXT;
    if (x->route_stats)
        stat_inc(&x->route_stats->preflights);
    reply_text(x, 204, SLICE_NONE, SLICE_NONE);
    return STEP_DONE;
}

/* ---- what answers say ---- */

/* The answer to one origin is none for another (Fetch, 3.2.5; RFC 9110 12.5.5). */
static bool vary_by_origin(struct fields *f)
{
    return fields_list_has(f, FIELD_VARY, SLICE("Origin")) ||
           fields_list_has(f, FIELD_VARY, SLICE("*")) ||
           fields_add(f, FIELD_VARY, SLICE("Vary"), SLICE("Origin"));
}

static void remove_all(struct fields *f)
{
    fields_remove_name(f, allow_origin);
    fields_remove_name(f, allow_credentials);
    fields_remove_name(f, allow_methods);
    fields_remove_name(f, allow_headers);
    fields_remove_name(f, expose_headers);
    fields_remove_name(f, max_age);
}

/* Nothing for an empty value. */
static bool add(struct fields *f, struct slice name, struct slice value)
{
    return value.n == 0 || fields_add(f, FIELD_OTHER, name, value);
}

bool cors_answer_with(struct exchange *x, struct fields *f)
{
    const struct conf_route *r = x->route;
    const struct conf_cors_texts *texts = r->cors_texts;

    look(x);
    remove_all(f);
    if (!texts->is_any && !vary_by_origin(f))
        return false;
    if (!x->cors_origin.p)
        return true;
    if (!add(f, allow_origin, x->cors_origin) ||
        (r->cors_credentials && !add(f, allow_credentials, SLICE("true"))))
        return false;
    if (!x->is_preflight)
        return add(f, expose_headers, texts->expose);
    return add(f, allow_methods, texts->methods) && add(f, allow_headers, texts->headers) &&
           add(f, max_age, texts->max_age);
}
