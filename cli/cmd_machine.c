// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * run, destroy: machines of vmpoke's own. Files are opened here, with the user's rights, and
 * passed as descriptors: vmpoked would open them with its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/util.h"

struct file {
	const char *member; /* of vm-run, and the name of the descriptor */
	const char *path;   /* NULL: not given */
	int flags;
};

/* O_NONBLOCK: a FIFO must not hang us, nor the guest that prints into it. */
static int fd_pass(struct cli *c, const char *option, const char *name, const char *path, int flags, struct err *e)
{
	_cleanup_close_ int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);

	if (fd < 0)
		return err_set(e, ERR_USAGE, errno, "", "--%s: %s: %s", option, path, strerror(errno));
	return cli_pass_fd(c, name, fd, e);
}

static int file_pass(struct cli *c, const struct file *f, json_t *args, struct err *e)
{
	int r = fd_pass(c, f->member, f->member, f->path, f->flags, e);

	if (r < 0)
		return r;
	return json_object_set_new(args, f->member, json_sprintf("fd:%s", f->member)) < 0 ?
		err_set(e, ERR_FAILED, ENOMEM, "", "out of memory") : 0;
}

static int disk_pass(struct cli *c, size_t i, json_t *disks, struct err *e)
{
	const char *given = c->options.disks[i], *comma = strrchr(given, ',');
	bool read_only = comma && strcmp(comma, ",ro") == 0;
	_cleanup_free_ char *path = read_only ? strndup(given, (size_t)(comma - given)) : strdup(given);
	char name[16];

	if (!path)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	snprintf(name, sizeof(name), "disk%zu", i);
	int r = fd_pass(c, "disk", name, path, read_only ? O_RDONLY : O_RDWR, e);
	if (r < 0)
		return r;
	return json_array_append_new(disks, json_sprintf("fd:%s", name)) < 0 ? err_set(e, ERR_FAILED, ENOMEM, "", "out of memory") : 0;
}

static int disks_pass(struct cli *c, json_t *args, struct err *e)
{
	json_t *disks = json_array();
	int r = 0;

	if (c->options.n_disks == 0) {
		json_decref(disks);
		return 0;
	}
	if (json_object_set_new(args, "disks", disks) < 0)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (size_t i = 0; i < c->options.n_disks && r == 0; i++)
		r = disk_pass(c, i, disks, e);
	return r;
}

/* The console is appended to: a run that is then refused must not have emptied the file of the one that runs. */
static int files_pass(struct cli *c, json_t *args, struct err *e)
{
	const struct file files[] = {
		{ "kernel", c->options.kernel, O_RDONLY },
		{ "initrd", c->options.initrd, O_RDONLY },
		{ "console", c->options.console, O_WRONLY | O_CREAT | O_APPEND },
	};
	int r = disks_pass(c, args, e);

	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++)
		if (files[i].path)
			r = file_pass(c, &files[i], args, e);
	return r;
}

static json_t *run_args(const struct cli *c)
{
	json_t *args = json_pack("{s:s}", "name", c->args[0]);
	int r = 0;

	if (args && c->options.append)
		r |= json_object_set_new(args, "append", json_string(c->options.append));
	if (args && c->options.vcpus)
		r |= json_object_set_new(args, "vcpus", json_integer(c->options.vcpus));
	if (args && c->options.agent_key)
		r |= json_object_set_new(args, "agent-key", json_string("fd:agent-key"));
	if (args && c->options.memory)
		r |= json_object_set_new(args, "memory", json_integer((json_int_t)c->options.memory));
	if (r == 0)
		return args;
	json_decref(args);
	return NULL;
}

static int run(struct cli *c, json_t **ret, struct err *e)
{
	json_auto_t *args = run_args(c);

	if (!args)
		return err_set(e, ERR_USAGE, EINVAL, "", "--append is not UTF-8");
	int r = files_pass(c, args, e);
	if (r == 0)
		r = agent_key_pass(c, e);
	return r < 0 ? r : cli_call(c, "vm-run", json_incref(args), JSON_OBJECT, ret, e);
}

int cmd_run(struct cli *c)
{
	json_auto_t *vm = NULL;
	struct err e = { 0 };

	if (!c->options.kernel) {
		err_set(&e, ERR_USAGE, EINVAL, "", "'run' needs --kernel FILE");
		return cli_fail(c, &e);
	}
	if (run(c, &vm, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(&c->out, vm);
	else
		fprintf(c->out.stream, "started %s (%" JSON_INTEGER_FORMAT " vCPU%s, %" JSON_INTEGER_FORMAT " MiB)\n", c->args[0],
			output_int(vm, "vcpus"), output_int(vm, "vcpus") == 1 ? "" : "s", output_int(vm, "memory") >> 20);
	return 0;
}

int cmd_destroy(struct cli *c)
{
	json_auto_t *reply = NULL;
	struct err e = { 0 };

	if (cli_call(c, "vm-destroy", json_pack("{s:s}", "vm", c->args[0]), JSON_OBJECT, &reply, &e) < 0)
		return cli_fail(c, &e);
	if (c->options.json)
		output_json(&c->out, reply);
	else if (output_bool(reply, "changed", true))
		fprintf(c->out.stream, "destroyed %s\n", c->args[0]);
	else
		fprintf(c->out.stream, "%s is shut down already\n", c->args[0]);
	return 0;
}
