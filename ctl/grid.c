/* Tables for people: columns as wide as their widest cell, two spaces between. Called by all
 * commands that print tables; pure. */
#include "ctl/grid.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define GAP 2

static const char *const codes[] = {
    [STYLE_PLAIN] = "", [STYLE_HEAD] = "\033[1m", [STYLE_GOOD] = "\033[32m",
    [STYLE_WARN] = "\033[33m", [STYLE_BAD] = "\033[1;31m", [STYLE_DIM] = "\033[2m",
};

void style_begin(struct strbuf *out, enum style style, bool is_colour)
{
    if (is_colour)
        strbuf_adds(out, codes[style]);
}

void style_end(struct strbuf *out, enum style style, bool is_colour)
{
    if (is_colour && style != STYLE_PLAIN)
        strbuf_adds(out, "\033[0m");
}

enum style style_of_state(struct slice name)
{
    static const struct {
        struct slice name;
        enum style style;
    } known[] = {
        { SLICE_INIT("up"), STYLE_GOOD }, { SLICE_INIT("running"), STYLE_GOOD },
        { SLICE_INIT("down"), STYLE_BAD }, { SLICE_INIT("ejected"), STYLE_BAD },
        { SLICE_INIT("gone"), STYLE_BAD }, { SLICE_INIT("drain"), STYLE_WARN },
        { SLICE_INIT("promoted"), STYLE_GOOD }, { SLICE_INIT("rolled-back"), STYLE_BAD },
        { SLICE_INIT("paused"), STYLE_WARN }, { SLICE_INIT("waiting"), STYLE_WARN },
        { SLICE_INIT("starting"), STYLE_WARN }, { SLICE_INIT("retiring"), STYLE_WARN },
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (slice_eq(name, known[i].name))
            return known[i].style;
    return STYLE_PLAIN;
}

size_t text_width(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void grid_init(struct grid *g)
{
    memset(g, 0, sizeof *g);
}

void grid_fini(struct grid *g)
{
    for (size_t i = 0; i < g->cells.n; i++)
        free(g->cells.v[i].text);
    VEC_FREE(&g->cells);
    VEC_FREE(&g->is_left);
}

void grid_cell(struct grid *g, enum style style, const char *text)
{
    struct cell *c = VEC_PUSH(&g->cells);

    c->style = style;
    c->text = xstrdup(text);
    for (char *p = c->text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

void grid_column(struct grid *g, const char *heading, bool is_left)
{
    g->columns++;
    *VEC_PUSH(&g->is_left) = is_left;
    grid_cell(g, STYLE_HEAD, heading);
}

static size_t column_width(const struct grid *g, size_t column)
{
    size_t width = 0;

    for (size_t i = column; i < g->cells.n; i += g->columns) {
        size_t n = text_width(g->cells.v[i].text);

        if (n > width)
            width = n;
    }
    return width;
}

static void put_spaces(struct strbuf *out, size_t n)
{
    while (n-- > 0)
        strbuf_addc(out, ' ');
}

static void put_cell(struct strbuf *out, const struct cell *c, size_t width, bool is_left,
                     bool is_last, bool is_colour)
{
    size_t pad = width - text_width(c->text);

    if (!is_left)
        put_spaces(out, pad);
    style_begin(out, c->style, is_colour);
    strbuf_adds(out, c->text);
    style_end(out, c->style, is_colour);
    if (is_left && !is_last)
        put_spaces(out, pad);
}

void grid_print(struct strbuf *out, const struct grid *g, bool is_colour)
{
    VEC(size_t) widths = { 0 };

    assert(g->columns > 0);
    for (size_t c = 0; c < g->columns; c++)
        *VEC_PUSH(&widths) = column_width(g, c);
    for (size_t i = 0; i < g->cells.n; i++) {
        size_t c = i % g->columns;
        bool is_last = c + 1 == g->columns;

        if (c > 0)
            put_spaces(out, GAP);
        put_cell(out, &g->cells.v[i], widths.v[c], g->is_left.v[c], is_last, is_colour);
        if (is_last)
            strbuf_addc(out, '\n');
    }
    VEC_FREE(&widths);
}
