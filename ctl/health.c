/* `rpctl health`: each server's state, since when, its last failure and why it is out; certificates
 * that expire (expiry.c). Called by main; reads the segment alone. */
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

/* Why the server takes no requests; empty when it does. */
static void put_why(struct strbuf *out, const struct model *m, const struct row *r)
{
    struct slice state = text_of(m, r, "state"), error = text_of(m, r, "last_error");

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
    strbuf_add(out, state);
    if (is_error(error))
        strbuf_printf(out, ": %.*s", SLICE_ARG(error));
}

/* ---- forms ---- */

static void cell(struct grid *g, enum style style, struct slice s)
{
    char *text = xstrndup(s.p, s.n);

    grid_cell(g, style, text);
    free(text);
}

static void table_row(struct grid *g, const struct model *m, const struct row *r)
{
    struct slice state = text_of(m, r, "state"), admin = text_of(m, r, "admin");
    struct slice error = text_of(m, r, "last_error");
    char buf[HUMAN_MAX];
    struct strbuf why;

    grid_cell(g, STYLE_PLAIN, r->name);
    cell(g, STYLE_PLAIN, text_of(m, r, "address"));
    cell(g, style_of_state(state), state);
    grid_cell(g, STYLE_PLAIN, ago(m, r, "since", buf));
    cell(g, style_of_state(admin), admin);
    grid_cell(g, STYLE_PLAIN, human_count(buf, (double)row_value_of(r, "weight")));
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

static void put_table(struct strbuf *out, const struct ctl *ctl, const struct model *m,
                      const struct kind *servers)
{
    struct grid g;

    grid_init(&g);
    grid_column(&g, "server", true);
    grid_column(&g, "address", true);
    grid_column(&g, "state", true);
    grid_column(&g, "for", false);
    grid_column(&g, "admin", true);
    grid_column(&g, "weight", false);
    grid_column(&g, "last error", true);
    grid_column(&g, "ago", false);
    grid_column(&g, "set by hand", true);
    grid_column(&g, "out because", true);
    for (size_t i = 0; i < m->rows.n; i++)
        if (m->rows.v[i].kind == servers && m->rows.v[i].is_shown)
            table_row(&g, m, &m->rows.v[i]);
    grid_print(out, &g, ctl->is_colour);
    grid_fini(&g);
}

static const char *const fields[] = { "address", "state", "since", "admin", "weight",
                                      "last_error", "last_error_at" };

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

static void json_server(struct json *j, const struct model *m, const struct row *r)
{
    struct strbuf why;

    strbuf_init(&why);
    put_why(&why, m, r);
    json_object(j, r->own_name);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const struct field *f = kind_field(r->kind, fields[i]);

        if (f)
            json_row_field(j, m, r, f);
    }
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

static void put_csv(struct strbuf *out, const struct model *m, const struct kind *servers)
{
    strbuf_adds(out, "name,address,state,since,admin,weight,last_error,last_error_at,why\n");
    for (size_t i = 0; i < m->rows.n; i++) {
        const struct row *r = &m->rows.v[i];
        struct strbuf why;

        if (r->kind != servers || !r->is_shown)
            continue;
        csv_value(out, slice_str(r->name));
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
            const struct field *f = kind_field(r->kind, fields[k]);

            strbuf_addc(out, ',');
            if (f && (f->type == FIELD_TEXT || f->type == FIELD_ENUM))
                csv_value(out, row_text(m, r, f));
            else if (f && f->type == FIELD_TIME)
                strbuf_printf(out, "%.6f", (double)row_value(r, f) / US_PER_S);
            else if (f)
                strbuf_printf(out, "%llu", (unsigned long long)row_value(r, f));
        }
        strbuf_init(&why);
        put_why(&why, m, r);
        strbuf_addc(out, ',');
        csv_value(out, strbuf_slice(&why));
        strbuf_addc(out, '\n');
        strbuf_fini(&why);
    }
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
