/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of one configuration file into a configuration; see config.h. For config.c and its tests. */
#ifndef VMPOKE_CONTROL_CONFIG_PARSE_H
#define VMPOKE_CONTROL_CONFIG_PARSE_H

#include "vmm/control/config.h"

/* Adds what text says to *c. file is only used in sentences. -EINVAL (ERR_USAGE): "FILE:LINE: ..."; c is unusable then. */
int config_parse(struct config *c, const char *text, const char *file, struct err *e);

#endif
