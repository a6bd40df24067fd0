/* What counts as which failure of a server's. */
#include "t/unit/unit.h"
#include "common/core/conf.h"
#include "worker/up/failure.h"

START_TEST(reasons)
{
    ck_assert_uint_eq(failure_of(END_OK, 200), 0);
    ck_assert_uint_eq(failure_of(END_OK, 0), 0);
    ck_assert_uint_eq(failure_of(END_CONNECT_REFUSED, 0), CONF_FAIL_CONNECT);
    ck_assert_uint_eq(failure_of(END_CONNECT_TIMEOUT, 0),
                      CONF_FAIL_CONNECT | CONF_FAIL_TIMEOUT);
    ck_assert_uint_eq(failure_of(END_SERVER_CERT_EXPIRED, 0), CONF_FAIL_CONNECT);
    ck_assert_uint_eq(failure_of(END_SERVER_RESET, 0), CONF_FAIL_RESET);
    ck_assert_uint_eq(failure_of(END_SERVER_CLOSED, 0), CONF_FAIL_RESET);
    ck_assert_uint_eq(failure_of(END_SERVER_TRUNCATED, 200), CONF_FAIL_RESET);
    ck_assert_uint_eq(failure_of(END_BAD_RESPONSE, 0), CONF_FAIL_RESET);
    ck_assert_uint_eq(failure_of(END_SERVER_TIMEOUT, 0), CONF_FAIL_TIMEOUT);
    ck_assert_uint_eq(failure_of(END_SERVER_WRITE_TIMEOUT, 0), CONF_FAIL_TIMEOUT);
}
END_TEST

START_TEST(not_the_servers_fault)
{
    static const enum end_reason others[] = {
        END_CLIENT_CLOSED, END_CLIENT_RESET, END_CLIENT_BODY_TIMEOUT, END_EXHAUSTED,
        END_NO_DESCRIPTORS, END_RETIRING, END_INTERNAL, END_QUEUE_FULL, END_NO_SERVER,
        END_STREAM_IDLE,
    };

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        ck_assert_uint_eq(failure_of(others[i], 0), 0);
}
END_TEST

START_TEST(statuses)
{
    ck_assert_uint_eq(failure_of(END_OK, 404), 0);
    ck_assert_uint_eq(failure_of(END_OK, 500), CONF_FAIL_5XX);
    ck_assert_uint_eq(failure_of(END_OK, 502), CONF_FAIL_5XX | CONF_FAIL_502);
    ck_assert_uint_eq(failure_of(END_OK, 503), CONF_FAIL_5XX | CONF_FAIL_503);
    ck_assert_uint_eq(failure_of(END_OK, 504), CONF_FAIL_5XX | CONF_FAIL_504);
    ck_assert_uint_eq(failure_of(END_OK, 599), CONF_FAIL_5XX);
    ck_assert_uint_eq(failure_of(END_SERVER_TRUNCATED, 502),
                      CONF_FAIL_RESET | CONF_FAIL_5XX | CONF_FAIL_502);
    ck_assert_uint_eq(failure_of(END_CLIENT_RESET, 503), CONF_FAIL_5XX | CONF_FAIL_503);
}
END_TEST

UNIT_MAIN("failure", reasons, not_the_servers_fault, statuses)
