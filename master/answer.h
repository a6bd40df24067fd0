/* What a child that read something says in the end: an IPC_CONFIG with findings and what it made,
 * each in a memfd (taking those blocks on nothing). */
#ifndef RPD_MASTER_ANSWER_H
#define RPD_MASTER_ANSWER_H

#include <stdbool.h>
#include "common/core/ipc.h"
#include "common/core/report.h"

/* The child: 0, or -1. What it made (-1: nothing) goes along when there are no errors. */
int answer_send(int sock, const struct report *report, int bundle, int keyring);
/* Takes a message apart and closes what is left of it. The findings are appended to the report;
 * bundle and keyring (-1: none) are the caller's. false: it is no such message. */
bool answer_take(struct ipc_msg *msg, struct report *report, int *bundle, int *keyring);

#endif
