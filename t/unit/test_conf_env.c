/* ${NAME} in configuration values. */
#include "common/core/conf_env.h"
#include "t/unit/unit.h"

static void expect(const char *value, const char *want)
{
    struct strbuf out, error;

    strbuf_init(&out);
    strbuf_init(&error);
    ck_assert_msg(conf_env_expand(value, &out, &error), "%s: %s", value, error.s);
    ck_assert_str_eq(out.s, want);
    strbuf_fini(&out);
    strbuf_fini(&error);
}

static void expect_error(const char *value, const char *message)
{
    struct strbuf out, error;

    strbuf_init(&out);
    strbuf_init(&error);
    ck_assert_msg(!conf_env_expand(value, &out, &error), "%s", value);
    ck_assert_str_eq(error.s, message);
    strbuf_fini(&out);
    strbuf_fini(&error);
}

static void set_environment(void)
{
    setenv("RPD_T_HOST", "example.com", 1);
    setenv("RPD_T_EMPTY", "", 1);
    setenv("RPD_T_DOLLAR", "pa$word", 1);
    setenv("RPD_T_LINES", "a\nb = c", 1);
    unsetenv("RPD_T_NONE");
}

START_TEST(test_expands)
{
    set_environment();
    expect("", "");
    expect("plain", "plain");
    expect("${RPD_T_HOST}", "example.com");
    expect("http://${RPD_T_HOST}:${RPD_T_NONE:-80}/", "http://example.com:80/");
    expect("<${RPD_T_EMPTY}>", "<>");
    expect("${RPD_T_EMPTY:-full}", "full");
    expect("${RPD_T_HOST:-other}", "example.com");
    expect("<${RPD_T_NONE:-}>", "<>");
    expect("${RPD_T_NONE:-a:-b $host}", "a:-b $host");
}
END_TEST

START_TEST(test_leaves_variables_and_dollar_signs)
{
    set_environment();
    expect("$host$uri", "$host$uri");
    expect("$", "$");
    expect("$${RPD_T_HOST}", "$${RPD_T_HOST}");
    expect("$$${RPD_T_HOST}", "$$example.com");
}
END_TEST

START_TEST(test_dollar_of_environment_begins_no_variable)
{
    set_environment();
    expect("${RPD_T_DOLLAR}", "pa$$word");
}
END_TEST

START_TEST(test_errors)
{
    set_environment();
    expect_error("${RPD_T_NONE}", "environment variable RPD_T_NONE is not set (a fallback is "
                                  "written ${RPD_T_NONE:-fallback})");
    expect_error("a ${RPD_T_HOST", "no '}' ends '${'");
    expect_error("${}", "'${}' is neither ${NAME} nor ${NAME:-fallback}");
    expect_error("${1A}", "'${1A}' is neither ${NAME} nor ${NAME:-fallback}");
    expect_error("${A-b}", "'${A-b}' is neither ${NAME} nor ${NAME:-fallback}");
    expect_error("${A:-${B}}", "'${' within '${': a fallback holds no variable");
    expect_error("${RPD_T_LINES}", "environment variable RPD_T_LINES holds a control character");
}
END_TEST

UNIT_MAIN("conf_env", test_expands, test_leaves_variables_and_dollar_signs,
          test_dollar_of_environment_begins_no_variable, test_errors)
