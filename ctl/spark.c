/* Sparklines. Called by top; pure. */
#include "ctl/spark.h"

#define LEVELS 8

static const char *const blocks[LEVELS] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
static const char *const marks[LEVELS] = { ".", ".", ":", ":", "-", "=", "+", "#" };

void spark_add(struct spark *s, double v)
{
    s->v[s->next] = v;
    s->next = (s->next + 1) % SPARK_MAX;
    if (s->n < SPARK_MAX)
        s->n++;
}

/* The value `age` steps ago, 1 the newest. */
static double value_at(const struct spark *s, unsigned age)
{
    return age <= s->n ? s->v[(s->next + SPARK_MAX - age) % SPARK_MAX] : 0;
}

void spark_print(struct strbuf *out, const struct spark *s, unsigned width, bool is_utf8)
{
    double max = 0;

    if (width > SPARK_MAX)
        width = SPARK_MAX;
    for (unsigned age = 1; age <= width; age++)
        if (value_at(s, age) > max)
            max = value_at(s, age);
    for (unsigned age = width; age > 0; age--) {
        double v = value_at(s, age);
        unsigned level = max > 0 ? (unsigned)(v / max * (LEVELS - 1) + 0.5) : 0;

        strbuf_adds(out, v <= 0 ? " " : is_utf8 ? blocks[level] : marks[level]);
    }
}
