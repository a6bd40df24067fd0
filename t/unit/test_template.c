/* Templates: literal texts and request variables. */
#include "common/core/template.h"
#include "t/unit/unit.h"

/* Parses what must be right. */
static struct template parsed(const char *source)
{
    struct template t;
    struct strbuf error;

    strbuf_init(&error);
    ck_assert_msg(template_parse(&t, slice_str(source), &error), "%s: %s", source, error.s);
    ck_assert_uint_eq(error.n, 0);
    strbuf_fini(&error);
    return t;
}

static void expect_part(const struct template *t, size_t i, enum var_id var, const char *text)
{
    ck_assert_uint_lt(i, t->n);
    ck_assert_int_eq(t->parts[i].var, var);
    ck_assert(slice_eq(t->parts[i].text, slice_str(text)));
}

START_TEST(test_literal)
{
    struct template t = parsed("a literal");

    ck_assert(template_is_literal(&t));
    ck_assert_uint_eq(t.n, 1);
    expect_part(&t, 0, VAR_LITERAL, "a literal");
    ck_assert(slice_eq(t.source, SLICE("a literal")));
    template_fini(&t);
    ck_assert_uint_eq(t.n, 0);
}
END_TEST

START_TEST(test_empty)
{
    struct template t = parsed("");

    ck_assert(template_is_literal(&t));
    ck_assert_uint_eq(t.n, 0);
    template_fini(&t);
    template_fini(&t);
}
END_TEST

START_TEST(test_variables_between_literals)
{
    struct template t = parsed("https://$host$uri?x=$query-");

    ck_assert(!template_is_literal(&t));
    ck_assert_uint_eq(t.n, 6);
    expect_part(&t, 0, VAR_LITERAL, "https://");
    expect_part(&t, 1, VAR_HOST, "");
    expect_part(&t, 2, VAR_URI, "");
    expect_part(&t, 3, VAR_LITERAL, "?x=");
    expect_part(&t, 4, VAR_QUERY, "");
    expect_part(&t, 5, VAR_LITERAL, "-");
    template_fini(&t);
}
END_TEST

START_TEST(test_variable_with_argument)
{
    struct template t = parsed("$header_X_Forwarded_For $cookie_id");

    expect_part(&t, 0, VAR_HEADER, "X_Forwarded_For");
    expect_part(&t, 1, VAR_LITERAL, " ");
    expect_part(&t, 2, VAR_COOKIE, "id");
    template_fini(&t);
}
END_TEST

START_TEST(test_dollar_sign)
{
    struct template t = parsed("$$5 for $$host$$");

    ck_assert(template_is_literal(&t));
    expect_part(&t, 0, VAR_LITERAL, "$5 for $host$");
    ck_assert(slice_eq(t.source, SLICE("$$5 for $$host$$")));
    template_fini(&t);
}
END_TEST

START_TEST(test_captures_are_one_digit)
{
    struct template t = parsed("/$2x/$10");

    expect_part(&t, 1, VAR_CAPTURE, "2");
    expect_part(&t, 2, VAR_LITERAL, "x/");
    expect_part(&t, 3, VAR_CAPTURE, "1");
    expect_part(&t, 4, VAR_LITERAL, "0");
    ck_assert_uint_eq(template_captures(&t), 3);
    template_fini(&t);
    t = parsed("$0");
    ck_assert_uint_eq(template_captures(&t), 1);
    template_fini(&t);
    t = parsed("$$1 $host");
    ck_assert_uint_eq(template_captures(&t), 0);
    template_fini(&t);
}
END_TEST

START_TEST(test_every_variable_parses)
{
#define VAR(ID, name, help)                                                                    \
    do {                                                                                       \
        struct template t = parsed("<$" name ">");                                             \
        expect_part(&t, 1, VAR_##ID, "");                                                      \
        template_fini(&t);                                                                     \
    } while (0);
#define VAR_PREFIX(ID, name, help)                                                             \
    do {                                                                                       \
        struct template t = parsed("<$" name "x>");                                            \
        expect_part(&t, 1, VAR_##ID, "x");                                                     \
        template_fini(&t);                                                                     \
    } while (0);
#include "common/core/vars.def"
#undef VAR
#undef VAR_PREFIX
}
END_TEST

static void expect_error(const char *source, const char *message)
{
    struct template t;
    struct strbuf error;

    strbuf_init(&error);
    strbuf_adds(&error, "old");
    ck_assert_msg(!template_parse(&t, slice_str(source), &error), "%s", source);
    ck_assert_str_eq(error.s, message);
    strbuf_fini(&error);
}

START_TEST(test_errors)
{
    const char *lone = "a '$' that begins no variable: a dollar sign is written '$$'";

    expect_error("x $hots", "'$hots' is no variable (did you mean '$host'?)");
    expect_error("$certificate", "'$certificate' is no variable");
    expect_error("$", lone);
    expect_error("5$ left", lone);
    expect_error("${host}", lone);
    expect_error("$header_", "'$header_' needs a name behind it");
    expect_error("$HOST", "'$HOST' is no variable (did you mean '$host'?)");
}
END_TEST

UNIT_MAIN("template", test_literal, test_empty, test_variables_between_literals,
          test_variable_with_argument, test_dollar_sign, test_captures_are_one_digit,
          test_every_variable_parses, test_errors)
