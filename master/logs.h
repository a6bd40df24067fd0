/* The files of the error log and the access log: the master opens them, workers get descriptors. */
#ifndef RPD_MASTER_LOGS_H
#define RPD_MASTER_LOGS_H

#include <stdbool.h>
#include "common/core/conf.h"
#include "common/core/ipc.h"

struct client;
struct master;

struct logs {
    enum conf_log_target error_target;
    enum log_level level;
    int error_fd;  /* a file's; -1: stderr or syslog */
    int access_fd; /* a file's, or stdout; -1: none */
};

void logs_init(struct logs *l);
void logs_fini(struct logs *l);
/* Opens what `conf` names; false with errors in the report, and nothing open. Does not wait. */
bool logs_open(struct logs *l, const struct conf *conf, struct report *report);
/* This process logs there from now on. */
void logs_use(const struct logs *l);
/* In a fresh worker: until it gets descriptors of its own it writes to fd 2, which becomes the
 * error log's file if there is one (so that a last word on stderr is found there). */
void logs_child(const struct logs *l, const char *process);
/* The message's flags and descriptors so far: the bundle and the files. */
void logs_message(const struct logs *l, int bundle, struct ipc_msg *msg);
/* SIGUSR1: opens the files anew and hands them to the workers. false, with the old ones kept and
 * the reason logged and appended to *why (or NULL). */
bool logs_reopen(struct master *m, struct strbuf *why);

/* Every line of a report to the error log, as warning or error. */
void logs_report(const struct report *report);

#endif
