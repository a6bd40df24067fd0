/* Certificates in `rpctl health`: how long each is good, and which need somebody's attention. */
#ifndef RPD_CTL_EXPIRY_H
#define RPD_CTL_EXPIRY_H

#include <stdbool.h>
#include "common/base/json.h"
#include "ctl/model.h"

/* Behind an empty line; those that are expired, will be within 14 days, or are not valid yet stand
 * out. Nothing when there are none. */
void expiry_table(struct strbuf *out, const struct model *m, bool is_colour);
/* All of them, as a member of the object that is open. */
void expiry_json(struct json *j, const struct model *m);

#endif
