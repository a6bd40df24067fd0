/* A check's request and what its answer is worth: HTTP/1.1, pure. */
#ifndef RPD_HELPER_CHECK_HTTP_H
#define RPD_HELPER_CHECK_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <llhttp.h>
#include "common/base/strbuf.h"
#include "common/core/conf.h"
#include "common/core/stats.h"

/* Most bytes of an answer's head, and of the body that is looked through. */
#define CHECK_HEAD_MAX 65536
#define CHECK_BODY_MAX 65536
/* And of all that comes after the head: that body in chunks of a byte would fit. Extensions and
 * trailers are no body, and who sends them without end would keep the loop reading. */
#define CHECK_REST_MAX (8 * CHECK_BODY_MAX)

/* Embedded in a probe. */
struct check_http {
    llhttp_t parser;
    const struct conf_check_value *check; /* outlives it */
    enum check_result result; /* CHECK_NONE: not decided yet */
    unsigned status;          /* of the final answer; 0: not there yet */
    size_t head, rest, body;  /* bytes so far; rest: after the head, as they came */
    struct strbuf seen;       /* the body's end: what the text may begin in */
};

void check_http_init(struct check_http *h, const struct conf_check_value *check);
void check_http_fini(struct check_http *h);
/* Appends the request; `address` is the server's as configured, for Host. */
void check_http_request(struct strbuf *out, const struct conf_check_value *check,
                        const char *address);
/* Bytes of the answer: CHECK_NONE while there have to be more. */
enum check_result check_http_take(struct check_http *h, struct slice bytes);
/* The answer's end of the connection: never CHECK_NONE. */
enum check_result check_http_end(struct check_http *h);

#endif
