/* What the configuration's own files share: the settings table as data, and building's state.
 * Private to common/core/conf_*.c; everything else includes conf.h. */
#ifndef RPD_CORE_CONF_IMPL_H
#define RPD_CORE_CONF_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/arena.h"
#include "common/base/hash.h"
#include "common/base/vec.h"
#include "common/core/conf.h"
#include "common/core/nets.h"

/* ---- the table ---- */

#define SECTION(kind, is_named, help) CONF_KIND_##kind,
#define SETTING(kind, field, key, TYPE, def, lo, hi, when, help)
#define LATER(kind, key, help)
enum conf_kind {
#include "common/core/settings.def"
    CONF_KIND_COUNT
};
#undef SECTION
#undef SETTING
#undef LATER

/* Settings of one kind are fewer: they are bits of a mask. */
#define CONF_SETTINGS_MAX 64

struct conf_cursor;

/* How values of one TYPE are read and written. */
struct conf_type {
    const char *name;     /* for the manual: "duration" */
    size_t size;          /* of the field */
    bool is_list;         /* commas and several lines; `parse` adds one item */
    bool takes_empty;     /* an empty value is "none"; every list takes it */
    bool takes_variables; /* else `$$` is made `$`, and `$name` is refused */
    bool takes_captures;  /* and $0 to $9, for which its parser answers, or conf_check_captures */
    bool is_unprinted;    /* says nothing about what was built */
    /* One value, or one item of a list, never empty. Reports what is wrong. */
    void (*parse)(struct conf_cursor *c, struct slice text, void *field);
    /* Cuts the next item of a list off; NULL: at commas. */
    bool (*next_item)(struct slice *rest, struct slice *item);
    /* What the field holds when there is no value; NULL: zero bytes. */
    void (*clear)(void *field);
    /* Items of a list; 0 or 1 for others that take an empty value; NULL: always 1. */
    size_t (*count)(const void *field);
    /* Item i as the file would have it. */
    void (*print)(const void *field, size_t i, struct strbuf *out);
    /* The file that item i names, path "": none; NULL: it never names any. */
    const struct conf_file *(*file)(const void *field, size_t i);
};

/* How the values of a TYPE are read and written: members of struct conf_type. */
#define TYPE(T, ...)                                                                           \
    const struct conf_type conf_type_##T = { .size = sizeof(CONF_C_##T), __VA_ARGS__ }
/* A TYPE whose field is a struct with a member n; count_TYPE is its `count`. */
#define LIST_TYPE(T, ...)                                                                      \
    const struct conf_type conf_type_##T = { .size = sizeof(CONF_C_##T), .is_list = true,      \
                                             .takes_empty = true, __VA_ARGS__ }
#define COUNT_OF(T)                                                                            \
    static size_t count_##T(const void *field)                                                 \
    {                                                                                          \
        const CONF_C_##T *list = field;                                                        \
        return list->n;                                                                        \
    }

enum conf_when { CONF_WHEN_RELOAD, CONF_WHEN_RESTART };

struct conf_setting {
    enum conf_kind kind;
    unsigned bit; /* its number within the kind */
    const char *key;
    const struct conf_type *type;
    size_t offset; /* in struct conf_<kind> */
    const char *def; /* NULL: required */
    uint64_t min, max; /* max 0: none */
    enum conf_when when;
    const char *help;
};

struct conf_later {
    enum conf_kind kind;
    const char *key, *help;
};

struct conf_kind_info {
    const char *name;
    bool is_named;
    size_t size; /* of struct conf_<kind> */
    const char *help;
};

struct conf_later_section {
    const char *name;
    bool is_named;
};

extern const struct conf_kind_info conf_kinds[CONF_KIND_COUNT];
extern const struct conf_setting conf_settings[];
extern const size_t conf_nsettings;
extern const struct conf_later conf_laters[];
extern const size_t conf_nlaters;
extern const struct conf_later_section conf_later_sections[];
extern const size_t conf_nlater_sections;

static inline void *conf_field(const struct conf_setting *s, void *section)
{
    return (char *)section + s->offset;
}

/* What a route is of decides which settings it takes: requests have all of them, sessions few. */
enum conf_route_use {
    CONF_USE_HTTP, /* requests */
    CONF_USE_SNI,  /* sessions that the name in the ClientHello tells apart */
    CONF_USE_TCP,  /* sessions of a listener without TLS */
};
enum conf_route_use conf_route_use(const struct conf_route *r);
/* `s` is a setting of routes. */
bool conf_setting_is_of(const struct conf_setting *s, enum conf_route_use use);
/* A setting that another one of its section makes meaningless (conf_idle.c). */
bool conf_setting_is_idle(const struct conf_setting *s, const void *section);

/* The rows' types, in conf_values.c, conf_words.c, conf_lists.c, conf_tls.c, conf_templates.c and
 * conf_balance.c. */
#define CONF_TYPES(X)                                                                          \
    X(AUTH_REQUEST) X(ASKED_FIELDS) X(MIRROR)                                                  \
    X(BOOL) X(COUNT) X(WORKERS) X(SIZE) X(DURATION) X(NAME) X(RUN_DIR) X(ERROR_LOG)            \
    X(ACCESS_LOG) X(INCLUDE) X(LOG_LEVEL) X(LOG_FORMAT) X(BINDS) X(MODE) X(NETS) X(ACCESS)     \
    X(BACKEND) X(LISTENERS) X(HOSTS) X(PATH) X(RESPOND) X(REDIRECT) X(CONTENT_TYPE)            \
    X(ERROR_PAGES) X(FIELD_RULES) X(HOST_HEADER) X(RETRY_ON) X(ROUTE_LOG) X(SERVERS)           \
    X(BALANCE) X(PROTOCOL) X(SEND_PROXY) X(FILE) X(CERTIFICATE) X(CERTIFICATES) X(ALPNS)       \
    X(TLS_VERSION) X(TLS_NAME) X(CLIENT_VERIFY) X(ROUTE_TLS) X(PERCENT) X(STICKY) X(CHECK)     \
    X(EJECT_ON) X(HEDGE) X(NAMESERVERS) X(SPLIT) X(PATH_EXACT) X(PATH_REGEX) X(METHODS)        \
    X(HEADERS) X(PARAMS) X(REWRITE) X(CODINGS) X(MEDIA_TYPES) X(TEXT) X(TEXTS) X(FILES)        \
    X(CORS_ORIGINS) X(CORS_METHODS) X(FIELD_NAMES) X(CANARY) X(STEPS) X(SLOWEST)               \
    X(HEADER_MARK) X(COOKIE_MARK) X(PROGRAM) X(CANARY_START) X(RATE) X(KEY) X(LIMITS) X(REALM) \
    X(FAULTS)
/* For a TYPE whose field is a struct slice, "" being none: its members of struct conf_type. */
void conf_clear_text(void *field);
size_t conf_count_text(const void *field);
void conf_print_text(const void *field, size_t i, struct strbuf *out);

#define CONF_DECLARE_TYPE(TYPE) extern const struct conf_type conf_type_##TYPE;
CONF_TYPES(CONF_DECLARE_TYPE)
#undef CONF_DECLARE_TYPE

/* ---- building ---- */

/* All that a conf's pointers lead to. */
struct conf_memory {
    struct arena arena;
    VEC(struct template) templates;
    VEC(struct regex *) regexes;
};

/* A section of the text. */
struct conf_section {
    enum conf_kind kind;
    bool is_defaults;
    const char *name;
    struct conf_origin origin;
    size_t first, end; /* its entries, without the header */
    void *target;      /* the struct conf_<kind> it fills */
    size_t index;      /* among those of its kind */
    bool is_refused;   /* of no good name or one that was there: checked and left out */
    bool has_errors;   /* some value was refused */
    uint64_t set;      /* bits of the settings it has itself */
    uint64_t grown;    /* bits of the lists that are no longer the defaults' memory */
};

struct conf_builder {
    const struct conf_text *text;
    struct report *report;
    struct conf *conf;
    VEC(struct conf_section) sections;
    void *defaults[CONF_KIND_COUNT];          /* struct conf_<kind>: what a section begins as */
    uint64_t defaults_set[CONF_KIND_COUNT];   /* bits of what [defaults] sections set */
    struct smap names[CONF_KIND_COUNT]; /* -> struct conf_section */
    struct smap keys[CONF_KIND_COUNT];  /* -> struct conf_setting or conf_later */
    struct smap resolved;               /* -> the first struct conf_resolved of the name */
    struct smap files;                  /* path -> struct slice */
    struct smap strings;                /* origins' texts, copied once */
    unsigned suggestions_left; /* looking through thousands of names for each error costs */
};

/* The value being parsed. */
struct conf_cursor {
    struct conf_builder *b;
    const struct conf_section *section;
    const struct conf_setting *setting;
    struct conf_origin origin;
    bool is_fresh; /* nothing of this section is in the list yet: see conf_grow */
};

/* Memory of the conf being built, zeroed; aborts when memory ends. */
void *conf_alloc(struct conf_builder *b, size_t n);
struct slice conf_dup(struct conf_builder *b, struct slice s);
/* A copy in lower case (ASCII). */
struct slice conf_lower(struct conf_builder *b, struct slice text);
/* Of a label of a name, in lower case. */
static inline bool conf_is_host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}
/* Labels with a dot between any two; lower case. */
bool conf_is_domain(struct slice name);
/* The file that the value being parsed names: a relative path begins where the file is that the
 * value stands in. */
struct conf_file conf_file_of(struct conf_cursor *c, struct slice path);
/* A line of a file that a setting of that place names; the text is *chain's. */
struct report_place conf_file_place(const char *path, unsigned line,
                                    const struct conf_origin *origin, struct strbuf *chain);
/* `10.0.0.0/8`, `unix`. */
void conf_print_net(const struct net *net, struct strbuf *out);
/* What the text has of that file; p NULL: nothing. */
struct slice conf_file_content(struct conf_builder *b, struct slice path);
/* `FILE:LINE: [section] key: message`. */
void conf_value_error(struct conf_cursor *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void conf_value_warning(struct conf_cursor *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same about a whole section (`key` NULL) or about a key of it. */
void conf_section_error(struct conf_builder *b, const struct conf_section *s, const char *key,
                        const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void conf_section_warning(struct conf_builder *b, const struct conf_section *s, const char *key,
                          const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* " (did you mean 'x'?)" or "". */
const char *conf_did_you_mean(struct conf_builder *b, struct slice wrong,
                              const char *const *names, size_t n);
/* An address of the language, of a name the first that was found (len 0: none); false when
 * reported. */
bool conf_parse_addr(struct conf_cursor *c, struct slice text, struct addr *addr, bool *is_name);
#define CONF_NO_PATTERN ((struct conf_pattern){ SLICE(""), NULL })
/* A path of the language, made what requests' paths are compared with; false when reported. */
bool conf_parse_path(struct conf_cursor *c, struct slice *text);
/* The section of that kind and name, or NULL, reported. */
struct conf_section *conf_find_section(struct conf_cursor *c, enum conf_kind kind,
                                       struct slice name);
/* What the section is about, unless it is among the n pointers of `list` already. NULL when
 * reported. */
const void *conf_find_once(struct conf_cursor *c, enum conf_kind kind, struct slice name,
                           const void *list, size_t n);
/* Room for one more of n elements. Arrays double; the first growth in a section copies, for the
 * array is the defaults' until then. */
void *conf_grow(struct conf_cursor *c, const void *v, size_t n, size_t size);
/* A field that a request may be given: false when reported. */
bool conf_field_name_is_good(struct conf_cursor *c, struct slice name);
/* Cuts the first word off, at blanks; n 0: there is none. */
struct slice conf_cut_word(struct slice *text);
/* Cuts the status a value begins with off; 0: there is none. */
unsigned conf_cut_status(struct slice *text);
/* Compiled, the conf's; NULL when reported. options: REGEX_ bits. */
const struct regex *conf_parse_regex(struct conf_cursor *c, struct slice pattern,
                                     unsigned options);
/* Parses into memory that the conf frees; false when reported. */
bool conf_parse_template(struct conf_cursor *c, struct slice source, struct template *t);

/* The place of an entry, its texts copied into the conf. */
struct conf_origin conf_origin_of(struct conf_builder *b, const struct conf_entry *e);
/* Bit of the setting with that field in the masks of its kind. */
uint64_t conf_bit(enum conf_kind kind, size_t offset);
/* Makes the field hold no value. */
void conf_clear(const struct conf_type *type, void *field);

/* Is it a listener, route or backend, not [global] or [defaults]? */
static inline bool conf_is_object(const struct conf_section *s)
{
    return conf_kinds[s->kind].is_named && !s->is_defaults;
}

/* Steps of building, in this order; values are parsed after the third. */
void conf_find_sections(struct conf_builder *b);
/* Fills the maps of names: references may point forwards. */
void conf_name_sections(struct conf_builder *b);
/* Makes the conf's arrays and each section's place in them; b->defaults is there already. */
void conf_place_sections(struct conf_builder *b);
/* References between sections that are in order each for itself: routes against listeners,
 * addresses, names nobody uses. */
void conf_check(struct conf_builder *b);
/* The part of it about settings of TLS; conf_settle_tls, before it, makes lists of protocols those
 * that are offered. */
void conf_check_tls(struct conf_builder *b);
void conf_settle_tls(struct conf_builder *b);
/* The part about canaries. */
void conf_check_canaries(struct conf_builder *b);
/* What a route answers from here is: its type and tag. */
void conf_settle_pages(struct conf_builder *b);
/* Content-Type by the name's suffix. */
struct slice conf_media_type(struct slice name);
/* The first backend of each route. */
void conf_settle_splits(struct conf *conf);
/* The parts of conf_check about a route's rewrite, redirect, tokens and compression. */
void conf_check_rewrite(struct conf_builder *b, const struct conf_section *s);
void conf_check_redirect(struct conf_builder *b, const struct conf_section *s);
void conf_check_jwt(struct conf_builder *b, const struct conf_section *s);
void conf_check_compress(struct conf_builder *b, const struct conf_section *s);
/* Settings of an object that another one of it makes meaningless (conf_idle.c). */
void conf_check_idle(struct conf_builder *b, const struct conf_section *s);
/* The same about cors and what belongs to it; and the texts of what its answers say. */
void conf_check_cors(struct conf_builder *b, const struct conf_section *s);
void conf_settle_cors(struct conf_builder *b);
/* allow and deny into route->access. */
void conf_settle_access(struct conf_builder *b);
/* The part of conf_check about $0 to $9 in a route's values, of what its path_regex caught. */
void conf_check_captures(struct conf_builder *b, const struct conf_section *s);
/* Adds what a route asks of requests beside listener, host and method: the same text for all that
 * ask the same. */
void conf_match_key(const struct conf_route *r, struct arena *arena, struct strbuf *key);
/* Limits: what they are by what was said, and what is wrong with them (conf_limit.c). */
void conf_settle_limits(struct conf_builder *b);
void conf_check_limits(struct conf_builder *b);
/* Something that a tcp session has, of which nothing was read as a request. */
bool conf_var_is_of_sessions(enum var_id var);
/* auth_basic into route->users. */
void conf_settle_auth(struct conf_builder *b);
/* Which steps each route has. */
void conf_settle_steps(struct conf *conf);

/* The text of a value with `$` doubled, for printers. */
void conf_print_escaped(struct strbuf *out, struct slice text);

#endif
