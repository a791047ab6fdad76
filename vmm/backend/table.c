// SPDX-License-Identifier: GPL-2.0-or-later
/* The backends we have, one row each. Must never hold state. */
#include <string.h>

#include "vmm/backend.h"
#include "vmm/backend/kvm.h"
#include "vmm/backend/qemu.h"

static const struct backend_ops *const backend_table[] = {
	&backend_qemu,
	&backend_kvm,
};

const struct backend_ops *backend_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(backend_table); i++)
		if (!strcmp(backend_table[i]->name, name))
			return backend_table[i];
	return NULL;
}
