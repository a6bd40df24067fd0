/* Certificates: a chain as a file has it, what it says of itself, and what is wrong with it. The
 * bytes come from a struct conf; nothing here opens a file or sees a private key. */
#ifndef RPD_TLS_CHAIN_H
#define RPD_TLS_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <openssl/x509.h>
#include "common/base/slice.h"

#define TLS_KEY_ID_SIZE 32
#define TLS_WHY_MAX 200 /* room for a reason */
#define TLS_SUBJECT_MAX 256

struct tls_chain {
    X509 *leaf;
    STACK_OF(X509) *rest; /* what follows it in the file; may be empty */
    unsigned char key_id[TLS_KEY_ID_SIZE]; /* of the leaf */
};

/* A file's certificates (PEM), the first of them the leaf. -1 with a reason, and nothing to free:
 * there is none, or one is malformed. */
int tls_chain_parse(struct tls_chain *chain, struct slice pem, char *why, size_t why_size);
void tls_chain_fini(struct tls_chain *chain);
/* All certificates of a file of CAs, the caller's to free; NULL with a reason. */
STACK_OF(X509) *tls_certificates_parse(struct slice pem, char *why, size_t why_size);

/* Names a key in every process: SHA-256 of the certificate's SubjectPublicKeyInfo (DER). */
void tls_key_id(const X509 *leaf, unsigned char id[TLS_KEY_ID_SIZE]);

/* Microseconds since 1970; 0 for what is before, or makes no sense. */
uint64_t tls_not_before_us(const X509 *certificate);
uint64_t tls_not_after_us(const X509 *certificate);
/* `CN=www.example.com,O=Example` (RFC 2253, UTF-8), cut to fit. Returns out. */
const char *tls_subject(const X509 *certificate, char *out, size_t size);

/* Hosts a certificate is for, lower case: its dNSNames, or where it has none its common name
 * (RFC 6125 6.4.4). "*.example.com" is one label wide. */
struct tls_names {
    char **v;
    size_t n;
};
void tls_names_of(const X509 *leaf, struct tls_names *names);
void tls_names_fini(struct tls_names *names);
/* Does it name this host (lower case, no trailing dot), exactly or by a wildcard? */
bool tls_names_match(const struct tls_names *names, struct slice host);

/* Certificate i of the chain; 0 is the leaf. */
X509 *tls_chain_at(const struct tls_chain *chain, size_t i);
size_t tls_chain_count(const struct tls_chain *chain);
/* The first certificate that the one after it did not issue; the last when all is in order. */
size_t tls_chain_break(const struct tls_chain *chain);

/* What of it this TLS cannot use or clients do not take (kind or size of its key, how it was
 * signed); false, with a reason. */
bool tls_key_is_usable(const X509 *leaf, char *why, size_t why_size);
bool tls_signature_is_usable(X509 *certificate, char *why, size_t why_size);

#endif
