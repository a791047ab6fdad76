/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One entry of "sites", and a place, for the other files of the parser. */
#ifndef VMPOKE_PROTOCOL_PATCHFILE_SITE_H
#define VMPOKE_PROTOCOL_PATCHFILE_SITE_H

#include "protocol/patchfile.h"
#include "protocol/patchfile_yaml.h"

/* The current event begins a site; afterwards it is the end of that mapping. object: of the file so far, "" at first. */
int patchfile_site_parse(struct yaml_reader *r, char object[static PATCHFILE_OBJECT_MAX + 1],
			 struct patchfile_site *ret);

/* The current event is the value of that key, a place. */
int patchfile_place_value(struct yaml_reader *r, const char *key, struct patch_place *ret);

#endif
