/* A bundle: a conf_text sealed in a memfd, handed from the master to every worker by descriptor.
 * Nobody can change it after bundle_seal, so that every process builds the same generation. */
#ifndef RPD_CORE_BUNDLE_H
#define RPD_CORE_BUNDLE_H

#include <stdint.h>
#include "common/core/conf.h"

/* A sealed memfd (close-on-exec), the caller's; -1 with errno. */
int bundle_seal(const struct conf_text *text, uint64_t generation);
/* Reads a bundle; the fd stays the caller's and may be closed afterwards. 0, or -1 with errno
 * EINVAL when it is malformed or not sealed. *text need not be initialised; on failure there is
 * nothing to free. */
int bundle_open(int fd, struct conf_text *text, uint64_t *generation);

/* The bytes of a bundle, appended to *out, and back: any bytes are safe to decode. 0 or -1 (with
 * errno EFBIG when they are more than 4 GiB). */
int bundle_encode(const struct conf_text *text, uint64_t generation, struct strbuf *out);
int bundle_decode(struct slice bytes, struct conf_text *text, uint64_t *generation);

#endif
