/* Private keys are read by a process of their own, titled `rpd: keys`, that lives as long as that
 * takes: neither the reader nor a process that is or becomes the master has ever had one. */
#ifndef RPD_MASTER_KEY_CHECK_H
#define RPD_MASTER_KEY_CHECK_H

#include "common/core/conf.h"
#include "common/core/report.h"

/* Has the keys of `conf`, which has its certificates in it, read and compared; findings go to the
 * report. The sealed keyring, the caller's; -1 with errors, or when no certificate is configured.
 * Waits for the process: not for a master that serves. */
int key_check(const struct conf *conf, struct report *report);

#endif
