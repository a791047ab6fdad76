// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The monitor's side of a QEMU: state, vCPUs, registers, events. Nothing in here
 * changes the VM. Every call has a deadline; a monitor that misses one is gone.
 */
#include <errno.h>
#include <string.h>

#include "vmm/backend/qemu.h"

#define MONITOR_US (5 * 1000000u) /* vm_stop() drains block I/O inside the main loop */
#define REGISTERS_AT_ONCE 128u	  /* vCPUs; about 3 KiB of text each, below QMP_MESSAGE_MAX */

static int gone(struct err *e)
{
	return err_set(e, ERR_INACTIVE, ENOTCONN, "", "the connection to QEMU's monitor is lost");
}

int qemu_qmp(struct qemu_vm *vm, const char *command, json_t *args, json_t **ret, struct err *e)
{
	_cleanup_(json_decref) json_t *owned = args;

	if (!qmp_client_alive(vm->qmp))
		return gone(e);
	int r = qmp_client_call(vm->qmp, command, owned, MONITOR_US, ret, e);
	if (r < 0 && !qmp_client_alive(vm->qmp)) {
		if (r == -ETIMEDOUT)
			return err_set(e, ERR_INACTIVE, ENOTCONN, "", "QEMU's monitor does not answer %s", command);
		return gone(e);
	}
	return r;
}

int qemu_hmp(struct qemu_vm *vm, const char *line, int cpu, char **ret, struct err *e)
{
	_cleanup_(json_decref) json_t *reply = NULL;
	json_t *args = json_pack("{s:s}", "command-line", line);

	if (!args || (cpu >= 0 && json_object_set_new(args, "cpu-index", json_integer(cpu)) < 0)) {
		json_decref(args);
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	}
	int r = qemu_qmp(vm, "human-monitor-command", args, &reply, e);
	if (r < 0)
		return r;
	if (!json_is_string(reply))
		return err_set(e, ERR_FAILED, EPROTO, "", "QEMU's monitor gave no text");
	*ret = strdup(json_string_value(reply));
	return *ret ? 0 : err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
}

int qemu_status(struct qemu_vm *vm, struct qemu_run_state *ret, char name[static 32], struct err *e)
{
	_cleanup_(json_decref) json_t *reply = NULL;
	const char *status;
	int r = qemu_qmp(vm, "query-status", NULL, &reply, e);

	if (r < 0)
		return r;
	status = json_string_value(json_object_get(reply, "status"));
	if (!status)
		return err_set(e, ERR_FAILED, EPROTO, "", "QEMU's monitor gave no run state");
	snprintf(name, 32, "%s", status);
	*ret = qemu_parse_run_state(status);
	return 0;
}

static int cpus_resize(struct qemu_vm *vm, size_t n, struct err *e)
{
	struct qemu_cpu *cpus = calloc(n, sizeof(*cpus));
	struct qemu_cpu_regs *snapshot = calloc(n, sizeof(*snapshot));

	if (!cpus || !snapshot) {
		free(cpus);
		free(snapshot);
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	}
	free(vm->cpus);
	free(vm->snapshot);
	vm->cpus = cpus;
	vm->snapshot = snapshot;
	vm->n_cpus = n;
	vm->snapshot_us = 0;
	return 0;
}

/* qapi/machine.json, SysEmuTarget. */
static int arch_parse(const char *target, enum vcpu_arch *ret)
{
	if (!strcmp(target, "x86_64"))
		*ret = VCPU_X86_64;
	else if (!strcmp(target, "aarch64"))
		*ret = VCPU_ARM64;
	else
		return -EINVAL;
	return 0;
}

int qemu_cpus(struct qemu_vm *vm, struct err *e)
{
	_cleanup_(json_decref) json_t *reply = NULL;
	int r = qemu_qmp(vm, "query-cpus-fast", NULL, &reply, e);
	size_t i, n = json_array_size(reply);
	json_t *cpu;

	if (r < 0)
		return r;
	if (n == 0 || n > VCPU_MAX)
		return err_set(e, ERR_FAILED, EPROTO, "", "QEMU's monitor reports %zu vCPUs", n);
	if (n != vm->n_cpus) {
		r = cpus_resize(vm, n, e);
		if (r < 0)
			return r;
	}
	json_array_foreach(reply, i, cpu) {
		json_int_t index = json_integer_value(json_object_get(cpu, "cpu-index"));
		const char *target = json_string_value(json_object_get(cpu, "target"));

		if (!target || arch_parse(target, &vm->arch) < 0)
			return err_set(e, ERR_FAILED, EOPNOTSUPP, "target",
				       "the VM is neither an x86-64 nor an arm64 one but %.32s",
				       target ? target : "unknown");
		if (index < 0 || index >= VCPU_MAX)
			return err_set(e, ERR_FAILED, EPROTO, "", "QEMU's monitor reports an impossible vCPU");
		vm->cpus[i].index = (int)index;
	}
	vm->first_thread = (pid_t)json_integer_value(json_object_get(json_array_get(reply, 0), "thread-id"));
	return 0;
}

/* QEMU has no query for its accelerator that covers all of them; TCG is told by its own statistics. */
int qemu_accel(struct qemu_vm *vm, struct err *e)
{
	_cleanup_(json_decref) json_t *reply = NULL;
	_cleanup_free_ char *jit = NULL;
	const char *accel = "unknown";
	int r = qemu_qmp(vm, "query-kvm", NULL, &reply, e);

	if (r < 0 && !qmp_client_alive(vm->qmp))
		return r;
	if (r >= 0 && json_is_true(json_object_get(reply, "enabled"))) {
		accel = "kvm";
	} else {
		r = qemu_hmp(vm, "info jit", -1, &jit, e);
		if (r < 0)
			return r;
		if (strstr(jit, "Translation buffer state"))
			accel = "tcg";
	}
	snprintf(vm->accel, sizeof(vm->accel), "%s", accel);
	return 0;
}

/* Puts one monitor answer where its vCPUs belong; counts those it filled. */
static int snapshot_take(struct qemu_vm *vm, const char *text, size_t first, size_t n, struct err *e)
{
	_cleanup_free_ struct qemu_cpu_regs *cpus = calloc(n, sizeof(*cpus));
	size_t filled = 0;

	if (!cpus)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int got = qemu_parse_registers(text, cpus, n);
	for (int i = 0; i < got; i++) {
		for (size_t k = first; k < first + n; k++) {
			if (cpus[i].index >= 0 ? cpus[i].index != vm->cpus[k].index : n > 1)
				continue;
			vm->snapshot[k] = cpus[i];
			filled++;
			break;
		}
	}
	if (filled != n)
		return err_set(e, ERR_FAILED, EPROTO, "", "QEMU's monitor shows the registers of %zu of %zu vCPUs",
			       filled, n);
	return 0;
}

int qemu_snapshot(struct qemu_vm *vm, uint64_t max_age_us, struct err *e)
{
	bool at_once = vm->n_cpus <= REGISTERS_AT_ONCE;
	size_t n = at_once ? vm->n_cpus : 1;

	if (vm->arch == VCPU_ARM64)
		return qemu_arm64_snapshot(vm, max_age_us, e);
	if (vm->snapshot_us && now_us() - vm->snapshot_us <= max_age_us)
		return 0;
	vm->snapshot_us = 0;
	for (size_t i = 0; i < vm->n_cpus; i += n) {
		_cleanup_free_ char *text = NULL;
		int r = at_once ? qemu_hmp(vm, "info registers -a", -1, &text, e) :
				  qemu_hmp(vm, "info registers", vm->cpus[i].index, &text, e);
		if (r >= 0)
			r = snapshot_take(vm, text, i, n, e);
		if (r < 0)
			return r;
	}
	vm->snapshot_us = now_us();
	return 0;
}

static enum backend_event_kind event_kind(const char *name)
{
	static const struct {
		const char *name;
		enum backend_event_kind kind;
	} kinds[] = {
		{ "RESET", BACKEND_EVENT_RESET },	{ "SHUTDOWN", BACKEND_EVENT_SHUTDOWN },
		{ "STOP", BACKEND_EVENT_STOPPED },	{ "RESUME", BACKEND_EVENT_RESUMED },
		{ "GUEST_PANICKED", BACKEND_EVENT_PANICKED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].name, name))
			return kinds[i].kind;
	return BACKEND_EVENT_NONE;
}

/* What moves RAM about; the next read asks for the map again. */
static bool moves_memory(const char *name)
{
	return !strcmp(name, "RESET") || !strcmp(name, "DEVICE_DELETED") || !strcmp(name, "ACPI_DEVICE_OST") ||
	       !strcmp(name, "MEMORY_DEVICE_SIZE_CHANGE");
}

static void event_take(struct qemu_vm *vm, json_t *event, bool run_events_are_ours)
{
	const char *name = json_string_value(json_object_get(event, "event"));
	enum backend_event_kind kind = name ? event_kind(name) : BACKEND_EVENT_NONE;
	bool run_event = kind == BACKEND_EVENT_STOPPED || kind == BACKEND_EVENT_RESUMED;

	if (name && moves_memory(name))
		vm->map_stale = true;
	if (run_event && run_events_are_ours) {
		vm->resume_seen |= kind == BACKEND_EVENT_RESUMED;
		vm->stop_after_resume = vm->resume_seen && kind == BACKEND_EVENT_STOPPED;
		return;
	}
	/* Only the last of a row of stops and resumes still says something. */
	if (run_event)
		vm->pending &= ~(1u << BACKEND_EVENT_STOPPED | 1u << BACKEND_EVENT_RESUMED);
	if (kind != BACKEND_EVENT_NONE)
		vm->pending |= 1u << kind;
}

static void take_all(struct qemu_vm *vm, bool run_events_are_ours)
{
	for (unsigned i = 0; i < 4 * QMP_EVENTS_MAX; i++) {
		_cleanup_(json_decref) json_t *event = NULL;
		uint64_t serial;

		if (qmp_client_process(vm->qmp, &event, &serial, NULL) <= 0)
			break;
		event_take(vm, event, run_events_are_ours);
	}
}

void qemu_events_drop(struct qemu_vm *vm)
{
	take_all(vm, true);
}

void qemu_events_keep(struct qemu_vm *vm)
{
	take_all(vm, false);
}

int qemu_event_next(struct qemu_vm *vm, enum backend_event_kind *ret)
{
	take_all(vm, vm->held);
	for (unsigned kind = BACKEND_EVENT_NONE + 1; kind < BACKEND_EVENT_GONE; kind++) {
		if (vm->pending & 1u << kind) {
			vm->pending &= ~(1u << kind);
			*ret = (enum backend_event_kind)kind;
			return 0;
		}
	}
	*ret = qmp_client_alive(vm->qmp) ? BACKEND_EVENT_NONE : BACKEND_EVENT_GONE;
	return 0;
}
