/* Configuration files for unit tests, in a directory of their own that is the current one. */
#ifndef RPD_UNIT_CONF_FIXTURE_H
#define RPD_UNIT_CONF_FIXTURE_H

#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "common/core/conf.h"
#include "t/unit/unit.h"

struct conf_fixture {
    char dir[64];
    struct report report;
    struct conf_text text;
    struct conf *conf; /* NULL when there were errors */
};

static inline void fixture_write(const char *name, const char *content, size_t n)
{
    FILE *f = fopen(name, "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(content, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

static inline void fixture_begin(struct conf_fixture *x)
{
    memset(x, 0, sizeof *x);
    snprintf(x->dir, sizeof x->dir, "/tmp/rpd-unit-conf-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(x->dir));
    ck_assert_int_eq(chdir(x->dir), 0);
    report_init(&x->report);
}

static inline int fixture_remove(const char *path, const struct stat *st, int type,
                                 struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void fixture_end(struct conf_fixture *x)
{
    conf_free(&x->conf);
    conf_text_fini(&x->text);
    report_fini(&x->report);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(nftw(x->dir, fixture_remove, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* Reads and builds the file of that name; may be called again. */
static inline void fixture_load_file(struct conf_fixture *x, const char *name)
{
    conf_free(&x->conf);
    conf_text_fini(&x->text);
    report_fini(&x->report);
    report_init(&x->report);
    conf_read(&x->text, name, &x->report);
    x->conf = conf_build(&x->text, &x->report);
}

static inline void fixture_load(struct conf_fixture *x, const char *content)
{
    fixture_write("f.ini", content, strlen(content));
    fixture_load_file(x, "f.ini");
}

/* Loads what must be right. */
static inline void fixture_good(struct conf_fixture *x, const char *content)
{
    fixture_load(x, content);
    ck_assert_msg(x->conf != NULL, "refused:\n%s", x->report.text.s);
}

/* Is it one of the report's lines? */
static inline bool fixture_reported(const struct conf_fixture *x, const char *line)
{
    struct slice rest = strbuf_slice(&x->report.text);

    while (rest.p) {
        if (slice_eq(slice_cut(&rest, '\n'), slice_str(line)))
            return true;
    }
    return false;
}

#define FIXTURE_EXPECT(x, line)                                                                \
    ck_assert_msg(fixture_reported(x, line), "not reported: %s\nbut:\n%s", line,               \
                  (x)->report.text.s)

/* Loads what has exactly one mistake. */
static inline void fixture_bad(struct conf_fixture *x, const char *content, const char *line)
{
    fixture_load(x, content);
    ck_assert_msg(x->conf == NULL, "accepted:\n%s", content);
    FIXTURE_EXPECT(x, line);
    ck_assert_msg(x->report.errors == 1, "more than one error:\n%s", x->report.text.s);
}

#endif
