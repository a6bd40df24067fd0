/* jwt_key: requests that need a signed token. The step of requests, and a generation's keys. */
#ifndef RPD_PROXY_JWT_H
#define RPD_PROXY_JWT_H

#include "common/core/conf.h"
#include "common/core/report.h"
#include "worker/proxy/steps.h"

/* Keys of all routes; those that name the same files share them. */
struct jwt_rings;
/* NULL: `report` says why. */
struct jwt_rings *jwt_rings_new(const struct conf *conf, struct report *report);
void jwt_rings_free(struct jwt_rings **rings);

enum step_result jwt_step(struct exchange *x);

#endif
