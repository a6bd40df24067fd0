/* How long a backend's servers take, by what all workers counted lately. Called by the proxy when
 * it has to know how long is long (hedge_after). */
#ifndef RPD_UP_LATENCY_H
#define RPD_UP_LATENCY_H

#include "worker/up/backend.h"

/* Microseconds within which `thousandths` of the backend's last requests were answered; of at
 * least a hundred, and looked up anew every few seconds at most. 0: not known, or no memory. */
uint64_t latency_quantile(struct backend *b, uint32_t thousandths);
void latency_free(struct latency **l);

#endif
