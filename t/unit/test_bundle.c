/* Bundles: what was sealed comes out again, and nothing else does. */
#include "common/core/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "common/base/hash.h"
#include "t/unit/conf_fixture.h"

static const char *const ini = "[global]\nworkers = 2\n[listener web]\nbind = 127.0.0.1:80\n"
                               "   [::1]:80\n[route a]\nbackend = b\n"
                               "[backend b]\nserver = one.test:1, two.test:2, three.test:3\n"
                               "[certificate c]\ncert = c.pem\nkey = c.key\n";

static void add_resolved(struct conf_text *text, const char *name, const char *addr)
{
    struct conf_resolved *r = VEC_PUSH(&text->resolved);
    struct slice none;

    r->name = name;
    r->found.host = addr ? "target.test" : "";
    r->found.weight = addr ? 7 : 0;
    r->found.is_backup = addr != NULL;
    if (addr)
        ck_assert_int_eq(addr_parse(slice_str(addr), &r->found.addr, &none), ADDR_OK);
}

static void add_file(struct conf_text *text, const char *path, struct slice content)
{
    *VEC_PUSH(&text->files) = (struct conf_file_read){ path, content };
}

static void begin(struct conf_fixture *x)
{
    fixture_begin(x);
    fixture_good(x, ini);
    add_resolved(&x->text, "one.test:1", "192.0.2.1:1");
    add_resolved(&x->text, "two.test:2", "[2001:db8::1]:2");
    add_resolved(&x->text, "three.test:3", NULL);
    add_file(&x->text, "", SLICE("system"));
    add_file(&x->text, "c.pem", SLICE("any\0bytes\n"));
    add_file(&x->text, "empty.pem", SLICE(""));
}

static void expect_same(const struct conf_text *a, const struct conf_text *b)
{
    ck_assert_uint_eq(a->entries.n, b->entries.n);
    for (size_t i = 0; i < a->entries.n; i++) {
        const struct conf_entry *x = &a->entries.v[i], *y = &b->entries.v[i];

        ck_assert_str_eq(x->kind, y->kind);
        ck_assert_str_eq(x->name, y->name);
        ck_assert_str_eq(x->key, y->key);
        ck_assert_str_eq(x->value, y->value);
        ck_assert_str_eq(x->file, y->file);
        ck_assert_str_eq(x->chain, y->chain);
        ck_assert_uint_eq(x->line, y->line);
        ck_assert_uint_eq(x->is_section, y->is_section);
        ck_assert_uint_eq(x->is_defaults, y->is_defaults);
        ck_assert_uint_eq(x->is_continued, y->is_continued);
        ck_assert_uint_eq(x->is_bad, y->is_bad);
    }
    ck_assert_uint_eq(a->resolved.n, b->resolved.n);
    for (size_t i = 0; i < a->resolved.n; i++) {
        ck_assert_str_eq(a->resolved.v[i].name, b->resolved.v[i].name);
        const struct conf_address *x = &a->resolved.v[i].found, *y = &b->resolved.v[i].found;

        ck_assert_str_eq(x->host, y->host);
        ck_assert_uint_eq(x->weight, y->weight);
        ck_assert_uint_eq(x->is_backup, y->is_backup);
        ck_assert_uint_eq(x->addr.len, y->addr.len);
        ck_assert(x->addr.len == 0 || addr_eq(&x->addr, &y->addr));
    }
    ck_assert_uint_eq(a->files.n, b->files.n);
    for (size_t i = 0; i < a->files.n; i++) {
        ck_assert_str_eq(a->files.v[i].path, b->files.v[i].path);
        ck_assert(slice_eq(a->files.v[i].content, b->files.v[i].content));
        ck_assert_ptr_nonnull(b->files.v[i].content.p);
    }
}

START_TEST(test_sealed_and_opened)
{
    struct conf_fixture x;
    struct conf_text text;
    uint64_t generation = 0;
    struct conf *conf;

    begin(&x);
    int fd = bundle_seal(&x.text, 7);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(bundle_open(fd, &text, &generation), 0);
    close(fd);
    ck_assert_uint_eq(generation, 7);
    expect_same(&x.text, &text);

    conf = conf_build(&text, &x.report);
    ck_assert_ptr_nonnull(conf);
    conf_text_fini(&text); /* a conf stands on its own */
    ck_assert_uint_eq(conf->backends[0].server.v[0].addr.sa.sa_family, AF_INET);
    ck_assert_uint_eq(conf->backends[0].server.v[1].addr.sa.sa_family, AF_INET6);
    ck_assert_uint_eq(conf->backends[0].server.v[2].addr.len, 0);
    ck_assert_str_eq(conf->backends[0].server.v[1].text, "two.test:2");
    ck_assert_str_eq(conf->routes[0].backend->name, "b");
    ck_assert_str_eq(conf->backends[0].origin.file, "f.ini");
    ck_assert(slice_eq(conf->certificates[0].cert.content, SLICE("any\0bytes\n")));
    ck_assert_ptr_null(conf->certificates[0].key.content.p);
    ck_assert(slice_eq(conf->system_ca, SLICE("system")));
    conf_free(&conf);
    fixture_end(&x);
}
END_TEST

START_TEST(test_nobody_changes_it)
{
    struct conf_fixture x;

    begin(&x);
    int fd = bundle_seal(&x.text, 1);
    ck_assert_int_eq(pwrite(fd, "x", 1, 0), -1);
    ck_assert_int_eq(errno, EPERM);
    ck_assert_int_eq(ftruncate(fd, 0), -1);
    ck_assert_int_eq(ftruncate(fd, 1 << 20), -1);
    ck_assert_ptr_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    close(fd);
    fixture_end(&x);
}
END_TEST

START_TEST(test_unsealed_is_refused)
{
    struct conf_fixture x;
    struct conf_text text;
    struct strbuf bytes;
    uint64_t generation;

    begin(&x);
    strbuf_init(&bytes);
    bundle_encode(&x.text, 1, &bytes);
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_eq(write(fd, bytes.s, bytes.n), (ssize_t)bytes.n);
    errno = 0;
    ck_assert_int_eq(bundle_open(fd, &text, &generation), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_int_eq(bundle_open(-1, &text, &generation), -1);
    conf_text_fini(&text); /* nothing to free, and no harm */
    close(fd);
    strbuf_fini(&bytes);
    fixture_end(&x);
}
END_TEST

/* Any byte that is another makes it malformed: the checksum sees it. */
START_TEST(test_flipped_bytes_are_refused)
{
    struct conf_fixture x;
    struct strbuf bytes;

    begin(&x);
    strbuf_init(&bytes);
    bundle_encode(&x.text, 1, &bytes);
    for (size_t i = 0; i < bytes.n; i++) {
        struct conf_text text;
        uint64_t generation;

        bytes.s[i] ^= 0x41;
        ck_assert_msg(bundle_decode(strbuf_slice(&bytes), &text, &generation) == -1, "byte %zu",
                      i);
        bytes.s[i] ^= 0x41;
    }
    strbuf_fini(&bytes);
    fixture_end(&x);
}
END_TEST

/* Where the checksum lies: magic, then it, then all that it covers. */
static void mend_checksum(char *bytes, size_t n)
{
    uint64_t sum;

    if (n < 16)
        return;
    sum = hash_stable(bytes + 16, n - 16);
    memcpy(bytes + 8, &sum, sizeof sum);
}

/* Even with a checksum that fits no flip and no cut leads outside the bytes (the sanitizer would
 * say so), and what is accepted can be built or refused. */
START_TEST(test_corruption_is_survived)
{
    struct conf_fixture x;
    struct strbuf whole;

    begin(&x);
    strbuf_init(&whole);
    bundle_encode(&x.text, 1, &whole);
    for (size_t i = 0; i < whole.n; i++) {
        for (unsigned how = 0; how < 4; how++) {
            static const unsigned char flips[] = { 0x01, 0x80, 0xff };
            size_t n = how == 3 ? i : whole.n; /* cut short there */
            char *bytes = malloc(n + 1);
            struct conf_text text;
            uint64_t generation;
            struct report report;

            memcpy(bytes, whole.s, n);
            if (how < 3)
                bytes[i] = (char)((unsigned char)bytes[i] ^ flips[how]);
            mend_checksum(bytes, n);
            if (bundle_decode(slice_of(bytes, n), &text, &generation) == 0) {
                ck_assert_uint_eq(n, whole.n);
                report_init(&report);
                struct conf *conf = conf_build(&text, &report);
                conf_free(&conf);
                report_fini(&report);
                conf_text_fini(&text);
            }
            free(bytes);
        }
    }
    strbuf_fini(&whole);
    fixture_end(&x);
}
END_TEST

START_TEST(test_empty_text)
{
    struct conf_text empty = { 0 }, text;
    struct strbuf bytes;
    uint64_t generation = 0;

    strbuf_init(&bytes);
    bundle_encode(&empty, UINT64_MAX, &bytes);
    ck_assert_int_eq(bundle_decode(strbuf_slice(&bytes), &text, &generation), 0);
    ck_assert_uint_eq(generation, UINT64_MAX);
    ck_assert_uint_eq(text.entries.n, 0);
    conf_text_fini(&text);
    ck_assert_int_eq(bundle_decode(slice_of(bytes.s, 0), &text, &generation), -1);
    strbuf_fini(&bytes);
}
END_TEST

UNIT_MAIN("bundle", test_sealed_and_opened, test_nobody_changes_it, test_unsealed_is_refused,
          test_flipped_bytes_are_refused, test_corruption_is_survived, test_empty_text)
