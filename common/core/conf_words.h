/* Settings whose values are words. Private to common/core/conf_*.c. */
#ifndef RPD_CORE_CONF_WORDS_H
#define RPD_CORE_CONF_WORDS_H

#include "common/core/conf_impl.h"

struct conf_word {
    const char *name;
    int value; /* not negative */
    bool is_later; /* of the language, not built yet */
};
#define CONF_NWORDS(words) (sizeof(words) / sizeof(words)[0])

/* Index in words, or -1. */
int conf_find_word(struct slice text, const struct conf_word *words, size_t n);
/* Reports "'x' is none of a, b or OTHER (did you mean 'a'?)"; `other` names what else may stand
 * there, or is NULL. */
void conf_unknown_word(struct conf_cursor *c, struct slice text, const struct conf_word *words,
                       size_t n, const char *other);
/* The word's value, or -1, reported. */
int conf_parse_word(struct conf_cursor *c, struct slice text, const struct conf_word *words,
                    size_t n);
void conf_print_word(struct strbuf *out, int value, const struct conf_word *words, size_t n);

#endif
