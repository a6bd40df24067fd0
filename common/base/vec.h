/* Growing array of T: struct { T *v; size_t n, cap; }. Start-up and generation building only:
 * growing aborts when memory ends. */
#ifndef RPD_BASE_VEC_H
#define RPD_BASE_VEC_H

#include <stddef.h>
#include <stdlib.h>
#include "common/base/mem.h"

#define VEC(T) struct { T *v; size_t n, cap; }
/* A pointer to a new, zeroed element at the end; valid until the next push. */
#define VEC_PUSH(vec) \
    ((vec)->v = vec_grow((vec)->v, (vec)->n, &(vec)->cap, sizeof *(vec)->v), \
     &(vec)->v[(vec)->n++])
#define VEC_FREE(vec) (free((vec)->v), (vec)->v = NULL, (vec)->n = (vec)->cap = 0)

/* Room for one more element, that element zeroed; returns the (moved) array. */
void *vec_grow(void *v, size_t n, size_t *cap, size_t size);

#endif
