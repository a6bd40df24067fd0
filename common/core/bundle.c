/* Bundles: how the master hands one configuration to every worker. The master seals, workers
 * open; nothing here interprets a setting.
 *
 *   +--------+---------+-----+----------+-----+------+-----+---------------------------+
 *   | header | entry 0 | ... | resolved | ... | file | ... | strings, each ends in NUL |
 *   +--------+---------+-----+----------+-----+------+-----+---------------------------+
 *
 * Records hold offsets into the strings; equal neighbours (file, kind, name of a section) share
 * one. What is in a file is a string of any bytes. Byte order and layout are this machine's: a
 * bundle never leaves it. */
#include "common/core/bundle.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/hash.h"

#define BUNDLE_MAGIC 0x33656c646e756272ull /* "rbundle3" */

struct bundle_header {
    uint64_t magic;
    uint64_t checksum; /* of all that follows this field */
    uint64_t generation;
    uint32_t entries, resolved, files, strings; /* counts of records, bytes of strings */
    uint32_t entry_size;                        /* another layout is another version */
    uint32_t unused;
};

enum entry_flag { ENTRY_DEFAULTS = 1, ENTRY_SECTION = 2, ENTRY_CONTINUED = 4, ENTRY_BAD = 8 };

struct bundle_entry {
    uint32_t kind, name, key, value, file, chain;
    uint32_t line;
    uint32_t flags;
};

struct bundle_resolved {
    uint32_t name, host;
    uint32_t weight, is_backup;
    uint32_t len;
    unsigned char addr[sizeof(struct sockaddr_in6)];
};

struct bundle_file {
    uint32_t path, content;
    uint32_t size; /* of the content, which a NUL follows */
};

#define CHECKED_FROM (offsetof(struct bundle_header, checksum) + sizeof(uint64_t))

/* ---- writing ---- */

/* Texts that come again and again from one entry to the next. */
struct writer {
    struct strbuf records, strings;
    struct {
        const char *text;
        uint32_t at;
    } last[6];
};

static uint32_t put_bytes(struct writer *w, struct slice bytes)
{
    uint32_t at = (uint32_t)w->strings.n;

    strbuf_add(&w->strings, bytes);
    strbuf_addc(&w->strings, '\0');
    return at;
}

static uint32_t put_string(struct writer *w, const char *text)
{
    return put_bytes(w, slice_str(text));
}

/* `memo`: which of the remembered texts it may repeat. */
static uint32_t put_again(struct writer *w, unsigned memo, const char *text)
{
    if (!w->last[memo].text || strcmp(w->last[memo].text, text) != 0) {
        w->last[memo].text = text;
        w->last[memo].at = put_string(w, text);
    }
    return w->last[memo].at;
}

static void put_entry(struct writer *w, const struct conf_entry *e)
{
    struct bundle_entry r = {
        .kind = put_again(w, 0, e->kind),
        .name = put_again(w, 1, e->name),
        .key = put_string(w, e->key),
        .value = put_string(w, e->value),
        .file = put_again(w, 2, e->file),
        .chain = put_again(w, 3, e->chain),
        .line = e->line,
        .flags = (e->is_defaults ? ENTRY_DEFAULTS : 0u) | (e->is_section ? ENTRY_SECTION : 0u) |
                 (e->is_continued ? ENTRY_CONTINUED : 0u) | (e->is_bad ? ENTRY_BAD : 0u),
    };

    strbuf_add(&w->records, slice_of((const char *)&r, sizeof r));
}

static void put_resolved(struct writer *w, const struct conf_resolved *e)
{
    const struct conf_address *a = &e->found;
    struct bundle_resolved r = { .name = put_again(w, 4, e->name),
                                 .host = put_again(w, 5, a->host),
                                 .weight = a->weight, .is_backup = a->is_backup };

    if (a->addr.len <= sizeof r.addr) {
        r.len = a->addr.len;
        memcpy(r.addr, &a->addr.sa, a->addr.len);
    }
    strbuf_add(&w->records, slice_of((const char *)&r, sizeof r));
}

static void put_file(struct writer *w, const struct conf_file_read *e)
{
    struct bundle_file r = {
        .path = put_string(w, e->path),
        .content = put_bytes(w, e->content),
        .size = (uint32_t)e->content.n,
    };

    strbuf_add(&w->records, slice_of((const char *)&r, sizeof r));
}

int bundle_encode(const struct conf_text *text, uint64_t generation, struct strbuf *out)
{
    struct writer w = { .records = { 0 } };
    struct bundle_header h = {
        .magic = BUNDLE_MAGIC,
        .generation = generation,
        .entries = (uint32_t)text->entries.n,
        .resolved = (uint32_t)text->resolved.n,
        .files = (uint32_t)text->files.n,
        .entry_size = sizeof(struct bundle_entry),
    };
    size_t at = out->n;
    bool is_good;

    strbuf_init(&w.records);
    strbuf_init(&w.strings);
    for (size_t i = 0; i < text->entries.n; i++)
        put_entry(&w, &text->entries.v[i]);
    for (size_t i = 0; i < text->resolved.n; i++)
        put_resolved(&w, &text->resolved.v[i]);
    for (size_t i = 0; i < text->files.n; i++)
        put_file(&w, &text->files.v[i]);
    h.strings = (uint32_t)w.strings.n;
    is_good = w.strings.n <= UINT32_MAX;

    strbuf_add(out, slice_of((const char *)&h, sizeof h));
    strbuf_add(out, strbuf_slice(&w.records));
    strbuf_add(out, strbuf_slice(&w.strings));
    h.checksum = hash_stable(out->s + at + CHECKED_FROM, out->n - at - CHECKED_FROM);
    memcpy(out->s + at, &h, sizeof h);
    strbuf_fini(&w.records);
    strbuf_fini(&w.strings);
    if (is_good)
        return 0;
    errno = EFBIG;
    return -1;
}

int bundle_seal(const struct conf_text *text, uint64_t generation)
{
    struct strbuf bytes;
    int fd = memfd_create("rpd-bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -1;
    strbuf_init(&bytes);
    if (bundle_encode(text, generation, &bytes) != 0 ||
        fd_write_all(fd, bytes.s, bytes.n) != 0 ||
        fd_seal(fd) != 0)
        fd_close(&fd);
    strbuf_fini(&bytes);
    return fd;
}

/* ---- reading ---- */

struct reader {
    const char *records;
    const char *strings; /* a copy that the text owns; its last byte is NUL */
    uint32_t strings_size;
    bool is_bad;
};

static const char *get_string(struct reader *r, uint32_t at)
{
    if (at >= r->strings_size) {
        r->is_bad = true;
        return "";
    }
    return r->strings + at;
}

static void get_entry(struct reader *r, struct conf_entry *e)
{
    struct bundle_entry b;

    memcpy(&b, r->records, sizeof b);
    r->records += sizeof b;
    *e = (struct conf_entry){
        .kind = get_string(r, b.kind),
        .name = get_string(r, b.name),
        .key = get_string(r, b.key),
        .value = get_string(r, b.value),
        .file = get_string(r, b.file),
        .chain = get_string(r, b.chain),
        .line = b.line,
        .is_defaults = (b.flags & ENTRY_DEFAULTS) != 0,
        .is_section = (b.flags & ENTRY_SECTION) != 0,
        .is_continued = (b.flags & ENTRY_CONTINUED) != 0,
        .is_bad = (b.flags & ENTRY_BAD) != 0,
    };
}

static void get_resolved(struct reader *r, struct conf_resolved *e)
{
    struct addr *addr = &e->found.addr;
    struct bundle_resolved b;

    memcpy(&b, r->records, sizeof b);
    r->records += sizeof b;
    e->name = get_string(r, b.name);
    e->found.host = get_string(r, b.host);
    e->found.weight = b.weight;
    e->found.is_backup = b.is_backup != 0;
    if (b.len > sizeof b.addr || b.weight > UINT16_MAX) {
        r->is_bad = true;
        return;
    }
    memcpy(&addr->sa, b.addr, b.len);
    addr->len = b.len;

    bool is_in4 = b.len == sizeof(struct sockaddr_in) && addr->sa.sa_family == AF_INET;
    bool is_in6 = b.len == sizeof(struct sockaddr_in6) && addr->sa.sa_family == AF_INET6;
    if (b.len != 0 && !is_in4 && !is_in6)
        r->is_bad = true;
}

static void get_file(struct reader *r, struct conf_file_read *e)
{
    struct bundle_file b;

    memcpy(&b, r->records, sizeof b);
    r->records += sizeof b;
    *e = (struct conf_file_read){ .path = get_string(r, b.path) };
    if (b.content >= r->strings_size || b.size >= r->strings_size - b.content)
        r->is_bad = true;
    else
        e->content = slice_of(r->strings + b.content, b.size);
}

/* Are magic, lengths and checksum in order, so that reading stays within the bytes? */
static bool header_is_good(struct slice bytes, struct bundle_header *h)
{
    if (bytes.n < sizeof *h)
        return false;
    memcpy(h, bytes.p, sizeof *h);
    if (h->magic != BUNDLE_MAGIC || h->entry_size != sizeof(struct bundle_entry))
        return false;

    uint64_t size = sizeof *h + (uint64_t)h->entries * sizeof(struct bundle_entry) +
                    (uint64_t)h->resolved * sizeof(struct bundle_resolved) +
                    (uint64_t)h->files * sizeof(struct bundle_file) + h->strings;
    return size == bytes.n && (h->strings == 0 || bytes.p[bytes.n - 1] == '\0') &&
           h->checksum == hash_stable(bytes.p + CHECKED_FROM, bytes.n - CHECKED_FROM);
}

int bundle_decode(struct slice bytes, struct conf_text *text, uint64_t *generation)
{
    struct bundle_header h;

    memset(text, 0, sizeof *text);
    if (!header_is_good(bytes, &h))
        return -1;

    char *strings = xmalloc((size_t)h.strings + 1);
    struct reader r = { bytes.p + sizeof h, strings, h.strings, false };

    memcpy(strings, bytes.p + bytes.n - h.strings, h.strings);
    *VEC_PUSH(&text->memory) = strings;
    for (uint32_t i = 0; i < h.entries; i++)
        get_entry(&r, VEC_PUSH(&text->entries));
    for (uint32_t i = 0; i < h.resolved; i++)
        get_resolved(&r, VEC_PUSH(&text->resolved));
    for (uint32_t i = 0; i < h.files; i++)
        get_file(&r, VEC_PUSH(&text->files));
    *generation = h.generation;
    if (r.is_bad) {
        conf_text_fini(text);
        return -1;
    }
    return 0;
}

int bundle_open(int fd, struct conf_text *text, uint64_t *generation)
{
    off_t length = fd_sealed_size(fd);

    memset(text, 0, sizeof *text);
    if (length <= 0) {
        errno = EINVAL;
        return -1;
    }

    size_t size = (size_t)length;
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return -1;
    int rc = bundle_decode(slice_of(map, size), text, generation);
    munmap(map, size);
    if (rc != 0)
        errno = EINVAL;
    return rc;
}
