// SPDX-License-Identifier: GPL-2.0-or-later
/* The queue of the main thread; see inbox.h. Must never grow and never lose that something was lost. */
#include "vmm/libvirt/inbox.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "protocol/util.h"

int inbox_init(struct inbox *b)
{
	pthread_mutex_init(&b->lock, NULL);
	b->first = b->n = 0;
	b->overrun = false;
	b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return b->fd < 0 ? -errno : 0;
}

void inbox_done(struct inbox *b)
{
	struct inbox_message m;

	while (inbox_take(b, &m))
		helper_unref(m.helper);
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
	pthread_mutex_destroy(&b->lock);
}

static bool waits_already(const struct inbox *b, const struct inbox_message *m)
{
	for (size_t i = 0; m->kind == INBOX_LOOK && i < b->n; i++) {
		const struct inbox_message *other = &b->messages[(b->first + i) % INBOX_MAX];

		if (other->kind == INBOX_LOOK && strcmp(other->uuid, m->uuid) == 0)
			return true;
	}
	return false;
}

void inbox_put(struct inbox *b, const struct inbox_message *m)
{
	struct helper *dropped = NULL;
	uint64_t one = 1;

	pthread_mutex_lock(&b->lock);
	if (b->n == INBOX_MAX || (m->kind == INBOX_LOOK && b->n >= INBOX_LOOKS_MAX && !waits_already(b, m))) {
		b->overrun = true;
		dropped = m->helper;
	} else if (!waits_already(b, m)) {
		b->messages[(b->first + b->n++) % INBOX_MAX] = *m;
	}
	pthread_mutex_unlock(&b->lock);
	helper_unref(dropped);
	(void)!write(b->fd, &one, sizeof(one));
}

bool inbox_take(struct inbox *b, struct inbox_message *ret)
{
	bool any = true;

	pthread_mutex_lock(&b->lock);
	if (b->n > 0) {
		*ret = b->messages[b->first];
		b->first = (b->first + 1) % INBOX_MAX;
		b->n--;
	} else if (b->overrun) {
		*ret = (struct inbox_message){ .kind = INBOX_OVERRUN };
		b->overrun = false;
	} else {
		any = false;
	}
	pthread_mutex_unlock(&b->lock);
	return any;
}
