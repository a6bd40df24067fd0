/* Why something ended: one list for logs, replies (RFC 9209) and statistics. */
#ifndef RPD_IO_END_REASON_H
#define RPD_IO_END_REASON_H

enum end_reason {
#define END_REASON(ID, text, status, proxy_status) END_##ID,
#include "worker/io/end_reason.def"
#undef END_REASON
    END_REASONS,
};

const char *end_reason_text(enum end_reason r);
/* 0: nothing can be told. */
unsigned end_reason_status(enum end_reason r);
/* RFC 9209 2.3 error type. */
const char *end_reason_proxy_status(enum end_reason r);

#endif
