/* A row's recent past as a line of small bars. */
#ifndef RPD_CTL_SPARK_H
#define RPD_CTL_SPARK_H

#include <stdbool.h>
#include "common/base/strbuf.h"

#define SPARK_MAX 32

struct spark {
    double v[SPARK_MAX]; /* a ring; the newest before `next` */
    unsigned n, next;
};

void spark_add(struct spark *s, double v);
/* The newest `width` values, right-aligned, scaled to their largest; zero is a space. */
void spark_print(struct strbuf *out, const struct spark *s, unsigned width, bool is_utf8);

#endif
