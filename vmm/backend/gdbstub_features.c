// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Registers beyond the 'g' block: the target description that numbers them, and single ones by
 * number. Must never believe a length: a description is capped, a value has the size asked for.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/backend/gdbstub_private.h"

#define PIECE_MAX 2000u /* QEMU cuts a piece so that it fits a packet of 4096 */

/* One piece at offset, 'm' (more follows) or 'l' (the last) before it. */
static int piece_read(struct gdbstub *s, const char *annex, size_t offset, uint64_t timeout_us, const char **ret,
		      size_t *ret_len, struct err *e)
{
	char request[128];
	int n = snprintf(request, sizeof(request), "qXfer:features:read:%s:%zx,%x", annex, offset, PIECE_MAX);

	if (n < 0 || (size_t)n >= sizeof(request))
		return err_set(e, ERR_FAILED, EINVAL, "", "gdb request too long");
	int r = gdbstub_post(s, request, (size_t)n, e);
	if (r >= 0)
		r = gdbstub_reply(s, timeout_us, NULL, ret, ret_len, e);
	if (r < 0)
		return r;
	if (*ret_len == 0 || (**ret != 'm' && **ret != 'l') || (**ret == 'm' && *ret_len == 1))
		return err_set(e, ERR_FAILED, EOPNOTSUPP, "", "the gdb stub does not describe its registers (%s)",
			       annex);
	return 0;
}

int gdbstub_feature_read(struct gdbstub *s, const char *annex, uint64_t timeout_us, char **ret, struct err *e)
{
	_cleanup_free_ char *text = malloc(GDBSTUB_FEATURE_MAX + 1);
	const char *piece;
	size_t len, at = 0;
	bool more = true;

	if (!text)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	while (more) {
		int r = piece_read(s, annex, at, timeout_us, &piece, &len, e);
		if (r < 0)
			return r;
		more = *piece == 'm';
		if (len - 1 > GDBSTUB_FEATURE_MAX - at)
			return err_set(e, ERR_FAILED, E2BIG, "", "the gdb stub's %s has no end", annex);
		memcpy(text + at, piece + 1, len - 1);
		at += len - 1;
	}
	text[at] = '\0';
	*ret = TAKE_PTR(text);
	return 0;
}

static int value_read(struct gdbstub *s, uint64_t timeout_us, uint64_t *ret, struct err *e)
{
	const char *reply;
	uint64_t value;
	size_t len;
	int r = gdbstub_reply(s, timeout_us, NULL, &reply, &len, e);

	if (r < 0)
		return r;
	if (len != 2 * sizeof(value) || hex_decode(reply, (uint8_t *)&value, sizeof(value)) != sizeof(value))
		return err_set(e, ERR_FAILED, EPROTO, "", "the gdb stub gave no value of a register");
	*ret = le64toh(value);
	return 0;
}

/* All in one write: the VM is held meanwhile. The first failure counts, but all replies are taken. */
int gdbstub_regs_pick(struct gdbstub *s, const unsigned *numbers, size_t n, uint64_t timeout_us, uint64_t *ret,
		      struct err *e)
{
	char request[16];
	int r = n > GDBSTUB_POST_MAX ? err_set(e, ERR_FAILED, EINVAL, "", "too many registers") : 0, failed = 0;

	for (size_t i = 0; i < n && r >= 0; i++) {
		int len = snprintf(request, sizeof(request), "p%x", numbers[i]);
		r = gdbstub_post(s, request, (size_t)len, e);
	}
	for (size_t i = 0; i < n && r >= 0; i++) {
		int got = value_read(s, timeout_us, &ret[i], failed ? NULL : e);
		if (got < 0 && !failed)
			failed = got;
		if (!gdbstub_alive(s))
			break;
	}
	return r < 0 ? r : failed;
}
