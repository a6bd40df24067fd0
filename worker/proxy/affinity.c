/* Called by l7.c and l4.c. */
#include "worker/proxy/affinity.h"

#include <inttypes.h>
#include <stdlib.h>

#define STICK_DIGITS 16
#define KEY_MAX 1024 /* without a detour; longer keys are hashed as well */

uint64_t affinity_value(struct slice cookie)
{
    uint64_t stick = 0;

    if (cookie.n != STICK_DIGITS)
        return 0;
    for (size_t i = 0; i < cookie.n; i++) {
        char c = cookie.p[i];

        if (c >= '0' && c <= '9')
            stick = stick << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            stick = stick << 4 | (uint64_t)(c - 'a' + 10);
        else
            return 0;
    }
    return stick;
}

static uint64_t stick_of_source(const struct ip *ip)
{
    uint64_t stick = ring_hash(ip->b, sizeof ip->b);

    return stick ? stick : 1;
}

static void fill_hash(struct up_request *r, const struct template *key, const struct vars *v)
{
    char buf[KEY_MAX], *p = buf;
    size_t n = vars_expand(key, v, buf, sizeof buf, false, NULL);

    if (n > sizeof buf) {
        p = malloc(n);
        if (!p)
            return;
        vars_expand(key, v, p, n, false, NULL);
    }
    r->has_hash = n > 0;
    r->hash = ring_hash(p, n);
    if (p != buf)
        free(p);
}

void affinity_fill(struct up_request *r, const struct conf_backend *b, const struct vars *v)
{
    if (b->balance.how == CONF_BALANCE_HASH)
        fill_hash(r, &b->balance.key, v);
    if (b->sticky.how == CONF_STICKY_SOURCE)
        r->stick = stick_of_source(&v->client);
    else if (b->sticky.how == CONF_STICKY_COOKIE)
        r->stick = affinity_value(vars_cookie(v, b->sticky.cookie));
}

void affinity_find(struct exchange *x, const struct conf_backend *b)
{
    struct vars v;

    exchange_vars(x, &v);
    affinity_fill(&x->first.up, b, &v);
}

bool affinity_put_cookie(struct exchange *x, struct head *h, struct slice name, uint64_t value)
{
    struct slice line = arena_printf(&x->stream.arena,
                                     "%.*s=%016" PRIx64 "; Path=/; HttpOnly; SameSite=Lax%s",
                                     SLICE_ARG(name), value,
                                     slice_eq(x->forwarded.scheme, SLICE("https")) ? "; Secure"
                                                                                   : "");

    return line.p && fields_add(&h->fields, FIELD_SET_COOKIE, SLICE("Set-Cookie"), line);
}

bool affinity_set_cookie(struct exchange *x, struct head *h)
{
    uint64_t stick = up_stick(&x->lead->up);

    return stick == 0 || affinity_put_cookie(x, h, x->backend->sticky.cookie, stick);
}
