// SPDX-License-Identifier: GPL-2.0-or-later
/* See desired_hold.h. What is read back is checked: the file may have been edited. */
#include "vmm/control/desired_hold.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/control/daemon.h"
#include "vmm/control/durable.h"
#include "vmm/control/log.h"
#include "vmm/control/vm.h"

#define HELD_FILE_MAX (64u << 10)

static int folder_open(const struct vm *vm)
{
	return durable_folder(vm->daemon->worker_config.state_dir, "held", NULL);
}

static void file_name(const struct vm *vm, char *buf, size_t cap)
{
	snprintf(buf, cap, "%s.json", vm->entry.name);
}

static json_t *file_read(const struct vm *vm)
{
	_cleanup_close_ int folder = folder_open(vm);
	char file[PATCHFILE_NAME_MAX + 8];
	struct stat st;

	file_name(vm, file, sizeof(file));
	_cleanup_close_ int fd = folder < 0 ? -1 : openat(folder, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > HELD_FILE_MAX)
		return NULL;
	return json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);
}

void desired_hold_load(struct vm *vm)
{
	struct desired *d = &vm->desired;
	json_auto_t *o = file_read(vm);
	const char *base = json_string_value(json_object_get(o, "base"));
	const char *build_id = json_string_value(json_object_get(o, "build_id"));
	json_t *patch;
	size_t i;

	if (!base || !build_id || strlen(base) >= sizeof(d->boot.base) || strlen(build_id) >= sizeof(d->boot.build_id))
		return;
	d->boot.pid = json_integer_value(json_object_get(o, "pid"));
	strcpy(d->boot.base, base);
	strcpy(d->boot.build_id, build_id);
	json_array_foreach(json_object_get(o, "patches"), i, patch)
		if (i < RULES_PER_VM_MAX && json_is_string(patch) && patch_name_valid(json_string_value(patch)))
			desired_hold(d, json_string_value(patch));
}

static int file_write(const struct vm *vm)
{
	const struct desired *d = &vm->desired;
	char file[PATCHFILE_NAME_MAX + 8];
	_cleanup_close_ int folder = folder_open(vm);

	file_name(vm, file, sizeof(file));
	if (folder < 0)
		return folder;
	if (json_array_size(d->held) == 0)
		return faccessat(folder, file, F_OK, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : durable_remove(folder, file);
	json_auto_t *o = json_pack("{s:I, s:s, s:s, s:O}", "pid", d->boot.pid, "base", d->boot.base, "build_id",
				   d->boot.build_id, "patches", d->held);
	_cleanup_free_ char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
	return text ? durable_write(folder, ".held.tmp", file, text) : -ENOMEM;
}

void desired_hold_save(struct vm *vm)
{
	int r = file_write(vm);

	if (r < 0)
		log_msg(LOG_ERR, vm->entry.name, "which patches were taken out by hand cannot be kept: %s", strerror(-r));
}

void desired_hold_why(struct err *ret)
{
	err_set(ret, ERR_FAILED, ECANCELED, NULL, "somebody took it out; it stays out until the guest boots anew, or 'vmpoke apply'");
}

static size_t held_index(const struct desired *d, const char *patch)
{
	json_t *name;
	size_t i;

	json_array_foreach(d->held, i, name)
		if (strcmp(json_string_value(name), patch) == 0)
			break;
	return i;
}

bool desired_holds(const struct desired *d, const char *patch)
{
	return d->held && held_index(d, patch) < json_array_size(d->held);
}

void desired_hold(struct desired *d, const char *patch)
{
	if (!d->held)
		d->held = json_array();
	if (d->held && !desired_holds(d, patch) && json_array_size(d->held) < RULES_PER_VM_MAX)
		json_array_append_new(d->held, json_string(patch));
}

void desired_unhold(struct desired *d, const char *patch)
{
	if (desired_holds(d, patch))
		json_array_remove(d->held, held_index(d, patch));
}
