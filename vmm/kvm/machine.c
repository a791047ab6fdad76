// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A machine from the cradle to the grave. Constructors build locally and hand over
 * last; machine_destroy() takes half-built ones. The guest cannot make anything
 * here grow: sizes come from the configuration alone.
 */
#include "vmm/kvm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "vmm/backend/kvm.h"
#include "vmm/backend/process.h"
#include "vmm/kvm/barrier.h"
#include "vmm/kvm/kick.h"
#include "vmm/kvm/machine_private.h"
#include "vmm/kvm/probe.h"
#include "vmm/kvm/virtio_console.h"
#include "vmm/kvm/wait.h"

#define MEMORY_MIN (16ull << 20)
#define MCE_BANKS  10u
#define MCG_CTL_P  (1ull << 8)
#define MCG_SER_P  (1ull << 24)

static int check_config(const struct machine_config *c, struct err *e)
{
	if (!c->vcpus || c->vcpus > MACHINE_VCPUS_MAX)
		return err_set(e, ERR_USAGE, EINVAL, "", "%u vCPUs: 1 to %d are possible", c->vcpus, MACHINE_VCPUS_MAX);
	if (c->memory < MEMORY_MIN || c->memory % PAGE_SIZE || c->memory > 1ull << 40)
		return err_set(e, ERR_USAGE, EINVAL, "", "%llu bytes of memory: at least 16 MiB, whole pages",
			       (unsigned long long)c->memory);
	if (c->hugepages && c->memory % MEMORY_HUGE_PAGE)
		return err_set(e, ERR_USAGE, EINVAL, "", "%llu bytes of memory: with huge pages a multiple of 2 MiB",
			       (unsigned long long)c->memory);
	return 0;
}

static int guest_memory_read(struct guest_memory *g, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct machine *m = container_of(g, struct machine, guest_memory);
	int r = memory_read(&m->memory, gpa, buf, len);

	return r < 0 ? err_set_addr(e, ERR_FAILED, -r, "", gpa, "0x%llx is not RAM", (unsigned long long)gpa) : 0;
}

int config_open(const char *path, const int *fd, int flags)
{
	int own = fd ? fcntl(*fd, F_DUPFD_CLOEXEC, 0) : open(path, flags | O_CLOEXEC | O_NOCTTY, 0640);

	return own < 0 ? -errno : own;
}

static int open_console(struct machine *m, const struct machine_config *c, struct err *e)
{
	bool wanted = c->files ? c->files->console >= 0 : c->console != NULL;
	const char *name = c->console ? c->console : "the console";
	int fd = wanted ? config_open(c->console, c->files ? &c->files->console : NULL, O_WRONLY | O_CREAT | O_APPEND) : -1;

	if (wanted && fd < 0)
		return err_set(e, ERR_FAILED, -fd, "", "%s: %s", name, strerror(-fd));
	serial_init(&m->serial, fd);
	return 0;
}

/* Machine checks are there when KVM takes them; without, only their injection is refused. */
static void set_up_mce(struct machine *m)
{
	uint64_t cap = 0;

	m->has_mce = ioctl(m->kvm_fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &cap) >= 0;
	cap = (cap & (MCG_CTL_P | MCG_SER_P)) | MCE_BANKS;
	for (size_t i = 0; i < m->n_cpus && m->has_mce; i++)
		m->has_mce = ioctl(m->cpus[i].fd, KVM_X86_SETUP_MCE, &cap) >= 0;
}

static int make_cpus(struct machine *m, unsigned n, struct err *e)
{
	m->cpus = calloc(n, sizeof(*m->cpus));
	if (!m->cpus)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	for (unsigned i = 0; i < n; i++) {
		m->n_cpus = i + 1;
		int r = cpu_create(m, i, e);
		if (r < 0)
			return r;
	}
	set_up_mce(m);
	return 0;
}

int machine_set_up(struct machine *m, const struct machine_config *config, struct err *e)
{
	int r = vm_create(m, config, e);

	return r < 0 ? r : make_cpus(m, config->vcpus, e);
}

void machine_join(struct machine *m)
{
	for (size_t i = 0; i < m->n_cpus; i++) {
		if (m->cpus[i].has_thread)
			pthread_join(m->cpus[i].thread, NULL);
		m->cpus[i].has_thread = false;
	}
}

void machine_tear_down(struct machine *m)
{
	for (size_t i = 0; i < m->n_cpus; i++)
		cpu_destroy(&m->cpus[i]);
	free(m->cpus);
	m->cpus = NULL;
	m->n_cpus = 0;
	if (m->vm_fd >= 0)
		close(m->vm_fd);
	if (m->kvm_fd >= 0)
		close(m->kvm_fd);
	m->vm_fd = m->kvm_fd = -1;
	m->irqchip = false;
	memory_done(&m->memory);
}

int machine_create_empty(const struct machine_config *config, const struct machine_abilities *abilities,
			 struct machine **ret, struct err *e)
{
	_cleanup_(machine_destroy) struct machine *m = NULL;
	int r = check_config(config, e);

	if (r < 0)
		return r;
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	m->base.ops = &backend_kvm;
	m->guest_memory.read = guest_memory_read;
	m->kvm_fd = m->vm_fd = m->memory.fd = -1;
	m->serial.fd = -1;
	m->abilities = *abilities;
	/* Pages of hugetlb cannot be remapped or zapped in part. */
	if (config->hugepages)
		m->abilities.remap_seen_at_once = m->abilities.zap_forces_exit = false;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->go, NULL);
	pthread_cond_init(&m->done, NULL);
	snprintf(m->name, sizeof(m->name), "%s", config->name ? config->name : "");
	m->pid_start = process_start_time(getpid());
	m->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = m->event_fd < 0 ? -errno : kick_init();
	if (r >= 0)
		r = barrier_init(m);
	if (r < 0)
		return err_set(e, ERR_FAILED, -r, "", "cannot set up a VM: %s", strerror(-r));
	r = open_console(m, config, e);
	if (r >= 0)
		r = machine_set_up(m, config, e);
	if (r >= 0)
		r = devices_create(&m->devices, config, &m->memory, m->vm_fd, m->irqchip, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

int machine_create(const struct machine_config *config, struct machine **ret, struct err *e)
{
	_cleanup_(machine_destroy) struct machine *m = NULL;
	struct machine_abilities abilities;
	int r = check_config(config, e);

	if (r >= 0)
		r = machine_probe(&abilities, e);
	if (r >= 0)
		r = machine_create_empty(config, &abilities, &m, e);
	if (r >= 0)
		r = boot_load(m, config, e);
	if (r >= 0 && (r = debug_start(m)) < 0)
		err_set(e, ERR_FAILED, -r, "", "KVM_SET_GUEST_DEBUG: %s", strerror(-r));
	if (r >= 0 && config->reboot)
		r = config_keep(m, config, e);
	if (r >= 0)
		*ret = TAKE_PTR(m);
	return r;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	machine_end(m, BACKEND_SHUTDOWN, BACKEND_EVENT_SHUTDOWN, "destroyed");
	machine_join(m);
	devices_destroy(&m->devices); /* when nobody accesses them any more, and before their memory goes */
	machine_tear_down(m);
	config_drop(m);
	if (m->event_fd >= 0)
		close(m->event_fd);
	serial_done(&m->serial);
	pthread_cond_destroy(&m->go);
	pthread_cond_destroy(&m->done);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

int machine_start(struct machine *m, struct err *e)
{
	int r = 0;

	if (m->started)
		return err_set(e, ERR_FAILED, EALREADY, "", "the VM is started already");
	m->nice = prefer_ordinary();
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; i < m->n_cpus && r >= 0; i++) {
		r = cpu_start(&m->cpus[i], e);
		if (r >= 0)
			m->cpus[i].state = CPU_RUNNING;
	}
	m->started = true;
	pthread_mutex_unlock(&m->lock);
	if (r < 0)
		machine_end(m, BACKEND_BROKEN, BACKEND_EVENT_PANICKED, "not all vCPUs could be started");
	return r;
}

int machine_wait(struct machine *m, uint64_t timeout_us, char *ret_reason, size_t cap)
{
	uint64_t deadline = now_us() + timeout_us;

	pthread_mutex_lock(&m->lock);
	/* Who only asks must not sleep, even for no time at all: where CPUs are scarce it is let in again milliseconds later. */
	while (!m->ended && timeout_us && wait_until(&m->done, &m->lock, deadline) == 0)
		;
	int ended = m->ended;
	if (cap)
		snprintf(ret_reason, cap, "%s", m->end_reason);
	pthread_mutex_unlock(&m->lock);
	return ended;
}

struct backend *machine_backend(struct machine *m)
{
	return &m->base;
}

int machine_agent_connect(struct machine *m, struct err *e)
{
	if (!m->devices.console)
		return err_set(e, ERR_REFUSED, ENODEV, "no-agent-port", "the VM was started without the agent's port");
	return virtio_console_connect(m->devices.console, e);
}

bool machine_agent_is_open(struct machine *m, uint64_t *ret_opens)
{
	if (m->devices.console)
		return virtio_console_is_open(m->devices.console, ret_opens);
	if (ret_opens)
		*ret_opens = 0;
	return false;
}

uint8_t *machine_ram(struct machine *m, uint64_t gpa, size_t len)
{
	return memory_at(&m->memory, gpa, len);
}
