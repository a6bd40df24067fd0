/* Header rules and forwarding fields. Called by l7.c for each request and response. */
#include "worker/proxy/rules.h"

#include <string.h>

#define VIA_VALUE "1.1 rpd"
/* A request id that a trusted proxy sent is kept up to this length. */
#define REQUEST_ID_MAX 200

/* ---- the route's rules ---- */

static bool apply_one(const struct conf_field_rule *rule, struct fields *f, const struct vars *v,
                      struct arena *arena)
{
    struct slice value;

    if (rule->op == CONF_RULE_REMOVE) {
        fields_remove_name(f, rule->name);
        return true;
    }
    value = vars_text(&rule->value, v, arena);
    if (!value.p)
        return false;
    value = slice_trim(value);
    if (rule->op == CONF_RULE_SET)
        return fields_set(f, field_lookup(rule->name), rule->name, value);
    return fields_add(f, field_lookup(rule->name), rule->name, value);
}

bool rules_apply(const struct conf_field_rules *rules, struct fields *f, const struct vars *v,
                 struct arena *arena)
{
    for (size_t i = 0; i < rules->n; i++)
        if (!apply_one(&rules->v[i], f, v, arena))
            return false;
    return true;
}

/* ---- X-Forwarded-*, X-Request-Id, Via ---- */

static bool is_trusted(const struct conf_nets *nets, const struct ip *ip)
{
    for (size_t i = 0; i < nets->n; i++)
        if (net_contains(&nets->v[i], ip))
            return true;
    return false;
}

/* `203.0.113.7`, `203.0.113.7:4711`, `[2001:db8::1]:4711`. */
static bool parse_hop(struct slice text, struct ip *out)
{
    size_t colon = slice_find(text, ':');

    if (text.n > 0 && text.p[0] == '[') {
        size_t end = slice_find(text, ']');

        return end < text.n && ip_parse(slice_of(text.p + 1, end - 1), out);
    }
    if (ip_parse(text, out))
        return true;
    return colon < text.n && ip_parse(slice_of(text.p, colon), out);
}

/* The last element of a comma-separated list, cut off. */
static struct slice cut_last(struct slice *list)
{
    size_t at = list->n;
    struct slice item;

    while (at > 0 && list->p[at - 1] != ',')
        at--;
    item = slice_trim(slice_of(list->p + at, list->n - at));
    list->n = at > 0 ? at - 1 : 0;
    return item;
}

/* From the nearest hop outwards: the first that is not a trusted proxy is the client. */
static struct ip client_of(const struct head *h, struct ip peer, const struct conf_nets *trusted)
{
    struct ip client = peer;

    for (uint32_t i = h->fields.n; i-- > 0;) {
        const struct field *f = &h->fields.v[i];
        struct slice list = f->value;

        if (f->id != FIELD_X_FORWARDED_FOR || f->name.n == 0)
            continue;
        while (list.n > 0) {
            struct slice hop = cut_last(&list);
            struct ip ip;

            if (hop.n == 0) /* RFC 9110 5.6.1 */
                continue;
            if (!is_trusted(trusted, &client) || !parse_hop(hop, &ip))
                return client;
            ip.port = 0;
            client = ip;
        }
    }
    return client;
}

static struct slice new_request_id(struct request_ids *ids, struct arena *arena)
{
    static const char digits[] = "0123456789abcdef";
    char *text = arena_alloc(arena, 32);
    uint64_t half[2];

    if (!text)
        return SLICE_NONE;
    for (unsigned i = 0; i < 2; i++) {
        ids->count++;
        half[i] = hash_bytes(ids, sizeof *ids);
    }
    for (unsigned i = 0; i < 32; i++)
        text[i] = digits[half[i / 16] >> (60 - 4 * (i % 16)) & 15];
    return slice_of(text, 32);
}

bool forwarded_read(struct forwarded *fw, const struct head *h, const struct ip *peer,
                    const struct conf_nets *trusted, struct request_ids *ids,
                    struct arena *arena)
{
    const struct field *f;

    fw->client = *peer;
    fw->scheme = h->scheme;
    fw->is_trusted = is_trusted(trusted, peer);
    if (fw->is_trusted) {
        fw->client = client_of(h, *peer, trusted);
        f = fields_find(&h->fields, FIELD_X_FORWARDED_PROTO);
        if (f && (slice_ieq(f->value, SLICE("https")) || slice_ieq(f->value, SLICE("http"))))
            fw->scheme = f->value;
        f = fields_find(&h->fields, FIELD_X_REQUEST_ID);
        if (f && f->value.n > 0 && f->value.n <= REQUEST_ID_MAX) {
            fw->request_id = f->value;
            return true;
        }
    }
    fw->request_id = new_request_id(ids, arena);
    return fw->request_id.p != NULL;
}

/* What trusted proxies said of the way so far, and the peer behind it. */
static struct slice forwarded_for(const struct forwarded *fw, const struct head *h,
                                  const struct ip *peer, struct arena *arena)
{
    size_t n = ADDR_TEXT_MAX, at = 0;
    char *text;

    FIELDS_EACH(f, &h->fields)
        if (f->id == FIELD_X_FORWARDED_FOR)
            n += f->value.n + 2;
    text = arena_alloc(arena, n);
    if (!text)
        return SLICE_NONE;
    FIELDS_EACH(f, &h->fields) {
        if (!fw->is_trusted || f->id != FIELD_X_FORWARDED_FOR || f->value.n == 0)
            continue;
        memcpy(text + at, f->value.p, f->value.n);
        at += f->value.n;
        memcpy(text + at, ", ", 2);
        at += 2;
    }
    at += ip_format(peer, text + at);
    return slice_of(text, at);
}

static bool set_unless_trusted(const struct forwarded *fw, struct fields *f, enum field_id id,
                               struct slice name, struct slice value)
{
    if (fw->is_trusted && fields_find(f, id))
        return true;
    if (value.n == 0) {
        fields_remove(f, id);
        return true;
    }
    return fields_set(f, id, name, value);
}

bool forwarded_write(const struct forwarded *fw, struct head *h, const struct ip *peer,
                     struct arena *arena)
{
    struct slice hops = forwarded_for(fw, h, peer, arena);
    struct fields *f = &h->fields;

    return hops.p &&
           fields_set(f, FIELD_X_FORWARDED_FOR, SLICE("X-Forwarded-For"), hops) &&
           set_unless_trusted(fw, f, FIELD_X_FORWARDED_PROTO, SLICE("X-Forwarded-Proto"),
                              h->scheme) &&
           set_unless_trusted(fw, f, FIELD_X_FORWARDED_HOST, SLICE("X-Forwarded-Host"),
                              h->authority) &&
           fields_set(f, FIELD_X_REQUEST_ID, SLICE("X-Request-Id"), fw->request_id) &&
           fields_add(f, FIELD_VIA, SLICE("Via"),
                      h->minor ? SLICE(VIA_VALUE) : SLICE("1.0 rpd"));
}

bool via_add(struct head *h)
{
    return fields_add(&h->fields, FIELD_VIA, SLICE("Via"),
                      h->minor ? SLICE(VIA_VALUE) : SLICE("1.0 rpd"));
}
