/* What `rpd -t`, start and reload find in the files of TLS, but for private keys. */
#ifndef RPD_TLS_CHECK_H
#define RPD_TLS_CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include "common/core/conf.h"
#include "common/core/report.h"

/* Days before its end from which on a certificate is warned of. */
#define TLS_DAYS_SOON 14

/* `[certificate NAME] key: 'PATH': what is wrong with the file`, at its place; what fmt says is the
 * last part. For the two below. */
void tls_complain(struct report *report, bool is_error, const struct conf_certificate *c,
                  const char *key, const struct conf_file *file, const char *fmt, va_list ap)
    __attribute__((format(printf, 6, 0)));

/* Certificates, OCSP responses and CA files of `conf`, which has them in it: all findings, each
 * with its place. `now_us`: the wall's clock. */
void tls_check(const struct conf *conf, uint64_t now_us, struct report *report);
/* Private keys: reads their files (blocks), compares them with the certificates; all findings go to
 * the report. A keyring's memfd; -1: there are errors, or no certificate. For a process that ends
 * right afterwards. */
int tls_check_keys(const struct conf *conf, struct report *report);
/* The file of the system's CA certificates; NULL: none is known. Not freed. */
const char *tls_system_ca(void);

#endif
