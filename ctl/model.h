/* A reading of the statistics segment: every object in use with its values summed over workers.
 * It is a copy; the daemon counts on. */
#ifndef RPD_CTL_MODEL_H
#define RPD_CTL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "common/base/strbuf.h"
#include "common/base/vec.h"
#include "common/core/schema.h"

/* One object; of a kind of SHAPE_SLOTS, one worker's slot. */
struct row {
    const struct kind *kind;
    const char *name;     /* of a nested one "parent/name"; of a slot its number */
    const char *own_name; /* without the parent's */
    uint64_t index;       /* in the segment's directory: the same in each reading of one segment */
    unsigned slot;
    bool is_shown;
    unsigned char *shared, *slots; /* records; NULL: the kind has none */
    size_t parent;        /* row of the parent, or MODEL_NONE */
    size_t child, next;   /* first child, next of the same parent; or MODEL_NONE */
};

#define MODEL_NONE SIZE_MAX

struct model {
    struct schema schema;
    VEC(struct row) rows; /* by index, then slot */
    VEC(void *) memory;
    uint64_t created_us;  /* the segment, since 1970 */
    uint64_t read_us;     /* this reading, since 1970 */
    uint64_t read_mono_us;
    uint64_t slots;       /* worker indexes in use */
    bool is_running;      /* the master */
    uint64_t pid;         /* the master's, 0: unknown */
};

/* The directory's segment, read without anybody's help; NULL and why on failure, `errno` ENOENT
 * when there is none. */
struct model *model_read(const char *run_dir, struct strbuf *why);
void model_free(struct model **m);

/* A histogram of microseconds, copied. */
struct hist {
    uint64_t count, sum, max;
    uint64_t *bucket;
    unsigned buckets, sub;
};

/* Marks only what `kind` (NULL: all) and `names` (ending in NULL; none: all) select. A nested
 * row is also selected by its parent's name. Returns the first name that selects nothing, or
 * NULL. */
const char *model_select(struct model *m, const struct kind *kind, char **names);

/* Whether `only` (NULL: every kind) asks for this kind: it, and what is nested in it. */
bool kind_is_asked(const struct model *m, const struct kind *k, const struct kind *only);

/* The value; of TEXT, HISTOGRAM: 0. Times and seconds are in microseconds. */
uint64_t row_value(const struct row *r, const struct field *f);
/* By name; 0 where the kind has no such field. */
uint64_t row_value_of(const struct row *r, const char *field);
/* Of TEXT and ENUM; n counts up to the NUL. */
struct slice row_text(const struct model *m, const struct row *r, const struct field *f);
/* What the histogram holds, less what `before` (or NULL) held; hist_fini frees. */
void row_hist(const struct model *m, const struct row *r, const struct field *f,
              const struct row *before, struct hist *out);
void hist_fini(struct hist *h);
/* In seconds. */
double hist_quantile(const struct hist *h, double q);
double hist_mean(const struct hist *h);
/* The same object in an earlier reading; NULL when there was none. */
const struct row *model_before(const struct model *earlier, const struct model *m,
                               const struct row *r);
/* A counter's growth since. */
uint64_t row_grown(const struct row *r, const struct row *before, const struct field *f);

/* Computed: seconds since the master started (0 when it is gone), and servers of a backend that
 * take requests. */
double model_uptime(const struct model *m, const struct row *rpd);
uint64_t model_servers_up(const struct model *m, const struct row *backend);
/* Whether this server takes requests. */
bool server_is_usable(const struct model *m, const struct row *server);

#endif
