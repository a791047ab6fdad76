// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * AF_XDP by libxdp: a little memory shared with the kernel, four rings. In copy
 * mode, the only one that taps have. Must never load a program of libxdp's own:
 * that one would take every frame.
 */
#include <errno.h>
#include <linux/if_xdp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "vmm/link/xdp_socket.h"

#define AREA_SIZE ((size_t)2 * XDP_RING * XDP_FRAME_SIZE)

static int socket_create(struct xdp_socket *s, const char *ifname, unsigned int queue)
{
	const struct xsk_umem_config umem = {
		.fill_size = XDP_RING, .comp_size = XDP_RING, .frame_size = XDP_FRAME_SIZE
	};
	const struct xsk_socket_config config = {
		.rx_size = XDP_RING,
		.tx_size = XDP_RING,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = XDP_COPY,
	};
	int r;

	s->area = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->area == MAP_FAILED) {
		s->area = NULL;
		return -ENOMEM;
	}
	r = xsk_umem__create(&s->umem, s->area, AREA_SIZE, &s->fill, &s->completion, &umem);
	if (r)
		return r;
	return xsk_socket__create(&s->xsk, ifname, queue, s->umem, &s->rx, &s->tx, &config);
}

/* The kernel gets all frames of the first half, we keep those of the second. */
static int frames_share_out(struct xdp_socket *s)
{
	uint32_t index;

	if (xsk_ring_prod__reserve(&s->fill, XDP_RING, &index) != XDP_RING)
		return -ENOBUFS;
	for (uint32_t i = 0; i < XDP_RING; i++) {
		*xsk_ring_prod__fill_addr(&s->fill, index + i) = (uint64_t)i * XDP_FRAME_SIZE;
		s->idle[i] = (uint64_t)(XDP_RING + i) * XDP_FRAME_SIZE;
	}
	s->n_idle = XDP_RING;
	xsk_ring_prod__submit(&s->fill, XDP_RING);
	return 0;
}

int xdp_socket_new(const char *ifname, unsigned int queue, struct xdp_socket **ret)
{
	_cleanup_(xdp_socket_free) struct xdp_socket *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = socket_create(s, ifname, queue);
	if (!r)
		r = frames_share_out(s);
	if (r)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

void xdp_socket_free(struct xdp_socket *s)
{
	if (!s)
		return;
	if (s->xsk)
		xsk_socket__delete(s->xsk);
	if (s->umem)
		xsk_umem__delete(s->umem);
	if (s->area)
		munmap(s->area, AREA_SIZE);
	free(s);
}

int xdp_socket_fd(const struct xdp_socket *s)
{
	return xsk_socket__fd(s->xsk);
}

size_t xdp_socket_receive(struct xdp_socket *s, void *buf, size_t cap)
{
	uint32_t in, out;
	const struct xdp_desc *desc;
	size_t len;

	if (!xsk_ring_cons__peek(&s->rx, 1, &in))
		return 0;
	desc = xsk_ring_cons__rx_desc(&s->rx, in);
	len = desc->len < cap ? desc->len : cap;
	memcpy(buf, xsk_umem__get_data(s->area, desc->addr), len);
	/* There is always room: the ring is as long as there are frames for it. */
	if (xsk_ring_prod__reserve(&s->fill, 1, &out)) {
		*xsk_ring_prod__fill_addr(&s->fill, out) = desc->addr / XDP_FRAME_SIZE * XDP_FRAME_SIZE;
		xsk_ring_prod__submit(&s->fill, 1);
	}
	xsk_ring_cons__release(&s->rx, 1);
	return len;
}

static void frames_take_back(struct xdp_socket *s)
{
	uint32_t index, n = (uint32_t)xsk_ring_cons__peek(&s->completion, XDP_RING, &index);

	for (uint32_t i = 0; i < n && s->n_idle < XDP_RING; i++)
		s->idle[s->n_idle++] = *xsk_ring_cons__comp_addr(&s->completion, index + i);
	if (n)
		xsk_ring_cons__release(&s->completion, n);
}

uint8_t *xdp_socket_reserve(struct xdp_socket *s)
{
	if (!s->n_idle)
		frames_take_back(s);
	return s->n_idle ? xsk_umem__get_data(s->area, s->idle[s->n_idle - 1]) : NULL;
}

void xdp_socket_send(struct xdp_socket *s, size_t len)
{
	uint32_t index;

	/* As many frames as places in the ring: there is one. */
	if (!xsk_ring_prod__reserve(&s->tx, 1, &index))
		return;
	*xsk_ring_prod__tx_desc(&s->tx, index) =
		(struct xdp_desc){ .addr = s->idle[--s->n_idle], .len = (uint32_t)len };
	xsk_ring_prod__submit(&s->tx, 1);
	s->kick = true;
}

int xdp_socket_flush(struct xdp_socket *s)
{
	if (!s->kick)
		return 0;
	if (sendto(xdp_socket_fd(s), NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0) {
		s->kick = false;
		return 0;
	}
	/* The first two: told again later. ENOBUFS: the guest does not take its frames; this one was dropped, the rest waits. */
	return errno == EAGAIN || errno == EBUSY || errno == ENOBUFS ? 0 : -errno;
}
