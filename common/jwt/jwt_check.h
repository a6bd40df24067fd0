/* What `rpd -t`, start and reload find in the files of jwt_key. */
#ifndef RPD_JWT_JWT_CHECK_H
#define RPD_JWT_JWT_CHECK_H

#include "common/core/conf.h"
#include "common/core/report.h"

/* All findings, each at its setting's place; a file that several routes name is told of once. */
void jwt_check(const struct conf *conf, struct report *report);

#endif
