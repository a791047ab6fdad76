// SPDX-License-Identifier: GPL-2.0-or-later
/* The hook's datagram; see hook.h. Must never take what does not end where it says. */
#include <errno.h>
#include <string.h>

#include "vmm/libvirt/hook.h"

static int part(const char *at, const char *end, char *out, size_t cap)
{
	size_t n = 0;

	while (at + n < end && at[n] != '\n') {
		if ((unsigned char)at[n] < 0x20 || n + 1 >= cap)
			return -EBADMSG;
		out[n] = at[n];
		n++;
	}
	out[n] = '\0';
	return n == 0 || at + n == end ? -EBADMSG : (int)n;
}

int hook_parse(const char *buf, size_t len, struct hook_message *ret)
{
	struct hook_message msg;
	int n = part(buf, buf + len, msg.domain, sizeof(msg.domain));

	if (n < 0)
		return n;
	int k = part(buf + n + 1, buf + len, msg.operation, sizeof(msg.operation));
	if (k < 0)
		return k;
	*ret = msg;
	return 0;
}
