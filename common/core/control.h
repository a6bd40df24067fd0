/* The control socket's words (run_dir/rpd.sock, a stream): the client sends one line, a command and
 * its arguments with tabs between, the master answers `ok\n` or `refused\n` and then text until it
 * closes. Commands: see master/command.c. */
#ifndef RPD_CORE_CONTROL_H
#define RPD_CORE_CONTROL_H

#include "common/base/strbuf.h"

#define CONTROL_LINE_MAX 4096

/* Client: connects to run_dir/rpd.sock, sends `command`, waits for the whole answer. 0 done,
 * 1 refused (text in *answer), -1 with errno when nobody is there (ECONNREFUSED, ENOENT) or the
 * answer broke off. Blocks. */
int control_call(const char *run_dir, const char *command, struct strbuf *answer);

#endif
