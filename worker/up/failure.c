/* Called where results are counted, and by who may try again. */
#include "worker/up/failure.h"

#include "common/core/conf.h"

static uint32_t of_reason(enum end_reason why)
{
    static const uint8_t map[END_REASONS] = {
        [END_CONNECT_REFUSED] = CONF_FAIL_CONNECT,
        [END_CONNECT_TIMEOUT] = CONF_FAIL_CONNECT,
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

    return map[why];
}

uint32_t failure_of(enum end_reason why, unsigned status)
{
    uint32_t bits = of_reason(why);

    if (status >= 500)
        bits |= CONF_FAIL_5XX;
    switch (status) {
    case 502: return bits | CONF_FAIL_502;
    case 503: return bits | CONF_FAIL_503;
    case 504: return bits | CONF_FAIL_504;
    default: return bits;
    }
}
