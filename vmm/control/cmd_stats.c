// SPDX-License-Identifier: GPL-2.0-or-later
/* query-stats. Must answer at once, whatever the workers do. */
#include <errno.h>

#include "vmm/control/command.h"
#include "vmm/control/daemon.h"
#include "vmm/control/stats.h"
#include "vmm/control/vm.h"

#define COUNT_DEFAULT 256

int cmd_query_stats(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args, json_t **ret,
		    struct err *e)
{
	const char *name = json_string_value(json_object_get(args, "vm"));
	json_t *start = json_object_get(args, "start"), *count = json_object_get(args, "count");
	const struct vm *vm = name ? vm_find(d, name, e) : NULL;

	(void)cmd;
	if (name && !vm)
		return -ENOENT;
	*ret = stats_query(d, s, vm, (size_t)json_integer_value(start), count ? (size_t)json_integer_value(count) : COUNT_DEFAULT);
	return *ret ? 0 : err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
}
