// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any byte stream as the answers of a gdb stub. First byte: which requests are
 * made. Must end without waiting: the stream is complete and closed from the start.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "vmm/backend/gdbstub.h"

#define STREAM_MAX 65536u /* fits the socket, so that nothing blocks */
#define WAIT_US 1000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void one_request(struct gdbstub *s, unsigned which)
{
	uint8_t buf[GDBSTUB_READ_MAX];
	struct gdbstub_stop stop = { 0 };
	struct err e = { 0 };
	uint64_t values[2];
	char *text = NULL;
	int r = 0;

	switch (which % 8) {
	case 0:
		r = gdbstub_greet(s, "Qqemu.PhyMemMode:1", WAIT_US, &e);
		break;
	case 1:
		r = gdbstub_read(s, 0x1000, buf, 64, WAIT_US, &e);
		break;
	case 2:
		r = gdbstub_write(s, 0x1000, "abcd", 4, WAIT_US, &e);
		break;
	case 3:
		r = gdbstub_regs_read(s, 1, buf, sizeof(buf), WAIT_US, &e);
		check(r <= (int)sizeof(buf));
		break;
	case 4:
		r = gdbstub_step(s, 1, WAIT_US, &e);
		if (r == 0)
			r = gdbstub_wait_stop(s, WAIT_US, &stop, &e);
		check(r != 1 || stop.signal <= 0xff);
		break;
	case 6:
		r = gdbstub_feature_read(s, "target.xml", WAIT_US, &text, &e);
		check(r < 0 || strlen(text) <= GDBSTUB_FEATURE_MAX);
		free(text);
		break;
	case 7:
		r = gdbstub_regs_pick(s, (const unsigned[]){ 1, 175 }, 2, WAIT_US, values, &e);
		break;
	default:
		r = gdbstub_trap(s, true, GDBSTUB_TRAP_HARD, 0x1000, WAIT_US, &e);
		break;
	}
	check(r >= 0 || e.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(gdbstub_free) struct gdbstub *s = NULL;
	int fds[2];

	if (size < 1 || size > STREAM_MAX)
		return 0;
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	check(write_full(fds[1], data + 1, size - 1) == 0);
	check(shutdown(fds[1], SHUT_WR) == 0);
	check(gdbstub_adopt(fds[0], &s) == 0);
	for (unsigned i = 0; i < 8 && gdbstub_alive(s); i++)
		one_request(s, data[0] + i);
	close(fds[1]);
	return 0;
}
