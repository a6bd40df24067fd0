/* The program's own path: program.h. Called by main, once, in the directory it was started in. */
#include "master/program.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/mem.h"
#include "common/base/strbuf.h"

/* The first executable of that name in $PATH, NULL: there is none. */
static char *search(const char *name)
{
    const char *path = getenv("PATH");
    struct slice rest = slice_str(path ? path : "");
    struct strbuf file;

    strbuf_init(&file);
    while (rest.p) {
        struct slice dir = slice_cut(&rest, ':');

        strbuf_clear(&file);
        strbuf_printf(&file, "%.*s/%s", SLICE_ARG(dir), name);
        if (dir.n > 0 && dir.p[0] == '/' && access(file.s, X_OK) == 0)
            return strbuf_take(&file);
    }
    strbuf_fini(&file);
    return NULL;
}

static char *in_cwd(const char *name)
{
    char cwd[PATH_MAX];
    struct strbuf file;

    if (!getcwd(cwd, sizeof cwd))
        return NULL;
    strbuf_init(&file);
    strbuf_printf(&file, "%s/%s", cwd, name);
    return strbuf_take(&file);
}

char *program_path(const char *argv0)
{
    char self[PATH_MAX] = "";
    char *path;

    if (argv0[0] == '/')
        return xstrdup(argv0);
    path = strchr(argv0, '/') ? in_cwd(argv0) : search(argv0);
    if (path)
        return path;
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0)
        return xstrdup(argv0);
    return xstrdup(self);
}
