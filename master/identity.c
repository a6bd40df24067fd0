/* user, group and keys_user of [global] against the user database. Called at start and by `rpd -t`;
 * changes no process's identity: workers do that themselves. */
#include "master/identity.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/mem.h"
#include "master/config.h"

#define FALLBACK_USER "nobody"
#define KEYS_USER_DEFAULT "rpd-keys"

static void missing(struct report *report, const struct conf_entry *e, const char *what)
{
    report_error(report, "%s:%u: [global] %s: there is no %s '%s'%s", e->file, e->line, e->key,
                 what, e->value, e->chain);
}

/* `key`: of the setting, with the value `name`; `who`: what process it is for. */
static const struct passwd *find_user(const char *key, const char *name, const char *who,
                                      const struct conf_entry *said, struct report *report)
{
    const struct passwd *user = getpwnam(name);

    if (user)
        return user;
    if (said) {
        missing(report, said, "user");
        return NULL;
    }
    user = getpwnam(FALLBACK_USER);
    if (user)
        report_warning(report, "[global] %s: there is no user '%s': %s '%s'", key, name, who,
                       FALLBACK_USER);
    else
        report_error(report, "[global] %s: there is neither a user '%s' nor '%s'", key, name,
                     FALLBACK_USER);
    return user;
}

/* The user's own group, where none was named and the default does not exist or belongs to a user
 * that is not used. */
static char *find_group(const char *name, bool is_fallback, gid_t own,
                        const struct conf_entry *said, struct report *report)
{
    const struct group *group = is_fallback && !said ? NULL : getgrnam(name);

    if (group)
        return xstrdup(name);
    if (said) {
        missing(report, said, "group");
        return NULL;
    }
    group = getgrgid(own);
    if (!group)
        report_error(report, "[global] group: there is no group '%s'", name);
    return group ? xstrdup(group->gr_name) : NULL;
}

static void choose_workers(struct identity *id, const struct conf_text *text,
                           const struct conf *conf, struct report *report)
{
    const struct conf_entry *user_said = config_global_entry(text, "user");
    const struct passwd *user = find_user("user", conf->global.user, "workers become", user_said,
                                          report);
    bool is_fallback;
    gid_t own;

    if (!user)
        return;
    is_fallback = !slice_eq(slice_str(user->pw_name), slice_str(conf->global.user));
    own = user->pw_gid;
    id->user = xstrdup(user->pw_name);
    id->group = find_group(conf->global.group, is_fallback, own,
                           config_global_entry(text, "group"), report);
}

/* A later configuration may have certificates where this one has none: of a default that is not
 * there nothing is said before. Nor is it an error where the file says it, as `rpctl config` does.
 */
static void choose_keys(struct identity *id, const struct conf_text *text,
                        const struct conf *conf, struct report *report)
{
    const struct conf_entry *said = config_global_entry(text, "keys_user");
    bool is_used = conf->ncertificates > 0 && conf->global.key_process;
    const struct passwd *user;
    struct report unsaid;

    if (said && strcmp(said->value, KEYS_USER_DEFAULT) == 0)
        said = NULL;
    report_init(&unsaid);
    user = find_user("keys_user", conf->global.keys_user, "the keys process becomes",
                     is_used ? said : NULL, said || is_used ? report : &unsaid);
    if (user)
        id->keys_user = xstrdup(user->pw_name);
    report_fini(&unsaid);
}

static void ignore(const struct conf_text *text, struct report *report)
{
    static const char *const keys[] = { "user", "group", "keys_user" };
    const struct conf_entry *said = NULL;

    for (size_t i = 0; !said && i < sizeof keys / sizeof *keys; i++)
        said = config_global_entry(text, keys[i]);
    if (said)
        report_warning(report, "%s:%u: [global] %s: ignored, this is no start as root", said->file,
                       said->line, said->key);
}

void identity_choose(struct identity *id, const struct conf_text *text, const struct conf *conf,
                     struct report *report)
{
    *id = (struct identity){ NULL, NULL, NULL };
    if (geteuid() != 0) {
        ignore(text, report);
        return;
    }
    choose_workers(id, text, conf, report);
    choose_keys(id, text, conf, report);
}

void identity_fini(struct identity *id)
{
    free(id->user);
    free(id->group);
    free(id->keys_user);
    *id = (struct identity){ NULL, NULL, NULL };
}
