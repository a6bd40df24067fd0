/* `rpctl recent`: the last streams of all workers and those in progress, out of their flight
 * recorders. Called by main; asks no daemon. */
#include <stdio.h>
#include <string.h>
#include "common/base/clock.h"
#include "ctl/ctl.h"
#include "ctl/load.h"
#include "ctl/streams.h"

static bool take_count(struct stream_filter *f, const char *text)
{
    uint64_t n;

    if (text && slice_u64(slice_str(text), &n) && n > 0 && n <= UINT32_MAX) {
        f->most = (size_t)n;
        return true;
    }
    ctl_error("recent: -n needs a number from 1");
    return false;
}

static bool take_options(struct stream_filter *f, char **args)
{
    for (; *args; args++) {
        if (strcmp(*args, "--errors") == 0) {
            f->is_errors = true;
        } else if (strcmp(*args, "--route") == 0) {
            f->route = *++args;
            if (!f->route) {
                ctl_error("recent: --route needs a name");
                return false;
            }
        } else if (strncmp(*args, "-n", 2) == 0) {
            const char *n = (*args)[2] ? *args + 2 : *++args;

            if (!take_count(f, n))
                return false;
        } else {
            ctl_error("recent: there is no option %s; see rpctl -h", *args);
            return false;
        }
    }
    return true;
}

static void note_gone(const struct streams *s)
{
    for (size_t i = 0; i < s->logs.n; i++)
        if (flight_log_is_alive(s->logs.v[i]->pid, s->logs.v[i]->worker))
            return;
    if (s->logs.n > 0)
        ctl_error("no worker is running; this is what they left behind");
}

static enum ctl_exit print(const struct ctl *ctl, const struct streams *s)
{
    enum ctl_exit status;
    struct strbuf out;
    struct json j;

    strbuf_init(&out);
    if (ctl->format == CTL_JSON) {
        json_init(&j, &out);
        streams_json(&j, NULL, s);
        strbuf_addc(&out, '\n');
    } else if (ctl->format == CTL_CSV) {
        streams_csv(&out, s);
    } else {
        streams_table(&out, s, ctl->is_colour);
    }
    status = ctl_print(&out);
    strbuf_fini(&out);
    return status;
}

enum ctl_exit ctl_recent(const struct ctl *ctl, char **args)
{
    struct stream_filter filter = { .is_errors = false };
    enum ctl_exit status = CTL_NO_DAEMON;
    struct streams s;
    uint64_t now;

    if (ctl->format == CTL_PROMETHEUS) {
        ctl_error("recent does not go with -o prometheus");
        return CTL_USAGE;
    }
    if (!take_options(&filter, args))
        return CTL_USAGE;
    if (!streams_read(&s, ctl->run_dir, "flight", true, -1)) {
        ctl_error("no worker of an rpd has a flight recorder in %s", ctl->run_dir);
    } else if (s.logs.n == 0) {
        status = CTL_FAILED; /* said */
    } else {
        now = clock_wall_us();
        for (size_t i = 0; i < s.logs.n; i++)
            streams_add(&s, s.logs.v[i], true, true, now);
        streams_select(&s, &filter);
        note_gone(&s);
        status = print(ctl, &s);
        if (s.is_damaged)
            status = CTL_FAILED;
    }
    streams_fini(&s);
    return status;
}
