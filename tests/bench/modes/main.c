// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * bench-modes [--seconds S] [--lane NAME] [--svg FILE]: everything once, the modes
 * in turn so that what else the machine does hits them alike. Exit 77: no /dev/kvm.
 */
#include "tests/bench/modes/modes.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "protocol/util.h"
#include "vmm/kvm/machine.h"

const enum poke_mode bench_modes[BENCH_MODES] = { POKE_MODE_FLIPPED, POKE_MODE_STAGED, POKE_MODE_HELD,
						  POKE_MODE_STOPPED };
const unsigned bench_vcpus[BENCH_VCPUS] = { 1, 2, 4, 8 };
const unsigned bench_batches[BENCH_BATCHES] = { 1, 100, 10000 };

enum { EXIT_USAGE = 2, EXIT_NOT_RUN = 3, EXIT_SKIP = 77 };

static int measure(struct bench *b, unsigned seconds, struct err *e)
{
	int r = measure_exits(b, e);

	for (unsigned i = 0; r >= 0 && i < BENCH_VCPUS; i++)
		r = measure_rates(b, i, seconds, e);
	for (unsigned i = 0; r >= 0 && i < BENCH_BATCHES; i++)
		r = measure_batch(b, i, seconds, e);
	return r;
}

static int picture_write(const struct bench *b, const char *path)
{
	FILE *out = fopen(path, "we");

	if (!out)
		return -errno;
	bench_picture(b, out);
	return fclose(out) ? -errno : 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: bench-modes [--seconds S] [--lane NAME] [--svg FILE]\n");
	return EXIT_USAGE;
}

int main(int argc, char *argv[])
{
	struct bench b = { .lane = "e" };
	const char *svg = NULL;
	unsigned seconds = 1;
	struct err e = { 0 };

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--seconds"))
			seconds = (unsigned)strtoul(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--lane"))
			snprintf(b.lane, sizeof(b.lane), "%s", argv[i + 1]);
		else if (!strcmp(argv[i], "--svg"))
			svg = argv[i + 1];
		else
			return usage();
	}
	if (argc % 2 == 0 || seconds < 1 || seconds > 60)
		return usage();
	if (access("/dev/kvm", R_OK | W_OK) < 0) {
		fprintf(stderr, "bench-modes: /dev/kvm: %s\n", strerror(errno));
		return EXIT_SKIP;
	}
	if (machine_prefer_thread() < 0)
		fprintf(stderr, "bench-modes: not permitted to come before vCPU threads: figures are lower with many vCPUs\n");
	if (measure(&b, seconds, &e) < 0) {
		fprintf(stderr, "bench-modes: %s\n", e.text);
		return EXIT_NOT_RUN;
	}
	bench_print(&b, stdout);
	if (svg && picture_write(&b, svg) < 0) {
		fprintf(stderr, "bench-modes: %s: %s\n", svg, strerror(errno));
		return EXIT_NOT_RUN;
	}
	return 0;
}
