/* A table of cells set out in columns. */
#ifndef RPD_CTL_GRID_H
#define RPD_CTL_GRID_H

#include <stdbool.h>
#include "common/base/strbuf.h"
#include "common/base/vec.h"

enum style { STYLE_PLAIN, STYLE_HEAD, STYLE_GOOD, STYLE_WARN, STYLE_BAD, STYLE_DIM };

struct cell {
    char *text;
    enum style style;
};

struct grid {
    size_t columns;
    VEC(bool) is_left; /* a column each */
    VEC(struct cell) cells;
};

void grid_init(struct grid *g);
void grid_fini(struct grid *g);
/* Before the first cell: one more column, and its heading. */
void grid_column(struct grid *g, const char *heading, bool is_left);
/* The next cell, from left to right and top to bottom; control characters become '?'. */
void grid_cell(struct grid *g, enum style style, const char *text);
void grid_print(struct strbuf *out, const struct grid *g, bool is_colour);

/* Terminal columns of UTF-8 text, a character one. */
size_t text_width(const char *s);
/* `text` in a style; none without colour. */
void style_begin(struct strbuf *out, enum style style, bool is_colour);
void style_end(struct strbuf *out, enum style style, bool is_colour);
/* What a name of a state or a failure looks like. */
enum style style_of_state(struct slice name);

#endif
