/* Request variables: texts with $name in them, filled in from a stream or session. */
#ifndef RPD_PROXY_VARS_H
#define RPD_PROXY_VARS_H

#include "common/base/addr.h"
#include "common/base/regex.h"
#include "common/core/template.h"
#include "common/jwt/jwt.h"
#include "worker/http/head.h"
#include "worker/io/conn.h"
#include "worker/io/end_reason.h"
#include "worker/io/tls.h"

/* All that variables can speak of; gathered by whoever expands. Absent texts are empty. */
struct vars {
    const struct head *request;  /* NULL for tcp */
    struct ip client;
    const struct conn *conn;     /* the client's, for $server_ip and $server_port; or NULL */
    struct slice scheme, request_id, auth_user;
    struct slice listener, route, backend, server;
    const struct tls_info *tls;  /* the client's, ended here; or NULL */
    struct slice sni;            /* of one whose TLS is passed through */
    unsigned status;
    uint64_t bytes_in, bytes_out;
    uint64_t duration_us, response_us, connect_us; /* UINT64_MAX: none */
    uint32_t retries;
    enum end_reason end;
    struct slice fault;
    struct slice time_local; /* of this second; empty: the clock is asked */
    const struct jwt_claims *claims; /* NULL: no token was asked for */
    const struct regex_captures *captures; /* $0 to $9; NULL: nothing was matched */
    size_t value_max; /* longer values are cut; 0: none is */
};

typedef size_t vars_escape_fn(char *dst, size_t cap, struct slice s);

/* Writes the text, cut at cap; returns its whole length (more than cap: it did not fit). Empty
 * values become `-` if `dash`. `escape` is applied to each value that peers control: NULL for
 * none; it returns bytes written, 0 if it does not fit. */
size_t vars_expand(const struct template *t, const struct vars *v, char *buf, size_t cap,
                   bool dash, vars_escape_fn *escape);
/* Value of a cookie of the request; empty: it has none. */
struct slice vars_cookie(const struct vars *v, struct slice name);
/* Into the arena; p NULL when exhausted. */
struct slice vars_text(const struct template *t, const struct vars *v, struct arena *arena);
/* The same, escaped. */
struct slice vars_escaped(const struct template *t, const struct vars *v, struct arena *arena,
                          vars_escape_fn *escape);

#endif
