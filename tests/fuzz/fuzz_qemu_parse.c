// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any text into every monitor reader, and into the register block reader. What
 * is accepted must keep the promises of qemu_parse.h. Must never depend on anything but the input.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/backend/qemu_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_ranges(const char *text)
{
	struct qemu_range r[16];
	int n = qemu_parse_mtree(text, r, ARRAY_SIZE(r));

	check(n != 0 && n <= (int)ARRAY_SIZE(r));
	for (int i = 0; i < n; i++) {
		check(r[i].len > 0 && r[i].gpa + (r[i].len - 1) >= r[i].gpa);
		check(i == 0 || r[i].gpa > r[i - 1].gpa + (r[i - 1].len - 1));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qemu_cpu_regs cpus[4];
	struct vcpu_regs regs;
	uint64_t hva = 1, words[8];
	char *text = malloc(size + 1);

	check(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	check_ranges(text);
	int n = qemu_parse_registers(text, cpus, ARRAY_SIZE(cpus));
	check(n != 0 && n <= (int)ARRAY_SIZE(cpus));
	check(qemu_parse_hva(text, 0x1000, &hva) != 0 || hva != 0);
	qemu_parse_xp(text, 0x1000, words, ARRAY_SIZE(words));
	qemu_parse_run_state(text);
	unsigned number = 0;
	check(qemu_parse_regnum(text, "TTBR1_EL1", &number) != 0 || number < 1000000);
	free(text);
	check(qemu_parse_g_arm64(data, size, &regs) == (size < QEMU_G_ARM64_SIZE ? -EBADMSG : 0));
	if (qemu_parse_g(data, size, &regs) == 0) {
		uint8_t back[QEMU_G_WRITE_SIZE];
		qemu_format_g(&regs, back);
		check(!memcmp(back, data, sizeof(back)));
	}
	return 0;
}
