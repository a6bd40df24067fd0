/* Names of statistics segments: segments.h. Called by takeover.c, orphans.c and retiree.c; keeps
 * nothing. */
#include "master/segments.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/clock.h"
#include "common/base/log.h"
#include "master/master.h"

#define PREFIX "stats."

char *segments_path(const struct master *m)
{
    struct strbuf path;

    strbuf_init(&path);
    strbuf_printf(&path, "%s/stats%s", m->run_dir,
                  m->takeover.kind == TAKEOVER_TRIAL ? ".trial" : "");
    return strbuf_take(&path);
}

struct times {
    VEC(uint64_t) v;
};

static void find_times(const struct master *m, struct times *t)
{
    DIR *dir = opendir(m->run_dir);
    const struct dirent *e;

    while (dir && (e = readdir(dir))) {
        struct slice name = slice_str(e->d_name);
        uint64_t time;

        if (slice_starts(name, SLICE(PREFIX))
            && slice_u64(slice_of(name.p + strlen(PREFIX), name.n - strlen(PREFIX)), &time))
            *VEC_PUSH(&t->v) = time;
    }
    if (dir)
        (void)closedir(dir);
}

static int by_time(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void each_name(const struct master *m, void (*fn)(void *arg, const char *path), void *arg)
{
    struct times t = { .v = { NULL, 0, 0 } };
    struct strbuf path;

    strbuf_init(&path);
    find_times(m, &t);
    if (t.v.n > 0)
        qsort(t.v.v, t.v.n, sizeof *t.v.v, by_time);
    for (size_t i = 0; i < t.v.n; i++) {
        strbuf_clear(&path);
        strbuf_printf(&path, "%s/" PREFIX "%llu", m->run_dir, (unsigned long long)t.v.v[i]);
        fn(arg, path.s);
    }
    VEC_FREE(&t.v);
    strbuf_fini(&path);
}

void segments_set_aside(const struct master *m)
{
    char *from = segments_path(m);
    struct strbuf to;

    strbuf_init(&to);
    strbuf_printf(&to, "%s/" PREFIX "%llu", m->run_dir, (unsigned long long)clock_wall_us());
    /* A second name: readers find the one or the other at any time. */
    if (link(from, to.s) != 0 && errno != ENOENT)
        log_warn("%s", to.s);
    strbuf_fini(&to);
    free(from);
}

static void remove_one(void *arg, const char *path)
{
    (void)arg;
    (void)unlink(path);
}

void segments_forget(const struct master *m)
{
    each_name(m, remove_one, NULL);
}

struct visit {
    void (*fn)(void *arg, struct carry *c);
    void *arg;
};

static void visit_one(void *arg, const char *path)
{
    const struct visit *v = arg;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct carry *c = fd < 0 ? NULL : carry_open(fd);

    if (c)
        v->fn(v->arg, c);
    carry_unref(&c);
}

void segments_each(const struct master *m, void (*fn)(void *arg, struct carry *c), void *arg)
{
    struct visit v = { fn, arg };

    each_name(m, visit_one, &v);
}
