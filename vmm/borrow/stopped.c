// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The road of backends that stop the VM at a trap (QEMU's gdb stub): the VM is held from
 * attach to detach and runs inside wait() only. Must never leave a trap behind that was
 * set here, nor step a vCPU where the instruction can be done by hand: a step takes two more
 * stops, and not every VMM can do it with interrupts blocked.
 */
#include <errno.h>

#include "vmm/arch/arch.h"
#include "vmm/borrow/borrow_private.h"
#include "vmm/fault.h"

#define STRANGE_MAX 32 /* stops in a row that are neither a trap nor the end of a slice */

/* One vCPU's view of memory while it stands at a trap. */
struct view {
	struct borrow_memory ops;
	struct arch_access access; /* the same for the emulator */
	struct borrow *b;
	struct walk walk;
};

static int memory_read(struct guest_memory *m, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct backend *backend = container_of(m, struct borrow, memory)->backend;

	return backend->ops->read(backend, gpa, buf, len, e);
}

static int view_read(struct borrow_memory *m, uint64_t gva, void *buf, size_t len)
{
	return walk_read(&container_of(m, struct view, ops)->walk, gva, buf, len, NULL);
}

/* Kernel stacks are mapped page by page: a pair of words may lie on two. */
static int view_write(struct borrow_memory *m, uint64_t gva, const void *buf, size_t len)
{
	struct view *v = container_of(m, struct view, ops);
	struct walk_page first, last;
	int r = walk_translate(&v->walk, gva, &first, NULL);

	if (r >= 0)
		r = walk_translate(&v->walk, gva + len - 1, &last, NULL);
	if (r < 0)
		return r;
	size_t head = first.left < len ? (size_t)first.left : len;
	const struct backend_ops *ops = v->b->backend->ops;
	if (head < len) {
		r = ops->write(v->b->backend, last.gpa + 1 - (len - head), (const uint8_t *)buf + head, len - head,
			       NULL);
		if (r < 0)
			return r;
	}
	return ops->write(v->b->backend, first.gpa, buf, head, NULL);
}

static int access_read(struct arch_access *a, uint64_t gva, void *buf, size_t len, struct arch_fault *fault)
{
	(void)fault;
	return view_read(&container_of(a, struct view, access)->ops, gva, buf, len) < 0 ? -EFAULT : 0;
}

static int access_write(struct arch_access *a, uint64_t gva, const void *buf, size_t len, struct arch_fault *fault)
{
	(void)fault;
	return view_write(&container_of(a, struct view, access)->ops, gva, buf, len) < 0 ? -EFAULT : 0;
}

static int clear_traps(struct borrow *b, struct err *e)
{
	int r = 0;

	for (size_t at = 0; at < b->traps; at++) {
		if (!b->steps.site[at])
			continue;
		int r1 = b->backend->ops->trap_clear(b->backend, BACKEND_TRAP_KIND_HW, b->steps.site[at],
						     r < 0 ? NULL : e);
		if (r == 0)
			r = r1;
	}
	b->traps = 0;
	return r < 0 ? r : 0;
}

static int set_traps(struct borrow *b, struct err *e)
{
	for (; b->traps < BORROW_SITES; b->traps++) {
		uint64_t gva = b->steps.site[b->traps];
		int r = gva ? b->backend->ops->trap_set(b->backend, BACKEND_TRAP_KIND_HW, gva, e) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int attach(struct borrow *b, struct err *e)
{
	const struct backend_ops *ops = b->backend->ops;
	bool was_running;

	b->memory.read = memory_read;
	int r = ops->pause(b->backend, b->hook, &was_running, e);
	if (r < 0)
		return r;
	b->stopped_us = b->backend->stop_asked_us;
	r = was_running ? set_traps(b, e) : err_set(e, ERR_INACTIVE, EHOSTDOWN, "run-state", "the VM does not run");
	if (r < 0) {
		clear_traps(b, NULL);
		ops->resume(b->backend, NULL);
		return r;
	}
	b->attached = true;
	return 0;
}

static void count_stop(struct borrow *b, uint64_t until_us)
{
	uint64_t took = until_us > b->stopped_us ? until_us - b->stopped_us : 0;

	if (took > b->longest_stop_us)
		b->longest_stop_us = took;
}

/* resume() takes out what could not be cleared one by one: nobody will hit a trap of ours after it. */
static int detach(struct borrow *b, struct err *e)
{
	clear_traps(b, NULL);
	int r = b->backend->ops->resume(b->backend, e);

	count_stop(b, b->backend->resumed_us);
	b->attached = false;
	return r;
}

/* Lets the VM run until something stops it. */
static int run(struct borrow *b, uint64_t timeout_us, struct backend_stop *ret, struct err *e)
{
	count_stop(b, now_us());
	int r = b->backend->ops->run(b->backend, timeout_us, ret, e);
	b->stopped_us = now_us();
	return r;
}

/* What stands under our traps is a NOP, a CALL or a RET as a rule. */
static bool by_hand(struct view *v, struct vcpu_regs *regs)
{
	uint8_t code[ARCH_INSN_MAX];
	struct arch_fault ignored;

	return view_read(&v->ops, regs->rip, code, sizeof(code)) >= 0 && arch_x86_64.emulates(code, sizeof(code)) &&
	       arch_x86_64.emulate(code, sizeof(code), regs, &v->access, &ignored) == 0;
}

/* -EBUSY: an interrupt comes first; the vCPU is back at the trap afterwards. */
static int step(struct borrow *b, size_t vcpu, struct err *e)
{
	int r = b->backend->ops->step(b->backend, vcpu, e);

	return r == -EBUSY ? 0 : r;
}

static int answer(struct borrow *b, const struct backend_stop *stop, struct err *e)
{
	struct view v = { .ops = { view_read, view_write }, .access = { access_read, access_write }, .b = b };
	struct vcpu_regs regs;
	int r = b->backend->ops->regs_get(b->backend, stop->vcpu, &regs, e);

	if (r < 0)
		return r;
	r = walk_init(&v.walk, &b->memory, regs.cr3, guest_facts(b->guest)->paging_levels);
	if (r < 0)
		return err_set(e, ERR_FAILED, -r, "", "out of memory");
	bool go = borrow_steps_hit(&b->steps, &v.ops, &regs) == BORROW_GO || by_hand(&v, &regs);
	walk_done(&v.walk);
	if (!go)
		return step(b, stop->vcpu, e);
	fault_point("borrow-deciding");
	r = b->backend->ops->regs_set(b->backend, stop->vcpu, &regs, e);
	fault_point("borrow-decided");
	return r;
}

static int wait_stopped(struct borrow *b, unsigned states, uint64_t deadline_us, struct err *e)
{
	unsigned strange = 0;

	while (!(states >> b->steps.state & 1)) {
		uint64_t now = now_us();
		struct backend_stop stop;

		if (now >= deadline_us)
			return -ETIMEDOUT;
		uint64_t left = deadline_us - now;
		int r = run(b, left < BORROW_SLICE_US ? left : BORROW_SLICE_US, &stop, e);
		if (r == -ETIMEDOUT || (r >= 0 && stop.trap))
			strange = 0;
		if (r == -ETIMEDOUT)
			r = borrow_check_guest(b, e);
		else if (r >= 0 && stop.trap)
			r = answer(b, &stop, e);
		else if (r >= 0 && ++strange > STRANGE_MAX)
			r = err_set_addr(e, ERR_FAILED, EIO, "", stop.rip,
					 "the VM keeps stopping for reasons that are not ours");
		if (r < 0)
			return r;
	}
	return 0;
}

const struct borrow_road borrow_road_stopped = {
	.attach = attach,
	.detach = detach,
	.wait = wait_stopped,
};
