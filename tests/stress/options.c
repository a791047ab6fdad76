// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the command line from a table, so that help and parser cannot disagree.
 * Must refuse what it does not know instead of running something else.
 */
#include "tests/stress/options.h"

#include <errno.h>
#include <string.h>

#include "protocol/util.h"
#include "tests/guest/smp/smp.h"
#include "tests/stress/text.h"

#define PAIRS_DEFAULT 4

struct option_row {
	const char *name, *value; /* value NULL: a switch */
	const char *help;
	int (*take)(const struct option_row *row, const char *value, struct options *o);
	size_t offset; /* of the field in struct options */
	unsigned min, max;
};

static int refuse(const char *what, const char *why)
{
	fprintf(stderr, "stress: %s: %s\n", what, why);
	return -EINVAL;
}

static int take_number(const struct option_row *row, const char *value, struct options *o)
{
	char *end;

	errno = 0;
	unsigned long number = strtoul(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end || errno || number < row->min || number > row->max)
		return refuse(row->name, "not a number, or not one that can be used here");
	*(unsigned *)(void *)((char *)o + row->offset) = (unsigned)number;
	return 0;
}

static int take_switch(const struct option_row *row, const char *value, struct options *o)
{
	(void)value;
	*(bool *)((char *)o + row->offset) = true;
	return 0;
}

static int take_text(const struct option_row *row, const char *value, struct options *o)
{
	*(const char **)(void *)((char *)o + row->offset) = value;
	return 0;
}

static int take_mode(const struct option_row *row, const char *value, struct options *o)
{
	static const enum poke_mode modes[] = { POKE_MODE_FLIPPED, POKE_MODE_STAGED, POKE_MODE_HELD,
						POKE_MODE_STOPPED };

	o->naive = strcmp(value, "naive") == 0;
	o->has_mode = o->naive;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcmp(value, poke_mode_name(modes[i])) == 0) {
			o->mode = modes[i];
			o->has_mode = true;
		}
	return o->has_mode ? 0 : refuse(row->name, "flipped, staged, held, stopped or naive");
}

static int take_traps(const struct option_row *row, const char *value, struct options *o)
{
	o->hw = strcmp(value, "hw") == 0;
	return o->hw || strcmp(value, "int3") == 0 ? 0 : refuse(row->name, "int3 or hw");
}

static int take_pairs(const struct option_row *row, const char *value, struct options *o)
{
	(void)row;
	(void)value;
	o->pairs = PAIRS_DEFAULT;
	return 0;
}

static int take_shapes(const struct option_row *row, const char *value, struct options *o)
{
	for (const char *name = value; *name;) {
		size_t len = strcspn(name, ",");

		if (!text_shape_find(name, len))
			return refuse(row->name, "unknown shape, see --help");
		name += len + (name[len] == ',');
	}
	return *value ? take_text(row, value, o) : refuse(row->name, "empty");
}

#define AT(field) offsetof(struct options, field)
static const struct option_row rows[] = {
	{ "--mode", "MODE", "flipped, staged, held, stopped, or naive (the control)", take_mode, 0, 0, 0 },
	{ "--vcpus", "N", "1 to 64 (1)", take_number, AT(vcpus), 1, SMP_VCPUS_MAX },
	{ "--seconds", "S", "how long (3)", take_number, AT(seconds), 1, 86400 },
	{ "--sites", "K", "sites that are changed (each shape at each place once)", take_number, AT(sites), 1,
	  SMP_SITES_MAX / 2 },
	{ "--pairs", NULL, "and pairs of sites that must change together", take_pairs, 0, 0, 0 },
	{ "--nmi", "RATE", "NMIs per second, over all vCPUs", take_number, AT(nmi), 0, 100000 },
	{ "--mce", "RATE", "machine checks per second, over all vCPUs", take_number, AT(mce), 0, 100000 },
	{ "--traps", "KIND", "int3, or hw: debug registers, 4 instructions a transaction (int3)", take_traps, 0, 0, 0 },
	{ "--inject-at", NULL, "an NMI, then a machine check, at each step of a transaction and each instruction",
	  take_switch, AT(at), 0, 0 },
	{ "--count-exits", NULL, "only: exits that 1, 100 and 10,000 sites force on a vCPU elsewhere, and a halted one",
	  take_switch, AT(count_exits), 0, 0 },
	{ "--slots", NULL, "let instructions that cannot be emulated be stepped as copies", take_switch, AT(slots), 0, 0 },
	{ "--json", NULL, "one JSON object on stdout", take_switch, AT(json), 0, 0 },
	{ "--shapes", "LIST", "only these shapes, in turn: call,jmp,...", take_shapes, AT(shapes), 0, 0 },
	{ "--batch", "N", "sites per transaction (all of them)", take_number, AT(batch), 1, SMP_SITES_MAX },
	{ "--flips", "N", "end after so many transactions", take_number, AT(flips), 1, 1000000000 },
	{ "--changes", "N", "end after so many changed sites, over all transactions", take_number, AT(changes), 1,
	  1000000000 },
	{ "--gap", "US", "rest between two transactions (0)", take_number, AT(gap), 0, 10000000 },
	{ "--inside", NULL, "no site across the edge of a line or page", take_switch, AT(inside), 0, 0 },
	{ "--prefer", NULL, "the changing thread before the vCPUs' (nice)", take_switch, AT(prefer), 0, 0 },
	{ "--unpaired", NULL, "change the halves of a pair one after the other (the control)", take_switch,
	  AT(unpaired), 0, 0 },
	{ "--console", "FILE", "where the guest's serial port goes", take_text, AT(console), 0, 0 },
};

void options_usage(FILE *out)
{
	fprintf(out, "stress --mode MODE [OPTION...]\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		fprintf(out, "  %-13s %-5s %s\n", rows[i].name, rows[i].value ? rows[i].value : "", rows[i].help);
	fprintf(out, "shapes:");
	for (size_t i = 0; i < text_n_shapes; i++)
		fprintf(out, " %s", text_shapes[i].name);
	fprintf(out, "\nexit status: 0 no violation, 1 violations, 2 usage, 3 could not be run, 77 no /dev/kvm\n");
}

static const struct option_row *row_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}

int options_parse(int argc, char *argv[], struct options *ret)
{
	struct options o = { .vcpus = 1, .seconds = 3 };

	for (int i = 1; i < argc; i++) {
		const struct option_row *row = row_find(argv[i]);

		if (!row)
			return refuse(argv[i], "unknown option");
		if (row->value && i + 1 == argc)
			return refuse(argv[i], "wants a value");
		int r = row->take(row, row->value ? argv[++i] : NULL, &o);
		if (r < 0)
			return r;
	}
	if (!o.has_mode)
		return refuse("--mode", "missing");
	if (o.at && (o.naive || o.pairs))
		return refuse("--inject-at", "not with pairs, not with naive stores");
	if (o.count_exits && (o.naive || o.pairs || o.at))
		return refuse("--count-exits", "not with pairs, not with injected events, not with naive stores");
	*ret = o;
	return 0;
}

const char *options_mode_name(const struct options *o)
{
	return o->naive ? "naive" : poke_mode_name(o->mode);
}
