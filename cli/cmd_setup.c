// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * setup-domain: hands over to vmpoke-libvirt, for this program links nothing of libvirt. Must never search the
 * user's PATH for it.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "protocol/util.h"

#define PROGRAM "vmpoke-libvirt"

/* Beside our own program, as built; else where it is installed. */
static void program_find(char path[static PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(PROGRAM));
	char *slash = NULL;

	if (n > 0) {
		path[n] = '\0';
		slash = strrchr(path, '/');
	}
	if (slash)
		strcpy(slash + 1, PROGRAM);
	if (!slash || access(path, X_OK) < 0)
		strcpy(path, VMPOKE_LIBEXECDIR "/" PROGRAM);
}

int cmd_setup_domain(struct cli *c)
{
	char path[PATH_MAX], name[] = PROGRAM;
	const char *argv[12] = { name, "setup-domain" };
	size_t n = 2;
	struct err e;

	if (c->options.apply)
		argv[n++] = "--apply";
	if (c->options.json)
		argv[n++] = "--json";
	if (c->options.connect) {
		argv[n++] = "--connect";
		argv[n++] = c->options.connect;
	}
	if (c->options.monitor) {
		argv[n++] = "--monitor";
		argv[n++] = c->options.monitor;
	}
	argv[n++] = "--";
	argv[n] = c->args[0];
	program_find(path);
	fflush(c->out.stream);
	execv(path, (char **)(uintptr_t)argv);
	err_set(&e, ERR_FAILED, errno, "", "cannot run %s: %s%s", path, strerror(errno), errno == ENOENT ? " (is vmpoke-libvirt installed?)" : "");
	return cli_fail(c, &e);
}
