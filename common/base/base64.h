/* Base64, read, strictly: no spaces, no other alphabet, padding as it has to be, and the bits that
 * stand for nothing are 0, so that no two texts mean the same bytes (RFC 4648 3.5). */
#ifndef RPD_BASE_BASE64_H
#define RPD_BASE_BASE64_H

#include <stdbool.h>
#include "common/base/slice.h"

enum base64_kind {
    BASE64_PADDED, /* the usual alphabet (RFC 4648 4) */
    BASE64_URL,    /* `-` and `_`, no padding: tokens (RFC 7515 2) */
};

/* Writes to `out`, which has room for 3 bytes for each 4 begun of `text`; *n: how many. */
bool base64_read(enum base64_kind kind, struct slice text, unsigned char *out, size_t *n)
    __attribute__((warn_unused_result));

#endif
