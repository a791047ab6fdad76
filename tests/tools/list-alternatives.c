// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lists what a kernel's file says of its alternatives, one entry a line, for tests that look for
 * a place: "OFFSET LEN FEATURE N CALL-TARGETS", offsets from _text; FEATURE with '!' where its
 * absence replaces; N the entry's number at its place; the targets of the original's and the
 * replacement's first call, or '-'.
 *   list-alternatives VMLINUZ
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/arch/arch.h"
#include "vmm/guest/alternatives.h"
#include "vmm/guest/vmlinux.h"

static void print_call(const uint8_t *code, size_t len, uint64_t at)
{
	struct arch_insn insn;

	if (len && arch_x86_64.decode(code, len, at, &insn) == 0 && insn.flow == ARCH_FLOW_CALL)
		printf(" %" PRIx64, insn.target - VMLINUX_LINK_BASE);
	else
		printf(" -");
}

static void print_all(const struct guest_alternatives *all)
{
	unsigned number = 0;

	for (size_t i = 0; i < all->n; i++) {
		const struct guest_alternative *a = &all->entry[i];

		number = i && a[-1].at == a->at ? number + 1 : 1;
		printf("%" PRIx64 " %u %s%u %u", a->at - VMLINUX_LINK_BASE, a->len, a->inverted ? "!" : "", a->feature, number);
		print_call(a->original, a->len, a->at);
		print_call(a->replacement, a->replacement_len, a->replacement_at);
		putchar('\n');
	}
}

int main(int argc, char **argv)
{
	__attribute__((cleanup(guest_alternatives_clear))) struct guest_alternatives all = { 0 };
	_cleanup_(vmlinux_free) struct vmlinux *v = NULL;
	struct err e = { 0 };
	_cleanup_close_ int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0) {
		fprintf(stderr, "list-alternatives: %s\n", argc == 2 ? strerror(errno) : "VMLINUZ");
		return 2;
	}
	if (vmlinux_open(fd, &v, &e) < 0 || guest_alternatives_read(v, 0, &all, &e) < 0) {
		fprintf(stderr, "list-alternatives: %s\n", e.text);
		return 1;
	}
	print_all(&all);
	return 0;
}
