/* Session tickets as OpenSSL wants them encrypted: its callback, with the keys of
 * common/tls/tickets.h, followed as the master changes them, or those of a file. Called by OpenSSL
 * within handshakes. */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include "worker/io/tls_impl.h"

struct tls_tickets {
    uint32_t refs;
    struct tickets **shared;     /* the master's; NULL: a file's */
    struct ticket_keys keys;
    EVP_CIPHER *aes128, *aes256; /* fetched once: a fetch costs more than what it is for */
};

struct tls_tickets *tls_tickets_new(void)
{
    struct tls_tickets *k = calloc(1, sizeof *k);

    if (!k)
        return NULL;
    k->refs = 1;
    k->aes128 = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
    k->aes256 = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (!k->aes128 || !k->aes256)
        tls_tickets_unref(&k);
    return k;
}

int tls_tickets_set(struct tls_tickets *k, struct slice file)
{
    return ticket_keys_parse(&k->keys, file);
}

void tls_tickets_share(struct tls_tickets *k, struct tickets **shared)
{
    k->shared = shared;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *k)
{
    k->refs++;
    return k;
}

void tls_tickets_unref(struct tls_tickets **kp)
{
    struct tls_tickets *k = *kp;

    *kp = NULL;
    if (!k || --k->refs > 0)
        return;
    ticket_keys_wipe(&k->keys);
    EVP_CIPHER_free(k->aes128);
    EVP_CIPHER_free(k->aes256);
    free(k);
}

/* ---- OpenSSL's callback ---- */

static const struct ticket_key *find(const struct tls_tickets *k, const unsigned char *name)
{
    for (uint32_t i = 0; i < k->keys.n; i++)
        if (memcmp(k->keys.v[i].name, name, TICKET_NAME_SIZE) == 0)
            return &k->keys.v[i];
    return NULL;
}

static bool set_keys(const struct tls_tickets *k, struct ticket_key *key,
                     const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int is_encrypting)
{
    const EVP_CIPHER *aes = key->size == 16 ? k->aes128 : k->aes256;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, key->size),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, params)
           && EVP_CipherInit_ex2(cipher, aes, key->aes, iv, is_encrypting, NULL);
}

/* 0 encrypting: no ticket; decrypting: not one of ours. 2: ours, and the client gets a new one, for
 * it may use each only once (RFC 8446 C.4). */
static int on_ticket(SSL *ssl, unsigned char name[16], unsigned char iv[EVP_MAX_IV_LENGTH],
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int is_encrypting)
{
    struct tls_tickets *k = tls_site_of(ssl)->tickets;
    const struct ticket_key *found;
    struct ticket_key key;
    bool is_good;

    if (k->shared && *k->shared)
        (void)tickets_read(*k->shared, &k->keys);
    found = is_encrypting ? k->keys.n > 0 ? &k->keys.v[0] : NULL : find(k, name);
    if (!found)
        return 0;
    key = *found;
    if (is_encrypting) {
        memcpy(name, key.name, TICKET_NAME_SIZE);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(k->aes256)) != 1)
            return -1;
    }
    is_good = set_keys(k, &key, iv, cipher, mac, is_encrypting);
    OPENSSL_cleanse(&key, sizeof key);
    if (!is_good)
        return -1;
    return is_encrypting || (found == &k->keys.v[0] && SSL_version(ssl) < TLS1_3_VERSION) ? 1 : 2;
}

void tls_tickets_use(SSL_CTX *ctx)
{
    (void)SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
}
