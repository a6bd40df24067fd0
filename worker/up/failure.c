/* Failures of servers by their kind. Called where results are counted, and by who may try again. */
#include "worker/up/failure.h"

#include "common/core/conf.h"

static uint32_t of_status(unsigned status)
{
    switch (status) {
    case 502: return CONF_FAIL_502 | CONF_FAIL_5XX;
    case 503: return CONF_FAIL_503 | CONF_FAIL_5XX;
    case 504: return CONF_FAIL_504 | CONF_FAIL_5XX;
    default: return status >= 500 ? CONF_FAIL_5XX : 0;
    }
}

uint32_t failure_of(enum end_reason why, unsigned status)
{
    static const uint8_t map[END_REASONS] = {
        [END_CONNECT_REFUSED] = CONF_FAIL_CONNECT,
        [END_CONNECT_TIMEOUT] = CONF_FAIL_CONNECT | CONF_FAIL_TIMEOUT,
        [END_CONNECT_FAILED] = CONF_FAIL_CONNECT,
        [END_SERVER_TLS] = CONF_FAIL_CONNECT,
        [END_SERVER_ALERT] = CONF_FAIL_CONNECT,
        [END_SERVER_CERT_EXPIRED] = CONF_FAIL_CONNECT,
        [END_SERVER_CERT_NAME] = CONF_FAIL_CONNECT,
        [END_SERVER_CERT_UNTRUSTED] = CONF_FAIL_CONNECT,
        [END_SERVER_CERT_REFUSED] = CONF_FAIL_CONNECT,
        [END_SERVER_CLOSED] = CONF_FAIL_RESET,
        [END_SERVER_TRUNCATED] = CONF_FAIL_RESET,
        [END_SERVER_RESET] = CONF_FAIL_RESET,
        [END_BAD_RESPONSE] = CONF_FAIL_RESET,
        [END_RESPONSE_HEADER_TOO_LARGE] = CONF_FAIL_RESET,
        [END_SERVER_TIMEOUT] = CONF_FAIL_TIMEOUT,
        [END_SERVER_WRITE_TIMEOUT] = CONF_FAIL_TIMEOUT,
    };

    return map[why] | of_status(status);
}
