/* The names of a configuration, when it is read: blocks until each is answered, or given up. */
#ifndef RPD_NET_RESOLVE_H
#define RPD_NET_RESOLVE_H

#include "common/core/conf.h"
#include "common/core/names.h"

/* Resolves the server and listener names of `conf` into text->resolved, all at once; those with an
 * answer in `known` (NULL: none) are not asked for. A server's that does not resolve is a warning,
 * with `strict` an error; a listener's is an error. */
void conf_resolve(struct conf_text *text, const struct conf *conf, const struct names *known,
                  struct report *report);

#endif
