/* Answers as bytes: the text of a sealed memfd.
 *
 *   = api.internal:8080
 *   10.0.0.5:8080 0 primary -
 *   = srv:_http._tcp.example.com
 *   10.0.0.7:80 10 backup two.example.com
 *
 * of an address, its weight, whether it is a backup, and the target of its SRV record. It comes
 * from a process that talks to strangers: nothing is believed. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/core/names.h"

#define SIZE_MAX_OF_ALL (256u << 20)
#define NAME_MAX_OF_ALL 300

/* ---- writing ---- */

static void put(struct strbuf *out, struct slice name, const struct conf_addresses *addresses)
{
    char text[ADDR_TEXT_MAX];

    strbuf_printf(out, "= %.*s\n", SLICE_ARG(name));
    for (size_t i = 0; i < addresses->n; i++) {
        const struct conf_address *a = &addresses->v[i];

        strbuf_printf(out, "%s %" PRIu32 " %s %s\n", addr_format(&a->addr, text), a->weight,
                      a->is_backup ? "backup" : "primary", *a->host ? a->host : "-");
    }
}

static int seal(const struct strbuf *text)
{
    int fd = memfd_create("rpd-names", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && (fd_write_all(fd, text->s, text->n) != 0 || fd_seal(fd) != 0))
        fd_close(&fd);
    return fd;
}

int names_seal_one(struct slice name, const struct conf_addresses *addresses)
{
    struct strbuf text;
    int fd;

    strbuf_init(&text);
    put(&text, name, addresses);
    fd = seal(&text);
    strbuf_fini(&text);
    return fd;
}

int names_seal(const struct names *n, uint64_t serial)
{
    struct list *it = n->order.prev;
    struct strbuf text;
    int fd;

    while (it != &n->order && CONTAINER(it, struct name_answer, link)->serial >= serial)
        it = it->prev;
    strbuf_init(&text);
    for (it = it->next; it != &n->order; it = it->next) {
        const struct name_answer *a = CONTAINER(it, struct name_answer, link);

        put(&text, slice_str(a->name), &a->addresses);
    }
    fd = seal(&text);
    strbuf_fini(&text);
    return fd;
}

/* ---- reading ---- */

static bool take_host(struct slice text, struct strbuf *hosts)
{
    struct slice name;
    struct addr addr;
    struct strbuf whole;
    bool is_good;

    if (slice_eq(text, SLICE("-")))
        text.n = 0;
    strbuf_init(&whole);
    strbuf_printf(&whole, "%.*s:1", SLICE_ARG(text));
    is_good = text.n == 0 || addr_parse(strbuf_slice(&whole), &addr, &name) == ADDR_NAME;
    strbuf_fini(&whole);
    strbuf_add(hosts, text);
    strbuf_addc(hosts, '\0');
    return is_good;
}

/* The host is left for later: `hosts` may move. */
static bool take_address(struct slice line, struct conf_address *a, struct strbuf *hosts)
{
    struct slice where = slice_cut(&line, ' '), weight = slice_cut(&line, ' ');
    struct slice rank = slice_cut(&line, ' '), name;
    uint64_t number;

    if (addr_parse(where, &a->addr, &name) != ADDR_OK || a->addr.sa.sa_family == AF_UNIX)
        return false;
    if (!slice_u64(weight, &number) || number > UINT16_MAX)
        return false;
    a->weight = (uint32_t)number;
    a->is_backup = slice_eq(rank, SLICE("backup"));
    return (a->is_backup || slice_eq(rank, SLICE("primary"))) && take_host(line, hosts);
}

struct group {
    struct slice name;
    VEC(struct conf_address) v;
    struct strbuf hosts; /* each ends in NUL */
};

/* What was gathered of a name becomes its answer. */
static bool end_group(struct group *g, struct names *n)
{
    const char *host = g->hosts.s;
    bool is_good = g->name.n == 0 || (g->v.n > 0 && g->v.n <= CONF_ADDRESSES_MAX);

    for (size_t i = 0; is_good && i < g->v.n; i++) {
        g->v.v[i].host = host;
        host += strlen(host) + 1;
    }
    if (is_good && g->name.n > 0)
        (void)names_set(n, g->name, &(struct conf_addresses){ g->v.v, g->v.n });
    g->v.n = 0;
    strbuf_clear(&g->hosts);
    return is_good;
}

static bool take_line(struct group *g, struct slice line, struct names *n)
{
    if (!slice_starts(line, SLICE("= ")))
        return g->name.n > 0 && take_address(line, VEC_PUSH(&g->v), &g->hosts);
    if (!end_group(g, n))
        return false;
    g->name = slice_of(line.p + 2, line.n - 2);
    return g->name.n > 0 && g->name.n <= NAME_MAX_OF_ALL;
}

static bool decode(struct slice text, struct names *n)
{
    struct group g = { .name = SLICE_NONE };
    bool is_good = slice_find(text, '\0') == text.n;

    strbuf_init(&g.hosts);
    while (is_good && text.n > 0)
        is_good = take_line(&g, slice_cut(&text, '\n'), n);
    is_good = is_good && end_group(&g, n);
    VEC_FREE(&g.v);
    strbuf_fini(&g.hosts);
    return is_good;
}

int names_open(int fd, struct names *n)
{
    off_t size = fd_sealed_size(fd);
    bool is_good;
    void *map;

    if (size < 0 || size > SIZE_MAX_OF_ALL) {
        errno = EINVAL;
        return -1;
    }
    if (size == 0)
        return 0;
    map = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return -1;
    is_good = decode(slice_of(map, (size_t)size), n);
    (void)munmap(map, (size_t)size);
    if (!is_good)
        errno = EINVAL;
    return is_good ? 0 : -1;
}
