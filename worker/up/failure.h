/* What a failed try is called in retry_on and eject_on. Called by requests for their further tries
 * and by passive health; counts nothing. */
#ifndef RPD_UP_FAILURE_H
#define RPD_UP_FAILURE_H

#include <stdint.h>
#include "worker/io/end_reason.h"

/* CONF_FAIL_ bits of how a try went, which ended for `why` after an answer of `status` (0: there
 * was none); 0: no failure of the server's. */
uint32_t failure_of(enum end_reason why, unsigned status);

#endif
