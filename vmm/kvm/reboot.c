// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A guest that reset itself starts anew, from the files it was started from. The VM,
 * its vCPUs and its memory are made again and not reset one by one: so nothing of
 * the old guest is left anywhere, and there is one way to make them. Console,
 * devices, backend and event descriptor stay. Must only be called by the engine's
 * thread, and never with a transaction under way: whatever was patched is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "vmm/kvm/machine_private.h"

static const char *keep_string(const char *s, int *r)
{
	const char *copy = s ? strdup(s) : NULL;

	if (s && !copy)
		*r = -ENOMEM;
	return copy;
}

static int keep_file(const char *path, const int *fd, int *ret)
{
	int own = config_open(path, fd, O_RDONLY);

	if (own >= 0)
		*ret = own;
	return own < 0 ? own : 0;
}

int config_keep(struct machine *m, const struct machine_config *c, struct err *e)
{
	struct machine_config *k = &m->config;
	int r = 0;

	*k = *c;
	m->files = (struct machine_files){ -1, -1, -1 };
	k->files = &m->files;
	k->name = k->console = NULL;
	k->n_disks = 0; /* theirs is to stay */
	k->kernel = keep_string(c->kernel, &r);
	k->initrd = keep_string(c->initrd, &r);
	k->append = keep_string(c->append, &r);
	if (r >= 0)
		r = keep_file(c->kernel, c->files ? &c->files->kernel : NULL, &m->files.kernel);
	if (r >= 0 && (c->files ? c->files->initrd >= 0 : c->initrd != NULL))
		r = keep_file(c->initrd, c->files ? &c->files->initrd : NULL, &m->files.initrd);
	return r < 0 ? err_set(e, ERR_FAILED, -r, "", "%s: %s", c->kernel, strerror(-r)) : 0;
}

int machine_kernel_fd(const struct machine *m)
{
	return m->config.files ? m->files.kernel : -1;
}

void config_drop(struct machine *m)
{
	if (!m->config.files)
		return;
	if (m->files.kernel >= 0)
		close(m->files.kernel);
	if (m->files.initrd >= 0)
		close(m->files.initrd);
	free((char *)(uintptr_t)m->config.kernel);
	free((char *)(uintptr_t)m->config.initrd);
	free((char *)(uintptr_t)m->config.append);
}

/* Its threads are gone: nobody else looks at these. */
static void forget(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->started = false;
	m->stop = false;
	atomic_store(&m->ended, false);
	m->n_armed = 0;
	m->sw_traps = false;
	m->releases++;
	m->end_reason[0] = '\0';
	pthread_mutex_unlock(&m->lock);
	atomic_store(&m->clock_reg, 0);
	atomic_store(&m->pm1_enable, 0);
}

int machine_reboot(struct machine *m, struct err *e)
{
	struct err unasked = { 0 };

	if (!e)
		e = &unasked;
	if (!machine_ended(m) || !m->config.files)
		return err_set(e, ERR_FAILED, EINVAL, "", "the VM has not ended");
	machine_join(m);
	devices_unplug(&m->devices);
	machine_tear_down(m);
	forget(m);
	int r = machine_set_up(m, &m->config, e);
	if (r >= 0)
		r = boot_load(m, &m->config, e);
	if (r >= 0) {
		devices_plug(&m->devices, m->irqchip ? m->vm_fd : -1);
		r = machine_start(m, e);
	}
	if (r < 0)
		machine_end(m, BACKEND_BROKEN, BACKEND_EVENT_PANICKED, "cannot be rebooted: %s", e->text);
	return r;
}
