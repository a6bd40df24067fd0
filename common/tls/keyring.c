/* Keyrings: how private keys get from the process that read them to the one that uses them.
 *
 *   +--------+------+-----+------+----------+-----+
 *   | header | id 0 | ... | id n | DER of 0 | ... |     ids ascend, each with kind and size
 *   +--------+------+-----+------+----------+-----+
 *
 * Byte order and layout are this machine's: a keyring never leaves it. */
#include "common/tls/keyring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include "common/base/fd.h"
#include "common/base/mem.h"

#define KEYRING_MAGIC 0x31676e697279656bull /* "keyring1" */
#define KEYRING_SIZE_MAX ((size_t)1 << 30)

struct keyring_header {
    uint64_t magic;
    uint64_t n;
};

struct keyring_record {
    unsigned char id[TLS_KEY_ID_SIZE];
    uint32_t kind; /* index in kinds */
    uint32_t size;
};

/* How a key of each kind is written by i2d_PrivateKey. */
static const struct kind {
    const char *name, *structure;
} kinds[] = {
    { "RSA", "type-specific" },
    { "EC", "type-specific" },
    { "ED25519", "PrivateKeyInfo" },
};
#define NKINDS (sizeof kinds / sizeof *kinds)

/* ---- PEM ---- */

struct password_asked {
    bool is_asked;
};

static int on_password(char *buf, int size, int is_writing, void *arg)
{
    struct password_asked *asked = arg;

    (void)buf;
    (void)size;
    (void)is_writing;
    asked->is_asked = true;
    return -1;
}

static bool contains(struct slice text, const char *word)
{
    return memmem(text.p, text.n, word, strlen(word)) != NULL;
}

static const char *no_key(struct slice pem, bool is_encrypted)
{
    if (is_encrypted)
        return "it is encrypted, and nobody is there to give the password (openssl pkey -in IN "
               "-out OUT writes it without)";
    if (pem.n == 0)
        return "it is empty";
    if (contains(pem, "PRIVATE KEY-----"))
        return "the private key in it is malformed";
    if (contains(pem, "-----BEGIN CERTIFICATE-----"))
        return "no private key in it, but a certificate";
    if (contains(pem, "-----BEGIN PUBLIC KEY-----"))
        return "no private key in it, but a public one";
    if (pem.p[0] == 0x30)
        return "no PEM: it looks like DER (openssl pkey -inform DER makes PEM of it)";
    return "no private key in it (PEM)";
}

EVP_PKEY *tls_key_parse(struct slice pem, char *why, size_t why_size)
{
    struct password_asked asked = { false };
    BIO *bio = BIO_new_mem_buf(pem.n > 0 ? pem.p : "", (int)pem.n);
    EVP_PKEY *key;

    if (!bio)
        abort();
    key = PEM_read_bio_PrivateKey(bio, NULL, on_password, &asked);
    BIO_free(bio);
    ERR_clear_error();
    if (!key)
        snprintf(why, why_size, "%s", no_key(pem, asked.is_asked));
    return key;
}

/* ---- writing ---- */

static int by_id(const void *a, const void *b)
{
    const struct keyring_key *x = a, *y = b;

    return memcmp(x->id, y->id, sizeof x->id);
}

/* Sorted, each id once; the keys stay the caller's. Returns how many. */
static size_t sorted_copy(const struct keyring_key *keys, size_t n, struct keyring_key *out)
{
    size_t kept = 0;

    if (n == 0)
        return 0;
    memcpy(out, keys, n * sizeof *out);
    qsort(out, n, sizeof *out, by_id);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || by_id(&out[kept - 1], &out[i]) != 0)
            out[kept++] = out[i];
    return kept;
}

/* NKINDS: none. */
static uint32_t kind_of(const EVP_PKEY *key)
{
    uint32_t i = 0;

    while (i < NKINDS && !EVP_PKEY_is_a(key, kinds[i].name))
        i++;
    return i;
}

/* The records, then the keys themselves, each wiped as soon as it is written. */
static int write_keys(int fd, const struct keyring_key *keys, size_t n)
{
    struct keyring_header h = { KEYRING_MAGIC, n };
    int rc = fd_write_all(fd, &h, sizeof h);

    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct keyring_record r = { .kind = kind_of(keys[i].key) };
        int size = i2d_PrivateKey(keys[i].key, NULL);

        memcpy(r.id, keys[i].id, sizeof r.id);
        r.size = size > 0 ? (uint32_t)size : 0;
        rc = fd_write_all(fd, &r, sizeof r);
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        unsigned char *der = NULL;
        int size = i2d_PrivateKey(keys[i].key, &der);

        if (size <= 0) {
            errno = EINVAL;
            return -1;
        }
        rc = fd_write_all(fd, der, (size_t)size);
        OPENSSL_clear_free(der, (size_t)size);
    }
    return rc;
}

int keyring_write(const struct keyring_key *keys, size_t n)
{
    struct keyring_key *sorted = xcalloc(n + 1, sizeof *sorted);
    int fd = memfd_create("rpd-keyring", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 && (fchmod(fd, S_IRUSR | S_IWUSR) != 0 ||
                    write_keys(fd, sorted, sorted_copy(keys, n, sorted)) != 0 ||
                    fd_seal(fd) != 0))
        fd_close(&fd);
    free(sorted);
    return fd;
}

/* ---- reading ---- */

/* Making a decoder takes longer than all else: one of a kind does for all its keys. */
struct decoders {
    OSSL_DECODER_CTX *v[NKINDS];
    EVP_PKEY *key; /* where they put what they find */
};

struct reader {
    const unsigned char *at, *end;
};

static bool take(struct reader *r, void *to, size_t n)
{
    if ((size_t)(r->end - r->at) < n)
        return false;
    memcpy(to, r->at, n);
    r->at += n;
    return true;
}

static OSSL_DECODER_CTX *decoder_of(struct decoders *d, uint32_t kind)
{
    if (!d->v[kind])
        d->v[kind] = OSSL_DECODER_CTX_new_for_pkey(&d->key, "DER", kinds[kind].structure,
                                                   kinds[kind].name, EVP_PKEY_KEYPAIR, NULL, NULL);
    return d->v[kind];
}

static EVP_PKEY *take_key(struct reader *r, const struct keyring_record *record,
                          struct decoders *decoders)
{
    size_t left = record->size;
    bool is_good;

    if (record->kind >= NKINDS || left == 0 || (size_t)(r->end - r->at) < left ||
        !decoder_of(decoders, record->kind))
        return NULL;
    decoders->key = NULL;
    is_good = OSSL_DECODER_from_data(decoders->v[record->kind], &r->at, &left) == 1 && left == 0;
    ERR_clear_error();
    if (is_good)
        return decoders->key;
    EVP_PKEY_free(decoders->key);
    return NULL;
}

static bool take_keys(struct reader *records, struct reader *keys, size_t n,
                      struct keyring *ring, struct decoders *decoders)
{
    for (; ring->n < n; ring->n++) {
        struct keyring_key *k = &ring->v[ring->n];
        struct keyring_record r;

        if (!take(records, &r, sizeof r) || !(k->key = take_key(keys, &r, decoders)))
            return false;
        memcpy(k->id, r.id, sizeof k->id);
        if (ring->n > 0 && by_id(k - 1, k) >= 0) {
            ring->n++;
            return false;
        }
    }
    return keys->at == keys->end;
}

static bool parse(const unsigned char *bytes, size_t size, struct keyring *ring)
{
    struct reader records = { bytes, bytes + size }, keys = records;
    struct decoders decoders = { .key = NULL };
    struct keyring_header h;
    bool is_good;

    if (!take(&records, &h, sizeof h) || h.magic != KEYRING_MAGIC ||
        h.n > (size - sizeof h) / sizeof(struct keyring_record))
        return false;
    keys.at = records.at + h.n * sizeof(struct keyring_record);
    ring->v = xcalloc(h.n + 1, sizeof *ring->v);
    is_good = take_keys(&records, &keys, h.n, ring, &decoders);
    for (size_t i = 0; i < NKINDS; i++)
        OSSL_DECODER_CTX_free(decoders.v[i]);
    return is_good;
}

int keyring_open(int fd, struct keyring *ring)
{
    off_t length = fd_sealed_size(fd);
    bool is_good;
    size_t size;
    void *map;

    *ring = (struct keyring){ NULL, 0 };
    if (length <= 0 || (uint64_t)length > KEYRING_SIZE_MAX) {
        errno = EINVAL;
        return -1;
    }
    size = (size_t)length;
    map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -1;
    (void)mlock(map, size);
    (void)madvise(map, size, MADV_DONTDUMP);
    is_good = parse(map, size, ring);
    munmap(map, size);
    if (is_good)
        return 0;
    keyring_fini(ring);
    errno = EINVAL;
    return -1;
}

void keyring_fini(struct keyring *ring)
{
    for (size_t i = 0; i < ring->n; i++)
        EVP_PKEY_free(ring->v[i].key);
    free(ring->v);
    *ring = (struct keyring){ NULL, 0 };
}

EVP_PKEY *keyring_find(const struct keyring *ring, const unsigned char id[TLS_KEY_ID_SIZE])
{
    struct keyring_key wanted = { .key = NULL };
    const struct keyring_key *found;

    memcpy(wanted.id, id, sizeof wanted.id);
    found = ring->n == 0 ? NULL : bsearch(&wanted, ring->v, ring->n, sizeof *ring->v, by_id);
    return found ? found->key : NULL;
}
