/* Growth of VEC arrays. Owns nothing; the array is its holder's. Never used for a connection's
 * memory, since growing aborts when memory ends. */
#include "common/base/vec.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

void *vec_grow(void *v, size_t n, size_t *cap, size_t size)
{
    char *grown = v;

    assert(n <= *cap);
    if (n == *cap) {
        size_t want = n ? n * 2 : 8;

        assert(want > n && want <= SIZE_MAX / size);
        grown = xrealloc(v, want * size);
        *cap = want;
    }
    memset(grown + n * size, 0, size);
    return grown;
}
