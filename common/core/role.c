/* What roles have in common as they begin. Called by a fresh child, once. */
#include "common/core/role.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>
#include "common/base/log.h"

int role_become(const char *user, const char *group)
{
    const struct passwd *pw = user ? getpwnam(user) : NULL;
    const struct group *gr = group ? getgrnam(group) : NULL;
    gid_t gid;

    if (!user)
        return 0;
    if (!pw || (group && !gr)) {
        log_errorx("user %s or group %s does not exist", user, group ? group : "-");
        return -1;
    }
    gid = gr ? gr->gr_gid : pw->pw_gid;
    if (setgroups(1, &gid) < 0 || setgid(gid) < 0 || setuid(pw->pw_uid) < 0) {
        log_error("becoming user %s", user);
        return -1;
    }
    return 0;
}
