/* Reading a configuration, the way start, `rpd -t` and the reader child all do it; and the
 * generation in force. */
#ifndef RPD_MASTER_CONFIG_H
#define RPD_MASTER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include "common/core/names.h"

/* A configuration in force: what workers were given, and what the master knows of it. */
struct generation {
    uint64_t number;
    struct conf_text text;
    struct conf *conf;
    struct names_users users;
    int bundle;  /* sealed memfd */
    int keyring; /* the same, with its private keys (common/tls/keyring.h); -1: it has none. The
                  * master hands it on and never reads it. */
};

/* Reads, validates, resolves (names that are not in `known`, which may be NULL) and checks the
 * system and the files of TLS; all findings go to the report. NULL when it has errors. *text, which
 * the caller ends with conf_text_fini in any case, holds what conf_build makes the same conf of;
 * *keyring (-1: none) is the caller's. Blocks on files and names. */
struct conf *config_load(const char *path, const struct names *known, struct conf_text *text,
                         int *keyring, struct report *report);
/* The entry that sets a key of [global]; NULL: left at its default. */
const struct conf_entry *config_global_entry(const struct conf_text *text, const char *key);

/* Builds from a bundle; the fds of it and of its keyring (-1: none) are taken over. false with
 * findings in the report. */
bool generation_open(struct generation *g, int bundle, int keyring, struct report *report);
/* Whether workers get the keyring: a descriptor, or -1. */
int generation_keyring_of_workers(const struct generation *g);
/* A descriptor for one more generation with the same certificates; -1: there is none, or an error
 * in the report. */
int generation_share_keyring(const struct generation *g, struct report *report);
void generation_init(struct generation *g);
void generation_fini(struct generation *g);

#endif
