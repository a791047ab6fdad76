// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Registers of arm64 vCPUs. QEMU's monitor shows none of the system registers, so all of them come
 * from the gdb stub, which numbers those as its own description says (org.qemu.gdb.arm.sys.regs); a
 * VM that runs is stopped for it, shortly. Must never mix registers of two moments.
 *
 * Writes: under TCG one through the stub invalidates the code translated from those bytes on every vCPU
 * (tb_invalidate_phys_range()), which is all the cache maintenance there is. Under KVM the host's
 * caches would have to be cleaned to the point of unification and the guest's instruction caches
 * invalidated, which QEMU's stub does not do: such a VM is refused when it is opened.
 */
#include <errno.h>
#include <string.h>

#include "vmm/backend/qemu.h"

#define REPLY_US  2000000u
#define BLOCK_MAX 4096

/* In the order of struct qemu_vm's arm64_regnum. */
static const char *const names[QEMU_ARM64_SYSREGS] = { "ELR_EL1",   "SP_EL0",  "SP_EL1",
						       "TTBR1_EL1", "TCR_EL1", "TPIDR_EL1" };

int qemu_arm64_check(const struct qemu_vm *vm, struct err *e)
{
	if (!strcmp(vm->accel, "tcg"))
		return 0;
	return err_set(e, ERR_REFUSED, EOPNOTSUPP, "cache-maintenance",
		       "an arm64 VM under %s: its instruction caches would have to be invalidated after a write, which "
		       "is not done here (under TCG there is nothing to do)",
		       vm->accel);
}

static int numbers_learn(struct qemu_vm *vm, struct gdbstub *s, struct err *e)
{
	_cleanup_free_ char *xml = NULL;
	unsigned numbers[QEMU_ARM64_SYSREGS];
	int r = gdbstub_feature_read(s, "system-registers.xml", REPLY_US, &xml, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < QEMU_ARM64_SYSREGS; i++)
		if (qemu_parse_regnum(xml, names[i], &numbers[i]) < 0)
			return err_set(
				e, ERR_FAILED, EOPNOTSUPP, "registers",
				"this QEMU's gdb stub does not show %s, without which an arm64 kernel is not found",
				names[i]);
	memcpy(vm->arm64_regnum, numbers, sizeof(numbers));
	vm->arm64_known = true;
	return 0;
}

/* QEMU answers 'p' only on a connection that has asked for a description (handle_query_xfer_features()). */
static int ready(struct qemu_vm *vm, struct gdbstub *s, struct err *e)
{
	_cleanup_free_ char *ignored = NULL;
	int r = 0;

	if (vm->arm64_ready)
		return 0;
	if (!vm->arm64_known)
		r = numbers_learn(vm, s, e);
	else
		r = gdbstub_feature_read(s, "target.xml", REPLY_US, &ignored, e);
	vm->arm64_ready = r >= 0;
	return r;
}

int qemu_arm64_fetch(struct qemu_vm *vm, struct gdbstub *s, size_t vcpu, struct vcpu_regs *ret, struct err *e)
{
	uint64_t v[QEMU_ARM64_SYSREGS];
	uint8_t block[BLOCK_MAX];
	struct vcpu_regs regs;
	int r = ready(vm, s, e);

	if (r >= 0)
		r = gdbstub_regs_read(s, (unsigned)vm->cpus[vcpu].index + 1, block, sizeof(block), REPLY_US, e);
	if (r < 0)
		return r;
	if (qemu_parse_g_arm64(block, (size_t)r, &regs) < 0)
		return err_set(e, ERR_FAILED, EPROTO, "registers", "the gdb stub gave only %d bytes of registers", r);
	r = gdbstub_regs_pick(s, vm->arm64_regnum, QEMU_ARM64_SYSREGS, REPLY_US, v, e);
	if (r < 0)
		return r;
	regs.arm64.elr = v[0];
	regs.arm64.sp_el0 = v[1];
	regs.arm64.sp_el1 = v[2];
	regs.arm64.ttbr1 = v[3];
	regs.arm64.tcr = v[4];
	regs.arm64.tpidr = v[5];
	*ret = regs;
	return 0;
}

static int look_at_all(struct qemu_look *l, struct qemu_vm *vm, struct err *e)
{
	int r = 0;

	(void)l;
	for (size_t i = 0; i < vm->n_cpus && r >= 0; i++) {
		vm->snapshot[i].index = vm->cpus[i].index;
		r = qemu_arm64_fetch(vm, vm->stub, i, &vm->snapshot[i].regs, e);
	}
	return r;
}

int qemu_arm64_snapshot(struct qemu_vm *vm, uint64_t max_age_us, struct err *e)
{
	struct qemu_look look = { .look = look_at_all };

	if (vm->snapshot_us && now_us() - vm->snapshot_us <= max_age_us)
		return 0;
	vm->snapshot_us = 0;
	int r = qemu_look_once(vm, &look, e);
	if (r >= 0)
		vm->snapshot_us = now_us();
	return r;
}
