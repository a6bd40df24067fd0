/* What a configuration needs of the machine: files that can be written. The master and rpd -t call
 * it; it may block. Names are common/net's, users the master's business. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "common/core/conf.h"

/* ---- files ---- */

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* Can things be made in the directory? 0 or errno. */
static int directory_error(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return errno;
    if (!S_ISDIR(st.st_mode))
        return ENOTDIR;
    return access(path, W_OK | X_OK) == 0 ? 0 : errno;
}

/* Can the file be written, or made? */
static int file_error(const char *path)
{
    struct stat st;

    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return EISDIR;
        return access(path, W_OK) == 0 ? 0 : errno;
    }
    if (errno != ENOENT)
        return errno;

    char *directory = directory_of(path);
    int error = directory_error(directory);
    free(directory);
    return error;
}

static void check_log(const struct conf *conf, const char *key, const char *setting,
                      struct report *report)
{
    int error = conf_log_target(setting) == CONF_LOG_FILE ? file_error(setting) : 0;

    if (error)
        report_error_at(report, conf_place(&conf->global.origin), "[global] %s: '%s' cannot be "
                        "written: %s", key, setting, strerror(error));
}

static void check_run_dir(const struct conf *conf, struct report *report)
{
    const char *path = conf->global.run_dir;
    int error = directory_error(path);

    if (error == ENOENT) { /* it will be made */
        char *parent = directory_of(path);
        error = directory_error(parent);
        free(parent);
    }
    if (error)
        report_error_at(report, conf_place(&conf->global.origin), "[global] run_dir: '%s' cannot "
                        "be written: %s", path, strerror(error));
}

/* A run as another user may still find that it cannot. */
static void check_programs(const struct conf *conf, struct report *report)
{
    for (size_t i = 0; i < conf->ncanaries; i++) {
        const struct conf_canary *c = &conf->canaries[i];
        struct stat st;
        int error = 0;

        if (!*c->on_change)
            continue;
        if (stat(c->on_change, &st) != 0 || access(c->on_change, X_OK) != 0)
            error = errno;
        else if (!S_ISREG(st.st_mode))
            error = EACCES;
        if (error)
            report_error_at(report, conf_place(&c->origin), "[canary %s] on_change: '%s' cannot be "
                            "run: %s", c->name, c->on_change, strerror(error));
    }
}

void conf_check_system(const struct conf *conf, struct report *report)
{
    check_log(conf, "log", conf->global.log, report);
    check_log(conf, "access_log", conf->global.access_log, report);
    check_run_dir(conf, report);
    check_programs(conf, report);
}
