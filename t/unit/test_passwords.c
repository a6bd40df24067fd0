/* Passwords: what is right, what is known, who is forgotten, what is too much. */
#include "worker/proxy/passwords.h"

#include <stdio.h>
#include <string.h>
#include "t/unit/unit.h"

/* crypt(3) of "right": a moment, and some tenths of a second of "x", which it does not fit. */
#define FAST "$5$rounds=1000$salt$"
#define X43 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define SLOW "$6$rounds=300000$salt$" X43 X43

struct asker {
    struct password_wait wait;
    int answers;
    bool is_good;
    struct asker *cancels; /* another, when the answer comes */
};

static struct loop loop;
static struct stats_worker stats;
static struct passwords *p;
static const char right[] = FAST "jmWlX.WMmU0.rE0RvWQVpnv3gAtcUKsIbtS2DDkjkW.";

static void on_answer(struct password_wait *w, bool is_good)
{
    struct asker *a = CONTAINER(w, struct asker, wait);

    a->answers++;
    a->is_good = is_good;
    if (a->cancels)
        passwords_cancel(p, &a->cancels->wait);
}

static void begin(void)
{
    ck_assert_int_eq(loop_init(&loop), 0);
    memset(&stats, 0, sizeof stats);
    p = passwords_new(&loop, &stats);
    ck_assert_ptr_nonnull(p);
}

static void end(void)
{
    passwords_free(&p);
    ck_assert_ptr_null(p);
    passwords_free(&p);
    loop_fini(&loop);
}

static enum passwords_answer ask(struct asker *a, const char *user, const char *password,
                                 const char *hash, bool is_known)
{
    const struct password_question q = { slice_str(user), slice_str(password), hash, is_known };

    *a = (struct asker){ .wait.answer = on_answer, .cancels = a->cancels };
    return passwords_ask(p, &q, &a->wait);
}

static void wait_for(const struct asker *a)
{
    while (a->answers == 0)
        ck_assert_int_eq(loop_once(&loop, 30000), 0);
    ck_assert_int_eq(a->answers, 1);
}

START_TEST(good_ones_are_known_after_that)
{
    struct asker a = { .answers = 0 };

    begin();
    ck_assert_int_eq(ask(&a, "ann", "right", right, true), PASSWORDS_WAIT);
    wait_for(&a);
    ck_assert(a.is_good);
    ck_assert_int_eq(ask(&a, "ann", "right", right, true), PASSWORDS_GOOD);
    /* Another user, another password, another hash, a user that there is not. */
    ck_assert_int_eq(ask(&a, "annr", "ight", right, true), PASSWORDS_WAIT);
    wait_for(&a);
    ck_assert(!a.is_good);
    ck_assert_int_eq(ask(&a, "bob", "right", right, true), PASSWORDS_WAIT);
    wait_for(&a);
    ck_assert(a.is_good);
    ck_assert_int_eq(ask(&a, "ann", "righ", right, true), PASSWORDS_WAIT);
    wait_for(&a);
    ck_assert(!a.is_good);
    ck_assert_int_eq(ask(&a, "ann", "right", FAST "x", true), PASSWORDS_WAIT);
    wait_for(&a);
    ck_assert(!a.is_good);
    ck_assert_int_eq(ask(&a, "ann", "right", right, false), PASSWORDS_WAIT);
    wait_for(&a);
    ck_assert(!a.is_good);
    ck_assert_uint_eq(stats.password_checks, 6);
    loop.now_us += UINT64_C(301) * 1000000;
    ck_assert_int_eq(ask(&a, "ann", "right", right, true), PASSWORDS_WAIT);
    wait_for(&a);
    ck_assert(a.is_good);
    end();
}
END_TEST

START_TEST(bad_ones_are_asked_each_time)
{
    static const char *const hashes[] = { "", "*0", "*1", "plain", "$5$", "$nope$x", FAST };
    struct asker a = { .answers = 0 };

    begin();
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        for (int k = 0; k < 2; k++) {
            ck_assert_int_eq(ask(&a, "ann", "", hashes[i], true), PASSWORDS_WAIT);
            wait_for(&a);
            ck_assert_msg(!a.is_good, "%s", hashes[i]);
        }
    }
    ck_assert_uint_eq(stats.password_checks, 14);
    end();
}
END_TEST

START_TEST(much_is_known)
{
    struct asker a = { .answers = 0 };
    char user[16];
    unsigned known = 0;

    begin();
    for (int i = 0; i < 1500; i++) {
        snprintf(user, sizeof user, "u%d", i);
        ck_assert_int_eq(ask(&a, user, "right", right, true), PASSWORDS_WAIT);
        wait_for(&a);
        loop.now_us++;
    }
    ck_assert_int_eq(ask(&a, user, "right", right, true), PASSWORDS_GOOD);
    for (int i = 0; i < 1500; i++) {
        snprintf(user, sizeof user, "u%d", i);
        if (ask(&a, user, "right", right, true) == PASSWORDS_GOOD) {
            known++;
        } else {
            passwords_cancel(p, &a.wait);
        }
    }
    ck_assert_uint_gt(known, 800);
    ck_assert_uint_le(known, 1024);
    end();
}
END_TEST

START_TEST(one_question_for_all_who_ask_it)
{
    struct asker a[3] = { { .cancels = NULL } };

    begin();
    a[0].cancels = &a[2];
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ask(&a[i], "ann", "x", SLOW, true), PASSWORDS_WAIT);
    wait_for(&a[0]);
    ck_assert_int_eq(a[1].answers, 1);
    ck_assert_int_eq(a[2].answers, 0);
    ck_assert_uint_eq(stats.password_checks, 1);
    end();
}
END_TEST

START_TEST(what_nobody_waits_for_is_not_checked)
{
    struct asker first = { .answers = 0 }, second = first, third = first;

    begin();
    ck_assert_int_eq(ask(&first, "ann", "x", SLOW, true), PASSWORDS_WAIT);
    ck_assert_int_eq(ask(&second, "ann", "y", SLOW, true), PASSWORDS_WAIT);
    ck_assert_int_eq(ask(&third, "ann", "right", right, true), PASSWORDS_WAIT);
    passwords_cancel(p, &second.wait);
    passwords_cancel(p, &first.wait);
    wait_for(&third);
    ck_assert(third.is_good);
    ck_assert_int_eq(first.answers + second.answers, 0);
    ck_assert_uint_le(stats.password_checks, 2);
    end();
}
END_TEST

START_TEST(the_queue_has_an_end)
{
    static struct asker a[PASSWORDS_WAITING_MAX + 1], more;
    char password[16];

    begin();
    for (int i = 0; i <= PASSWORDS_WAITING_MAX; i++) {
        snprintf(password, sizeof password, "%d", i);
        ck_assert_int_eq(ask(&a[i], "ann", password, SLOW, true), PASSWORDS_WAIT);
    }
    /* No answer was taken yet, so all of them count. */
    ck_assert_int_eq(ask(&more, "ann", "more", SLOW, true), PASSWORDS_FULL);
    ck_assert_uint_eq(stats.password_shed, 1);
    ck_assert_int_eq(ask(&more, "ann", password, SLOW, true), PASSWORDS_WAIT);
    passwords_cancel(p, &more.wait);
    for (int i = 0; i <= PASSWORDS_WAITING_MAX; i++)
        passwords_cancel(p, &a[i].wait);
    ck_assert_int_eq(ask(&more, "ann", "right", right, true), PASSWORDS_WAIT);
    wait_for(&more);
    ck_assert(more.is_good);
    end();
}
END_TEST

UNIT_MAIN("passwords", good_ones_are_known_after_that, bad_ones_are_asked_each_time, much_is_known,
          one_question_for_all_who_ask_it, what_nobody_waits_for_is_not_checked,
          the_queue_has_an_end)
