/* The process title, as the kernel shows it. The area is argv's and environ's, so main takes
 * part: it names the process before Check starts. */
#include "common/base/proctitle.h"

#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "common/base/strbuf.h"
#include "common/base/fd.h"
#include "t/unit/unit.h"

static char **args;
static size_t area; /* bytes of /proc/self/cmdline at start */

static void read_cmdline(struct strbuf *b)
{
    strbuf_init(b);
    if (fd_read_file("/proc/self/cmdline", 1 << 20, b) < 0)
        abort();
}

START_TEST(title_is_shown)
{
    struct strbuf b;
    char comm[16];

    proctitle_set("rpd: worker %d", 3);
    read_cmdline(&b);
    ck_assert_str_eq(b.s, "rpd: worker 3");
    ck_assert_int_eq(prctl(PR_GET_NAME, comm), 0);
    ck_assert_str_eq(comm, "rpd: worker 3");
    strbuf_fini(&b);

    proctitle_set("rpd"); /* nothing of the longer one remains */
    read_cmdline(&b);
    for (size_t i = 3; i < b.n; i++)
        ck_assert_int_eq(b.s[i], '\0');
    strbuf_fini(&b);
}
END_TEST

START_TEST(environment_and_arguments_survive)
{
    proctitle_set("%0200d", 1);
    ck_assert_str_eq(getenv("RPD_TEST_PROCTITLE"), "kept");
    ck_assert_str_eq(args[1], "argument");
    ck_assert_ptr_null(args[2]);
    ck_assert_int_eq(setenv("RPD_TEST_PROCTITLE", "new", 1), 0);
    ck_assert_str_eq(getenv("RPD_TEST_PROCTITLE"), "new");
}
END_TEST

START_TEST(a_long_title_is_cut)
{
    struct strbuf b;

    proctitle_set("%05000d", 1);
    read_cmdline(&b);
    ck_assert_uint_gt(b.n, area); /* the environment's room is used too */
    ck_assert_uint_le(strlen(b.s), 5000);
    strbuf_fini(&b);
}
END_TEST

/* Runs itself again once with the argument and environment that the tests want. */
int main(int argc, char **argv)
{
    struct strbuf b;
    Suite *suite = suite_create("proctitle");
    TCase *tcase = tcase_create("proctitle");

    if (argc < 2) {
        char name[] = "test_proctitle", argument[] = "argument";
        char *again[] = { name, argument, NULL };

        proctitle_set("harmless before init");
        (void)setenv("RPD_TEST_PROCTITLE", "kept", 1);
        (void)execv("/proc/self/exe", again);
        return 1;
    }
    proctitle_init(argc, argv);
    args = argv;
    read_cmdline(&b);
    area = b.n;
    strbuf_fini(&b);
    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_test(tcase, title_is_shown);
    tcase_add_test(tcase, environment_and_arguments_survive);
    tcase_add_test(tcase, a_long_title_is_cut);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
