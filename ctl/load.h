/* What every reading command begins and ends with. */
#ifndef RPD_CTL_LOAD_H
#define RPD_CTL_LOAD_H

#include "common/base/strbuf.h"
#include "ctl/ctl.h"
#include "ctl/model.h"

/* NULL after saying why; *status is then the exit status. */
struct model *ctl_load(const struct ctl *ctl, enum ctl_exit *status);
/* The same, what is wrong being put in *why instead. */
struct model *ctl_try(const struct ctl *ctl, enum ctl_exit *status, struct strbuf *why);
/* Says on stderr when the master that made the segment is gone. */
void ctl_note_gone(const struct model *m);
/* Puts the text on stdout; a reader that went away is no failure. */
enum ctl_exit ctl_print(const struct strbuf *text);

#endif
