// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connection to vmpoked: made on the first call, every wait bounded, every
 * failure turned into a sentence that says what to do. Must never retry a
 * command: it may have taken effect although its answer was lost.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "protocol/client.h"

#define CONNECT_US 5000000u

uint64_t cli_deadline_us(const struct cli *c)
{
	/* For a patch --timeout bounds the work itself, of which the answer still tells. */
	if (c->verb->options & CLI_OPT_JOB)
		return ((c->options.has_timeout ? c->options.timeout_ms : CLI_PATCH_TIMEOUT_MS) + CLI_GRACE_MS) * 1000;
	/* What is installed is given it as its own; 'wait' counts its time itself. */
	if (c->verb->options & (CLI_OPT_RULE | CLI_OPT_WAIT))
		return (CLI_PATCH_TIMEOUT_MS + CLI_GRACE_MS) * 1000;
	return (c->options.has_timeout ? c->options.timeout_ms : CLI_PATCH_TIMEOUT_MS + CLI_GRACE_MS) * 1000;
}

static int connect_explain(struct cli *c, int r, struct err *e)
{
	const char *path = c->options.socket;

	if (r == -EACCES || r == -EPERM)
		return err_set(e, ERR_UNREACHABLE, -r, "", "may not open '%s': %s; become a member of its group, or for verbs "
			       "that only read use -c with control-ro.sock beside it", path, strerror(-r));
	if (r == -EPROTO || r == -EBADMSG)
		return err_set(e, ERR_UNREACHABLE, -r, "", "what listens on '%s' does not speak QMP", path);
	if (r == -ETIMEDOUT)
		return err_set(e, ERR_UNREACHABLE, -r, "", "no greeting from '%s' in time: "
			       "vmpoked hangs, or this is the busy monitor of a VM", path);
	return err_set(e, ERR_UNREACHABLE, -r, "", "cannot reach vmpoked at '%s': %s "
		       "(is vmpoked running? systemctl start vmpoked, or -c SOCKET)", path, strerror(-r));
}

int cli_connect(struct cli *c, struct err *e)
{
	uint64_t limit = cli_deadline_us(c);

	if (c->client)
		return 0;
	int r = qmp_client_connect(c->options.socket, limit < CONNECT_US ? limit : CONNECT_US, ERR_UNREACHABLE, &c->client, e);
	return r < 0 ? connect_explain(c, r, e) : 0;
}

int cli_lost(struct cli *c, const char *command, int r, struct err *e)
{
	bool changes = strcmp(command, "patch-apply") == 0 || strcmp(command, "patch-revert") == 0 ||
		       strcmp(command, "patch-replace") == 0;
	const char *advice = changes ? "; it may still be done or undone: ask 'vmpoke history'" :
		strcmp(command, "vm-run") == 0 ? "; it may still be started: ask 'vmpoke list'" : "";

	if (r == -ETIMEDOUT)
		return err_set(e, ERR_UNREACHABLE, -r, "", "no answer to '%s' from vmpoked within %.1f s%s", command,
			       (double)cli_deadline_us(c) / 1e6, advice);
	if (r == -EPROTO || r == -EBADMSG)
		return err_set(e, ERR_UNREACHABLE, -r, "", "the answer to '%s' from '%s' makes no sense%s", command,
			       c->options.socket, advice);
	return err_set(e, ERR_UNREACHABLE, -r, "", "vmpoked closed the connection before it answered '%s'%s", command, advice);
}

int cli_call(struct cli *c, const char *command, json_t *args, json_type type, json_t **ret, struct err *e)
{
	json_auto_t *owned = args;
	json_auto_t *reply = NULL;

	if (!owned)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int r = cli_connect(c, e);
	if (r < 0)
		return r;
	r = qmp_client_call(c->client, command, owned, cli_deadline_us(c), &reply, e);
	if (r < 0)
		return qmp_client_alive(c->client) ? r : cli_lost(c, command, r, e);
	if (json_typeof(reply) != type)
		return cli_lost(c, command, -EPROTO, e);
	*ret = json_incref(reply);
	return 0;
}

int cli_pass_fd(struct cli *c, const char *name, int fd, struct err *e)
{
	json_auto_t *args = json_pack("{s:s}", "fdname", name);
	int r = cli_connect(c, e);

	if (r < 0)
		return r;
	r = qmp_client_call_fd(c->client, "getfd", args, fd, cli_deadline_us(c), NULL, e);
	return r < 0 && !qmp_client_alive(c->client) ? cli_lost(c, "getfd", r, e) : r;
}

/* vmpoked names the QMP argument that lifts a refusal; most are our long options as well. */
static void override_print(struct cli *c, const char *name)
{
	size_t n;
	const struct cli_option *opt = cli_options(&n);
	bool ours = false;

	for (size_t i = 0; i < n; i++)
		ours |= strcmp(opt[i].name, name) == 0;
	fprintf(stderr, "override: %s%s\n", ours ? "--" : "", output_safe(&c->out, name));
}

int cli_fail(struct cli *c, const struct err *e)
{
	c->failed = *e;
	/* What was printed so far comes first when both go to one file. */
	fflush(c->out.stream);
	fprintf(stderr, "vmpoke: %s%s%s\n", output_safe(&c->out, e->vm), *e->vm ? ": " : "", output_safe(&c->out, e->text));
	if (*e->override)
		override_print(c, e->override);
	if (*e->rule && c->options.verbosity > 0)
		fprintf(stderr, "rule: %s\n", output_safe(&c->out, e->rule));
	return err_exit_code(e->kind);
}

const char *cli_vm_prefix(struct cli *c)
{
	return c->several ? output_format(&c->out, "%s: ", c->args[0]) : "";
}
