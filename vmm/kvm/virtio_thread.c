// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A virtio device's life and its thread. The thread sleeps until the guest
 * notifies a queue or the device's own descriptor wants something; vCPU threads
 * only knock. Must never take the machine's lock, and never end by itself.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/kvm/virtio.h"

int virtio_init(struct virtio_device *d, const struct virtio_ops *ops, struct memory *mem, struct virtio_irq *irq)
{
	*d = (struct virtio_device){ .ops = ops, .memory = mem, .irq = irq, .features = VIRTIO_F_VERSION_1 };
	pthread_mutex_init(&d->lock, NULL);
	d->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return d->kick_fd < 0 ? -errno : 0;
}

void virtio_done(struct virtio_device *d)
{
	if (!d->ops)
		return;
	atomic_store(&d->stop, true);
	if (d->has_thread) {
		virtio_kick(d);
		pthread_join(d->thread, NULL);
	}
	if (d->kick_fd >= 0)
		close(d->kick_fd);
	pthread_mutex_destroy(&d->lock);
	d->ops = NULL;
}

/* Fails only when it has been knocked 2^64 - 2 times and nobody looked: then it is awake anyway. */
void virtio_kick(struct virtio_device *d)
{
	eventfd_write(d->kick_fd, 1);
}

void virtio_work(struct virtio_device *d)
{
	pthread_mutex_lock(&d->lock);
	d->ops->work(d);
	pthread_mutex_unlock(&d->lock);
}

static void *device_thread(void *arg)
{
	struct virtio_device *d = arg;
	struct pollfd fds[2] = { { .fd = d->kick_fd, .events = POLLIN } };

	while (!atomic_load(&d->stop)) {
		eventfd_t knocks;
		fds[1] = (struct pollfd){ .fd = -1 };
		if (d->ops->wants) {
			pthread_mutex_lock(&d->lock);
			d->ops->wants(d, &fds[1]);
			pthread_mutex_unlock(&d->lock);
		}
		if (poll(fds, 2, -1) < 0)
			continue; /* EINTR, ENOMEM: both pass */
		if (fds[0].revents)
			eventfd_read(d->kick_fd, &knocks);
		if (!atomic_load(&d->stop))
			virtio_work(d);
	}
	return NULL;
}

/* With all signals blocked: they are for the threads that know them. */
int virtio_start(struct virtio_device *d, struct err *e)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = pthread_create(&d->thread, NULL, device_thread, d);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	d->has_thread = r == 0;
	return r ? err_set(e, ERR_FAILED, r, "", "thread of %s: %s", d->ops->name, strerror(r)) : 0;
}
