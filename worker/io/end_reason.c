/* The columns of end_reason.def. Called by whoever logs, counts or answers; owns nothing. */
#include <assert.h>
#include "worker/io/end_reason.h"

static const struct {
    const char *text, *proxy_status;
    unsigned status;
} reasons[END_REASONS] = {
#define END_REASON(ID, text, status, proxy_status) [END_##ID] = { text, proxy_status, status },
#include "worker/io/end_reason.def"
#undef END_REASON
};

const char *end_reason_text(enum end_reason r)
{
    assert(r < END_REASONS);
    return reasons[r].text;
}

unsigned end_reason_status(enum end_reason r)
{
    assert(r < END_REASONS);
    return reasons[r].status;
}

const char *end_reason_proxy_status(enum end_reason r)
{
    assert(r < END_REASONS);
    return reasons[r].proxy_status;
}
