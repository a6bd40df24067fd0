/* What `rpctl explain` has found out about a request, and its printing. */
#ifndef RPD_CTL_EXPLAIN_H
#define RPD_CTL_EXPLAIN_H

#include "common/base/strbuf.h"
#include "common/base/vec.h"
#include "common/route/route.h"

struct explain_field { struct slice name, value; };

struct explain {
    struct route_trace trace;       /* first: the router hands it back */
    const struct conf *conf;
    /* asked */
    struct slice method, target, scheme, authority;
    VEC(struct explain_field) fields;
    const char *client;             /* NULL: nobody was named */
    struct ip client_ip;
    /* found */
    const struct conf_listener *listener;
    struct slice path, query;       /* the path in its normal form */
    const char *refused;            /* why it is answered 400; NULL: it is not */
    VEC(struct route_seen) seen;
    const struct route_seen *winner; /* of those; NULL: no route */
};

void explain_text(const struct explain *e, struct strbuf *out);
void explain_json(const struct explain *e, struct strbuf *out);

#endif
