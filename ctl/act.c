/* The commands that act: the master carries them out, `rpd -t` checks. Called by main. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/core/apply_request.h"
#include "common/core/control.h"
#include "ctl/ctl.h"
#include "ctl/load.h"

#define DAEMON "rpd"

static enum ctl_exit nobody(const struct ctl *ctl)
{
    int err = errno;

    if (err == ENOENT || err == ECONNREFUSED || err == ENOTDIR) {
        ctl_error("no rpd answers at %s/rpd.sock: %s", ctl->run_dir, strerror(err));
        return CTL_NO_DAEMON;
    }
    if (err == EPROTO || err == ECONNRESET)
        ctl_error("the master at %s/rpd.sock broke off its answer", ctl->run_dir);
    else
        ctl_error("%s/rpd.sock: %s", ctl->run_dir, strerror(err));
    return CTL_FAILED;
}

static enum ctl_exit refused(const char *name, const struct strbuf *answer)
{
    if (answer->n == 0)
        ctl_error("%s was refused", name);
    else if (fd_write_all(STDERR_FILENO, answer->s, answer->n) == 0
             && answer->s[answer->n - 1] != '\n')
        (void)fd_write_all(STDERR_FILENO, "\n", 1);
    return CTL_FAILED;
}

/* The command as the control socket takes it; false, said: that cannot be. */
static bool make_line(struct strbuf *line, const char *name, char **args)
{
    strbuf_adds(line, name);
    for (; *args; args++) {
        if (strpbrk(*args, "\t\r\n")) {
            ctl_error("%s: an argument with a tab or the end of a line in it", name);
            return false;
        }
        strbuf_printf(line, "\t%s", *args);
    }
    if (line->n + 1 < CONTROL_LINE_MAX)
        return true;
    ctl_error("%s: the arguments are too long", name);
    return false;
}

static enum ctl_exit call(const struct ctl *ctl, const char *name, const char *line)
{
    enum ctl_exit status;
    struct strbuf answer;
    int r;

    strbuf_init(&answer);
    r = control_call(ctl->run_dir, line, &answer);
    if (r < 0)
        status = nobody(ctl);
    else
        status = r == 0 ? ctl_print(&answer) : refused(name, &answer);
    strbuf_fini(&answer);
    return status;
}

enum ctl_exit ctl_act(const struct ctl *ctl, const char *name, char **args)
{
    enum ctl_exit status = CTL_USAGE;
    struct strbuf line;

    strbuf_init(&line);
    if (make_line(&line, name, args))
        status = call(ctl, name, line.s);
    strbuf_fini(&line);
    return status;
}

/* What the words say is the master's to judge, but not whether there are enough. */
enum ctl_exit ctl_server(const struct ctl *ctl, char **args)
{
    size_t n = 0, wanted = 2;

    while (args[n])
        n++;
    if (n >= 2 && strcmp(args[1], "weight") == 0)
        wanted = 3;
    if (n != wanted) {
        ctl_error("usage: rpctl server " CTL_SERVER_USAGE);
        return CTL_USAGE;
    }
    return ctl_act(ctl, "server", args);
}

/* The master has another directory: the name from the root, to be freed. */
static char *absolute(struct slice file)
{
    struct strbuf path;
    char here[PATH_MAX];

    strbuf_init(&path);
    if (!slice_starts(file, SLICE("/")) && getcwd(here, sizeof here))
        strbuf_printf(&path, "%s/", here);
    strbuf_add(&path, file);
    return strbuf_take(&path);
}

enum ctl_exit ctl_config(const struct ctl *ctl, char **args)
{
    enum ctl_exit status;
    char *words[] = { args[0], NULL, NULL };

    if (!args[0])
        return ctl_act(ctl, "config", args);
    if (strcmp(args[0], "diff") != 0 || !args[1] || args[2]) {
        ctl_error("config takes no arguments but diff FILE");
        return CTL_USAGE;
    }
    words[1] = absolute(slice_str(args[1]));
    status = ctl_act(ctl, "config", words);
    free(words[1]);
    return status;
}

enum ctl_exit ctl_apply(const struct ctl *ctl, char **args)
{
    enum ctl_exit status = CTL_USAGE;
    struct slice words[APPLY_WORDS_MAX];
    struct apply_request request;
    struct strbuf error;
    size_t n = 0;

    for (; args[n] && n < APPLY_WORDS_MAX; n++)
        words[n] = slice_str(args[n]);
    strbuf_init(&error);
    if (!apply_request_parse(&request, words, n, &error))
        ctl_error("apply: %s", error.s);
    else {
        char *file = absolute(request.file);

        for (size_t i = 0; i < n; i++)
            if (args[i] == request.file.p)
                args[i] = file;
        status = ctl_act(ctl, "apply", args);
        free(file);
    }
    strbuf_fini(&error);
    return status;
}

/* The rpd of the same build or installation: beside this program, or in the sbin beside its bin. */
static void run_beside(char *const *argv)
{
    static const char *const places[] = { "", "../sbin/" };
    char self[PATH_MAX], path[PATH_MAX + 32];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    if (n <= 0)
        return;
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (!slash)
        return;
    slash[1] = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s%s" DAEMON, self, places[i]);
        (void)execv(path, argv);
    }
}

enum ctl_exit ctl_check(const struct ctl *ctl, char **args)
{
    char name[] = DAEMON, check[] = "-t", file[] = "-c";
    char *argv[] = { name, check, args[0] ? file : NULL, args[0], NULL };

    (void)ctl;
    if (args[0] && args[1]) {
        ctl_error("check takes at most one file");
        return CTL_USAGE;
    }
    run_beside(argv);
    (void)execvp(DAEMON, argv);
    ctl_error(DAEMON ": %s", strerror(errno));
    return CTL_FAILED;
}
