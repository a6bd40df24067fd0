/* The control client against a master played by a child. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "common/core/control.h"
#include "t/unit/unit.h"

static char dir[64];
static struct strbuf answer;
static char asked[256];

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/rpd-control-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    strbuf_init(&answer);
}

static void teardown(void)
{
    char path[128];

    snprintf(path, sizeof path, "%s/rpd.sock", dir);
    unlink(path);
    rmdir(dir);
    strbuf_fini(&answer);
}

/* Answers one call, a write for each part between '|'. The request it got is its exit
 * status: 0 when it is `asked`. */
static pid_t serve(const char *at, const char *reply)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int sock = socket(AF_UNIX, SOCK_STREAM, 0);
    char buf[512];
    pid_t pid;
    ssize_t n;
    int c;

    snprintf(un.sun_path, sizeof un.sun_path, "%s/rpd.sock", at);
    ck_assert_int_eq(bind(sock, (struct sockaddr *)&un, sizeof un), 0);
    ck_assert_int_eq(listen(sock, 1), 0);
    pid = fork();
    if (pid > 0) {
        close(sock);
        return pid;
    }
    c = accept(sock, NULL, NULL);
    n = recv(c, buf, sizeof buf - 1, 0);
    buf[n > 0 ? n : 0] = '\0';
    for (const char *p = reply, *bar; *p; p = *bar ? bar + 1 : bar) {
        bar = strchrnul(p, '|');
        if (send(c, p, (size_t)(bar - p), MSG_NOSIGNAL) < 0)
            _exit(2);
    }
    close(c);
    _exit(strcmp(buf, asked) != 0);
}

static int call(const char *command, const char *reply)
{
    int status, r, err;
    pid_t pid;

    snprintf(asked, sizeof asked, "%s\n", command);
    pid = serve(dir, reply);
    r = control_call(dir, command, &answer);
    err = errno;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    errno = err;
    return r;
}

START_TEST(test_done)
{
    ck_assert_int_eq(call("reload", "ok\ngeneration 2\n"), 0);
    ck_assert_str_eq(answer.s, "generation 2\n");
}
END_TEST

START_TEST(test_refused_with_every_line)
{
    ck_assert_int_eq(call("reload", "refused\na.ini:1: x\na.ini:2: y\n"), 1);
    ck_assert_str_eq(answer.s, "a.ini:1: x\na.ini:2: y\n");
}
END_TEST

START_TEST(test_in_pieces_and_without_text)
{
    ck_assert_int_eq(call("stop now", "o|k|\n"), 0);
    ck_assert_str_eq(answer.s, "");
}
END_TEST

START_TEST(test_text_longer_than_a_read)
{
    static char big[20000];

    memset(big, 'x', sizeof big - 1);
    memcpy(big, "ok\n", 3);
    ck_assert_int_eq(call("config", big), 0);
    ck_assert_uint_eq(answer.n, sizeof big - 1 - 3);
}
END_TEST

START_TEST(test_broken_off)
{
    ck_assert_int_eq(call("reload", "refus"), -1);
    ck_assert_int_eq(errno, EPROTO);
}
END_TEST

START_TEST(test_no_answer)
{
    ck_assert_int_eq(call("reload", ""), -1);
    ck_assert_int_eq(errno, EPROTO);
}
END_TEST

START_TEST(test_another_word)
{
    ck_assert_int_eq(call("reload", "okay\n"), -1);
    ck_assert_int_eq(errno, EPROTO);
}
END_TEST

START_TEST(test_nobody_there)
{
    int status;
    pid_t pid;

    ck_assert_int_eq(control_call(dir, "reload", &answer), -1);
    ck_assert_int_eq(errno, ENOENT);
    snprintf(asked, sizeof asked, "x\n");
    pid = serve(dir, "ok\n");
    ck_assert_int_eq(control_call(dir, "x", &answer), 0);
    waitpid(pid, &status, 0);
    ck_assert_int_eq(control_call(dir, "x", &answer), -1);
    ck_assert_int_eq(errno, ECONNREFUSED);
}
END_TEST

START_TEST(test_a_command_is_one_line)
{
    char big[CONTROL_LINE_MAX + 1];

    ck_assert_int_eq(control_call(dir, "a\nb", &answer), -1);
    ck_assert_int_eq(errno, EINVAL);
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    ck_assert_int_eq(control_call(dir, big, &answer), -1);
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(test_a_directory_longer_than_a_socket_address)
{
    char part[101], deep[256], path[300];
    int status;
    pid_t pid;

    memset(part, 'd', 100);
    part[100] = '\0';
    snprintf(deep, sizeof deep, "%s/%s", dir, part);
    ck_assert_int_eq(mkdir(deep, 0700), 0);
    snprintf(asked, sizeof asked, "x\n");
    pid = serve(dir, "ok\nhere");
    snprintf(path, sizeof path, "%s/rpd.sock", dir);
    ck_assert_int_eq(chdir(deep), 0);
    ck_assert_int_eq(rename(path, "rpd.sock"), 0);
    ck_assert_int_eq(control_call(deep, "x", &answer), 0);
    ck_assert_str_eq(answer.s, "here");
    waitpid(pid, &status, 0);
    unlink("rpd.sock");
    ck_assert_int_eq(chdir("/"), 0);
    rmdir(deep);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control");
    TCase *tcase = tcase_create("control");
    const TTest *const tests[] = {
        test_done, test_refused_with_every_line, test_in_pieces_and_without_text,
        test_text_longer_than_a_read, test_broken_off, test_no_answer, test_another_word,
        test_nobody_there, test_a_command_is_one_line,
        test_a_directory_longer_than_a_socket_address,
    };

    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
