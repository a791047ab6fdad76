/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bare ELF guest from a few bytes of machine code, for the tests of our own VMM. */
#ifndef VMPOKE_TESTS_UNIT_KVM_GUEST_H
#define VMPOKE_TESTS_UNIT_KVM_GUEST_H

#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/kvm/machine.h"

#define GUEST_CODE   0x100000ull
#define GUEST_MEMORY (32ull << 20)

/* Writes the image to a temporary file; its name lives until the next call. */
static inline const char *guest_elf(const uint8_t *code, size_t len)
{
	static char path[64];
	const Elf64_Ehdr h = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_entry = GUEST_CODE,
		.e_phoff = sizeof(h), .e_ehsize = sizeof(h), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
	};
	const Elf64_Phdr p = {
		.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = sizeof(h) + sizeof(p), .p_vaddr = GUEST_CODE,
		.p_paddr = GUEST_CODE, .p_filesz = len, .p_memsz = len, .p_align = 1,
	};

	snprintf(path, sizeof(path), "/tmp/vmpoke-guest-XXXXXX");
	int fd = mkstemp(path);
	if (fd < 0 || write(fd, &h, sizeof(h)) != sizeof(h) || write(fd, &p, sizeof(p)) != sizeof(p) ||
	    write(fd, code, len) != (ssize_t)len)
		abort();
	close(fd);
	return path;
}

static inline int guest_create(const uint8_t *code, size_t len, unsigned vcpus, const char *console,
			       struct machine **ret, struct err *e)
{
	const struct machine_config config = {
		.name = "unit", .kernel = guest_elf(code, len), .console = console,
		.vcpus = vcpus, .memory = GUEST_MEMORY, .no_irqchip = true, .start_all = true,
	};
	int r = machine_create(&config, ret, e);

	unlink(config.kernel);
	return r;
}

/* NULL when tests can run here, else the reason why not. */
static inline const char *guest_missing(void)
{
	return access("/dev/kvm", R_OK | W_OK) == 0 ? NULL : "no usable /dev/kvm";
}

#endif
