/* Handing over and taking over: takeover.h. Called by upgrade.c before an exec, and by start.c
 * behind it. What is in the record is whoever's it says; it becomes ours line by line. */
#include "master/takeover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/core/carry.h"
#include "common/core/ipc.h"
#include "master/handing.h"
#include "master/limiting.h"
#include "master/master.h"
#include "master/segments.h"
#include "master/start.h"
#include "master/supervise.h"

#define RECORD_MAX ((size_t)16 << 20)
#define DISMISSED_MS 30000 /* for a worker of before that is not known well enough */

/* ---- the predecessor ---- */

static void hand_rpd(struct master *m, struct handing *h, const char *mode)
{
    bool is_back = m->takeover.bundle >= 0;
    int keyring = is_back ? m->takeover.keyring : m->generation.keyring;

    handoff_kind(&h->text, "rpd");
    handoff_text(&h->text, "mode", slice_str(mode));
    handoff_text(&h->text, "version", SLICE(RPD_VERSION));
    handoff_text(&h->text, "run_dir", slice_str(m->run_dir));
    handoff_number(&h->text, "generation", m->generation.number);
    handoff_number(&h->text, "workers", m->nworkers);
    handing_fd(h, "segment", segment_fd(m->segment));
    /* What gives the process back gives it back with the configuration it had. */
    handing_fd(h, "bundle", is_back ? m->takeover.bundle : m->generation.bundle);
    if (keyring >= 0)
        handing_fd(h, "keyring", keyring);
    fd_close(&m->takeover.handed_names);
    m->takeover.handed_names = names_seal(&m->names, 0);
    if (m->takeover.handed_names >= 0)
        handing_fd(h, "names", m->takeover.handed_names);
    rotation_hand(m, h);
    limiting_hand(m, h);
}

static void hand_workers(struct master *m, struct handing *h)
{
    for (unsigned i = 0; i < STATS_WORKERS_MAX; i++) {
        const struct worker *w = &m->workers[i];

        if (!worker_is_alive(w) || w->channel.fd < 0)
            continue;
        handing_worker(h, w->pid, i, w->channel.fd);
        handoff_number(&h->text, "from_slot", w->slot);
        handing_fd(h, "from", segment_fd(m->segment));
        handoff_number(&h->text, "told", w->phase == PHASE_LEAVING && !w->is_retire_due);
        handoff_end(&h->text);
    }
    retirees_hand(m, h);
}

static void hand_failed(const struct master *m, struct handing *h)
{
    if (m->takeover.why.n == 0)
        return;
    handoff_kind(&h->text, "failed");
    handoff_text(&h->text, "why", strbuf_slice(&m->takeover.why));
    handoff_end(&h->text);
}

void takeover_hand(struct master *m, struct handing *h)
{
    hand_rpd(m, h, "upgrade");
    handing_fd(h, "lock", m->pidfile.fd);
    handing_program(h, "previous");
    handoff_end(&h->text);
    hand_failed(m, h);
    control_hand(m, h);
    listen_hand(&m->listen, h);
    hand_workers(m, h);
}

void takeover_hand_trial(struct master *m, struct handing *h, int status)
{
    hand_rpd(m, h, "trial");
    handing_fd(h, "status", status);
    handoff_end(&h->text);
    listen_hand(&m->listen, h);
}

/* ---- reading the record ---- */

static int fd_of(struct slice words, const char *key)
{
    uint64_t fd;

    if (!handoff_get(words, key, &fd) || fd > INT32_MAX || fcntl((int)fd, F_GETFD) < 0)
        return -1;
    (void)fd_cloexec((int)fd, true);
    return (int)fd;
}

static bool read_record(struct takeover *t, const char *number)
{
    uint64_t fd;
    char path[64];

    if (!slice_u64(slice_str(number), &fd) || fd > INT32_MAX)
        return false;
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", (int)fd);
    if (fd_read_file(path, RECORD_MAX, &t->text) != 0)
        return false;
    (void)close((int)fd);
    return true;
}

/* The line of kind `rpd`. */
static bool rpd_line(const struct takeover *t, struct slice *words)
{
    struct slice text = strbuf_slice(&t->text), kind;

    if (!handoff_is_one(&text))
        return false;
    while (handoff_next(&text, &kind, words))
        if (slice_eq(kind, SLICE("rpd")))
            return true;
    return false;
}

/* A program that was given the process back does not give it on. */
static void read_failed(struct takeover *t)
{
    struct slice text = strbuf_slice(&t->text), kind, words;

    while (handoff_next(&text, &kind, &words))
        if (slice_eq(kind, SLICE("failed")) && handoff_get_text(words, "why", &t->failed))
            fd_close(&t->previous);
}

bool takeover_begin(struct master *m)
{
    struct takeover *t = &m->takeover;
    const char *number = getenv(HANDING_VARIABLE);
    struct strbuf mode;
    struct slice words;
    bool is_good;

    *t = (struct takeover){ .previous = -1, .bundle = -1, .keyring = -1, .names = -1,
                              .handed_names = -1, .status = -1 };
    strbuf_init(&t->text);
    strbuf_init(&t->version);
    strbuf_init(&t->failed);
    strbuf_init(&t->why);
    if (!number)
        return true;
    strbuf_init(&mode);
    is_good = read_record(t, number) && rpd_line(t, &words)
              && handoff_get_text(words, "mode", &mode);
    handing_forget(); /* which ends `number` */
    if (is_good) {
        t->kind = strcmp(mode.s, "trial") == 0 ? TAKEOVER_TRIAL : TAKEOVER_UPGRADE;
        t->is_untouched = true;
        t->previous = fd_of(words, "previous");
        t->status = fd_of(words, "status");
        t->names = fd_of(words, "names");
        (void)handoff_get_text(words, "version", &t->version);
        read_failed(t);
    } else
        log_errorx("the hand-off of the program before cannot be read");
    strbuf_fini(&mode);
    return is_good;
}

/* ---- adopting: sockets ---- */

static bool adopt_socket(struct master *m, struct slice words)
{
    bool is_trial = m->takeover.kind == TAKEOVER_TRIAL;
    uint64_t slot = 0, is_shared = 0;
    struct strbuf key;
    int fd = fd_of(words, "fd");
    bool is_good;

    strbuf_init(&key);
    is_good = fd >= 0 && handoff_get(words, "slot", &slot)
              && handoff_get(words, "shared", &is_shared) && handoff_get_text(words, "key", &key)
              && listen_adopt(&m->listen, key.s, (unsigned)slot, is_shared != 0, fd, !is_trial);
    if (!is_good)
        log_errorx("hand-off: the socket of %s cannot be taken", key.n ? key.s : "?");
    strbuf_fini(&key);
    return is_good;
}

/* ---- adopting: workers and what they counted ---- */

/* Old segments by the descriptor that the record gives, so that each is opened once. */
struct sources {
    VEC(struct source { int fd; struct carry *carry; }) v;
};

static struct carry *source_of(struct sources *s, int fd)
{
    struct source *new;
    int own;

    for (size_t i = 0; i < s->v.n; i++)
        if (s->v.v[i].fd == fd)
            return s->v.v[i].carry;
    own = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    new = VEC_PUSH(&s->v);
    *new = (struct source){ fd, own < 0 ? NULL : carry_open(own) };
    return new->carry;
}

static void sources_fini(struct sources *s)
{
    for (size_t i = 0; i < s->v.n; i++) {
        carry_unref(&s->v.v[i].carry);
        fd_close(&s->v.v[i].fd);
    }
    VEC_FREE(&s->v);
}

/* Slots of the last segment whose counts are those of processes that live: of the record's. */
static void living_slots(const struct takeover *t, int segment, bool *is_living)
{
    struct slice text = strbuf_slice(&t->text), kind, words;
    uint64_t slot;

    (void)handoff_is_one(&text);
    while (handoff_next(&text, &kind, &words)) {
        uint64_t from = UINT64_MAX;

        if (!slice_eq(kind, SLICE("worker")))
            continue;
        (void)handoff_get(words, "from", &from);
        if (handoff_get(words, from == (uint64_t)segment ? "from_slot" : "slot", &slot)
            && slot < STATS_SLOTS_MAX)
            is_living[slot] = true;
    }
}

/* The counts of all that has ended, in one slot. */
unsigned takeover_carry_ended(struct master *m, struct carry *c, const bool *is_living)
{
    unsigned slot;

    if (carry_objects(c, m->segment) != 0) {
        log_error("statistics of before");
        return SLOT_NONE;
    }
    carry_shared(c, m->segment);
    slot = slots_take(&m->slots, m->segment);
    for (unsigned i = 0; slot != SLOT_NONE && i < carry_slots(c); i++)
        if (!is_living[i])
            carry_slot(c, i, m->segment, slot, CARRY_ADD);
    return slot;
}

/* This daemon's workers have the lowest slots, as in any segment. */
void takeover_reserve_slots(struct master *m, uint64_t workers)
{
    for (unsigned i = 0; i < workers && i < STATS_WORKERS_MAX; i++)
        m->workers[i].slot = slots_take(&m->slots, m->segment);
}

/* It is nobody's any more: what it has, it finishes. */
static void dismiss(int *channel)
{
    struct ipc_msg msg = { .type = IPC_RETIRE, .number = DISMISSED_MS };

    if (*channel >= 0)
        (void)ipc_send(*channel, &msg);
    fd_close(channel);
}

static void adopt_worker(struct master *m, struct slice words, struct sources *sources)
{
    struct retiree_facts r = { .channel = fd_of(words, "fd") };
    uint64_t pid = 0, index = 0, slot = 0, is_told = 0;

    r.from = source_of(sources, fd_of(words, "from"));
    if (!r.from || r.channel < 0 || !handoff_get(words, "pid", &pid)
        || !handoff_get(words, "from_slot", &slot)) {
        log_errorx("hand-off: worker %d cannot be taken: it retires", (int)pid);
        dismiss(&r.channel);
        return;
    }
    (void)handoff_get(words, "index", &index);
    (void)handoff_get(words, "told", &is_told);
    r.pid = (pid_t)pid;
    r.index = (unsigned)index;
    r.from_slot = (unsigned)slot;
    r.is_told = is_told != 0;
    r.slot = slots_take(&m->slots, m->segment);
    if (retiree_add(m, &r) != 0)
        log_warn("earlier worker %u (pid %d)", r.index, (int)r.pid);
}

/* ---- adopting: the whole ---- */

static bool adopt_line(struct master *m, struct slice kind, struct slice words,
                       struct sources *sources)
{
    if (slice_eq(kind, SLICE("socket")))
        return adopt_socket(m, words);
    if (m->takeover.kind == TAKEOVER_TRIAL)
        return true;
    if (slice_eq(kind, SLICE("worker")))
        adopt_worker(m, words, sources);
    else if (slice_eq(kind, SLICE("control")))
        return control_adopt(m, fd_of(words, "fd"));
    else if (slice_eq(kind, SLICE("client")))
        client_adopt(m, fd_of(words, "fd"), words);
    return true;
}

static bool adopt_lines(struct master *m, struct sources *sources)
{
    struct slice text = strbuf_slice(&m->takeover.text), kind, words;
    bool is_good = true;

    (void)handoff_is_one(&text);
    while (handoff_next(&text, &kind, &words))
        is_good = adopt_line(m, kind, words, sources) && is_good;
    return is_good;
}

/* The configuration of before: a build that cannot read it takes all that it configures for new. */
static void adopt_generation(struct master *m, struct slice words)
{
    struct report report;
    int bundle = fd_of(words, "bundle"), keyring = fd_of(words, "keyring");
    int tickets = fd_of(words, "tickets");
    uint64_t number = 0;

    report_init(&report);
    m->takeover.bundle = bundle < 0 ? -1 : fcntl(bundle, F_DUPFD_CLOEXEC, 3);
    m->takeover.keyring = keyring < 0 ? -1 : fcntl(keyring, F_DUPFD_CLOEXEC, 3);
    if (bundle < 0 || !generation_open(&m->generation, bundle, keyring, &report))
        log_warnx("the configuration of before cannot be read");
    (void)handoff_get(words, "generation", &number);
    m->generation.number = number;
    rotation_adopt(m, &tickets);
    report_fini(&report);
}

bool takeover_adopt(struct master *m)
{
    bool is_living[STATS_SLOTS_MAX] = { false };
    struct takeover *t = &m->takeover;
    struct sources sources = { .v = { NULL, 0, 0 } };
    struct strbuf run_dir;
    struct carry *last;
    struct slice words;
    uint64_t workers = 0;
    bool is_good;

    if (!rpd_line(t, &words))
        return false;
    strbuf_init(&run_dir);
    (void)handoff_get_text(words, "run_dir", &run_dir);
    if (run_dir.n == 0) {
        log_errorx("hand-off: no run_dir");
        return false;
    }
    m->run_dir = strbuf_take(&run_dir);
    if (t->kind == TAKEOVER_UPGRADE) {
        pidfile_adopt(&m->pidfile, m->run_dir, fd_of(words, "lock"));
        segments_set_aside(m);
    }
    if (!master_make_segment(m))
        return false;
    limiting_adopt(m, fd_of(words, "limits"));
    t->is_untouched = false;
    (void)handoff_get(words, "workers", &workers);
    takeover_reserve_slots(m, workers);
    last = source_of(&sources, fd_of(words, "segment"));
    living_slots(t, last ? sources.v.v[0].fd : -1, is_living);
    is_good = last && takeover_carry_ended(m, last, is_living) != SLOT_NONE;
    if (!last)
        log_errorx("hand-off: the statistics of before cannot be read");
    master_sign_segment(m);
    adopt_generation(m, words);
    is_good = adopt_lines(m, &sources) && is_good;
    sources_fini(&sources);
    retirees_mirror(m);
    return is_good && master_publish_segment(m);
}

/* ---- how it went ---- */

static void say_done(struct master *m)
{
    struct takeover *t = &m->takeover;
    struct strbuf text;

    strbuf_init(&text);
    if (t->failed.n > 0)
        strbuf_printf(&text, "upgrade refused: %s: %s\n", m->program, t->failed.s);
    else
        strbuf_printf(&text, "upgraded: rpd %s to rpd %s, generation %llu, %u workers\n"
                      "%u workers of before finish what they have\n", t->version.s, RPD_VERSION,
                      (unsigned long long)m->generation.number, m->nworkers,
                      retirees_count(m));
    log_notice("%.*s", (int)slice_find(strbuf_slice(&text), '\n'), text.s);
    control_answer_all(&m->upgrade.waiting, t->failed.n == 0, strbuf_slice(&text));
    strbuf_fini(&text);
}

void takeover_done(struct master *m)
{
    struct takeover *t = &m->takeover;

    if (t->kind == TAKEOVER_UPGRADE) {
        if (t->failed.n == 0)
            stat_inc(&m->stats->upgrades);
        say_done(m);
    }
    listen_prune(&m->listen, supervise_acknowledged(m));
    retirees_retire(m);
    if (retirees_count(m) == 0)
        segments_forget(m);
    takeover_fini(m);
}

/* The record as it came, with what went wrong. */
static void hand_again(const struct master *m, struct handing *h)
{
    static const char *const keys[] = { "fd", "segment", "bundle", "keyring", "names", "tickets",
                                        "limits", "lock", "from", "previous" };
    struct slice text = strbuf_slice(&m->takeover.text), kind, words;
    uint64_t fd;

    strbuf_clear(&h->text);
    strbuf_add(&h->text, text);
    while (handoff_next(&text, &kind, &words))
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (handoff_get(words, keys[i], &fd))
                *VEC_PUSH(&h->fds) = (int)fd;
    hand_failed(m, h);
}

void takeover_give_back(struct master *m)
{
    struct takeover *t = &m->takeover;
    struct handing_args args;
    struct handing h;

    if (t->kind != TAKEOVER_UPGRADE || t->previous < 0)
        return;
    if (!t->is_untouched && !m->segment)
        return; /* neither what was nor what is to be: workers go on without a master */
    if (t->why.n == 0)
        strbuf_adds(&t->why, "it cannot take over");
    log_errorx("upgrade: back to rpd %s: %.*s", t->version.s,
               (int)slice_find(strbuf_slice(&t->why), '\n'), t->why.s);
    handing_args(&args, m->program, m->file, m->is_background);
    handing_init(&h);
    if (t->is_untouched)
        hand_again(m, &h);
    else
        takeover_hand(m, &h);
    helper_leave_none(m);
    handing_exec(&h, &args, t->previous);
    log_error("upgrade: the program before cannot be run");
    handing_fini(&h);
}

void takeover_fini(struct master *m)
{
    struct takeover *t = &m->takeover;

    strbuf_fini(&t->text);
    strbuf_fini(&t->version);
    strbuf_fini(&t->failed);
    strbuf_fini(&t->why);
    fd_close(&t->previous);
    fd_close(&t->bundle);
    fd_close(&t->keyring);
    fd_close(&t->names);
    fd_close(&t->handed_names);
    fd_close(&t->status);
    t->kind = TAKEOVER_NONE;
}
