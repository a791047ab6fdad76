// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs one machine of our own VMM and says how it ended:
 *   kvm-smoke probe
 *   kvm-smoke run KERNEL INITRD|- VCPUS MiB SECONDS [APPEND]
 * The guest's console is standard output. Links statically, so that it drops into
 * any lane of the rig. Exit status 0: powered off, reset or "exit 0".
 */
#include <stdio.h>
#include <string.h>

#include "vmm/kvm/machine.h"

static int fail(const struct err *e)
{
	fprintf(stderr, "kvm-smoke: %s\n", e->text);
	return 1;
}

static int probe(void)
{
	static const char *const int3[] = { "debug-exit", "emulation-error", "not-reported" };
	static const char *const step[] = { "exact", "repeats", "none" };
	struct machine_abilities a;
	struct err e = { 0 };

	if (machine_probe(&a, &e) < 0)
		return fail(&e);
	printf("int3 %s, step %s, hw-breakpoints %d, rf %d, block-irq %d, remap %d, zap %d, irqchip %d, sync-regs %d, stats %d\n",
	       int3[a.int3], step[a.step], a.hw_breakpoints, a.rf, a.block_irq, a.remap_seen_at_once, a.zap_forces_exit,
	       a.irqchip, a.sync_regs, a.stats);
	return 0;
}

static int run(int argc, char **argv)
{
	struct machine_config config = {
		.name = "smoke",
		.kernel = argv[0],
		.initrd = strcmp(argv[1], "-") ? argv[1] : NULL,
		.vcpus = (unsigned)strtoul(argv[2], NULL, 10),
		.memory = strtoull(argv[3], NULL, 10) << 20,
		.console = "/proc/self/fd/1",
		.append = argc > 5 ? argv[5] : "",
	};
	_cleanup_(machine_destroy) struct machine *m = NULL;
	char reason[256];
	struct err e = { 0 };

	if (machine_create(&config, &m, &e) < 0 || machine_start(m, &e) < 0)
		return fail(&e);
	if (!machine_wait(m, strtoull(argv[4], NULL, 10) * 1000000, reason, sizeof(reason))) {
		fprintf(stderr, "kvm-smoke: timed out\n");
		return 1;
	}
	fprintf(stderr, "kvm-smoke: %s\n", reason);
	return strcmp(reason, "the guest powered off") && strcmp(reason, "reset") && strcmp(reason, "exit 0");
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "probe"))
		return probe();
	if (argc >= 7 && !strcmp(argv[1], "run"))
		return run(argc - 2, argv + 2);
	fprintf(stderr, "usage: kvm-smoke probe | kvm-smoke run KERNEL INITRD|- VCPUS MiB SECONDS [APPEND]\n");
	return 2;
}
