/* Reading of rpd.ini and what it includes into a conf_text, with inih. The master, rpd -t and
 * rpctl call it. It knows the form of the language and no setting but `include`.
 *
 * inih tells neither line numbers nor the beginnings of sections, cuts long names silently and
 * stops counting at the first error. So it gets its lines from next_line(), which checks and
 * counts them; which sends a line of our own, the mark, at the beginning and after each section's
 * line; and which sees by `awaits_call` that inih made nothing of a line. */
#include <errno.h>
#include <glob.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "common/core/conf.h"
#include "common/core/conf_env.h"

#define LINE_LENGTH_MAX 65536
#define NAME_LENGTH_MAX 49 /* inih's MAX_SECTION and MAX_NAME without NUL */
/* A key no file can hold: next_line lets no control character pass. */
#define MARK "\001"

/* A conf_read under way. */
struct reading {
    struct conf_text *text;
    struct report *report;
    VEC(struct { dev_t dev; ino_t ino; }) seen;
};

enum key_state {
    KEY_NONE,    /* nothing to continue: the section has just begun */
    KEY_TAKEN,
    KEY_REFUSED, /* reported; what continues it goes the same way */
};

struct file {
    struct reading *reading;
    const char *name, *chain; /* the text's */
    FILE *in;
    unsigned line;
    char *buffer; /* of LINE_LENGTH_MAX and a NUL */
    bool sends_mark;  /* the next line handed to inih is the mark */
    bool awaits_call; /* inih must call on_value for the line handed last */
    bool is_indented; /* the line handed last */
    bool skips_section; /* its header was reported */
    bool begins_section;
    enum key_state key;
    struct conf_entry section; /* what its entries begin with; kind NULL: no section yet */
    VEC(struct { char *pattern; unsigned line; }) includes;
};

static void read_file(struct reading *r, const char *path, const char *chain,
                      struct report_place from);

/* A copy that lives as long as the text. */
static const char *keep(struct reading *r, const char *s, size_t n)
{
    char *copy = xstrndup(s, n);

    *VEC_PUSH(&r->text->memory) = copy;
    return copy;
}

static struct report_place place(const struct file *f)
{
    return (struct report_place){ f->name, f->line, f->chain };
}

#define FILE_ERROR(f, ...) report_error_at((f)->reading->report, place(f), __VA_ARGS__)

/* ---- lines, on their way to inih ---- */

/* The next line without its end, of at most LINE_LENGTH_MAX bytes; -1 at the end of the file.
 * *is_long: it was longer and is cut. */
static long get_line(struct file *f, bool *is_long)
{
    size_t n = 0;
    int c = getc_unlocked(f->in), last = 0;

    *is_long = false;
    if (c == EOF)
        return -1;
    for (; c != EOF && c != '\n'; c = getc_unlocked(f->in)) {
        if (n < LINE_LENGTH_MAX)
            f->buffer[n] = (char)c;
        n++;
        last = c;
    }
    if (last == '\r')
        n--;
    if (n > LINE_LENGTH_MAX) {
        *is_long = true;
        n = LINE_LENGTH_MAX;
    }
    f->buffer[n] = '\0';
    return (long)n;
}

static bool is_blank_text(const char *s)
{
    return s[strspn(s, " \t")] == '\0';
}

static bool section_line_is_good(struct file *f, const char *line)
{
    const char *end = strchr(line, ']');

    if (!end) {
        FILE_ERROR(f, "no ']' ends the section's name");
        return false;
    }
    if (!is_blank_text(end + 1)) {
        FILE_ERROR(f, "'%s' after the section's name: a section stands on a line of its own",
                   end + 1 + strspn(end + 1, " \t"));
        return false;
    }
    if (end - line - 1 > NAME_LENGTH_MAX) {
        FILE_ERROR(f, "the section's name is longer than %d characters", NAME_LENGTH_MAX);
        return false;
    }
    return true;
}

static bool bytes_are_good(struct file *f, const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)line[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            FILE_ERROR(f, "control character 0x%02x", c);
            return false;
        }
    }
    return true;
}

/* Decides what the line in the buffer is; false: inih gets a blank line in its place. */
static bool admit_line(struct file *f, const char *line, size_t n, bool is_long)
{
    const char *text = line + strspn(line, " \t");

    f->awaits_call = false;
    f->is_indented = text != line;
    if (is_long) {
        FILE_ERROR(f, "the line is longer than %d bytes", LINE_LENGTH_MAX);
        f->key = KEY_REFUSED;
        return false;
    }
    if (!bytes_are_good(f, line, n)) {
        f->key = KEY_REFUSED;
        return false;
    }
    if (*text == '\0' || *text == ';' || *text == '#')
        return true;
    if (*line != '[') {
        f->awaits_call = true;
        return true;
    }
    f->sends_mark = true;
    f->skips_section = !section_line_is_good(f, line);
    f->begins_section = !f->skips_section;
    return !f->skips_section;
}

/* inih called nothing for the line handed last: it is no `key = value`. */
static void settle_line(struct file *f)
{
    if (f->awaits_call)
        FILE_ERROR(f, "no '=' in this line: it is neither `key = value`, a [section] nor a "
                      "comment");
    f->awaits_call = false;
}

/* inih's reader: one line into str, NULL at the end. */
static char *next_line(char *str, int size, void *stream)
{
    struct file *f = stream;
    bool is_long;
    long n;

    if (f->sends_mark) {
        f->sends_mark = false;
        snprintf(str, (size_t)size, "%s", MARK "=\n");
        return str;
    }
    settle_line(f);
    n = get_line(f, &is_long);
    if (n < 0)
        return NULL;
    f->line++;

    const char *line = f->buffer;
    if (f->line == 1 && strncmp(line, "\xef\xbb\xbf", 3) == 0) {
        line += 3;
        n -= 3;
    }
    if (!admit_line(f, line, (size_t)n, is_long))
        line = "";
    snprintf(str, (size_t)size, "%s\n", line);
    return str;
}

/* ---- values, as inih found them ---- */

static void push_entry(struct file *f, struct conf_entry e)
{
    e.line = f->line;
    e.file = f->name;
    e.chain = f->chain;
    *VEC_PUSH(&f->reading->text->entries) = e;
}

/* `[type name]`, `[defaults type]`. Which types there are and what names may hold is for
 * conf_build to say. */
static void begin_section(struct file *f, const char *header)
{
    struct slice rest = slice_trim(slice_str(header));
    struct conf_entry e = { .is_section = true, .key = "", .value = "" };
    size_t n = strcspn(rest.p, " \t");

    f->key = KEY_NONE;
    if (n > rest.n)
        n = rest.n;
    if (slice_eq(slice_of(rest.p, n), SLICE("defaults"))) {
        e.is_defaults = true;
        rest = slice_trim(slice_of(rest.p + n, rest.n - n));
        n = rest.n > 0 ? strcspn(rest.p, " \t") : 0;
        if (n > rest.n)
            n = rest.n;
    }

    struct slice name = slice_trim(slice_of(rest.p + n, rest.n - n));
    e.kind = keep(f->reading, rest.p, n);
    e.name = keep(f->reading, name.p, name.n);
    push_entry(f, e);
    e.is_section = false;
    f->section = e;
}

static void queue_includes(struct file *f, const char *value)
{
    struct slice rest = slice_str(value), item;

    while (slice_next_item(&rest, &item)) {
        VEC_PUSH(&f->includes);
        f->includes.v[f->includes.n - 1].pattern = xstrndup(item.p, item.n);
        f->includes.v[f->includes.n - 1].line = f->line;
    }
}

static void add_value(struct file *f, const char *key, const char *value)
{
    struct conf_entry e = f->section;
    struct strbuf expanded, error;

    strbuf_init(&expanded);
    strbuf_init(&error);
    e.is_bad = !conf_env_expand(value, &expanded, &error);
    if (e.is_bad) {
        FILE_ERROR(f, "[%s%s%s%s] %s: %s", e.is_defaults ? "defaults " : "", e.kind,
                   *e.name ? " " : "", e.name, key, error.s);
        strbuf_clear(&expanded);
    }
    e.is_continued = f->is_indented;
    e.key = keep(f->reading, key, strlen(key));
    e.value = keep(f->reading, expanded.s, expanded.n);
    push_entry(f, e);
    if (strcmp(e.kind, "global") == 0 && strcmp(key, "include") == 0)
        queue_includes(f, e.value);
    strbuf_fini(&expanded);
    strbuf_fini(&error);
}

/* Is the key one to take? Says why not. */
static bool key_is_good(struct file *f, const char *key)
{
    if (!f->section.kind) {
        FILE_ERROR(f, "'%.50s' stands before the first [section]", key);
        return false;
    }
    if (*key == '\0') {
        FILE_ERROR(f, "no key before the '='");
        f->sends_mark = true; /* inih would take an indented line for a new key now */
        return false;
    }
    if (strlen(key) > NAME_LENGTH_MAX) {
        FILE_ERROR(f, "the key '%.20s...' is longer than %d characters", key, NAME_LENGTH_MAX);
        return false;
    }
    return true;
}

/* inih's handler. 1: go on. */
static int on_value(void *user, const char *section, const char *key, const char *value)
{
    struct file *f = user;

    if (strcmp(key, MARK) == 0 && !f->awaits_call) { /* not an indented line below it */
        if (f->begins_section)
            begin_section(f, section);
        f->begins_section = false;
        return 1;
    }
    f->awaits_call = false;
    if (f->skips_section)
        return 1;
    if (f->is_indented && f->key == KEY_NONE) {
        FILE_ERROR(f, "an indented line continues the value above it, and there is none: begin "
                      "a key at the start of its line");
        return 1;
    }
    if (!f->is_indented)
        f->key = key_is_good(f, key) ? KEY_TAKEN : KEY_REFUSED;
    if (f->key == KEY_TAKEN)
        add_value(f, key, value);
    return 1;
}

/* ---- files ---- */

static bool was_seen(struct reading *r, const struct stat *st)
{
    for (size_t i = 0; i < r->seen.n; i++) {
        if (r->seen.v[i].dev == st->st_dev && r->seen.v[i].ino == st->st_ino)
            return true;
    }
    VEC_PUSH(&r->seen);
    r->seen.v[r->seen.n - 1].dev = st->st_dev;
    r->seen.v[r->seen.n - 1].ino = st->st_ino;
    return false;
}

/* `path` as seen from the directory of the file `from`. */
static char *path_beside(const char *from, const char *path)
{
    const char *slash = strrchr(from, '/');
    struct strbuf b;

    strbuf_init(&b);
    if (*path != '/' && slash)
        strbuf_add(&b, slice_of(from, (size_t)(slash + 1 - from)));
    strbuf_adds(&b, path);
    return strbuf_take(&b);
}

/* A pattern may match nothing, but its directory must be there. */
static void check_pattern_directory(struct file *f, const char *pattern)
{
    size_t n = strcspn(pattern, "*?[");

    while (n > 0 && pattern[n - 1] != '/')
        n--;
    if (n == 0)
        return;

    char *directory = xstrndup(pattern, n);
    struct stat st;
    if (stat(directory, &st) != 0)
        FILE_ERROR(f, "[global] include: cannot read '%s': %s", directory, strerror(errno));
    free(directory);
}

static void read_pattern(struct file *f, const char *pattern)
{
    struct strbuf chain;
    glob_t found;

    strbuf_init(&chain);
    strbuf_printf(&chain, ", included from %s:%u%s", f->name, f->line, f->chain);
    const char *kept = keep(f->reading, chain.s, chain.n);
    strbuf_fini(&chain);

    if (pattern[strcspn(pattern, "*?[")] == '\0') {
        read_file(f->reading, pattern, kept, place(f));
        return;
    }
    check_pattern_directory(f, pattern);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            read_file(f->reading, found.gl_pathv[i], kept, place(f));
    }
    globfree(&found);
}

static void read_includes(struct file *f)
{
    for (size_t i = 0; i < f->includes.n; i++) {
        char *pattern = path_beside(f->name, f->includes.v[i].pattern);

        f->line = f->includes.v[i].line;
        read_pattern(f, pattern);
        free(pattern);
        free(f->includes.v[i].pattern);
    }
    VEC_FREE(&f->includes);
}

static void parse_file(struct file *f)
{
    f->buffer = xmalloc(LINE_LENGTH_MAX + 1);
    f->sends_mark = true;
    errno = 0;
    if (ini_parse_stream(next_line, f, on_value, f) == -2)
        abort(); /* memory; any other error is one of ours, reported */
    if (ferror(f->in))
        report_error(f->reading->report, "%s: cannot be read: %s", f->name, strerror(errno));
    free(f->buffer);
    f->buffer = NULL;
}

/* `from` is where the include stands; line 0 for the file named by the user. */
static void read_file(struct reading *r, const char *path, const char *chain,
                      struct report_place from)
{
    struct file f = { .reading = r, .chain = chain };
    struct stat st;
    const char *label = from.line ? "[global] include: " : "";

    f.in = fopen(path, "re");
    if (!f.in || fstat(fileno(f.in), &st) != 0) {
        report_error_at(r->report, from, "%scannot read '%s': %s", label, path, strerror(errno));
    } else if (S_ISDIR(st.st_mode)) {
        report_error_at(r->report, from, "%s'%s' is a directory", label, path);
    } else if (was_seen(r, &st)) {
        report_error_at(r->report, from, "%s'%s' was read before", label, path);
    } else {
        f.name = keep(r, path, strlen(path));
        parse_file(&f);
        fclose(f.in);
        read_includes(&f);
        return;
    }
    if (f.in)
        fclose(f.in);
}

bool conf_read(struct conf_text *text, const char *path, struct report *report)
{
    struct reading r = { .text = text, .report = report };

    memset(text, 0, sizeof *text);
    ini_use_stack = false;
    ini_max_line = ini_initial_alloc = LINE_LENGTH_MAX + 3;
    ini_allow_realloc = false;
    ini_allow_inline_comments = false;
    ini_allow_multiline = true;
    ini_allow_no_value = false;
    ini_stop_on_first_error = false;
    read_file(&r, path, "", (struct report_place){ NULL, 0, NULL });
    VEC_FREE(&r.seen);
    return report->errors == 0;
}

void conf_text_fini(struct conf_text *text)
{
    for (size_t i = 0; i < text->memory.n; i++)
        free(text->memory.v[i]);
    VEC_FREE(&text->memory);
    VEC_FREE(&text->entries);
    VEC_FREE(&text->resolved);
    VEC_FREE(&text->files);
}
