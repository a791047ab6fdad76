/* SPDX-License-Identifier: GPL-2.0-or-later */
/* "did you mean": the known word closest to what was typed, if any is close enough. */
#ifndef VMPOKE_PROTOCOL_SUGGEST_H
#define VMPOKE_PROTOCOL_SUGGEST_H

#include <stddef.h>

struct suggest {
	const char *typed;
	const char *best; /* NULL: nothing is close */
	size_t distance;
};

struct suggest suggest_begin(const char *typed);
void suggest_consider(struct suggest *s, const char *known); /* NULL allowed; known must outlive s */

#endif
