// SPDX-License-Identifier: GPL-2.0-or-later
/* Build-id from ELF notes; see internal.h. The block is the guest's and may hold any length. */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "vmm/guest/internal.h"

static size_t align4(size_t v)
{
	return (v + 3) & ~(size_t)3;
}

int buildid_parse(const uint8_t *notes, size_t len, uint8_t ret[static 20])
{
	size_t at = 0;

	while (len - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr h;
		memcpy(&h, notes + at, sizeof(h));
		at += sizeof(h);
		if (h.n_namesz > len || h.n_descsz > len)
			return -EBADMSG;
		size_t desc = at + align4(h.n_namesz), end = desc + align4(h.n_descsz);
		if (end > len)
			return -EBADMSG;
		if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && memcmp(notes + at, "GNU", 4) == 0) {
			if (h.n_descsz != 20)
				return -EBADMSG;
			memcpy(ret, notes + desc, 20);
			return 0;
		}
		at = end;
	}
	return -ENOENT;
}
