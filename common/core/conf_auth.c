/* auth_basic and auth_realm: files of who may come in with a password, made into what workers ask,
 * once for all routes that name the same file. Reached through the rows of the settings table, and
 * conf_settle_auth by conf_build. Knows what hashes look like; crypt(3) is the workers'. Reports
 * say nothing of what stands behind a name. */
#include <stdlib.h>
#include <string.h>
#include "common/core/conf_impl.h"

#define FILE_ERRORS_MAX 10 /* of one file; the wrong file has one in each line */
/* What takes seconds of processor time for each wrong password is a door to be blocked. */
#define BCRYPT_COST_MAX 16
#define SHA_ROUNDS_MAX 10000000
#define NEW_HASH "make one with `openssl passwd -6` or `htpasswd -B`"

static bool has_controls(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return true;
    return false;
}

/* ---- the realm ---- */

static void parse_realm(struct conf_cursor *c, struct slice text, void *field)
{
    struct slice *out = field;

    if (has_controls(text))
        conf_value_error(c, "a realm has no control characters");
    else
        *out = conf_dup(c->b, text);
}

TYPE(REALM, .name = "text", .takes_empty = true, .clear = conf_clear_text, .parse = parse_realm,
     .count = conf_count_text, .print = conf_print_text);

static struct slice realm_of(const struct conf_route *r)
{
    if (r->auth_realm.n > 0)
        return r->auth_realm;
    if (r->host.n == 1 && !r->host.v[0].is_wildcard)
        return r->host.v[0].name;
    return r->name && *r->name ? slice_str(r->name) : SLICE("restricted");
}

/* RFC 7617 2: the realm is a quoted-string (RFC 9110 5.6.4). */
static struct slice challenge_of(struct conf_builder *b, const struct conf_route *r)
{
    struct slice realm = realm_of(r), made;
    struct strbuf text;

    strbuf_init(&text);
    strbuf_adds(&text, "Basic realm=\"");
    for (size_t i = 0; i < realm.n; i++) {
        if (realm.p[i] == '"' || realm.p[i] == '\\')
            strbuf_addc(&text, '\\');
        strbuf_addc(&text, realm.p[i]);
    }
    strbuf_adds(&text, "\", charset=\"UTF-8\"");
    made = conf_dup(b, strbuf_slice(&text));
    strbuf_fini(&text);
    return made;
}

/* ---- hashes ---- */

/* The digits of crypt(3). */
static bool is_digits64(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '.' && c <= '9'))
            return false;
    }
    return s.n > 0;
}

/* `10$`, then 22 of salt and 31 of hash. */
static const char *bcrypt_flaw(struct slice rest)
{
    struct slice cost = slice_cut(&rest, '$');
    uint64_t n;

    if (cost.n != 2 || !slice_u64(cost, &n) || n < 4 || n > 31 || rest.n != 53 ||
        !is_digits64(rest))
        return "has a bcrypt hash that is cut off or garbled: " NEW_HASH;
    return n > BCRYPT_COST_MAX ? "has a bcrypt hash that takes seconds to check: its cost may be "
                                 "16 at most" : NULL;
}

/* `rounds=N$` or nothing, the salt, the hash. */
static const char *sha_flaw(struct slice rest, size_t hash_size)
{
    static const struct slice mark = SLICE_INIT("rounds=");
    struct slice salt = slice_cut(&rest, '$');
    uint64_t rounds = 0;
    bool is_good = true;

    if (slice_starts(salt, mark)) {
        is_good = slice_u64(slice_of(salt.p + mark.n, salt.n - mark.n), &rounds) &&
                  rounds >= 1000;
        salt = slice_cut(&rest, '$');
    }
    if (!is_good || salt.n > 16 || rest.n != hash_size || !is_digits64(rest))
        return "has a SHA-crypt hash that is cut off or garbled: " NEW_HASH;
    return rounds > SHA_ROUNDS_MAX ? "has a SHA-crypt hash that takes seconds to check: it may "
                                     "have 10000000 rounds at most" : NULL;
}

/* Parameters, salt, hash. */
static const char *yescrypt_flaw(struct slice rest)
{
    struct slice parameters = slice_cut(&rest, '$'), salt = slice_cut(&rest, '$');

    if (!is_digits64(parameters) || (salt.n > 0 && !is_digits64(salt)) || rest.n != 43 ||
        !is_digits64(rest))
        return "has a yescrypt hash that is cut off or garbled: make one with `mkpasswd -m "
               "yescrypt`";
    return NULL;
}

static struct slice behind(struct slice s, size_t n)
{
    return slice_of(s.p + n, s.n - n);
}

/* What is wrong with it, or NULL. */
static const char *hash_flaw(struct slice h)
{
    if (slice_starts(h, SLICE("$2a$")) || slice_starts(h, SLICE("$2b$")) ||
        slice_starts(h, SLICE("$2y$")))
        return bcrypt_flaw(behind(h, 4));
    if (slice_starts(h, SLICE("$5$")))
        return sha_flaw(behind(h, 3), 43);
    if (slice_starts(h, SLICE("$6$")))
        return sha_flaw(behind(h, 3), 86);
    if (slice_starts(h, SLICE("$y$")))
        return yescrypt_flaw(behind(h, 3));
    if (h.n == 0)
        return "has no hash of a password: " NEW_HASH;
    if (slice_starts(h, SLICE("$apr1$")) || slice_starts(h, SLICE("$1$")))
        return "has an MD5 hash, which is guessed too fast: " NEW_HASH;
    if (*h.p == '{')
        return "has a {...} hash, which is guessed too fast: " NEW_HASH;
    if (*h.p == '$')
        return "has a hash of a kind that is not known: $2a$, $2b$, $2y$ (bcrypt), $5$, $6$ "
               "(SHA-crypt) and $y$ (yescrypt) are";
    return "has a password in the clear, or hashed by DES: " NEW_HASH;
}

/* ---- files ---- */

/* The one being read. */
struct reading {
    struct conf_builder *b;
    const struct conf_file *file;
    VEC(struct conf_user) users;
    struct smap lines; /* name -> the line it stands in */
    unsigned line, errors;
};

__attribute__((format(printf, 2, 3)))
static void bad_line(struct reading *r, const char *fmt, ...)
{
    struct strbuf chain, text;
    va_list ap;

    if (r->errors++ > FILE_ERRORS_MAX)
        return;
    strbuf_init(&chain);
    strbuf_init(&text);
    va_start(ap, fmt);
    strbuf_vprintf(&text, fmt, ap);
    va_end(ap);
    report_error_at(r->b->report,
                    conf_file_place(r->file->path, r->line, &r->file->origin, &chain), "%s",
                    r->errors > FILE_ERRORS_MAX ? "and so on: the file has lines `user:HASH`"
                                                : text.s);
    strbuf_fini(&chain);
    strbuf_fini(&text);
}

/* Names are only told of lines that have one: another may be all secret. */
static void read_line(struct reading *r, struct slice text)
{
    struct slice rest = text, name = slice_cut(&rest, ':'), hash;
    const char *flaw;
    uintptr_t before;

    if (!rest.p || name.n == 0) {
        bad_line(r, "no `user:HASH`: %s", rest.p ? "the user has no name" : "there is no colon");
        return;
    }
    hash = slice_cut(&rest, ':'); /* behind it may be a remark */
    if (has_controls(name)) {
        bad_line(r, "the user's name has control characters");
        return;
    }
    flaw = hash.n > CONF_USER_HASH_MAX ? "has a hash that is too long" : hash_flaw(hash);
    if (flaw) {
        bad_line(r, "'%.*s' %s", (int)(name.n < 60 ? name.n : 60), name.p, flaw);
        return;
    }
    before = (uintptr_t)smap_get(&r->lines, name);
    if (before) {
        bad_line(r, "'%.*s' stands in line %u already", (int)(name.n < 60 ? name.n : 60), name.p,
                 (unsigned)before);
        return;
    }
    (void)smap_put(&r->lines, name, (void *)(uintptr_t)r->line);
    *VEC_PUSH(&r->users) = (struct conf_user){ name, conf_dup(r->b, hash).p };
}

static int by_name(const void *a, const void *b)
{
    const struct conf_user *left = a, *right = b;

    return slice_cmp(left->name, right->name);
}

/* Never NULL: a file that was refused lets nobody in. */
static struct conf_users *read_users(struct conf_builder *b, const struct conf_file *file)
{
    struct conf_users *users = conf_alloc(b, sizeof *users);
    struct reading r = { .b = b, .file = file };
    struct slice rest = file->content;

    smap_init(&r.lines, false);
    while (rest.p) {
        struct slice text = slice_cut(&rest, '\n');

        r.line++;
        if (text.n > 0 && text.p[text.n - 1] == '\r')
            text.n--;
        text = slice_trim(text);
        if (text.n > 0 && *text.p != '#')
            read_line(&r, text);
    }
    if (file->content.p && r.users.n == 0 && r.errors == 0) {
        r.line = 1;
        bad_line(&r, "the file has no user in it");
    }
    if (r.users.n > 0) {
        qsort(r.users.v, r.users.n, sizeof *r.users.v, by_name);
        users->v = conf_alloc(b, r.users.n * sizeof *users->v);
        memcpy(users->v, r.users.v, r.users.n * sizeof *users->v);
        users->n = r.users.n;
    }
    VEC_FREE(&r.users);
    smap_fini(&r.lines);
    return users;
}

/* ---- settling ---- */

void conf_settle_auth(struct conf_builder *b)
{
    const uint64_t realm = conf_bit(CONF_KIND_route, offsetof(struct conf_route, auth_realm));
    struct smap files;

    smap_init(&files, false);
    for (size_t i = 0; i < b->sections.n; i++) {
        const struct conf_section *s = &b->sections.v[i];
        struct conf_route *r = s->is_defaults ? &b->conf->route_defaults : s->target;
        struct slice path;

        if (s->kind != CONF_KIND_route)
            continue;
        path = slice_str(r->auth_basic.path);
        if (path.n == 0) {
            if (!s->is_defaults && (s->set & realm) && r->auth_realm.n > 0)
                conf_section_warning(b, s, "auth_realm", "means nothing without auth_basic");
            else if (!s->is_defaults)
                r->auth_realm = SLICE(""); /* the defaults' */
            continue;
        }
        if (r->jwt_key.n > 0)
            conf_section_error(b, s, "auth_basic", "and jwt_key both want the request's "
                               "Authorization: one of them has to go");
        r->users = smap_get(&files, path);
        if (!r->users) {
            r->users = read_users(b, &r->auth_basic);
            (void)smap_put(&files, path, (void *)(uintptr_t)r->users);
        }
        r->challenge = challenge_of(b, r);
    }
    smap_fini(&files);
}
