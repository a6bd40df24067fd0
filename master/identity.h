/* Whom workers and `rpd: keys` become after a start as root. */
#ifndef RPD_MASTER_IDENTITY_H
#define RPD_MASTER_IDENTITY_H

#include "common/core/conf.h"

struct identity {
    char *user, *group; /* NULL: workers stay what the master is */
    char *keys_user;    /* the same for `rpd: keys`, with that user's own group */
};

/* Asks the user database (blocks); findings go to the report. A user that the configuration names
 * and that does not exist is an error; the default one is replaced by nobody, with a warning. */
void identity_choose(struct identity *id, const struct conf_text *text, const struct conf *conf,
                     struct report *report);
void identity_fini(struct identity *id);

#endif
