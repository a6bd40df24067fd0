/* The neutral head of a request or response: what every codec makes and takes, HTTP/1 or 2.
 * Framing and hop-by-hop fields (RFC 9110 7.6.1) are not in it: a codec takes them out and says
 * the same by `body`, `upgrade` and the flags. Memory is an arena's or the codec's buffer: a
 * head lives no longer than that. */
#ifndef RPD_HTTP_HEAD_H
#define RPD_HTTP_HEAD_H

#include <stdbool.h>
#include <stdint.h>
#include "common/base/arena.h"
#include "common/base/slice.h"

enum field_id {
    FIELD_OTHER,
#define FIELD(ID, name, first, last) FIELD_##ID,
#include "worker/http/fields.def"
#undef FIELD
    FIELD_IDS,
};

struct field {
    struct slice name;  /* as it came; n == 0: removed */
    struct slice value; /* trimmed */
    enum field_id id;
    bool is_line;       /* in memory it reads `name: value CRLF`: may be written as it stands */
};

struct fields {
    struct field *v;
    uint32_t n, cap;
    uint64_t seen;       /* a bit for each id ever added: the rest needs no look */
    struct arena *arena; /* grows v */
};

enum http_method {
    METHOD_OTHER, /* see head.method_text */
    METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_DELETE, METHOD_CONNECT,
    METHOD_OPTIONS, METHOD_TRACE, METHOD_PATCH,
};

enum body_kind {
    BODY_NONE,
    BODY_LENGTH,  /* content_length bytes follow (may be 0: the field is then sent on) */
    BODY_CHUNKED, /* unknown length, ends by the protocol's own means; trailers may follow */
    BODY_CLOSE,   /* unknown length, ends with the connection (responses only) */
};

struct head {
    struct fields fields;
    /* request */
    enum http_method method;
    struct slice method_text;
    struct slice scheme;    /* "http", "https" */
    struct slice authority; /* host[:port] of the target or Host; may be empty (HTTP/1.0) */
    struct slice path;      /* path?query, at least "/"; "*" for OPTIONS * */
    /* response */
    uint16_t status;
    struct slice reason;
    /* both */
    uint8_t minor;          /* of HTTP/1: 0 or 1; HTTP/2 counts as 1 */
    enum body_kind body;
    uint64_t content_length; /* BODY_LENGTH; also of a response to HEAD and a 304 if has_length */
    bool has_length;         /* Content-Length was given (for HEAD and 304 with BODY_NONE) */
    struct slice upgrade;    /* Upgrade's value, if the Connection field named it; else empty */
    bool expects_continue;   /* Expect: 100-continue */
    bool te_trailers;        /* TE: trailers */
    bool keep_alive;         /* codec's own: may the connection be used again after this message */
    uint32_t wire_bytes;     /* size as it came */
};

void head_init(struct head *h, struct arena *arena);

/* Hashed; FIELD_OTHER for names not in fields.def. */
enum field_id field_lookup(struct slice name);
/* Lower case; empty for FIELD_OTHER. */
struct slice field_name(enum field_id id);
/* Whether a sender may put it into trailers (RFC 9110 6.5.1): nothing that frames, routes,
 * authenticates, modifies the request or says how to read the content. */
bool field_may_trail(enum field_id id);

/* First such field that is not removed, or NULL. By name: case-insensitive. */
struct field *fields_find(const struct fields *f, enum field_id id);
struct field *fields_find_name(const struct fields *f, struct slice name);
/* Is it an item of such a field's list (RFC 9110 5.6.1), in whatever case? Not for lists that may
 * hold quoted commas. */
bool fields_list_has(const struct fields *f, enum field_id id, struct slice item);
bool fields_grow(struct fields *f) __attribute__((warn_unused_result));
/* Where the next field goes; it counts once fields_commit is called. NULL: out of memory. */
static inline struct field *fields_reserve(struct fields *f)
{
    return f->n < f->cap || fields_grow(f) ? &f->v[f->n] : NULL;
}
static inline void fields_commit(struct fields *f)
{
    f->seen |= UINT64_C(1) << f->v[f->n++].id;
}
/* Appends; slices are kept, not copied. false: out of memory. */
bool fields_add(struct fields *f, enum field_id id, struct slice name, struct slice value)
    __attribute__((warn_unused_result));
/* `line` is `name: value CRLF` and as long-lived as the fields; the name has name_n bytes. */
__attribute__((warn_unused_result))
static inline bool fields_add_line(struct fields *f, enum field_id id, size_t name_n,
                                   struct slice line)
{
    struct field *new = fields_reserve(f);

    if (!new)
        return false;
    new->name = slice_of(line.p, name_n);
    new->value = slice_of(line.p + name_n + 2, line.n - name_n - 4);
    new->id = id;
    new->is_line = true;
    fields_commit(f);
    return true;
}
/* Gives this field another value. */
static inline void field_set_value(struct field *f, struct slice value)
{
    f->value = value;
    f->is_line = false;
}
static inline bool fields_may_have(const struct fields *f, enum field_id id)
{
    return f->seen >> id & 1;
}
/* Removes all of that name. id is not FIELD_OTHER. */
void fields_remove(struct fields *f, enum field_id id);
void fields_remove_name(struct fields *f, struct slice name);
/* Leaves exactly one such field, where the first stood. By name for FIELD_OTHER. */
bool fields_set(struct fields *f, enum field_id id, struct slice name, struct slice value)
    __attribute__((warn_unused_result));
#define FIELDS_EACH(it, f) \
    for (struct field *it = (f)->v; it && it != (f)->v + (f)->n; it++) if (it->name.n != 0)

/* Standard reason phrase, "" for unknown codes. */
struct slice status_reason(unsigned status);
/* Safe to send twice (RFC 9110 9.2.2). */
bool method_is_idempotent(enum http_method m);
/* Valid Host / authority: reg-name, IPv4 or [IPv6], optional port (RFC 9112 3.2, 9110 4.2). No
 * user, no comma (a list to some), no zone; not empty. */
bool authority_is_valid(struct slice s);
/* Without the port; an IPv6 address keeps its brackets. */
struct slice authority_host(struct slice s);

#endif
