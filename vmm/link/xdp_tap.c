// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loads the program, binds the sockets, attaches. The program hangs on a
 * bpf_link, so that it goes with the process, however that ends. Needs
 * CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF. Must never change the interface or its
 * addresses, and never take the place of another program.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <xdp/libxdp.h>
#include <xdp.skel.h>

#include "vmm/link/xdp_tap.h"

/* The kernel lets go of a dead process's sockets some milliseconds after it: a worker that follows one must wait. */
#define BUSY_TRIES   50
#define BUSY_WAIT_US 20000

int xdp_tap_check(char *why, size_t cap)
{
	_cleanup_close_ int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		int error = errno;
		snprintf(why, cap, error == EPERM ? "AF_XDP: %s (needs CAP_NET_RAW)" : "this kernel has no AF_XDP (%s)",
			 strerror(error));
		return -error;
	}
	libbpf_set_print(NULL);
	if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_XDP, NULL) != 1) {
		snprintf(why, cap, "XDP programs cannot be loaded (kernel without them, or no CAP_BPF and CAP_NET_ADMIN)");
		return -EPERM;
	}
	return 0;
}

static int load_program(struct xdp_tap *tap, const uint8_t mac[LINK_MAC_LEN], struct err *e)
{
	int r;

	libbpf_set_print(NULL);
	libxdp_set_print(NULL);
	tap->skel = xdp_bpf__open();
	if (!tap->skel)
		return err_set(e, ERR_FAILED, errno, "xdp", "xdp: %s", strerror(errno));
	_Static_assert(sizeof(tap->skel->rodata->vm_mac) == LINK_MAC_LEN, "a MAC address");
	for (int i = 0; i < LINK_MAC_LEN; i++)
		((volatile uint8_t *)tap->skel->rodata->vm_mac)[i] = mac[i];
	r = xdp_bpf__load(tap->skel);
	return r ? err_set(e, ERR_FAILED, -r, "xdp", "xdp: the kernel does not take our program: %s", strerror(-r)) : 0;
}

static int add_queue(struct xdp_tap *tap, const char *ifname)
{
	struct epoll_event event = { .events = EPOLLIN };
	_cleanup_(xdp_socket_free) struct xdp_socket *s = NULL;
	int r, tries = 0;

	while ((r = xdp_socket_new(ifname, tap->n_queues, &s)) == -EBUSY && tries++ < BUSY_TRIES)
		usleep(BUSY_WAIT_US);
	if (!r)
		r = xsk_socket__update_xskmap(s->xsk, bpf_map__fd(tap->skel->maps.sockets));
	if (r)
		return r;
	if (epoll_ctl(tap->epoll_fd, EPOLL_CTL_ADD, xdp_socket_fd(s), &event))
		return -errno;
	tap->queues[tap->n_queues++] = TAKE_PTR(s);
	return 0;
}

/* A socket for each queue there is; the kernel says -EINVAL at the first that is not. */
static int open_queues(struct xdp_tap *tap, const char *ifname, struct err *e)
{
	int r;

	tap->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (tap->epoll_fd < 0)
		return err_set(e, ERR_FAILED, errno, "xdp", "xdp: %s", strerror(errno));
	do {
		r = add_queue(tap, ifname);
	} while (!r && tap->n_queues < XDP_QUEUES);
	if (r == -EINVAL && tap->n_queues)
		return 0;
	if (!r) {
		_cleanup_(xdp_socket_free) struct xdp_socket *more = NULL;
		r = xdp_socket_new(ifname, XDP_QUEUES, &more);
		if (r == -EINVAL)
			return 0;
		return err_set(e, ERR_REFUSED, E2BIG, "xdp", "xdp: %s has more than %d queues", ifname, XDP_QUEUES);
	}
	return err_set(e, ERR_FAILED, -r, "xdp", "xdp: queue %u of %s: %s", tap->n_queues, ifname,
		       r == -EBUSY ? "another AF_XDP socket is bound to it" : strerror(-r));
}

/* In the driver, else behind it, where every frame costs a little more. */
static int attach(struct xdp_tap *tap, const struct xdp_iface *iface, const char *ifname, struct err *e)
{
	static const uint32_t modes[] = { XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(modes) && r != -EBUSY && r != -EEXIST; i++) {
		const struct bpf_link_create_opts options = { .sz = sizeof(options), .flags = modes[i] };
		r = bpf_link_create(bpf_program__fd(tap->skel->progs.agent_frames), iface->index, BPF_XDP, &options);
		if (r >= 0) {
			tap->bpf_link_fd = r;
			tap->native = modes[i] == XDP_FLAGS_DRV_MODE;
			return 0;
		}
	}
	if (r == -EBUSY || r == -EEXIST)
		return err_set(e, ERR_REFUSED, EBUSY, "xdp", "xdp: another XDP program is attached to %s", ifname);
	return err_set(e, ERR_FAILED, -r, "xdp", "xdp: cannot attach to %s: %s", ifname, strerror(-r));
}

void xdp_tap_close(struct xdp_tap *tap)
{
	if (tap->bpf_link_fd > 0)
		close(tap->bpf_link_fd);
	for (unsigned int i = 0; i < tap->n_queues; i++)
		xdp_socket_free(tap->queues[i]);
	if (tap->epoll_fd > 0)
		close(tap->epoll_fd);
	xdp_bpf__destroy(tap->skel);
	memset(tap, 0, sizeof(*tap));
}

int xdp_tap_open(struct xdp_tap *ret, const char *ifname, const struct xdp_iface *iface,
		 const uint8_t mac[LINK_MAC_LEN], struct err *e)
{
	struct xdp_tap tap = { 0 };
	int r = load_program(&tap, mac, e);

	if (!r)
		r = open_queues(&tap, ifname, e);
	/* Last: from here on the guest's frames come to us. */
	if (!r)
		r = attach(&tap, iface, ifname, e);
	if (r) {
		xdp_tap_close(&tap);
		return r;
	}
	*ret = tap;
	return 0;
}
