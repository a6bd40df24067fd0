/* Header rules and forwarding fields. Called by l7.c for each request and response. */
#include "worker/proxy/rules.h"

#include <endian.h>
#include <string.h>

#define REQUEST_ID_DIGITS 32
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

/* A bijection that leaves no trace of order (the finalizer of MurmurHash3). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdULL;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ULL;
    return x ^ x >> 33;
}

/* Eight digits, a byte for each nibble: 0-9 lie from '0' on, a-f 39 further. */
static void put_hex8(char *at, uint32_t n)
{
    uint64_t x = n;

    x = (x | x << 16) & 0x0000ffff0000ffffULL;
    x = (x | x << 8) & 0x00ff00ff00ff00ffULL;
    x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fULL;
    x += 0x3030303030303030ULL + 39 * ((x + 0x0606060606060606ULL) >> 4 & 0x0101010101010101ULL);
    x = htobe64(x);
    memcpy(at, &x, 8);
}

static void put_hex(char *at, uint64_t n)
{
    put_hex8(at, (uint32_t)(n >> 32));
    put_hex8(at + 8, (uint32_t)n);
}

void request_ids_init(struct request_ids *ids, uint64_t seed, uint64_t worker)
{
    ids->next = seed;
    put_hex(ids->tail, worker);
}

/* The field's line, of which the id is the value. */
static struct slice new_request_id(struct request_ids *ids, struct arena *arena)
{
    static const struct slice name = SLICE_INIT("X-Request-Id: ");
    char *line = arena_alloc(arena, name.n + REQUEST_ID_DIGITS + 2), *at;

    if (!line)
        return SLICE_NONE;
    at = slice_put(line, name);
    put_hex(at, mix(ids->next++));
    at = slice_put(at + 16, slice_of(ids->tail, sizeof ids->tail));
    memcpy(at, "\r\n", 2);
    return slice_of(line, name.n + REQUEST_ID_DIGITS + 2);
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
    fw->id_line = new_request_id(ids, arena);
    if (!fw->id_line.p)
        return false;
    fw->request_id = slice_of(fw->id_line.p + fw->id_line.n - 2 - REQUEST_ID_DIGITS,
                              REQUEST_ID_DIGITS);
    return true;
}

/* `name: value CRLF` in the arena; p NULL: exhausted. */
static struct slice make_line(struct slice name, struct slice value, struct arena *arena)
{
    char *line = arena_alloc(arena, name.n + value.n + 4), *at;

    if (!line)
        return SLICE_NONE;
    at = slice_put(slice_put(line, name), SLICE(": "));
    at = slice_put(slice_put(at, value), SLICE("\r\n"));
    return slice_of(line, (size_t)(at - line));
}

/* Leaves exactly one such field. A line that could not be made says so here. */
static bool set_line(struct fields *f, enum field_id id, size_t name_n, struct slice line)
{
    if (!line.p)
        return false;
    if (!fields_may_have(f, id))
        return fields_add_line(f, id, name_n, line);
    return fields_set(f, id, slice_of(line.p, name_n),
                      slice_of(line.p + name_n + 2, line.n - name_n - 4));
}

/* What trusted proxies said of the way so far, and the peer behind it. */
static struct slice forwarded_for(const struct forwarded *fw, const struct head *h,
                                  const struct ip *peer, struct arena *arena)
{
    static const struct slice name = SLICE_INIT("X-Forwarded-For: ");
    bool is_appended = fw->is_trusted && fields_may_have(&h->fields, FIELD_X_FORWARDED_FOR);
    size_t n = name.n + ADDR_TEXT_MAX + 2;
    char *line, *at;

    if (is_appended)
        FIELDS_EACH(f, &h->fields)
            n += f->id == FIELD_X_FORWARDED_FOR ? f->value.n + 2 : 0;
    line = arena_alloc(arena, n);
    if (!line)
        return SLICE_NONE;
    at = slice_put(line, name);
    if (is_appended)
        FIELDS_EACH(f, &h->fields)
            if (f->id == FIELD_X_FORWARDED_FOR && f->value.n > 0)
                at = slice_put(slice_put(at, f->value), SLICE(", "));
    at += ip_format(peer, at);
    at = slice_put(at, SLICE("\r\n"));
    return slice_of(line, (size_t)(at - line));
}

/* -Proto and -Host as trusted proxies sent them stay. */
static bool is_kept(const struct forwarded *fw, const struct fields *f, enum field_id id)
{
    return fw->is_trusted && fields_find(f, id);
}

static bool set_proto(const struct forwarded *fw, struct head *h)
{
    static const struct slice name = SLICE_INIT("X-Forwarded-Proto");
    struct slice line = SLICE("X-Forwarded-Proto: http\r\n");

    if (is_kept(fw, &h->fields, FIELD_X_FORWARDED_PROTO))
        return true;
    if (slice_eq(h->scheme, SLICE("https")))
        line = SLICE("X-Forwarded-Proto: https\r\n");
    return set_line(&h->fields, FIELD_X_FORWARDED_PROTO, name.n, line);
}

static bool set_host(const struct forwarded *fw, struct head *h, struct arena *arena)
{
    static const struct slice name = SLICE_INIT("X-Forwarded-Host");

    if (is_kept(fw, &h->fields, FIELD_X_FORWARDED_HOST))
        return true;
    if (h->authority.n == 0) {
        fields_remove(&h->fields, FIELD_X_FORWARDED_HOST);
        return true;
    }
    return set_line(&h->fields, FIELD_X_FORWARDED_HOST, name.n,
                    make_line(name, h->authority, arena));
}

bool forwarded_write(const struct forwarded *fw, struct head *h, const struct ip *peer,
                     struct arena *arena)
{
    static const size_t for_n = sizeof "X-Forwarded-For" - 1, id_n = sizeof "X-Request-Id" - 1;
    struct fields *f = &h->fields;

    return set_line(f, FIELD_X_FORWARDED_FOR, for_n, forwarded_for(fw, h, peer, arena)) &&
           set_proto(fw, h) && set_host(fw, h, arena) &&
           (fw->id_line.p ? set_line(f, FIELD_X_REQUEST_ID, id_n, fw->id_line)
                          : fields_set(f, FIELD_X_REQUEST_ID, SLICE("X-Request-Id"),
                                       fw->request_id)) &&
           via_add(h);
}

bool via_add(struct head *h)
{
    return fields_add_line(&h->fields, FIELD_VIA, sizeof "Via" - 1,
                           h->minor ? SLICE("Via: 1.1 rpd\r\n") : SLICE("Via: 1.0 rpd\r\n"));
}
