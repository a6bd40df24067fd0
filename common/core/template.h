/* Texts with request variables: "https://$host$uri". Parsed once with the configuration;
 * expanded by the proxy. */
#ifndef RPD_CORE_TEMPLATE_H
#define RPD_CORE_TEMPLATE_H

#include <stdbool.h>
#include "common/base/slice.h"
#include "common/base/strbuf.h"

enum var_id {
    VAR_LITERAL, /* not a variable: the part's text stands for itself */
#define VAR(ID, name, help) VAR_##ID,
#define VAR_PREFIX(ID, name, help) VAR_##ID,
#include "common/core/vars.def"
#undef VAR
#undef VAR_PREFIX
    VAR_CAPTURE, /* $0 to $9: of a pattern that matched */
    VAR_COUNT,
};

struct template_part {
    enum var_id var;
    struct slice text; /* literal, argument of $header_ and $cookie_, digit */
};

struct template {
    struct template_part *parts;
    size_t n;
    struct slice source; /* as written */
};

/* Memory is malloc'd, given back by template_fini; `source` is copied. `$$` is a dollar sign.
 * false: *error (cleared first) says what is wrong, with a suggestion. */
bool template_parse(struct template *t, struct slice source, struct strbuf *error);
void template_fini(struct template *t);
/* One more than the highest of $0 to $9 in it; 0: there is none. */
unsigned template_captures(const struct template *t);
static inline bool template_is_literal(const struct template *t)
{
    return t->n == 0 || (t->n == 1 && t->parts[0].var == VAR_LITERAL);
}

#endif
