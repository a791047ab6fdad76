// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtio console (Virtual I/O Device 1.2, section 5.3) with VIRTIO_CONSOLE_F_MULTIPORT
 * and one port; see virtio_console.h. Bytes go straight between guest buffers and
 * the socket: what the host does not take stays in the guest's queue, what the guest
 * does not take stays in the socket, and neither can make us keep more than one
 * piece. Must never wait for either of them, and never read from the socket for a
 * port the guest has not opened (Linux drops what comes then).
 */
#include "vmm/kvm/virtio_console.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/util.h"

#define F_MULTIPORT   (1ull << 1)
#define PORTS	      2u /* 0 belongs to the console proper and is never added */
#define PORT	      1u
#define PIECE	      4096u
#define ROUND_MAX     64 /* requests of one queue, then others get the lock */
#define CONFIG_PORTS  4	 /* offset of max_nr_ports */

/* 5.3.6.2 */
struct control {
	uint32_t id;
	uint16_t event, value;
};
enum { DEVICE_READY = 0, PORT_ADD = 1, PORT_READY = 3, PORT_OPEN = 6, PORT_NAME = 7 };

/* Control messages the guest still has to get, in the order they are sent. State, not a queue: it cannot grow. */
enum { DUE_ADD = 1, DUE_NAME = 2, DUE_CLOSE = 4, DUE_OPEN = 8 };

struct virtio_console {
	struct virtio_device device;
	int fd;		   /* (L) our end of the pipe; -1: no host */
	bool guest_open;   /* (L) */
	bool guest_ready;  /* (L) it wants to hear of opening and closing */
	uint64_t opens;	   /* (L) */
	unsigned due;	   /* (L) */
	bool blocked;	   /* (L) the socket took no more */
	bool sending;	   /* (L) out is a request that is not done yet */
	uint64_t sent;	   /* (L) bytes of it */
	size_t n_in;	   /* (L) bytes of in[] */
	uint8_t in[PIECE]; /* (L) read from the socket, not yet in the guest */
	struct virtq_chain out, chain;
};

static struct virtio_console *console_of(struct virtio_device *d)
{
	return container_of(d, struct virtio_console, device);
}

static void disconnect(struct virtio_console *c)
{
	if (c->fd < 0)
		return;
	close(c->fd);
	c->fd = -1;
	c->n_in = 0;
	c->blocked = false;
	/*
	 * Sent even when the next host is there already. A Linux program that sleeps in read()
	 * through both may still miss it (will_read_block() in its driver looks at the state, not
	 * at the change): that it is another host is for the bytes to say.
	 */
	c->due = (c->due & ~(unsigned)DUE_OPEN) | (c->guest_ready ? DUE_CLOSE : 0);
}

static void guest_says(struct virtio_console *c, const struct control *m)
{
	if (m->event == DEVICE_READY && m->value) {
		c->due |= DUE_ADD;
		return;
	}
	if (m->id != PORT)
		return;
	if (m->event == PORT_READY && m->value) {
		c->guest_ready = true;
		c->due |= DUE_NAME | (c->fd >= 0 ? DUE_OPEN : 0);
	} else if (m->event == PORT_OPEN) {
		c->opens += m->value && !c->guest_open;
		c->guest_open = m->value;
		c->n_in = 0;
	}
}

/* True, here and below: more to do right away. */
static bool take_control(struct virtio_console *c)
{
	struct virtio_device *d = &c->device;
	struct control m;

	for (int i = 0; i < ROUND_MAX; i++) {
		if (!virtio_pop(d, CONSOLE_CONTROL_OUT, &c->chain))
			return false;
		if (virtq_read(&c->chain, d->memory, 0, &m, sizeof(m)) == 0)
			guest_says(c, &m);
		virtio_push(d, CONSOLE_CONTROL_OUT, c->chain.head, 0);
	}
	return true;
}

/* A buffer that is too small or not RAM is the guest's loss: it is given back empty. */
static void give(struct virtio_device *d, unsigned queue, const struct virtq_chain *chain, const void *bytes, size_t len)
{
	if (virtq_write(chain, d->memory, 0, bytes, len) < 0)
		len = 0;
	virtio_push(d, queue, chain->head, (uint32_t)len);
}

static size_t control_message(unsigned due, uint8_t *buf)
{
	static const char name[] = VIRTIO_CONSOLE_PORT_NAME;
	struct control m = { .id = PORT, .value = due != DUE_CLOSE };
	size_t len = sizeof(m);

	m.event = due == DUE_ADD ? PORT_ADD : due == DUE_NAME ? PORT_NAME : PORT_OPEN;
	if (due == DUE_NAME) { /* not terminated */
		memcpy(buf + len, name, sizeof(name) - 1);
		len += sizeof(name) - 1;
	}
	memcpy(buf, &m, sizeof(m));
	return len;
}

static void send_control(struct virtio_console *c)
{
	uint8_t buf[sizeof(struct control) + sizeof(VIRTIO_CONSOLE_PORT_NAME)];

	while (c->due && virtio_pop(&c->device, CONSOLE_CONTROL_IN, &c->chain)) {
		unsigned due = c->due & -c->due;
		size_t len = control_message(due, buf);
		c->due &= ~due;
		give(&c->device, CONSOLE_CONTROL_IN, &c->chain, buf, len);
	}
}

/* Up to one piece of the request in hand to the socket. 1: go on; 0: the socket is full. */
static int send_piece(struct virtio_console *c)
{
	uint8_t buf[PIECE];
	uint64_t left = c->out.out_len - c->sent;
	size_t len = left < sizeof(buf) ? (size_t)left : sizeof(buf);

	if (c->fd < 0 || virtq_read(&c->out, c->device.memory, c->sent, buf, len) < 0) {
		c->sent = c->out.out_len; /* no host listens, or it is not RAM: dropped */
		return 1;
	}
	ssize_t n = send(c->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		disconnect(c);
	if (n > 0)
		c->sent += (uint64_t)n;
	c->blocked = n < 0 && errno == EAGAIN;
	return !c->blocked;
}

static bool guest_to_host(struct virtio_console *c)
{
	struct virtio_device *d = &c->device;

	for (int i = 0; i < ROUND_MAX; i++) {
		if (!c->sending) {
			if (!virtio_pop(d, CONSOLE_PORT_OUT, &c->out))
				return false;
			c->sending = true;
			c->sent = 0;
		}
		if (c->sent < c->out.out_len && !send_piece(c))
			return false;
		if (c->sent >= c->out.out_len) {
			c->sending = false;
			virtio_push(d, CONSOLE_PORT_OUT, c->out.head, 0);
		}
	}
	return true;
}

static bool guest_takes(struct virtio_console *c)
{
	struct virtio_device *d = &c->device;

	return c->guest_open && virtio_running(d) && virtq_pending(&d->queues[CONSOLE_PORT_IN], d->memory) > 0;
}

/* Bytes for the guest in in[]? Reads some when there are none. */
static bool have_input(struct virtio_console *c)
{
	if (c->n_in)
		return true;
	if (c->fd < 0)
		return false;
	ssize_t n = recv(c->fd, c->in, sizeof(c->in), MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		disconnect(c);
	else if (n > 0)
		c->n_in = (size_t)n;
	return c->n_in > 0;
}

static bool host_to_guest(struct virtio_console *c)
{
	struct virtio_device *d = &c->device;

	for (int i = 0; i < ROUND_MAX; i++) {
		if (!guest_takes(c) || !have_input(c) || !virtio_pop(d, CONSOLE_PORT_IN, &c->chain))
			return false;
		size_t len = c->chain.in_len < c->n_in ? (size_t)c->chain.in_len : c->n_in;
		give(d, CONSOLE_PORT_IN, &c->chain, c->in, len);
		c->n_in -= len;
		memmove(c->in, c->in + len, c->n_in);
	}
	return true;
}

static bool host_is_gone(const struct virtio_console *c)
{
	struct pollfd p = { .fd = c->fd };

	return poll(&p, 1, 0) > 0;
}

static void console_work(struct virtio_device *d)
{
	struct virtio_console *c = console_of(d);
	bool more = take_control(c);

	more = guest_to_host(c) || more;
	more = host_to_guest(c) || more;
	/* What the guest could take of the rest it has. A descriptor in this state would wake us for ever. */
	if (!more && host_is_gone(c))
		disconnect(c);
	send_control(c);
	if (more)
		virtio_kick(d);
}

static void console_wants(struct virtio_device *d, struct pollfd *p)
{
	const struct virtio_console *c = console_of(d);

	p->fd = c->fd;
	p->events = (short)((guest_takes(console_of(d)) ? POLLIN : 0) | (c->sending && c->blocked ? POLLOUT : 0));
}

static void console_reset(struct virtio_device *d)
{
	struct virtio_console *c = console_of(d);

	c->guest_open = c->guest_ready = c->sending = false;
	c->due = 0;
	c->n_in = 0;
}

static const struct virtio_ops ops = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.n_queues = 2 * (PORTS + 1),
	.work = console_work,
	.wants = console_wants,
	.reset = console_reset,
};

int virtio_console_create(struct memory *mem, struct virtio_irq *irq, struct virtio_console **ret, struct err *e)
{
	const uint32_t ports = PORTS;
	struct virtio_console *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	c->fd = -1;
	int r = virtio_init(&c->device, &ops, mem, irq);
	if (r < 0) {
		virtio_console_destroy(c);
		return err_set(e, ERR_FAILED, -r, "", "virtio-console: %s", strerror(-r));
	}
	c->device.features |= F_MULTIPORT;
	memcpy(c->device.config + CONFIG_PORTS, &ports, sizeof(ports));
	*ret = c;
	return 0;
}

void virtio_console_destroy(struct virtio_console *c)
{
	if (!c)
		return;
	virtio_done(&c->device);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

struct virtio_device *virtio_console_device(struct virtio_console *c)
{
	return &c->device;
}

int virtio_console_connect(struct virtio_console *c, struct err *e)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return err_set(e, ERR_FAILED, errno, "", "virtio-console: %s", strerror(errno));
	pthread_mutex_lock(&c->device.lock);
	disconnect(c);
	c->fd = fds[0];
	c->due |= c->guest_ready ? DUE_OPEN : 0;
	pthread_mutex_unlock(&c->device.lock);
	virtio_kick(&c->device);
	return fds[1];
}

bool virtio_console_is_open(struct virtio_console *c, uint64_t *ret_opens)
{
	pthread_mutex_lock(&c->device.lock);
	bool open = c->guest_open;
	if (ret_opens)
		*ret_opens = c->opens;
	pthread_mutex_unlock(&c->device.lock);
	return open;
}
