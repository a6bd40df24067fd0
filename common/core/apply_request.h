/* What `rpctl apply` asks for, in words: rpctl checks them with the same code that the master reads
 * them with. */
#ifndef RPD_CORE_APPLY_REQUEST_H
#define RPD_CORE_APPLY_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/slice.h"
#include "common/base/strbuf.h"

#define APPLY_MILLION 1000000u
/* More than the grammar has: the words that are too many are among them. */
#define APPLY_WORDS_MAX 16

struct apply_request {
    struct slice file;
    uint64_t confirm_ms;      /* 0: for good */
    uint64_t first_worker_ms; /* 0: all workers at once */
    bool has_bound;
    uint32_t bound;           /* on failed requests, in millionths of all */
};

/* `FILE [--confirm TIME] [--first-worker TIME] [--abort-if 'errors>1%']`, options anywhere. The
 * request leads into the words. false with a sentence appended to *error. */
bool apply_request_parse(struct apply_request *r, const struct slice *words, size_t n,
                         struct strbuf *error);

/* `errors>PERCENT`, blanks allowed. false with a sentence that says what was probably meant. */
bool apply_bound_parse(struct slice text, uint32_t *bound, struct strbuf *error);
/* As it would be written. */
void apply_bound_print(uint32_t bound, struct strbuf *out);

#endif
