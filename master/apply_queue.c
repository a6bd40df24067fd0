/* Clients that want the reader wait here for their turn: an apply, which then is apply.c's, and
 * `config diff`, which is compared and done with. Also how an apply stands, in words. Called by
 * command.c and reload.c; never blocks. */
#include <assert.h>
#include <stdlib.h>
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "master/apply.h"
#include "master/changes.h"
#include "master/master.h"

static unsigned long long number_of(const struct generation *g)
{
    return (unsigned long long)g->number;
}

/* ---- in words ---- */

void apply_reason(const struct master *m, struct strbuf *out)
{
    const struct apply *a = &m->apply;
    char at[CLOCK_TEXT_MAX];

    strbuf_printf(out, "generation %llu (%s) ", number_of(&m->generation), a->file);
    switch (a->phase) {
    case APPLY_PENDING:
        strbuf_printf(out, "is unconfirmed until %s: rpctl confirm or rpctl rollback first\n",
                      origin_when(a->until_us, at));
        break;
    case APPLY_TRIAL:
        strbuf_printf(out, "is tried by worker 0 until %s: wait, or rpctl rollback first\n",
                      origin_when(a->until_us, at));
        break;
    case APPLY_BACK:
        strbuf_printf(out, "is being rolled back: %s\n", a->why.s);
        break;
    case APPLY_NONE:
    case APPLY_SWAPPING:
    case APPLY_SPREADING:
        strbuf_adds(out, "is being applied: wait, or rpctl rollback first\n");
        break;
    }
}

void apply_put_bound(const struct apply *a, struct strbuf *out)
{
    if (a->request.has_bound) {
        strbuf_adds(out, ", or at once if ");
        apply_bound_print(a->request.bound, out);
    }
}

void apply_print(const struct master *m, struct strbuf *out)
{
    const struct apply *a = &m->apply;
    char at[CLOCK_TEXT_MAX];

    switch (a->phase) {
    case APPLY_NONE:
        break;
    case APPLY_SWAPPING:
    case APPLY_SPREADING:
        strbuf_adds(out, "; being applied: workers are taking it\n");
        break;
    case APPLY_TRIAL:
        strbuf_printf(out, "; on trial: worker 0 alone has it, until %s\n",
                      origin_when(a->until_us, at));
        break;
    case APPLY_PENDING:
        strbuf_printf(out, "; unconfirmed: the configuration of generation %llu is back at %s",
                      number_of(&a->before), origin_when(a->until_us, at));
        apply_put_bound(a, out);
        strbuf_addc(out, '\n');
        break;
    case APPLY_BACK:
        strbuf_printf(out, "; being rolled back: %s\n", a->why.s);
        break;
    }
}

/* ---- the queue ---- */

static bool parse(struct apply_request *r, struct slice args, struct strbuf *error)
{
    struct slice words[APPLY_WORDS_MAX], rest = args;
    size_t n = 0;

    while (rest.p && rest.n > 0 && n < APPLY_WORDS_MAX)
        words[n++] = slice_cut(&rest, '\t');
    if (rest.n > 0)
        strbuf_adds(error, "too many words");
    else if (apply_request_parse(r, words, n, error)) {
        if (r->file.p[0] == '/')
            return true;
        strbuf_printf(error, "'%.*s' does not begin with a slash", SLICE_ARG(r->file));
    }
    return false;
}

static void refuse(struct client *c, const char *what, struct strbuf *why)
{
    struct strbuf text;

    strbuf_init(&text);
    strbuf_printf(&text, "%s%.*s\n", what, (int)why->n, why->s);
    control_answer(c, false, strbuf_slice(&text));
    strbuf_fini(&text);
}

static void wait_turn(struct client *c, struct slice args)
{
    if (c->master->phase == MASTER_RETIRING || c->master->phase == MASTER_STOPPING) {
        control_answer(c, false, SLICE("rpd is stopping\n"));
        return;
    }
    c->args = args;
    list_push(&c->master->apply.queue, &c->waiting);
    reload_poke(c->master);
}

void apply_ask(struct client *c, struct slice args)
{
    struct apply_request request;
    struct strbuf error;

    strbuf_init(&error);
    if (parse(&request, args, &error))
        wait_turn(c, args);
    else
        refuse(c, "apply: ", &error);
    strbuf_fini(&error);
}

void apply_diff_ask(struct client *c, struct slice file)
{
    if (file.n == 0 || file.p[0] != '/')
        control_answer(c, false, SLICE("config diff: a file whose name begins with a slash\n"));
    else {
        c->is_diff = true;
        wait_turn(c, file);
    }
}

static void begin_apply(struct master *m, struct client *c)
{
    struct apply *a = &m->apply;
    struct strbuf text;
    bool is_good;

    strbuf_init(&text);
    if (a->phase != APPLY_NONE) {
        apply_reason(m, &text);
        control_answer(c, false, strbuf_slice(&text));
    } else {
        is_good = parse(&a->request, c->args, &text); /* as when it was asked for */
        assert(is_good);
        a->file = xstrndup(a->request.file.p, a->request.file.n);
        a->request.file = slice_str(a->file);
        a->uid = c->uid;
        list_push(&a->clients, &c->waiting);
        reload_begin(m, RELOAD_APPLY, a->file);
    }
    strbuf_fini(&text);
}

static void begin_diff(struct master *m, struct client *c)
{
    struct apply *a = &m->apply;

    free(a->diff_file);
    a->diff_file = xstrndup(c->args.p, c->args.n);
    list_push(&a->diffing, &c->waiting);
    reload_begin(m, RELOAD_DIFF, a->diff_file);
}

void apply_next(struct master *m)
{
    struct list *it;

    while (reload_is_free(m) && (it = list_shift(&m->apply.queue)) != NULL) {
        struct client *c = CONTAINER(it, struct client, waiting);

        if (c->is_diff)
            begin_diff(m, c);
        else
            begin_apply(m, c);
    }
}

void apply_make_way(struct master *m)
{
    LIST_EACH(it, &m->apply.queue)
        (void)upgrade_refuses(CONTAINER(it, struct client, waiting));
}

void apply_diff_again(struct master *m)
{
    struct list *it = list_shift(&m->apply.diffing);

    if (it)
        list_unshift(&m->apply.queue, it);
}

static void answer_diff(struct master *m, bool is_ok, const struct strbuf *text)
{
    LIST_EACH(it, &m->apply.diffing)
        control_answer(CONTAINER(it, struct client, waiting), is_ok, strbuf_slice(text));
}

static void compare(struct master *m, struct generation *next, struct report *report,
                    struct strbuf *out)
{
    struct strbuf counts, lines;

    strbuf_init(&counts);
    strbuf_init(&lines);
    kept_restore(&m->kept, next->conf, report);
    strbuf_add(out, strbuf_slice(&report->text));
    if (changes_describe(m->generation.conf, next->conf, &counts, &lines))
        strbuf_printf(out, "%s: %s\n%s", m->apply.diff_file, counts.s, lines.s);
    else
        strbuf_adds(out, "nothing changes\n");
    strbuf_fini(&counts);
    strbuf_fini(&lines);
}

void apply_diffed(struct master *m, int bundle, int keyring, struct report *report)
{
    struct generation next;
    struct strbuf text;

    if (bundle < 0 || !generation_open(&next, bundle, keyring, report)) {
        answer_diff(m, false, &report->text);
        return;
    }
    strbuf_init(&text);
    compare(m, &next, report, &text);
    answer_diff(m, true, &text);
    strbuf_fini(&text);
    generation_fini(&next);
}
