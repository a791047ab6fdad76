// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Everything the worker of a VM does: patches, probe, symbols, history. The
 * daemon knows the VM and the client; what the arguments mean is the worker's.
 */
#include <errno.h>

#include "vmm/control/command.h"
#include "vmm/control/relay.h"
#include "vmm/control/vm.h"

int cmd_relay(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
	      json_t **ret, struct err *e)
{
	struct vm *vm = vm_find(d, json_string_value(json_object_get(args, "vm")), e);

	return vm ? relay_start(vm, s, cmd, args, ret, e) : -ENOENT;
}
