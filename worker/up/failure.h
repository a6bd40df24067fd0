/* What a failed try is called in retry_on and eject_on. Called by requests for their further tries
 * and by passive health; counts nothing. */
#ifndef RPD_UP_FAILURE_H
#define RPD_UP_FAILURE_H

#include <stdint.h>
#include "worker/io/end_reason.h"

/* CONF_FAIL_ bits of how a try went; 0: no failure of the server's. status 0: there was no
 * answer. */
uint32_t failure_of(enum end_reason why, unsigned status);

#endif
