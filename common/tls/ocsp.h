/* An OCSP response from a file, before it is stapled. Its signature is the client's to verify. */
#ifndef RPD_TLS_OCSP_H
#define RPD_TLS_OCSP_H

#include <stdint.h>
#include "common/base/slice.h"
#include "common/tls/chain.h"

enum tls_ocsp {
    TLS_OCSP_GOOD,
    TLS_OCSP_BAD,      /* of no use, with a reason: malformed, or about another certificate */
    TLS_OCSP_DOUBTFUL, /* can be sent, but: too old, or what it says is not "good" */
};

enum tls_ocsp tls_ocsp_check(struct slice der, const struct tls_chain *chain, uint64_t now_us,
                             char *why, size_t why_size);

#endif
