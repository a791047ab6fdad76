// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lists the VMs of a vmpoked, then waits a while for an event: how libvmpoke is used.
 *	cc example.c $(pkg-config --cflags --libs vmpoke) && ./a.out [SOCKET]
 */
#include <stdio.h>
#include <stdlib.h>
#include <vmpoke/client.h>

static int fail(const struct vmpoke_client *c)
{
	fprintf(stderr, "%s: %s\n", vmpoke_error_kind(c), vmpoke_error_text(c));
	return vmpoke_error_exit_code(c);
}

/* One line of JSON: what the command answers, or an event. */
static void show(char *json)
{
	puts(json);
	free(json);
}

static int run(struct vmpoke_client *c, const char *path)
{
	char *json;

	if (vmpoke_connect(c, path, 5000) < 0 || vmpoke_call(c, "query-vms", NULL, 5000, &json) < 0)
		return fail(c);
	show(json);
	int r = vmpoke_event(c, 500, &json);
	if (r < 0)
		return fail(c);
	if (r > 0)
		show(json);
	/* A question about a VM that is not there is answered with an error, and the connection stays. */
	if (vmpoke_call(c, "query-vm", "{\"vm\": \"no-such-vm\"}", 5000, &json) < 0)
		return fail(c);
	show(json);
	return 0;
}

int main(int argc, char **argv)
{
	struct vmpoke_client *c;

	if (vmpoke_new(&c) < 0)
		return 1;
	int status = run(c, argc > 1 ? argv[1] : NULL);
	vmpoke_free(c);
	return status;
}
