// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ranges of a patch file in which nobody may be at the moment of the change:
 * a list of { from: PLACE, to: PLACE }. Whether a range is one (its end behind its
 * begin, both kernel text) is known only with a guest, except where both places
 * are of one symbol. Must never take an empty range: it would exclude nothing.
 */
#include "protocol/patchfile_exclude.h"

#include <string.h>

#include "protocol/patchfile_site.h"

static const char *const keys[] = { "from", "to", NULL };

#define SEEN_BOTH 3u

static int range_check(struct yaml_reader *r, const struct patchfile_exclusion *x, unsigned seen)
{
	if (seen != SEEN_BOTH)
		return yaml_reader_fail(r, x->line, "an excluded range needs 'from' and 'to'");
	if (strcmp(x->from.symbol, x->to.symbol) == 0 && x->from.offset >= x->to.offset)
		return yaml_reader_fail(r, x->line, "'to' must lie behind 'from': it is the first address outside");
	return 0;
}

static int range_parse(struct yaml_reader *r, struct patchfile_exclusion *ret)
{
	struct patchfile_exclusion x = { .line = yaml_reader_line(r) };
	unsigned seen = 0;
	int s, key;

	if (yaml_reader_type(r) != YAML_MAPPING_START_EVENT)
		return yaml_reader_fail(r, x.line, "an excluded range must be a mapping, e.g. { from: f+0x10, to: f+0x40 }");
	while ((s = yaml_reader_next_key(r, keys, "an excluded range", &seen, &key)) > 0) {
		s = patchfile_place_value(r, keys[key], key == 0 ? &x.from : &x.to);
		if (s < 0)
			return s;
	}
	if (s == 0)
		s = range_check(r, &x, seen);
	if (s == 0)
		*ret = x;
	return s;
}

int patchfile_exclude_parse(struct yaml_reader *r, struct patchfile *p)
{
	int s, line = yaml_reader_line(r);

	if (yaml_reader_type(r) != YAML_SEQUENCE_START_EVENT)
		return yaml_reader_fail(r, line, "exclude must be a list: lines that begin with '- '");
	while ((s = yaml_reader_next_item(r)) > 0) {
		if (p->n_exclusions == PATCHFILE_EXCLUSIONS_MAX)
			return yaml_reader_fail(r, yaml_reader_line(r), "more than %d excluded ranges",
						PATCHFILE_EXCLUSIONS_MAX);
		s = range_parse(r, &p->exclusions[p->n_exclusions]);
		if (s < 0)
			return s;
		p->n_exclusions++;
	}
	if (s < 0)
		return s;
	return p->n_exclusions ? 0 : yaml_reader_fail(r, line, "exclude is empty; leave it out");
}
