/* OCSP responses (RFC 6960) as files have them: is it one, and about this certificate? Called by
 * check.c. */
#include "common/tls/ocsp.h"

#include <stdio.h>
#include <stdlib.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>

/* An issuer's serial numbers are its own, so the issuer counts too where the chain has it. */
static bool is_about(const OCSP_SINGLERESP *one, const struct tls_chain *chain)
{
    const OCSP_CERTID *id = OCSP_SINGLERESP_get0_id(one);
    ASN1_OBJECT *digest;
    ASN1_INTEGER *serial;
    OCSP_CERTID *own;
    bool is_same;

    if (!OCSP_id_get0_info(NULL, &digest, NULL, &serial, (OCSP_CERTID *)(uintptr_t)id) ||
        ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(chain->leaf)) != 0)
        return false;
    if (tls_chain_count(chain) < 2)
        return true;
    own = OCSP_cert_to_id(EVP_get_digestbyobj(digest), chain->leaf, tls_chain_at(chain, 1));
    is_same = own && OCSP_id_cmp(own, id) == 0;
    OCSP_CERTID_free(own);
    return is_same;
}

static enum tls_ocsp judge(OCSP_SINGLERESP *one, uint64_t now_us, char *why, size_t why_size)
{
    ASN1_GENERALIZEDTIME *from, *until;
    time_t now = (time_t)(now_us / 1000000);
    int status = OCSP_single_get0_status(one, NULL, NULL, &from, &until);

    if (status != V_OCSP_CERTSTATUS_GOOD)
        snprintf(why, why_size, "it says that the certificate is %s",
                 status == V_OCSP_CERTSTATUS_REVOKED ? "revoked" : "unknown");
    else if (until && ASN1_TIME_cmp_time_t(until, now) < 0)
        snprintf(why, why_size, "it is too old: clients do not take it any more");
    else if (ASN1_TIME_cmp_time_t(from, now) > 0)
        snprintf(why, why_size, "it is not valid yet");
    else
        return TLS_OCSP_GOOD;
    return TLS_OCSP_DOUBTFUL;
}

static enum tls_ocsp check_basic(OCSP_BASICRESP *basic, const struct tls_chain *chain,
                                 uint64_t now_us, char *why, size_t why_size)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);

        if (is_about(one, chain))
            return judge(one, now_us, why, why_size);
    }
    snprintf(why, why_size, "it is about another certificate");
    return TLS_OCSP_BAD;
}

enum tls_ocsp tls_ocsp_check(struct slice der, const struct tls_chain *chain, uint64_t now_us,
                             char *why, size_t why_size)
{
    const unsigned char *at = (const unsigned char *)der.p;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.n);
    OCSP_BASICRESP *basic = NULL;
    enum tls_ocsp result = TLS_OCSP_BAD;
    int status;

    if (!response || at != (const unsigned char *)der.p + der.n)
        snprintf(why, why_size, "no OCSP response in it (DER)");
    else if ((status = OCSP_response_status(response)) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        snprintf(why, why_size, "it is the answer of a responder that refused: %s",
                 OCSP_response_status_str(status));
    else if (!(basic = OCSP_response_get1_basic(response)))
        snprintf(why, why_size, "it is no basic OCSP response");
    else
        result = check_basic(basic, chain, now_us, why, why_size);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return result;
}
