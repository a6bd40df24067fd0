/* What a client can decode (RFC 9110 12.5.3). Called by the proxy. */
#ifndef RPD_HTTP_ACCEPT_ENCODING_H
#define RPD_HTTP_ACCEPT_ENCODING_H

#include "common/core/conf.h"
#include "worker/http/head.h"

/* Of ours the one that the client likes best; of those it likes alike the first of ours. NONE if
 * it likes the content as it is better, or takes none of them. */
enum conf_coding accept_encoding_choose(const struct fields *request,
                                        const struct conf_codings *ours);

#endif
