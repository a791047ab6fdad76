// SPDX-License-Identifier: GPL-2.0-or-later
/* Facts about a network interface. Must never change one. */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "vmm/link/xdp_iface.h"

static int ask(int fd, unsigned long request, struct ifreq *req)
{
	return ioctl(fd, request, req) ? -errno : 0;
}

static int read_driver(int fd, const char *name, struct xdp_iface *iface)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq req = { .ifr_data = (char *)&info };
	int r;

	strcpy(req.ifr_name, name);
	r = ask(fd, SIOCETHTOOL, &req);
	if (r == -EOPNOTSUPP) /* no driver with a name: bridges have one, but not all do */
		return 0;
	snprintf(iface->driver, sizeof(iface->driver), "%.*s", (int)sizeof(info.driver), info.driver);
	snprintf(iface->bus, sizeof(iface->bus), "%.*s", (int)sizeof(info.bus_info), info.bus_info);
	return r;
}

int xdp_iface_read(const char *name, struct xdp_iface *ret)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct xdp_iface iface = { 0 };
	struct ifreq req = { 0 };
	int r;

	if (fd < 0)
		return -errno;
	if (!name[0] || strlen(name) >= sizeof(req.ifr_name))
		return -ENODEV;
	strcpy(req.ifr_name, name);
	r = ask(fd, SIOCGIFINDEX, &req);
	iface.index = req.ifr_ifindex;
	if (!r)
		r = ask(fd, SIOCGIFHWADDR, &req);
	memcpy(iface.mac, req.ifr_hwaddr.sa_data, LINK_MAC_LEN);
	if (!r)
		r = ask(fd, SIOCGIFMTU, &req);
	iface.mtu = req.ifr_mtu > 0 ? (unsigned int)req.ifr_mtu : 0;
	if (!r)
		r = ask(fd, SIOCGIFFLAGS, &req);
	iface.up = req.ifr_flags & IFF_UP;
	if (!r)
		r = read_driver(fd, name, &iface);
	if (r)
		return r;
	*ret = iface;
	return 0;
}
