/* `rpctl health`: each server's state, since when and why, its last check and its last failure, and
 * why it is out; certificates that expire (expiry.c). A daemon of before has not all of these.
 * Called by main; reads the segment alone. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common/base/mem.h"
#include "ctl/ctl.h"
#include "ctl/expiry.h"
#include "ctl/grid.h"
#include "ctl/load.h"
#include "ctl/output.h"
#include "ctl/human.h"

#define US_PER_S 1e6

static struct slice text_of(const struct model *m, const struct row *r, const char *field)
{
    const struct field *f = kind_field(r->kind, field);

    if (!f || (f->type != FIELD_TEXT && f->type != FIELD_ENUM))
        return SLICE("-");
    return row_text(m, r, f);
}

/* `3m12s`, or `-` for never. */
static const char *ago(const struct model *m, const struct row *r, const char *field,
                       char buf[HUMAN_MAX])
{
    uint64_t at = row_value_of(r, field);

    return at ? human_span(buf, ((double)m->read_us - (double)at) / US_PER_S) : "-";
}

/* How long until then, `now` if it has passed, `-` for never. */
static const char *until(const struct model *m, const struct row *r, const char *field,
                         char buf[HUMAN_MAX])
{
    uint64_t at = row_value_of(r, field);

    if (at == 0)
        return "-";
    return at > m->read_us ? human_latency(buf, (double)(at - m->read_us) / US_PER_S) : "now";
}

static bool is_error(struct slice error)
{
    return !slice_eq(error, SLICE("none")) && !slice_eq(error, SLICE("-"));
}

/* ---- what an operator set ---- */

/* `admin` and `weight`: the time when it was set by hand is 0 while it is as configured. */
static const struct {
    const char *since, *uid, *by;
} by_hand[] = {
    { "admin_since", "admin_uid", "admin_by" },
    { "weight_since", "weight_uid", "weight_by" },
};
enum { ADMIN_BY_HAND, WEIGHT_BY_HAND };

/* The user's name, or number where there is none; nothing while it is as configured. */
static void put_by(struct strbuf *out, const struct row *r, int what)
{
    unsigned long uid = (unsigned long)row_value_of(r, by_hand[what].uid);
    const struct passwd *pw;

    if (row_value_of(r, by_hand[what].since) == 0)
        return;
    pw = getpwuid((uid_t)uid);
    if (pw)
        strbuf_adds(out, pw->pw_name);
    else
        strbuf_printf(out, "%lu", uid);
}

/* `drain by root, 3m12s ago`; or ` as configured`. */
static void put_set(struct strbuf *out, const struct model *m, const struct row *r, int what)
{
    char buf[HUMAN_MAX];

    if (what == ADMIN_BY_HAND)
        strbuf_add(out, text_of(m, r, "admin"));
    else
        strbuf_printf(out, "weight %llu", (unsigned long long)row_value_of(r, "weight"));
    if (row_value_of(r, by_hand[what].since) == 0) {
        strbuf_adds(out, " as configured");
        return;
    }
    strbuf_adds(out, " by ");
    put_by(out, r, what);
    strbuf_printf(out, ", %s ago", ago(m, r, by_hand[what].since, buf));
}

/* All that is not as configured; empty when everything is. */
static void put_by_hand(struct strbuf *out, const struct model *m, const struct row *r)
{
    for (int i = ADMIN_BY_HAND; i <= WEIGHT_BY_HAND; i++)
        if (row_value_of(r, by_hand[i].since) != 0) {
            strbuf_adds(out, out->n ? "; " : "");
            put_set(out, m, r, i);
        }
}

/* ---- checks ---- */

/* `status 503`; the rest of results say all by themselves. */
static void put_check(struct strbuf *out, const struct model *m, const struct row *r)
{
    struct slice result = text_of(m, r, "check_result");

    if (!is_error(result))
        return;
    strbuf_add(out, result);
    if (slice_eq(result, SLICE("status")))
        strbuf_printf(out, " %llu", (unsigned long long)row_value_of(r, "check_status"));
}

/* Whether some server that is shown has been checked, or is going to be. */
static bool are_checked(const struct model *m, const struct kind *servers)
{
    for (size_t i = 0; i < m->rows.n; i++) {
        const struct row *r = &m->rows.v[i];

        if (r->kind == servers && r->is_shown
            && (row_value_of(r, "check_at") != 0 || row_value_of(r, "check_next") != 0))
            return true;
    }
    return false;
}

/* ---- why it is out ---- */

/* `down: checks failed: status 503`; `ejected: failures in a row: reset, for 8s more`. */
static void put_state(struct strbuf *out, const struct model *m, const struct row *r)
{
    struct slice why = text_of(m, r, "why"), error = text_of(m, r, "last_error");
    struct slice state = text_of(m, r, "state");
    bool is_checks = slice_eq(why, SLICE("checks failed"));
    char buf[HUMAN_MAX];

    strbuf_add(out, state);
    if (is_error(why) && !slice_eq(why, SLICE("as configured")))
        strbuf_printf(out, ": %.*s", SLICE_ARG(why));
    if (is_checks && is_error(text_of(m, r, "check_result"))) {
        strbuf_adds(out, ": ");
        put_check(out, m, r);
    } else if (!is_checks && is_error(error)) {
        strbuf_printf(out, ": %.*s", SLICE_ARG(error));
    }
    if (slice_eq(state, SLICE("ejected")) && row_value_of(r, "ejected_until") > m->read_us)
        strbuf_printf(out, ", for %s more", until(m, r, "ejected_until", buf));
}

/* Why the server takes no requests; empty when it does. */
static void put_why(struct strbuf *out, const struct model *m, const struct row *r)
{
    struct slice state = text_of(m, r, "state");

    if (server_is_usable(m, r))
        return;
    if (!slice_eq(text_of(m, r, "admin"), SLICE("ready"))) {
        put_set(out, m, r, ADMIN_BY_HAND);
        return;
    }
    if (!slice_eq(state, SLICE("down")) && !slice_eq(state, SLICE("ejected"))) {
        put_set(out, m, r, WEIGHT_BY_HAND);
        return;
    }
    put_state(out, m, r);
}

/* ---- forms ---- */

static void cell(struct grid *g, enum style style, struct slice s)
{
    char *text = xstrndup(s.p, s.n);

    grid_cell(g, style, text);
    free(text);
}

static void check_cells(struct grid *g, const struct model *m, const struct row *r)
{
    struct slice result = text_of(m, r, "check_result");
    enum style style = !is_error(result) || slice_eq(result, SLICE("passed")) ? STYLE_PLAIN
                                                                              : STYLE_BAD;
    char buf[HUMAN_MAX];
    struct strbuf check;

    strbuf_init(&check);
    put_check(&check, m, r);
    grid_cell(g, style, check.n ? check.s : "-");
    strbuf_fini(&check);
    grid_cell(g, STYLE_PLAIN, human_latency(buf, (double)row_value_of(r, "check_us") / US_PER_S));
    grid_cell(g, STYLE_PLAIN, ago(m, r, "check_at", buf));
    grid_cell(g, STYLE_PLAIN, until(m, r, "check_next", buf));
}

static void table_row(struct grid *g, const struct model *m, const struct row *r, bool has_checks)
{
    struct slice state = text_of(m, r, "state"), admin = text_of(m, r, "admin");
    struct slice error = text_of(m, r, "last_error");
    char buf[HUMAN_MAX];
    struct strbuf why;

    grid_cell(g, STYLE_PLAIN, r->name);
    cell(g, STYLE_PLAIN, text_of(m, r, "address"));
    cell(g, style_of_state(state), state);
    grid_cell(g, STYLE_PLAIN, ago(m, r, "since", buf));
    cell(g, STYLE_PLAIN, text_of(m, r, "why"));
    cell(g, style_of_state(admin), admin);
    grid_cell(g, STYLE_PLAIN, human_count(buf, (double)row_value_of(r, "weight")));
    if (has_checks)
        check_cells(g, m, r);
    cell(g, STYLE_PLAIN, is_error(error) ? error : SLICE("-"));
    grid_cell(g, STYLE_PLAIN, ago(m, r, "last_error_at", buf));
    strbuf_init(&why);
    put_by_hand(&why, m, r);
    grid_cell(g, STYLE_PLAIN, why.n ? why.s : "-");
    strbuf_clear(&why);
    put_why(&why, m, r);
    grid_cell(g, STYLE_BAD, why.n ? why.s : "-");
    strbuf_fini(&why);
}

static void put_columns(struct grid *g, bool has_checks)
{
    static const struct {
        const char *heading;
        bool is_left, is_check;
    } columns[] = {
        { "server", true, false }, { "address", true, false }, { "state", true, false },
        { "for", false, false }, { "because", true, false }, { "admin", true, false },
        { "weight", false, false }, { "last check", true, true }, { "took", false, true },
        { "ago", false, true }, { "next in", false, true }, { "last error", true, false },
        { "ago", false, false }, { "set by hand", true, false }, { "out because", true, false },
    };

    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        if (has_checks || !columns[i].is_check)
            grid_column(g, columns[i].heading, columns[i].is_left);
}

static void put_table(struct strbuf *out, const struct ctl *ctl, const struct model *m,
                      const struct kind *servers)
{
    bool has_checks = are_checked(m, servers);
    struct grid g;

    grid_init(&g);
    put_columns(&g, has_checks);
    for (size_t i = 0; i < m->rows.n; i++)
        if (m->rows.v[i].kind == servers && m->rows.v[i].is_shown)
            table_row(&g, m, &m->rows.v[i], has_checks);
    grid_print(out, &g, ctl->is_colour);
    grid_fini(&g);
}

static const char *const fields[] = { "address", "state", "since", "admin", "weight",
                                      "last_error", "last_error_at" };
static const char *const more_fields[] = { "checks_passed", "checks_failed", "check_result",
                                           "check_status", "check_at", "check_us", "check_next",
                                           "ejections", "ejected_until" };
#define COUNT(a) (sizeof(a) / sizeof *(a))

/* Names of who set what, "" while it is as configured; and when. */
static void json_by_hand(struct json *j, const struct model *m, const struct row *r)
{
    for (int i = ADMIN_BY_HAND; i <= WEIGHT_BY_HAND; i++) {
        const struct field *f = kind_field(r->kind, by_hand[i].since);
        struct strbuf by;

        strbuf_init(&by);
        put_by(&by, r, i);
        json_str(j, by_hand[i].by, strbuf_slice(&by));
        if (f)
            json_row_field(j, m, r, f);
        strbuf_fini(&by);
    }
}

static void json_fields(struct json *j, const struct model *m, const struct row *r,
                        const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct field *f = kind_field(r->kind, names[i]);

        if (f)
            json_row_field(j, m, r, f);
    }
}

/* `why` of the segment is the state's; here it has been why the server is out for longer. */
static void json_server(struct json *j, const struct model *m, const struct row *r)
{
    struct strbuf why;

    strbuf_init(&why);
    put_why(&why, m, r);
    json_object(j, r->own_name);
    json_fields(j, m, r, fields, COUNT(fields));
    if (kind_field(r->kind, "why"))
        json_str(j, "reason", text_of(m, r, "why"));
    json_fields(j, m, r, more_fields, COUNT(more_fields));
    json_by_hand(j, m, r);
    json_bool(j, "usable", server_is_usable(m, r));
    json_str(j, "why", strbuf_slice(&why));
    json_object_end(j);
    strbuf_fini(&why);
}

static void json_backend(struct json *j, const struct model *m, const struct row *backend)
{
    json_object(j, backend->name);
    json_u64(j, "servers_up", model_servers_up(m, backend));
    json_object(j, "servers");
    for (size_t i = backend->child; i != MODEL_NONE; i = m->rows.v[i].next)
        if (m->rows.v[i].is_shown)
            json_server(j, m, &m->rows.v[i]);
    json_object_end(j);
    json_object_end(j);
}

static void put_json(struct strbuf *out, const struct model *m, const struct kind *servers,
                     bool has_certificates)
{
    const struct kind *backends = &m->schema.kinds.v[servers->parent];
    struct json j;

    json_init(&j, out);
    json_object(&j, NULL);
    json_object(&j, backends->json);
    for (size_t i = 0; i < m->rows.n; i++) {
        const struct row *r = &m->rows.v[i];

        if (r->kind == backends && (r->child == MODEL_NONE ? false
                                                           : m->rows.v[r->child].is_shown))
            json_backend(&j, m, r);
    }
    json_object_end(&j);
    if (has_certificates)
        expiry_json(&j, m);
    json_object_end(&j);
    strbuf_addc(out, '\n');
}

static void csv_field(struct strbuf *out, const struct model *m, const struct row *r,
                      const char *name)
{
    const struct field *f = kind_field(r->kind, name);

    strbuf_addc(out, ',');
    if (f && (f->type == FIELD_TEXT || f->type == FIELD_ENUM))
        csv_value(out, row_text(m, r, f));
    else if (f && (f->type == FIELD_TIME || f->type == FIELD_UNTIL))
        strbuf_printf(out, "%.6f", (double)row_value(r, f) / US_PER_S);
    else if (f)
        strbuf_printf(out, "%llu", (unsigned long long)row_value(r, f));
}

static void csv_row(struct strbuf *out, const struct model *m, const struct row *r)
{
    struct strbuf why;

    csv_value(out, slice_str(r->name));
    for (size_t i = 0; i < COUNT(fields); i++)
        csv_field(out, m, r, fields[i]);
    strbuf_init(&why);
    put_why(&why, m, r);
    strbuf_addc(out, ',');
    csv_value(out, strbuf_slice(&why));
    strbuf_fini(&why);
    csv_field(out, m, r, "why");
    for (size_t i = 0; i < COUNT(more_fields); i++)
        csv_field(out, m, r, more_fields[i]);
    strbuf_addc(out, '\n');
}

static void put_csv(struct strbuf *out, const struct model *m, const struct kind *servers)
{
    strbuf_adds(out, "name,address,state,since,admin,weight,last_error,last_error_at,why,reason");
    for (size_t i = 0; i < COUNT(more_fields); i++)
        strbuf_printf(out, ",%s", more_fields[i]);
    strbuf_addc(out, '\n');
    for (size_t i = 0; i < m->rows.n; i++)
        if (m->rows.v[i].kind == servers && m->rows.v[i].is_shown)
            csv_row(out, m, &m->rows.v[i]);
}

/* ---- the command ---- */

static enum ctl_exit print(const struct ctl *ctl, const struct model *m,
                           const struct kind *servers, bool has_certificates)
{
    enum ctl_exit status;
    struct strbuf out;

    ctl_note_gone(m);
    strbuf_init(&out);
    switch (ctl->format) {
    case CTL_TABLE:
        put_table(&out, ctl, m, servers);
        if (has_certificates)
            expiry_table(&out, m, ctl->is_colour);
        break;
    case CTL_JSON:
        put_json(&out, m, servers, has_certificates);
        break;
    case CTL_CSV:
        put_csv(&out, m, servers);
        break;
    case CTL_PROMETHEUS:
        prometheus_model(&out, m, servers);
        break;
    }
    status = ctl_print(&out);
    strbuf_fini(&out);
    return status;
}

enum ctl_exit ctl_health(const struct ctl *ctl, char **args)
{
    const struct kind *servers;
    enum ctl_exit status;
    struct model *m;

    if (args[0] && args[1]) {
        ctl_error("health takes at most one backend");
        return CTL_USAGE;
    }
    m = ctl_load(ctl, &status);
    if (!m)
        return status;
    servers = schema_kind(&m->schema, "server");
    if (!servers || servers->shape != SHAPE_NESTED) {
        ctl_error("these statistics know no servers");
        status = CTL_FAILED;
    } else if (model_select(m, servers, args)) {
        ctl_error("there is no backend '%s'", args[0]);
        status = CTL_FAILED;
    } else
        status = print(ctl, m, servers, args[0] == NULL);
    model_free(&m);
    return status;
}
