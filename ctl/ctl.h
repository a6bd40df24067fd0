/* What rpctl's files share: how it was called, what its exit status says. */
#ifndef RPD_CTL_CTL_H
#define RPD_CTL_CTL_H

#include <stdbool.h>

enum ctl_exit {
    CTL_DONE,
    CTL_FAILED,    /* refused or failed; one line on stderr says why */
    CTL_USAGE,     /* wrong usage */
    CTL_NO_DAEMON, /* no daemon runs there */
};

enum ctl_format { CTL_TABLE, CTL_JSON, CTL_CSV, CTL_PROMETHEUS };

struct ctl {
    const char *run_dir;
    enum ctl_format format;
    bool is_terminal; /* stdout */
    bool is_colour;
};

#define CTL_CANARY_USAGE "[NAME [status|start|pause|resume|promote|rollback|weight N]]"
#define CTL_EXPLAIN_USAGE \
    "METHOD URL [-H 'Name: value']... [--listener L] [--client IP] [--config FILE]"
#define CTL_SERVER_USAGE "BACKEND/NAME drain|ready|down|weight N"
#define CTL_LIMIT_USAGE "NAME top [N]"

/* `rpctl: TEXT` on stderr, control characters made harmless. */
void ctl_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The commands; `args` ends in NULL and does not hold the command's own name. */
enum ctl_exit ctl_stats(const struct ctl *ctl, char **args);
enum ctl_exit ctl_top(const struct ctl *ctl, char **args);
enum ctl_exit ctl_health(const struct ctl *ctl, char **args);
enum ctl_exit ctl_workers(const struct ctl *ctl, char **args);
enum ctl_exit ctl_recent(const struct ctl *ctl, char **args);
enum ctl_exit ctl_postmortem(const struct ctl *ctl, char **args);
enum ctl_exit ctl_check(const struct ctl *ctl, char **args);
enum ctl_exit ctl_canary(const struct ctl *ctl, char **args);
enum ctl_exit ctl_limit(const struct ctl *ctl, char **args);
enum ctl_exit ctl_server(const struct ctl *ctl, char **args);
enum ctl_exit ctl_explain(const struct ctl *ctl, char **args);
enum ctl_exit ctl_config(const struct ctl *ctl, char **args);
enum ctl_exit ctl_apply(const struct ctl *ctl, char **args);
/* Those the master carries out: `name` is its word for it; no argument may hold a tab or the end of
 * a line. */
enum ctl_exit ctl_act(const struct ctl *ctl, const char *name, char **args);

#endif
