/* The control socket's commands, in one table. Called by control.c; each is carried out by the
 * module that its function names, which may answer later. Owns nothing, blocks nowhere. */
#include "master/command.h"

#include "common/core/conf.h"
#include "master/admin.h"
#include "master/apply.h"
#include "master/canary.h"
#include "master/logs.h"
#include "master/master.h"
#include "master/reload.h"
#include "master/stop.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void on_reload(struct client *c, struct slice args)
{
    (void)args;
    reload_request(c->master, c);
}

static void on_stop(struct client *c, struct slice args)
{
    (void)args;
    stop_now(c->master, c);
}

static void on_quit(struct client *c, struct slice args)
{
    (void)args;
    stop_gently(c->master, c);
}

static void on_reopen(struct client *c, struct slice args)
{
    struct strbuf why;
    bool is_ok;

    (void)args;
    strbuf_init(&why);
    is_ok = logs_reopen(c->master, &why);
    control_answer(c, is_ok, is_ok ? SLICE("logs reopened\n") : strbuf_slice(&why));
    strbuf_fini(&why);
}

static void on_config(struct client *c, struct slice args)
{
    struct slice file = args, word = slice_cut(&file, '\t');
    struct strbuf text;

    if (slice_eq(word, SLICE("diff"))) {
        if (!upgrade_refuses(c))
            apply_diff_ask(c, file);
        return;
    }
    if (word.n > 0) {
        control_answer(c, false, SLICE("config takes no arguments but diff FILE\n"));
        return;
    }
    strbuf_init(&text);
    origin_print(c->master, &text);
    apply_print(c->master, &text);
    conf_print(c->master->generation.conf, &text);
    control_answer(c, true, strbuf_slice(&text));
    strbuf_fini(&text);
}

static void on_apply(struct client *c, struct slice args)
{
    if (!upgrade_refuses(c))
        apply_ask(c, args);
}

static void on_confirm(struct client *c, struct slice args)
{
    (void)args;
    if (!upgrade_refuses(c))
        apply_confirm(c);
}

static void on_rollback(struct client *c, struct slice args)
{
    (void)args;
    if (!upgrade_refuses(c))
        apply_rollback(c);
}

static void on_version(struct client *c, struct slice args)
{
    (void)args;
    control_answer(c, true, SLICE("rpd " RPD_VERSION "\n"));
}

static void on_upgrade(struct client *c, struct slice args)
{
    (void)args;
    upgrade_request(c->master, c);
}

static const struct {
    const char *name;
    bool has_args;
    void (*fn)(struct client *c, struct slice args);
} commands[] = {
    { "apply", true, on_apply },
    { "canary", true, canary_command },
    { "config", true, on_config },
    { "confirm", false, on_confirm },
    { "quit", false, on_quit },
    { "reload", false, on_reload },
    { "reopen", false, on_reopen },
    { "rollback", false, on_rollback },
    { "server", true, admin_server },
    { "stop", false, on_stop },
    { "upgrade", false, on_upgrade },
    { "version", false, on_version },
};

static void unknown(struct client *c, struct slice name)
{
    struct strbuf no;

    strbuf_init(&no);
    strbuf_printf(&no, "unknown command '%.*s'; there are", SLICE_ARG(name));
    for (size_t i = 0; i < COUNT(commands); i++)
        strbuf_printf(&no, " %s", commands[i].name);
    strbuf_addc(&no, '\n');
    control_answer(c, false, strbuf_slice(&no));
    strbuf_fini(&no);
}

static void run(struct client *c, size_t i, struct slice args)
{
    struct strbuf no;

    if (args.n == 0 || commands[i].has_args) {
        commands[i].fn(c, args);
        return;
    }
    strbuf_init(&no);
    strbuf_printf(&no, "%s takes no arguments\n", commands[i].name);
    control_answer(c, false, strbuf_slice(&no));
    strbuf_fini(&no);
}

void command_run(struct client *c, struct slice line)
{
    struct slice args = line, name;

    if (line.n > 0 && line.p[line.n - 1] == '\r')
        args.n--;
    name = slice_cut(&args, '\t');
    for (size_t i = 0; i < COUNT(commands); i++)
        if (slice_eq(name, slice_str(commands[i].name))) {
            run(c, i, args);
            return;
        }
    unknown(c, name);
}
