/* Reading an answer of HTTP/1 just far enough to know where it ends, and whether it is right. */
#ifndef RPD_BENCH_ANSWER_H
#define RPD_BENCH_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWER_ANY UINT64_MAX /* any length will do */
#define ANSWER_HEAD_MAX 2048

enum answer_state {
    ANSWER_MORE,
    ANSWER_DONE,  /* status 200 and the length that was expected */
    ANSWER_WRONG, /* anything else, or bytes beyond the end */
};

struct answer {
    uint64_t expect;
    uint64_t body; /* bytes of it so far */
    uint64_t left; /* of the body, or of a chunk */
    bool is_head_read, is_chunked, is_last;
    size_t n;
    char text[ANSWER_HEAD_MAX]; /* the head, then the line of a chunk */
};

void answer_init(struct answer *a, uint64_t expect);
/* Of a body with a length, only bytes are left: they need not be looked at (answer_skip). */
bool answer_is_plain(const struct answer *a);
enum answer_state answer_skip(struct answer *a, size_t n);
enum answer_state answer_read(struct answer *a, const char *p, size_t n);

#endif
