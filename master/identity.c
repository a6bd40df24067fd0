/* user and group of [global] against the user database. Called at start and by `rpd -t`; changes
 * no process's identity: workers do that themselves. */
#include "master/identity.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>
#include "common/base/mem.h"
#include "master/config.h"

#define FALLBACK_USER "nobody"

static void missing(struct report *report, const struct conf_entry *e)
{
    report_error(report, "%s:%u: [global] %s: there is no %s '%s'%s", e->file, e->line, e->key,
                 e->key, e->value, e->chain);
}

static const struct passwd *find_user(const char *name, const struct conf_entry *said,
                                      struct report *report)
{
    const struct passwd *user = getpwnam(name);

    if (user)
        return user;
    if (said) {
        missing(report, said);
        return NULL;
    }
    user = getpwnam(FALLBACK_USER);
    if (user)
        report_warning(report, "[global] user: there is no user '%s': workers become '%s'", name,
                       FALLBACK_USER);
    else
        report_error(report, "[global] user: there is neither a user '%s' nor '%s'", name,
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
        missing(report, said);
        return NULL;
    }
    group = getgrgid(own);
    if (!group)
        report_error(report, "[global] group: there is no group '%s'", name);
    return group ? xstrdup(group->gr_name) : NULL;
}

void identity_choose(struct identity *id, const struct conf_text *text, const struct conf *conf,
                     struct report *report)
{
    const struct conf_entry *user_said = config_global_entry(text, "user");
    const struct conf_entry *group_said = config_global_entry(text, "group");
    const struct conf_entry *said = user_said ? user_said : group_said;
    const struct passwd *user;
    bool is_fallback;
    gid_t own;

    *id = (struct identity){ NULL, NULL };
    if (geteuid() != 0) {
        if (said)
            report_warning(report, "%s:%u: [global] %s: ignored, this is no start as root",
                           said->file, said->line, said->key);
        return;
    }
    user = find_user(conf->global.user, user_said, report);
    if (!user)
        return;
    is_fallback = !slice_eq(slice_str(user->pw_name), slice_str(conf->global.user));
    own = user->pw_gid;
    id->user = xstrdup(user->pw_name);
    id->group = find_group(conf->global.group, is_fallback, own, group_said, report);
}

void identity_fini(struct identity *id)
{
    free(id->user);
    free(id->group);
    *id = (struct identity){ NULL, NULL };
}
