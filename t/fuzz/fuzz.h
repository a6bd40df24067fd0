/* What the libFuzzer targets share. `make FUZZ=1 fuzz-programs` builds them and `t/check fuzz
 * build/fuzz` runs them, each on what t/fuzz/seeds makes for it and with the words of its .dict. */
#ifndef RPD_FUZZ_H
#define RPD_FUZZ_H

#include <stdlib.h>
#include "worker/http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(fact)   \
    do {                   \
        if (!(fact))       \
            abort();       \
    } while (0)

/* The input in memory of its own size, that a sanitizer sees what is read behind it. */
static inline struct slice fuzz_exact(const uint8_t *data, size_t size)
{
    char *p = malloc(size ? size : 1);

    FUZZ_CHECK(p);
    memcpy(p, data, size);
    return slice_of(p, size);
}

static inline void fuzz_exact_free(struct slice s)
{
    free((void *)(uintptr_t)s.p);
}

/* A head that ends at `used` ends there however it is cut. */
static inline void fuzz_scan_split(struct slice bytes, size_t used)
{
    struct h1_scan scan = { 0 };
    size_t n, at = 0;

    for (size_t piece = 1; at < used; piece = piece % 7 + 1) {
        size_t end = at + piece < bytes.n ? at + piece : bytes.n;
        enum h1_scanned r = h1_scan(&scan, slice_of(bytes.p + at, end - at), &n);

        at += n;
        FUZZ_CHECK(r == (at == used ? H1_SCAN_DONE : H1_SCAN_MORE));
    }
}

#endif
