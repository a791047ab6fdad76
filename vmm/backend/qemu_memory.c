// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Guest-physical memory: where it is, reads out of QEMU's process or through the
 * stub, writes through the stub only (TCG ignores what is written behind its
 * back). Every address is checked against the map first: QEMU answers a stub access
 * outside RAM with zeros and "OK". Must never touch an address that is not RAM: a read of
 * a device register has side effects.
 */
#include <errno.h>
#include <string.h>

#include "vmm/backend/qemu.h"

#define REPLY_US 2000000u
#define CHUNK_MAX (64u << 10) /* read in one short stop of a VM that runs */

static int host_address(struct qemu_vm *vm, uint64_t gpa, uint64_t *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char line[48];

	snprintf(line, sizeof(line), "gpa2hva 0x%llx", (unsigned long long)gpa);
	int r = qemu_hmp(vm, line, -1, &text, e);
	if (r < 0)
		return r;
	return qemu_parse_hva(text, gpa, ret);
}

/* Host address of a range; 0 when unknown or not one piece. */
static int place_range(struct qemu_vm *vm, struct qemu_range *range, struct err *e)
{
	uint64_t first, last, end = range->len - 1;
	int r = host_address(vm, range->gpa, &first, e);

	if (r >= 0)
		r = host_address(vm, range->gpa + end, &last, e);
	if (r < 0)
		return r == -ENOTCONN ? r : 0;
	if (first <= UINT64_MAX - end && last == first + end)
		range->hva = first;
	return 0;
}

int qemu_map(struct qemu_vm *vm, struct err *e)
{
	struct qemu_range ranges[QEMU_RANGES_MAX];
	_cleanup_free_ char *text = NULL;
	int r = qemu_hmp(vm, "info mtree -f", -1, &text, e);

	if (r < 0)
		return r;
	int n = qemu_parse_mtree(text, ranges, ARRAY_SIZE(ranges));
	if (n < 0)
		return err_set(e, ERR_FAILED, -n, "", "QEMU's monitor does not show where RAM is");
	for (int i = 0; i < n; i++) {
		r = place_range(vm, &ranges[i], e);
		if (r < 0)
			return r;
	}
	memcpy(vm->ranges, ranges, (size_t)n * sizeof(ranges[0]));
	vm->n_ranges = (size_t)n;
	vm->map_stale = false;
	return 0;
}

/* Not while held: each of these questions would lengthen the pause. */
static int refresh_map(struct qemu_vm *vm, struct err *e)
{
	return vm->map_stale && !vm->held ? qemu_map(vm, e) : 0;
}

int qemu_ram(struct backend *b, struct backend_range *ranges, size_t cap, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);
	size_t n = 0;
	int r = refresh_map(vm, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < vm->n_ranges; i++) {
		if (!vm->ranges[i].writable)
			continue;
		if (n == cap)
			return err_set(e, ERR_FAILED, E2BIG, "", "RAM has more than %zu ranges", cap);
		ranges[n++] = (struct backend_range){ vm->ranges[i].gpa, vm->ranges[i].len };
	}
	return (int)n;
}

static const struct qemu_range *range_at(const struct qemu_vm *vm, uint64_t gpa)
{
	size_t low = 0, high = vm->n_ranges;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct qemu_range *r = &vm->ranges[mid];

		if (gpa < r->gpa)
			high = mid;
		else if (gpa - r->gpa >= r->len)
			low = mid + 1;
		else
			return r;
	}
	return NULL;
}

/* Bytes from gpa that lie in one range, at most len. */
static size_t piece(const struct qemu_range *range, uint64_t gpa, size_t len)
{
	uint64_t left = range->len - (gpa - range->gpa);

	return left < len ? (size_t)left : len;
}

static int check_ram(const struct qemu_vm *vm, uint64_t gpa, size_t len, bool writable, struct err *e)
{
	while (len) {
		const struct qemu_range *range = range_at(vm, gpa);

		if (!range || (writable && !range->writable))
			return err_set_addr(e, ERR_FAILED, EFAULT, "", gpa, "guest-physical 0x%llx is not %s",
					    (unsigned long long)gpa, range ? "writable" : "RAM");
		size_t n = piece(range, gpa, len);
		gpa += n;
		len -= n;
	}
	return 0;
}

static int read_live(struct qemu_vm *vm, uint64_t gpa, uint8_t *buf, size_t len, struct err *e)
{
	while (len) {
		const struct qemu_range *range = range_at(vm, gpa);
		size_t n = piece(range, gpa, len);
		int r = qemu_process_read(vm, range->hva + (gpa - range->gpa), buf, n, e);

		if (r < 0)
			return r;
		gpa += n;
		buf += n;
		len -= n;
	}
	return 0;
}

static bool has_host_address(const struct qemu_vm *vm, uint64_t gpa, size_t len)
{
	while (len) {
		const struct qemu_range *range = range_at(vm, gpa);

		if (!range || !range->hva)
			return false;
		size_t n = piece(range, gpa, len);
		gpa += n;
		len -= n;
	}
	return true;
}

static int read_stub(struct gdbstub *s, uint64_t gpa, uint8_t *buf, size_t len, struct err *e)
{
	while (len) {
		size_t n = len < GDBSTUB_READ_MAX ? len : GDBSTUB_READ_MAX;
		int r = gdbstub_read(s, gpa, buf, n, REPLY_US, e);

		if (r < 0)
			return r;
		gpa += n;
		buf += n;
		len -= n;
	}
	return 0;
}

struct chunk {
	struct qemu_look look;
	uint64_t gpa;
	uint8_t *buf;
	size_t len;
};

static int read_chunk(struct qemu_look *l, struct qemu_vm *vm, struct err *e)
{
	const struct chunk *c = container_of(l, struct chunk, look);

	return read_stub(vm->stub, c->gpa, c->buf, c->len, e);
}

static int read_stopping(struct qemu_vm *vm, uint64_t gpa, uint8_t *buf, size_t len, struct err *e)
{
	struct qemu_run_state now;
	char name[32];
	int r = qemu_status(vm, &now, name, e);

	if (r >= 0 && !now.holdable)
		return err_set(e, ERR_INACTIVE, EHOSTDOWN, "run-state",
			       "the VM is in state %s: its memory cannot be read without permission to read QEMU's",
			       name);
	qemu_events_keep(vm);
	if (r >= 0)
		r = qemu_stub_open(vm, e);
	while (r >= 0 && len) {
		size_t n = len < CHUNK_MAX ? len : CHUNK_MAX;
		struct chunk c = { .look.look = read_chunk, .gpa = gpa, .buf = buf, .len = n };

		r = qemu_look_stopped(vm, now.state == BACKEND_RUNNING, &c.look, e);
		gpa += n;
		buf += n;
		len -= n;
	}
	qemu_stub_close(vm);
	return r;
}

int qemu_read(struct backend *b, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);
	struct gdbstub *s;
	int r;

	if (!qmp_client_alive(vm->qmp) && !gdbstub_alive(vm->stub))
		return err_set(e, ERR_INACTIVE, ENOTCONN, "", "the connection to QEMU's monitor is lost");
	r = refresh_map(vm, e);
	if (r >= 0)
		r = check_ram(vm, gpa, len, false, e);
	if (r < 0)
		return r;
	if (vm->live_read && has_host_address(vm, gpa, len))
		return read_live(vm, gpa, buf, len, e);
	if (!vm->held)
		return read_stopping(vm, gpa, buf, len, e);
	r = qemu_stub_held(vm, &s, e);
	return r < 0 ? r : read_stub(s, gpa, buf, len, e);
}

int qemu_write(struct backend *b, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	struct qemu_vm *vm = qemu_vm(b);
	const uint8_t *from = buf;
	struct gdbstub *s;
	int r = qemu_stub_held(vm, &s, e);

	if (r >= 0)
		r = check_ram(vm, gpa, len, true, e);
	while (r >= 0 && len) {
		size_t n = len < GDBSTUB_WRITE_MAX ? len : GDBSTUB_WRITE_MAX;

		r = gdbstub_write(s, gpa, from, n, REPLY_US, e);
		gpa += n;
		from += n;
		len -= n;
	}
	return r < 0 ? r : 0;
}
