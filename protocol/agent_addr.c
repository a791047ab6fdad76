// SPDX-License-Identifier: GPL-2.0-or-later
/* Parses the address of an agent; see agent_addr.h. Must never look whether the place exists. */
#include "protocol/agent_addr.h"

#include <errno.h>
#include <string.h>

#include "protocol/agent.h"
#include "protocol/util.h"

#define CID_FIRST_GUEST 3u /* vsock(7): 0 to 2 are the hypervisor, loopback and the host */

static int wrong(struct err *e, const char *what)
{
	return err_set(e, ERR_USAGE, EINVAL, NULL, "the agent's address: %s", what);
}

static bool printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

static int parse_unix(const char *path, struct agent_addr *a, struct err *e)
{
	if (path[0] != '/')
		return wrong(e, "unix: needs an absolute path");
	if (strlen(path) >= sizeof(a->path))
		return wrong(e, "the path is longer than one of a unix socket may be");
	if (!printable(path))
		return wrong(e, "the path holds a control character");
	strcpy(a->path, path);
	return 0;
}

/* Decimal, up to end (a character of its own, or '\0'); all ones stand for "any". Where it ended, or NULL. */
static const char *number(const char *text, uint32_t *ret)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long long n = digits && digits <= 10 ? strtoull(text, NULL, 10) : UINT32_MAX;

	if (n >= UINT32_MAX)
		return NULL;
	*ret = (uint32_t)n;
	return text + digits;
}

static int parse_vsock(const char *text, struct agent_addr *a, struct err *e)
{
	const char *end = number(text, &a->cid);

	a->port = AGENT_VSOCK_PORT;
	if (end && *end == ':')
		end = number(end + 1, &a->port);
	if (!end || *end || a->port == 0)
		return wrong(e, "vsock: needs CID or CID:PORT, decimal numbers");
	return a->cid < CID_FIRST_GUEST ? wrong(e, "vsock: the CID of a guest is 3 or more") : 0;
}

static int parse_mac(const char *text, uint8_t mac[6])
{
	static const uint8_t none[6];

	if (strlen(text) != 17)
		return -EINVAL;
	for (size_t i = 0; i < 6; i++) {
		char byte[3] = { text[3 * i], text[3 * i + 1], '\0' };
		if (hex_decode(byte, &mac[i], 1) != 1 || (i < 5 && text[3 * i + 2] != ':'))
			return -EINVAL;
	}
	return (mac[0] & 1) || memcmp(mac, none, sizeof(none)) == 0 ? -EINVAL : 0;
}

/* What the kernel takes for a name: dev_valid_name() in net/core/dev.c. */
static bool ifname_valid(const char *name, size_t len)
{
	if (len == 0 || len >= IFNAMSIZ || name[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] > '~' || name[i] == '/' || name[i] == ':')
			return false;
	return true;
}

static int parse_xdp(const char *text, struct agent_addr *a, struct err *e)
{
	const char *comma = strrchr(text, ',');

	if (!comma || !ifname_valid(text, (size_t)(comma - text)))
		return wrong(e, "xdp: needs IFNAME,MAC with the name of the guest's tap");
	if (parse_mac(comma + 1, a->mac) < 0)
		return wrong(e, "xdp: needs the guest's MAC address on that tap, as 52:54:00:12:34:56");
	memcpy(a->ifname, text, (size_t)(comma - text));
	return 0;
}

int agent_addr_parse(const char *text, struct agent_addr *ret, struct err *e)
{
	static const struct {
		const char *prefix;
		int (*parse)(const char *rest, struct agent_addr *a, struct err *e);
	} kinds[] = {
		[AGENT_ADDR_UNIX] = { "unix:", parse_unix },
		[AGENT_ADDR_VSOCK] = { "vsock:", parse_vsock },
		[AGENT_ADDR_XDP] = { "xdp:", parse_xdp },
	};

	for (size_t i = AGENT_ADDR_UNIX; i < ARRAY_SIZE(kinds); i++) {
		struct agent_addr a = { .kind = (enum agent_addr_kind)i };
		if (strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix)) != 0)
			continue;
		int r = kinds[i].parse(text + strlen(kinds[i].prefix), &a, e);
		if (r == 0)
			*ret = a;
		return r;
	}
	return wrong(e, "unix:PATH, vsock:CID[:PORT] or xdp:IFNAME,MAC");
}
