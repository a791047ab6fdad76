// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ranges of a patch file in which nobody may be at the moment of the change:
 * a list of { from: PLACE, to: PLACE }. Whether a range is one (its end behind its
 * begin, both kernel text) is known only with a guest, except where both places
 * are of one symbol. Must never take an empty range: it would exclude nothing.
 */
#include "protocol/patchfile_exclude.h"

#include <errno.h>
#include <string.h>

static const char *const keys[] = { "from", "to", NULL };

#define SEEN_BOTH 3u

static int place_value(struct yaml_reader *r, const char *key, struct patch_place *ret)
{
	const char *text = yaml_reader_scalar(r);

	if (text && patch_place_parse(text, ret) == 0)
		return 0;
	return yaml_reader_fail(r, yaml_reader_line(r),
				"'%s' must be a symbol, symbol+0xOFFSET or 0xADDRESS, e.g. do_idle+0x3c", key);
}

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

	if (yaml_reader_type(r) != YAML_MAPPING_START_EVENT)
		return yaml_reader_fail(r, x.line, "an excluded range must be a mapping, e.g. { from: f+0x10, to: f+0x40 }");
	for (;;) {
		int s = yaml_reader_next(r);
		if (s < 0)
			return s;
		if (yaml_reader_type(r) == YAML_MAPPING_END_EVENT)
			break;
		int key = yaml_reader_key(r, keys, "an excluded range", &seen);
		if (key < 0)
			return key;
		s = place_value(r, keys[key], key == 0 ? &x.from : &x.to);
		if (s < 0)
			return s;
	}
	int s = range_check(r, &x, seen);
	if (s == 0)
		*ret = x;
	return s;
}

int patchfile_exclude_parse(struct yaml_reader *r, struct patchfile *p)
{
	int line = yaml_reader_line(r);

	if (yaml_reader_type(r) != YAML_SEQUENCE_START_EVENT)
		return yaml_reader_fail(r, line, "exclude must be a list: lines that begin with '- '");
	for (;;) {
		int s = yaml_reader_next(r);
		if (s < 0)
			return s;
		if (yaml_reader_type(r) == YAML_SEQUENCE_END_EVENT)
			break;
		if (p->n_exclusions == PATCHFILE_EXCLUSIONS_MAX)
			return yaml_reader_fail(r, yaml_reader_line(r), "more than %d excluded ranges",
						PATCHFILE_EXCLUSIONS_MAX);
		s = range_parse(r, &p->exclusions[p->n_exclusions]);
		if (s < 0)
			return s;
		p->n_exclusions++;
	}
	return p->n_exclusions ? 0 : yaml_reader_fail(r, line, "exclude is empty; leave it out");
}
