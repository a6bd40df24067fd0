/* ${NAME} in values: the environment's part of reading. Private to the configuration's files. */
#ifndef RPD_CORE_CONF_ENV_H
#define RPD_CORE_CONF_ENV_H

#include <stdbool.h>
#include "common/base/strbuf.h"

/* Appends `value` to *out with ${NAME} and ${NAME:-fallback} (taken when NAME is unset or empty)
 * put in; dollar signs that come from the environment are doubled, so that they begin no request
 * variable. false: *error (cleared first) says why. */
bool conf_env_expand(const char *value, struct strbuf *out, struct strbuf *error);

#endif
