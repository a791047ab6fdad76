// SPDX-License-Identifier: GPL-2.0-or-later
/* Edit distance between short words; see suggest.h. Must never print or run anything it guessed. */
#include "protocol/suggest.h"

#include <stdint.h>
#include <string.h>

#define WORD_MAX 64  /* the longest name of a VM or patch */
#define DISTANCE_MAX 2

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Optimal string alignment: insert, delete, replace, or swap two neighbours ("aplpy"). */
static size_t edit_distance(const char *a, size_t la, const char *b, size_t lb)
{
	unsigned d[WORD_MAX + 1][WORD_MAX + 1];

	for (size_t i = 0; i <= la; i++) {
		for (size_t j = 0; j <= lb; j++) {
			if (i == 0 || j == 0) {
				d[i][j] = (unsigned)(i + j);
				continue;
			}
			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	}
	return d[la][lb];
}

struct suggest suggest_begin(const char *typed)
{
	return (struct suggest){ .typed = typed, .distance = SIZE_MAX };
}

void suggest_consider(struct suggest *s, const char *known)
{
	size_t lt = strlen(s->typed), lk = known ? strlen(known) : 0, distance;

	if (!known || lt < 2 || lt > WORD_MAX || lk > WORD_MAX)
		return;
	distance = strncmp(s->typed, known, lt) == 0 ? 1 : edit_distance(s->typed, lt, known, lk);
	/* Two edits turn any two-letter word into any other. */
	if (distance <= DISTANCE_MAX && distance < lt && distance < s->distance) {
		s->best = known;
		s->distance = distance;
	}
}
