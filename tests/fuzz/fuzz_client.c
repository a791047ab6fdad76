// SPDX-License-Identifier: GPL-2.0-or-later
/* A hostile QMP server: its bytes into the client, with calls under way. The first byte picks the client's role. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/client.h"

#define TIMEOUT_US 1000000u /* the peer's end is shut, so that nothing waits this long */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* Calls, then drains everything; a connection that ended must say so in the end. */
static void use_client(struct qmp_client *c)
{
	uint64_t a, serial;
	struct err e = { 0 };
	json_t *j = NULL;
	int r = qmp_client_send(c, "a", NULL, &a, &e);

	check(r == 0 || r == -ECONNRESET);
	r = qmp_client_call(c, "b", NULL, TIMEOUT_US, &j, &e);
	check(r == 0 || (r < 0 && e.kind != ERR_NONE && e.text[0]));
	if (r == 0)
		json_decref(j);
	for (int i = 0; i < 2 * QMP_EVENTS_MAX; i++) {
		r = qmp_client_process(c, &j, &serial, &e);
		if (r <= 0)
			break;
		check(serial == 0 || (r == 1 && serial <= 4));
		check(serial == 0 || json_object_get(j, "return") || json_object_get(j, "error"));
		json_decref(j);
	}
	check(r <= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qmp_client *c = NULL;
	struct err e = { 0 };
	int fd[2];

	if (size < 1 || size > 100000 || socketpair(AF_UNIX, SOCK_STREAM, 0, fd) < 0)
		return 0;
	check(send(fd[1], data + 1, size - 1, 0) == (ssize_t)size - 1);
	shutdown(fd[1], SHUT_WR);
	if (qmp_client_adopt(fd[0], data[0] & 1, TIMEOUT_US, ERR_INACTIVE, &c, &e) == 0)
		use_client(c);
	else
		check(c == NULL && e.text[0]);
	qmp_client_free(c);
	close(fd[1]);
	return 0;
}
