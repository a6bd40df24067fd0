/* rpctl, the command line of rpd: finds the command and hands over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/core/stats.h"
#include "ctl/ctl.h"

#define RUN_DIR_DEFAULT "/run/rpd"
#define COUNT(a) (sizeof(a) / sizeof *(a))

struct command {
    const char *name;
    const char *usage; /* arguments; NULL: not built yet */
    const char *help;
    enum ctl_exit (*fn)(const struct ctl *ctl, char **args); /* NULL: the master's */
};

static const struct command commands[] = {
    { "stats", "[KIND [NAME...]] [--watch [1s]] [--since-start]",
      "counters, rates and latency, by listener, route, backend, server, limit, worker",
      ctl_stats },
    { "top", "", "the same as a live screen", ctl_top },
    { "health", "[BACKEND]", "each server: state, since when, why it is out", ctl_health },
    { "workers", "", "pid, generation, state, connections, CPU of each worker", ctl_workers },
    { "recent", "[--errors] [--route ROUTE] [-n N]",
      "the last streams of every worker, and those in progress", ctl_recent },
    { "postmortem", "[WORKER]", "what workers that crashed did last", ctl_postmortem },
    { "check", "[FILE]", "what rpd -t does", ctl_check },
    { "config", "[diff FILE]",
      "the running configuration as one file, defaults filled in; or what FILE would change",
      ctl_config },
    { "reload", "", "take the configuration files anew", NULL },
    { "apply", "FILE [--confirm TIME] [--abort-if 'errors>1%'] [--first-worker TIME]",
      "take FILE, and go back unless it is confirmed in TIME; one worker first", ctl_apply },
    { "confirm", "", "what was applied stays", NULL },
    { "rollback", "", "what was applied goes back, now", NULL },
    { "upgrade", "", "run the program anew from its file, with everything kept", NULL },
    { "stop", "", "end now", NULL },
    { "quit", "", "finish what is in progress, then end", NULL },
    { "reopen", "", "open the log files anew", NULL },
    { "explain", CTL_EXPLAIN_USAGE,
      "which route takes a request, what it meets there, and why no other one takes it",
      ctl_explain },
    { "server", CTL_SERVER_USAGE, "take a server out or in, or weigh it, at once and over reloads",
      ctl_server },
    { "canary", CTL_CANARY_USAGE, "where a canary stands, with the evidence; or another way for it",
      ctl_canary },
    { "limit", CTL_LIMIT_USAGE, "the keys of a limit that ask most", ctl_limit },
    { "cache", NULL, NULL, NULL },
};

static const char *const formats[] = {
    [CTL_TABLE] = "table", [CTL_JSON] = "json", [CTL_CSV] = "csv",
    [CTL_PROMETHEUS] = "prometheus",
};

static void help(void)
{
    printf("usage: rpctl [-r RUN_DIR] [-o table|json|csv|prometheus] COMMAND ...\n"
           "       rpctl -h | -V\n\n");
    for (size_t i = 0; i < COUNT(commands); i++)
        if (commands[i].usage)
            printf("  %s%s%s\n      %s\n", commands[i].name, commands[i].usage[0] ? " " : "",
                   commands[i].usage, commands[i].help);
    printf("\nRUN_DIR is $RPD_RUN_DIR or " RUN_DIR_DEFAULT ".\n"
           "Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no daemon runs there.\n");
}

static bool set_format(struct ctl *ctl, const char *name)
{
    for (size_t i = 0; i < COUNT(formats); i++)
        if (strcmp(name, formats[i]) == 0) {
            ctl->format = (enum ctl_format)i;
            return true;
        }
    ctl_error("-o %s: there are table, json, csv and prometheus", name);
    return false;
}

static enum ctl_exit run_command(const struct ctl *ctl, const struct command *c, char **args)
{
    if (!c->usage) {
        ctl_error("%s is not supported yet", c->name);
        return CTL_FAILED;
    }
    if (c->fn)
        return c->fn(ctl, args);
    if (args[0] && !c->usage[0]) {
        ctl_error("%s takes no arguments", c->name);
        return CTL_USAGE;
    }
    return ctl_act(ctl, c->name, args);
}

static enum ctl_exit dispatch(const struct ctl *ctl, char **args)
{
    if (!args[0]) {
        ctl_error("which command? See rpctl -h");
        return CTL_USAGE;
    }
    for (size_t i = 0; i < COUNT(commands); i++)
        if (strcmp(args[0], commands[i].name) == 0)
            return run_command(ctl, &commands[i], args + 1);
    ctl_error("there is no command '%s'; see rpctl -h", args[0]);
    return CTL_USAGE;
}

/* Before the command: -r and -o, with their values behind them or the next word. Returns what is
 * left, or NULL after saying what is wrong. */
static char **take_options(struct ctl *ctl, char **args)
{
    for (; *args && (*args)[0] == '-'; args++) {
        char option = (*args)[1];
        const char *value = NULL;

        if (option == 'r' || option == 'o')
            value = (*args)[2] ? *args + 2 : *++args;
        else {
            ctl_error("there is no option %s; see rpctl -h", *args);
            return NULL;
        }
        if (!value) {
            ctl_error("-%c needs a value", option);
            return NULL;
        }
        if (option == 'r')
            ctl->run_dir = value;
        else if (!set_format(ctl, value))
            return NULL;
    }
    return args;
}

/* What needs no command: help, version, and the table of the manual. */
static bool is_about(const char *arg)
{
    if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0)
        help();
    else if (strcmp(arg, "-V") == 0 || strcmp(arg, "--version") == 0)
        printf("rpctl " RPD_VERSION "\n");
    else if (strcmp(arg, "--help-counters") == 0)
        stats_help_mdoc(stdout);
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    const char *dir = getenv("RPD_RUN_DIR"), *no_colour = getenv("NO_COLOR");
    struct ctl ctl = { .run_dir = dir && *dir ? dir : RUN_DIR_DEFAULT };
    char **args = argv + 1;

    if (argc == 2 && is_about(argv[1]))
        return fflush(stdout) == 0 ? CTL_DONE : CTL_FAILED;
    ctl.is_terminal = isatty(STDOUT_FILENO);
    ctl.is_colour = ctl.is_terminal && !(no_colour && *no_colour);
    args = take_options(&ctl, args);
    return args ? (int)dispatch(&ctl, args) : CTL_USAGE;
}
