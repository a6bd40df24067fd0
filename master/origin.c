/* What put the configuration in force, and when. Owns the texts. Called by reload.c, apply.c and
 * command.c. Users stay numbers: a name would have to be looked up, which may block. */
#include "master/origin.h"

#include <stdio.h>
#include <stdlib.h>
#include "common/base/mem.h"
#include "master/master.h"

void origin_init(struct origin *o)
{
    o->file = NULL;
    o->at_us = 0;
    strbuf_init(&o->how);
}

void origin_fini(struct origin *o)
{
    free(o->file);
    o->file = NULL;
    strbuf_fini(&o->how);
}

void origin_set(struct origin *o, const char *file, const char *fmt, ...)
{
    va_list ap;

    if (file) {
        free(o->file);
        o->file = xstrdup(file);
    }
    o->at_us = clock_wall_us();
    strbuf_clear(&o->how);
    va_start(ap, fmt);
    strbuf_vprintf(&o->how, fmt, ap);
    va_end(ap);
}

void origin_add(struct origin *o, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strbuf_vprintf(&o->how, fmt, ap);
    va_end(ap);
}

const char *origin_who(uid_t uid, char buf[32])
{
    if (uid == (uid_t)-1)
        (void)snprintf(buf, 32, "a signal");
    else
        (void)snprintf(buf, 32, "uid %u", (unsigned)uid);
    return buf;
}

const char *origin_when(uint64_t wall_us, char buf[CLOCK_TEXT_MAX])
{
    (void)clock_iso8601(buf, wall_us);
    return buf;
}

void origin_print(const struct master *m, struct strbuf *out)
{
    const struct origin *o = &m->origin;
    char at[CLOCK_TEXT_MAX];

    strbuf_printf(out, "; generation %llu, read from %s\n",
                  (unsigned long long)m->generation.number, o->file ? o->file : m->file);
    if (o->at_us == 0)
        return;
    strbuf_printf(out, "; since %s: %s\n", origin_when(o->at_us, at), o->how.s);
}
