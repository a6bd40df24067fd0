/* Heads and fields: the tables of names, methods and reasons, and the list of fields. Used by
 * every codec and by the proxy; knows no wire format and never copies a field's bytes. */
#include "worker/http/head.h"

#include <arpa/inet.h>
#include <assert.h>
#include "common/base/swar.h"

#define FIELDS_FIRST 24 /* most heads have fewer */
#define PORT_MAX 65535

_Static_assert(FIELD_IDS <= 64, "an id is a bit of fields.seen");

/* ---- names ---- */

/* A perfect hash: length, first and last letter tell all known names apart. A collision is two
 * initialisers of one slot, which no compiler lets pass. 31 folds ASCII case. */
#define SLOTS 128
#define SLOT(n, first, last) (((n) * 5 + ((first) & 31) * 8 + ((last) & 31) * 24) & (SLOTS - 1))

static const uint8_t slots[SLOTS] = {
#define FIELD(ID, name, first, last) [SLOT(sizeof(name) - 1, first, last)] = FIELD_##ID,
#include "worker/http/fields.def"
#undef FIELD
};

static const struct slice names[FIELD_IDS] = {
#define FIELD(ID, name, first, last) [FIELD_##ID] = SLICE_INIT(name),
#include "worker/http/fields.def"
#undef FIELD
};

/* n bytes are equal to a known name but for case. Letters alone have bit 6 in such a name, so that
 * bit, shifted, is the bit by which the cases differ. */
static inline bool is_word(uint64_t word, uint64_t lower)
{
    return (word | (lower & SWAR_ONES * 0x40) >> 1) == lower;
}

static inline uint64_t ends(const char *p, size_t n)
{
    uint32_t first, last;

    memcpy(&first, p, 4);
    memcpy(&last, p + n - 4, 4);
    return (uint64_t)first << 32 | last;
}

static inline bool is_known(const char *p, const char *lower, size_t n)
{
    if (n < 4) {
        for (size_t i = 0; i < n; i++)
            if ((p[i] | (lower[i] & 0x40) >> 1) != lower[i])
                return false;
        return true;
    }
    if (n < 8)
        return is_word(ends(p, n), ends(lower, n));
    for (size_t i = 0; i + 8 < n; i += 8)
        if (!is_word(swar_load(p + i), swar_load(lower + i)))
            return false;
    return is_word(swar_load(p + n - 8), swar_load(lower + n - 8));
}

enum field_id field_lookup(struct slice name)
{
    if (name.n == 0)
        return FIELD_OTHER;
    unsigned char first = (unsigned char)name.p[0], last = (unsigned char)name.p[name.n - 1];
    enum field_id id = (enum field_id)slots[SLOT(name.n, first, last)];

    return names[id].n == name.n && is_known(name.p, names[id].p, name.n) ? id : FIELD_OTHER;
}

struct slice field_name(enum field_id id)
{
    assert(id < FIELD_IDS);
    return names[id];
}

bool field_may_trail(enum field_id id)
{
    return id == FIELD_OTHER || id == FIELD_ETAG || id == FIELD_LAST_MODIFIED ||
           id == FIELD_PROXY_STATUS;
}

/* ---- the list ---- */

void head_init(struct head *h, struct arena *arena)
{
    *h = (struct head){ .fields = { .arena = arena } };
}

struct field *fields_find(const struct fields *f, enum field_id id)
{
    assert(id != FIELD_OTHER);
    if (!fields_may_have(f, id))
        return NULL;
    for (uint32_t i = 0; i < f->n; i++)
        if (f->v[i].id == id && f->v[i].name.n != 0)
            return &f->v[i];
    return NULL;
}

struct field *fields_find_name(const struct fields *f, struct slice name)
{
    enum field_id id = field_lookup(name);

    if (id != FIELD_OTHER)
        return fields_find(f, id);
    for (uint32_t i = 0; i < f->n; i++)
        if (f->v[i].name.n != 0 && slice_ieq(f->v[i].name, name))
            return &f->v[i];
    return NULL;
}

bool fields_list_has(const struct fields *f, enum field_id id, struct slice item)
{
    if (!fields_may_have(f, id))
        return false;
    FIELDS_EACH(it, f) {
        struct slice rest = it->value, each;

        while (it->id == id && slice_next_item(&rest, &each))
            if (slice_ieq(each, item))
                return true;
    }
    return false;
}

bool fields_grow(struct fields *f)
{
    uint32_t cap = f->cap ? f->cap * 2 : FIELDS_FIRST;
    struct field *v = arena_alloc(f->arena, cap * sizeof *v);

    if (!v)
        return false;
    if (f->n > 0)
        memcpy(v, f->v, f->n * sizeof *v);
    f->v = v;
    f->cap = cap;
    return true;
}

bool fields_add(struct fields *f, enum field_id id, struct slice name, struct slice value)
{
    struct field *new = fields_reserve(f);

    assert(name.n > 0);
    if (!new)
        return false;
    *new = (struct field){ .name = name, .value = value, .id = id };
    fields_commit(f);
    return true;
}

void fields_remove(struct fields *f, enum field_id id)
{
    assert(id != FIELD_OTHER);
    for (uint32_t i = 0; fields_may_have(f, id) && i < f->n; i++)
        if (f->v[i].id == id)
            f->v[i].name.n = 0;
}

void fields_remove_name(struct fields *f, struct slice name)
{
    enum field_id id = field_lookup(name);

    if (id != FIELD_OTHER) {
        fields_remove(f, id);
        return;
    }
    for (uint32_t i = 0; i < f->n; i++)
        if (slice_ieq(f->v[i].name, name))
            f->v[i].name.n = 0;
}

bool fields_set(struct fields *f, enum field_id id, struct slice name, struct slice value)
{
    struct field *first = id == FIELD_OTHER ? fields_find_name(f, name) : fields_find(f, id);

    if (!first)
        return fields_add(f, id, name, value);
    fields_remove_name(f, name);
    *first = (struct field){ .name = name, .value = value, .id = id };
    return true;
}

/* ---- statuses and methods ---- */

static const struct slice reasons[] = {
#define REASON(code, text) [(code) - 100] = SLICE_INIT(text),
    REASON(100, "Continue")
    REASON(101, "Switching Protocols")
    REASON(102, "Processing")
    REASON(103, "Early Hints")
    REASON(200, "OK")
    REASON(201, "Created")
    REASON(202, "Accepted")
    REASON(203, "Non-Authoritative Information")
    REASON(204, "No Content")
    REASON(205, "Reset Content")
    REASON(206, "Partial Content")
    REASON(207, "Multi-Status")
    REASON(208, "Already Reported")
    REASON(226, "IM Used")
    REASON(300, "Multiple Choices")
    REASON(301, "Moved Permanently")
    REASON(302, "Found")
    REASON(303, "See Other")
    REASON(304, "Not Modified")
    REASON(305, "Use Proxy")
    REASON(307, "Temporary Redirect")
    REASON(308, "Permanent Redirect")
    REASON(400, "Bad Request")
    REASON(401, "Unauthorized")
    REASON(402, "Payment Required")
    REASON(403, "Forbidden")
    REASON(404, "Not Found")
    REASON(405, "Method Not Allowed")
    REASON(406, "Not Acceptable")
    REASON(407, "Proxy Authentication Required")
    REASON(408, "Request Timeout")
    REASON(409, "Conflict")
    REASON(410, "Gone")
    REASON(411, "Length Required")
    REASON(412, "Precondition Failed")
    REASON(413, "Content Too Large")
    REASON(414, "URI Too Long")
    REASON(415, "Unsupported Media Type")
    REASON(416, "Range Not Satisfiable")
    REASON(417, "Expectation Failed")
    REASON(421, "Misdirected Request")
    REASON(422, "Unprocessable Content")
    REASON(423, "Locked")
    REASON(424, "Failed Dependency")
    REASON(425, "Too Early")
    REASON(426, "Upgrade Required")
    REASON(428, "Precondition Required")
    REASON(429, "Too Many Requests")
    REASON(431, "Request Header Fields Too Large")
    REASON(451, "Unavailable For Legal Reasons")
    REASON(500, "Internal Server Error")
    REASON(501, "Not Implemented")
    REASON(502, "Bad Gateway")
    REASON(503, "Service Unavailable")
    REASON(504, "Gateway Timeout")
    REASON(505, "HTTP Version Not Supported")
    REASON(506, "Variant Also Negotiates")
    REASON(507, "Insufficient Storage")
    REASON(508, "Loop Detected")
    REASON(511, "Network Authentication Required")
#undef REASON
};

struct slice status_reason(unsigned status)
{
    if (status < 100 || status - 100 >= sizeof reasons / sizeof reasons[0] ||
        !reasons[status - 100].p)
        return SLICE("");
    return reasons[status - 100];
}

bool method_is_idempotent(enum http_method m)
{
    switch (m) {
    case METHOD_GET:
    case METHOD_HEAD:
    case METHOD_PUT:
    case METHOD_DELETE:
    case METHOD_OPTIONS:
    case METHOD_TRACE:
        return true;
    case METHOD_OTHER:
    case METHOD_POST:
    case METHOD_CONNECT:
    case METHOD_PATCH:
        return false;
    }
    return false;
}

/* ---- authorities ---- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f');
}

/* RFC 3986 3.2.2: unreserved, sub-delims but the comma, percent-encoded bytes. Letters, digits,
 * dashes and dots are all that most names have. */
static bool reg_name_is_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (is_alnum(s.p[i]) || s.p[i] == '.' || s.p[i] == '-')
            continue;
        if (s.p[i] == '%') {
            if (s.n - i < 3 || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2]))
                return false;
            i += 2;
        } else if (s.p[i] == '\0' || !strchr("_~!$&'()*+;=", s.p[i])) {
            return false;
        }
    }
    return s.n > 0;
}

static bool ipv6_is_valid(struct slice s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr addr;

    return slice_copy(text, sizeof text, s) && strlen(text) == s.n &&
           inet_pton(AF_INET6, text, &addr) == 1;
}

/* What follows the host: nothing, or a colon and port = *DIGIT. */
static bool port_is_valid(struct slice s)
{
    uint64_t port;

    if (s.n <= 1)
        return s.n == 0 || s.p[0] == ':';
    return s.p[0] == ':' && s.n <= 6 && slice_u64(slice_of(s.p + 1, s.n - 1), &port) &&
           port <= PORT_MAX;
}

struct slice authority_host(struct slice s)
{
    if (s.n > 0 && s.p[0] == '[') {
        size_t end = slice_find(s, ']');
        return slice_of(s.p, end < s.n ? end + 1 : s.n);
    }
    return slice_of(s.p, slice_find(s, ':'));
}

bool authority_is_valid(struct slice s)
{
    struct slice host = authority_host(s);

    if (host.n == 0 || !port_is_valid(slice_of(s.p + host.n, s.n - host.n)))
        return false;
    if (host.p[0] != '[')
        return reg_name_is_valid(host);
    return host.n > 2 && host.p[host.n - 1] == ']' &&
           ipv6_is_valid(slice_of(host.p + 1, host.n - 2));
}
