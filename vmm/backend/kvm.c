// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The backend of a machine of our own (vmm/kvm): the VMM and the poke engine share
 * a process, so most ops are thin. Text changes under running vCPUs are in
 * vmm/kvm/live.h. The machine belongs to whoever created it; nothing here ends it.
 */
#include "vmm/backend/kvm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/kvm/live.h"
#include "vmm/kvm/machine_private.h"

#define CALL_TIMEOUT_US 5000000u

static int kvm_open(const struct backend_target *target, struct backend **ret, struct err *e)
{
	(void)target;
	(void)ret;
	return err_set(e, ERR_USAGE, EOPNOTSUPP, "", "a VM of our own is started, not connected to");
}

static void kvm_close(struct backend *b)
{
	if (machine_of(b)->stop)
		run_resume(b, NULL);
}

static unsigned capabilities(const struct machine_abilities *a)
{
	unsigned caps = BACKEND_LIVE_READ | BACKEND_LIVE_REGS | BACKEND_NONSTOP;

	if (a->int3 != MACHINE_INT3_NOT_REPORTED)
		caps |= BACKEND_TRAP_INT3;
	if (a->hw_breakpoints)
		caps |= BACKEND_TRAP_HW;
	if (a->step != MACHINE_STEP_NONE && a->block_irq)
		caps |= BACKEND_STEP;
	if (a->remap_seen_at_once)
		caps |= BACKEND_REMAP;
	return caps;
}

static int kvm_info(struct backend *b, struct backend_info *ret, struct err *e)
{
	struct machine *m = machine_of(b);

	(void)e;
	*ret = (struct backend_info){
		.caps = capabilities(&m->abilities),
		.accel = "kvm",
		.version = "vmpoke " VMPOKE_VERSION,
		.vcpus = m->n_cpus,
		.pid = getpid(),
		.pid_start = m->pid_start,
	};
	pthread_mutex_lock(&m->lock);
	snprintf(ret->state_why, sizeof(ret->state_why), "%s", m->end_reason);
	if (m->ended)
		ret->state = m->end_state;
	else
		ret->state = m->started && !m->stop ? BACKEND_RUNNING : BACKEND_PAUSED;
	pthread_mutex_unlock(&m->lock);
	return 0;
}

static const char *int3_words(enum machine_int3 int3)
{
	static const char *const words[] = {
		[MACHINE_INT3_DEBUG_EXIT] = "reported as a debug exit",
		[MACHINE_INT3_EMULATION_ERROR] = "reported as a failed emulation",
		[MACHINE_INT3_NOT_REPORTED] = "not reported: it goes to the guest",
	};

	return words[int3];
}

static const char *step_words(enum machine_step step)
{
	static const char *const words[] = {
		[MACHINE_STEP_EXACT] = "exact",
		[MACHINE_STEP_REPEATS] = "works, may report a step that did not move",
		[MACHINE_STEP_NONE] = "does not work",
	};

	return words[step];
}

static int kvm_abilities(struct backend *b, struct backend_ability *ret, size_t cap, struct err *e)
{
	const struct machine_abilities *a = &machine_of(b)->abilities;
	const struct {
		const char *name, *value;
	} rows[] = {
		{ "int3", int3_words(a->int3) },
		{ "single-step", step_words(a->step) },
		{ "hardware breakpoints", a->hw_breakpoints ? "fire" : "do not fire" },
		{ "RF flag", a->rf ? "lets the instruction under a breakpoint pass" : "ignored: breakpoints are stepped over" },
		{ "blocking interrupts", a->block_irq ? "possible while stepping" : "not possible while stepping" },
		{ "remap", a->remap_seen_at_once ? "seen by a running vCPU at once" : "not seen at once" },
		{ "zap of a page", a->zap_forces_exit ? "takes vCPUs out of guest mode" : "is no barrier: vCPUs are signalled" },
		{ "irqchip", a->irqchip ? "in the kernel" : "none" },
		{ "registers", a->sync_regs ? "come with each exit" : "are fetched" },
		{ "exit counters", a->stats ? "kept by KVM" : "none" },
	};

	if (cap < ARRAY_SIZE(rows))
		return err_set(e, ERR_FAILED, E2BIG, "", "there are %zu abilities to tell of", ARRAY_SIZE(rows));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(ret[i].name, sizeof(ret[i].name), "%s", rows[i].name);
		snprintf(ret[i].value, sizeof(ret[i].value), "%s", rows[i].value);
	}
	return (int)ARRAY_SIZE(rows);
}

static int kvm_event_fd(const struct backend *b)
{
	return machine_of((struct backend *)(uintptr_t)b)->event_fd;
}

static int kvm_event(struct backend *b, enum backend_event_kind *ret, struct err *e)
{
	struct machine *m = machine_of(b);
	eventfd_t count;

	(void)e;
	eventfd_read(m->event_fd, &count);
	pthread_mutex_lock(&m->lock);
	*ret = m->end_event;
	m->end_event = BACKEND_EVENT_NONE;
	pthread_mutex_unlock(&m->lock);
	/* When that fails the machine ends, which is the next event. */
	if (*ret == BACKEND_EVENT_RESET && m->config.reboot)
		machine_reboot(m, NULL);
	return 0;
}

static int kvm_ram(struct backend *b, struct backend_range *ranges, size_t cap, struct err *e)
{
	const struct memory *mem = &machine_of(b)->memory;
	size_t n = mem->high ? 2 : 1;

	if (cap < n)
		return err_set(e, ERR_FAILED, E2BIG, "", "RAM has %zu parts", n);
	ranges[0] = (struct backend_range){ 0, mem->low };
	if (n > 1)
		ranges[1] = (struct backend_range){ MEMORY_HIGH_START, mem->high };
	return (int)n;
}

static int kvm_read(struct backend *b, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct guest_memory *g = &machine_of(b)->guest_memory;

	return g->read(g, gpa, buf, len, e);
}

struct regs_job {
	struct cpu_job job;
	struct vcpu_regs *get;
	const struct vcpu_regs *set;
};

static int regs_job(struct cpu_job *job, struct cpu *c)
{
	struct regs_job *j = container_of(job, struct regs_job, job);

	return j->get ? cpu_regs_get(c, j->get) : cpu_regs_set(c, j->set);
}

static int kvm_regs(struct backend *b, size_t vcpu, struct regs_job *job, struct err *e)
{
	struct machine *m = machine_of(b);

	if (vcpu >= m->n_cpus)
		return err_set(e, ERR_FAILED, EINVAL, "", "there is no vCPU %zu", vcpu);
	job->job.run = regs_job;
	return cpus_call(m, vcpu, &job->job, CALL_TIMEOUT_US, NULL, e);
}

static int kvm_regs_get(struct backend *b, size_t vcpu, struct vcpu_regs *ret, struct err *e)
{
	struct vcpu_regs regs;
	struct regs_job job = { .get = &regs };
	int r = kvm_regs(b, vcpu, &job, e);

	if (r >= 0)
		*ret = regs;
	return r;
}

static int kvm_regs_set(struct backend *b, size_t vcpu, const struct vcpu_regs *regs, struct err *e)
{
	struct regs_job job = { .set = regs };

	if (!machine_of(b)->stop)
		return err_set(e, ERR_FAILED, EBUSY, "", "the VM is not held");
	return kvm_regs(b, vcpu, &job, e);
}

/* Worker and guest die together: there is never a predecessor whose pause could be left. */
static int kvm_resume_orphan(struct backend *b, struct err *e)
{
	(void)b;
	(void)e;
	return 0;
}

/* The stop-the-world traps of the gdb-stub road; here traps are the live ops' arm() and trap_hw(). */
static int kvm_trap(struct backend *b, enum backend_trap kind, uint64_t gva, struct err *e)
{
	(void)b;
	(void)kind;
	return err_set_addr(e, ERR_FAILED, EOPNOTSUPP, "", gva, "this backend traps while the VM runs");
}

static int kvm_run(struct backend *b, uint64_t timeout_us, struct backend_stop *ret, struct err *e)
{
	(void)timeout_us;
	(void)ret;
	return kvm_trap(b, BACKEND_TRAP_KIND_INT3, 0, e);
}

static const struct backend_live_ops live = {
	.arm = live_arm,
	.disarm = live_disarm,
	.trap_hw = live_trap_hw,
	.write = live_write,
	.barrier = live_barrier,
	.flip = live_flip,
	.release = live_release,
	.read_virtual = live_read_virtual,
	.write_virtual = live_write_virtual,
	.exchange_virtual = live_exchange_virtual,
};

const struct backend_ops backend_kvm = {
	.name = "kvm",
	.live = &live,
	.open = kvm_open,
	.close = kvm_close,
	.info = kvm_info,
	.abilities = kvm_abilities,
	.event_fd = kvm_event_fd,
	.event = kvm_event,
	.ram = kvm_ram,
	.read = kvm_read,
	.write = live_write,
	.pause = run_pause,
	.resume = run_resume,
	.resume_orphan = kvm_resume_orphan,
	.regs_get = kvm_regs_get,
	.regs_set = kvm_regs_set,
	.step = run_step,
	.trap_set = kvm_trap,
	.trap_clear = kvm_trap,
	.run = kvm_run,
};
