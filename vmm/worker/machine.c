// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A VM of our own; see machine.h. Files come as descriptors, opened by whoever asked for
 * the VM: this process must never open one by name, because its rights are not his.
 */
#include "vmm/worker/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define TELL_TIMEOUT_MS 5000

static int number_take(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;

	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || n > max)
		return -EINVAL;
	*ret = n;
	return 1;
}

static int fd_take(const char *text, int *ret)
{
	uint64_t n;
	int r = number_take(text, 65535, &n);

	if (r > 0)
		*ret = (int)n;
	return r;
}

int machine_option_take(struct machine_options *o, int option, const char *value)
{
	uint64_t n = 0;
	int r;

	switch (option) {
	case 'K': return fd_take(value, &o->files.kernel);
	case 'I': return fd_take(value, &o->files.initrd);
	case 'O': return fd_take(value, &o->files.console);
	case 'D':
		if (o->n_disks == MACHINE_DISKS_MAX)
			return -EINVAL;
		r = fd_take(value, &o->disks[o->n_disks]);
		o->n_disks += r > 0;
		return r;
	case 'M': return number_take(value, UINT64_MAX, &o->memory);
	case 'k':
		o->kernel = value;
		return 1;
	case 'a':
		o->append = value;
		return 1;
	case 'p':
		r = number_take(value, MACHINE_VCPUS_MAX, &n);
		o->vcpus = (unsigned)n;
		return r;
	default: return 0;
	}
}

static void disks_set(const struct machine_options *o, struct machine_config *config)
{
	for (size_t i = 0; i < o->n_disks; i++)
		config->disks[i] = (struct machine_disk){
			.fd = o->disks[i], .read_only = (fcntl(o->disks[i], F_GETFL) & O_ACCMODE) == O_RDONLY,
		};
	config->n_disks = o->n_disks;
}

/* A KVM without an irqchip runs bare guests all the same; Linux is refused by whoever loads it. */
static int machine_make(struct session *s, const struct machine_options *o, struct err *e)
{
	struct machine_abilities abilities;
	int r = machine_probe(&abilities, e);

	if (r < 0)
		return r;
	struct machine_config config = {
		.name = s->target.vm,
		.kernel = o->kernel && *o->kernel ? o->kernel : "the kernel",
		.append = o->append,
		.vcpus = o->vcpus,
		.memory = o->memory,
		.no_irqchip = !abilities.irqchip,
		.start_all = true,
		.reboot = true,
		.agent = abilities.irqchip, /* its virtio device needs an interrupt */
		.files = &o->files,
	};
	disks_set(o, &config);
	return machine_create(&config, &s->machine, e);
}

/* What was read is in guest memory; console and disks have descriptors of their own. */
static void files_close(const struct machine_options *o)
{
	const struct machine_files *f = &o->files;

	for (size_t i = 0; i < o->n_disks; i++)
		close(o->disks[i]);
	close(f->kernel);
	if (f->initrd >= 0)
		close(f->initrd);
	if (f->console >= 0)
		close(f->console);
}

int machine_run(struct session *s, const struct machine_options *o, struct err *e)
{
	int r = machine_make(s, o, e);

	files_close(o);
	if (r >= 0) /* before the guest runs: what a dead predecessor left unfinished died with its guest */
		r = session_attach(s, e);
	if (r >= 0)
		r = machine_start(s->machine, e);
	machine_prefer_thread(); /* this one changes text; where it is not permitted it only takes longer */
	return r < 0 ? r : s->backend->ops->info(s->backend, &s->info, e);
}

void machine_tell_failure(struct session *s, const struct err *e)
{
	struct pollfd p = { .fd = control_fd(s->control), .events = POLLIN };

	if (poll(&p, 1, TELL_TIMEOUT_MS) > 0 && control_accept(s->control) > 0)
		control_event(s->control, "WORKER_FAILED",
			      json_pack("{s:s, s:o}", "vm", s->target.vm, "error", qmp_error_to_json(e)));
}
