/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The value of "exclude", for patchfile.c. */
#ifndef VMPOKE_PROTOCOL_PATCHFILE_EXCLUDE_H
#define VMPOKE_PROTOCOL_PATCHFILE_EXCLUDE_H

#include "protocol/patchfile.h"
#include "protocol/patchfile_yaml.h"

/* The current event begins the list; afterwards it is the end of it. Fills p->exclusions. */
int patchfile_exclude_parse(struct yaml_reader *r, struct patchfile *p);

#endif
