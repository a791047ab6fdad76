// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Events of the guest's own: an NMI that merges says so, a machine check waits for
 * an event that a kick has cut short, and both may be sent by any thread while the
 * engine works on the machine. The vCPUs here run nothing or spin.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

#include "tests/unit/kvm_guest.h"
#include "vmm/kvm/live.h"
#include "vmm/kvm/machine_private.h"

#define UC (1ull << 61)
#define BARRIERS 50

/* sti; again: jmp again */
static const uint8_t spin[] = { 0xfb, 0xeb, 0xfe };

static struct machine *m;

static void begin(unsigned vcpus)
{
	struct err e = { 0 };

	if (guest_missing()) {
		print_message("skipped: %s\n", guest_missing());
		skip();
	}
	if (guest_create(spin, sizeof(spin), vcpus, NULL, &m, &e) < 0)
		fail_msg("%s", e.text);
}

static int end(void **state)
{
	(void)state;
	machine_destroy(m);
	m = NULL;
	return 0;
}

static void events_get(struct kvm_vcpu_events *ret)
{
	assert_true(ioctl(m->cpus[0].fd, KVM_GET_VCPU_EVENTS, ret) >= 0);
}

/* Two wait; with one being handled only one more. */
static void nmi_merges(void **state)
{
	struct machine_events now;
	struct kvm_vcpu_events events;
	struct err e = { 0 };

	(void)state;
	begin(1);
	assert_int_equal(machine_inject_nmi(m, 1, &e), -EINVAL);
	assert_int_equal(machine_inject_nmi(m, 0, &e), 0);
	assert_int_equal(machine_events(m, 0, &now, &e), 0);
	assert_int_equal(now.nmi_pending, 1);
	assert_false(now.nmi_injected || now.nmi_masked || now.exception);
	assert_int_equal(machine_inject_nmi(m, 0, &e), 0);
	assert_int_equal(machine_inject_nmi(m, 0, &e), 1);
	assert_int_equal(machine_events(m, 0, &now, &e), 0);
	assert_int_equal(now.nmi_pending, 2);

	events_get(&events);
	events.nmi.pending = 0;
	events.nmi.masked = 1;
	events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
	assert_true(ioctl(m->cpus[0].fd, KVM_SET_VCPU_EVENTS, &events) >= 0);
	events_get(&events);
	if (!events.nmi.masked) {
		print_message("skipped: this KVM does not take a mask\n");
		skip();
	}
	assert_int_equal(machine_inject_nmi(m, 0, &e), 0);
	assert_int_equal(machine_inject_nmi(m, 0, &e), 1);
	assert_int_equal(machine_events(m, 0, &now, &e), 0);
	assert_true(now.nmi_pending == 1 && now.nmi_masked);
}

/* KVM would put the machine check in its place and forget it. */
static void mce_waits_for(void (*queue)(struct kvm_vcpu_events *events))
{
	struct kvm_vcpu_events events, after;
	struct machine_events now;
	struct err e = { 0 };

	begin(1);
	struct kvm_sregs s;
	assert_true(ioctl(m->cpus[0].fd, KVM_GET_SREGS, &s) >= 0);
	s.cr4 |= 1 << 6;
	assert_true(ioctl(m->cpus[0].fd, KVM_SET_SREGS, &s) >= 0);
	events_get(&events);
	queue(&events);
	assert_true(ioctl(m->cpus[0].fd, KVM_SET_VCPU_EVENTS, &events) >= 0);
	int r = machine_inject_mce(m, 0, UC, 0, &e);
	if (r == -ENOTSUP) {
		print_message("skipped: %s\n", e.text);
		skip();
	}
	assert_int_equal(r, -EBUSY);
	events_get(&after);
	assert_int_equal(after.nmi.injected, events.nmi.injected);
	assert_int_equal(after.interrupt.injected, events.interrupt.injected);
	assert_int_equal(machine_events(m, 0, &now, &e), 0);
	assert_false(now.exception);
	assert_int_equal(now.mcg_status, 0);

	events_get(&events);
	events.flags = 0;
	events.nmi.injected = events.interrupt.injected = 0;
	assert_true(ioctl(m->cpus[0].fd, KVM_SET_VCPU_EVENTS, &events) >= 0);
	assert_int_equal(machine_inject_mce(m, 0, UC, 0, &e), 0);
	assert_int_equal(machine_events(m, 0, &now, &e), 0);
	assert_true(now.exception);
	assert_int_equal(now.mcg_status, 5); /* MCIP | RIPV */
}

static void queue_interrupt(struct kvm_vcpu_events *events)
{
	events->interrupt.injected = 1;
	events->interrupt.nr = 0x40;
	events->flags = 0;
}

static void queue_nmi(struct kvm_vcpu_events *events)
{
	events->nmi.injected = 1;
	events->flags = 0;
}

static void mce_waits_for_interrupt(void **state)
{
	(void)state;
	mce_waits_for(queue_interrupt);
}

static void mce_waits_for_nmi(void **state)
{
	(void)state;
	mce_waits_for(queue_nmi);
}

static atomic_uint answered;

static void *ask(void *arg)
{
	atomic_bool *stop = arg;
	struct machine_events now;
	struct err e = { 0 };

	while (!atomic_load(stop))
		for (size_t i = 0; i < m->n_cpus; i++) {
			if (machine_events(m, i, &now, &e) < 0) {
				print_message("%s\n", e.text);
				return m;
			}
			atomic_fetch_add(&answered, 1);
		}
	return NULL;
}

/* The engine's jobs and the questions of two other threads meet on every vCPU. */
static void beside_the_engine(void **state)
{
	struct backend *b;
	atomic_bool stop = false;
	pthread_t threads[2];
	struct err e = { 0 };
	void *failed;
	bool was;

	(void)state;
	begin(2);
	b = machine_backend(m);
	assert_int_equal(machine_start(m, &e), 0);
	atomic_store(&answered, 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask, &stop), 0);
	for (int i = 0; i < BARRIERS || atomic_load(&answered) < BARRIERS; i++) {
		if (b->ops->live->trap_hw(b, NULL, NULL, 0, NULL, &e) < 0) /* a job on every vCPU */
			fail_msg("%s", e.text);
		assert_int_equal(b->ops->pause(b, NULL, &was, &e), 0);
		assert_int_equal(b->ops->resume(b, &e), 0);
	}
	atomic_store(&stop, true);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	for (size_t i = 0; i < m->n_cpus; i++)
		assert_null(m->cpus[i].requests);
}

/* Nobody waits for a machine that has ended. */
static void of_an_ended_machine(void **state)
{
	struct machine_events now;
	struct err e = { 0 };

	(void)state;
	begin(1);
	assert_int_equal(machine_start(m, &e), 0);
	assert_int_equal(machine_events(m, 0, &now, &e), 0);
	machine_end(m, BACKEND_SHUTDOWN, BACKEND_EVENT_SHUTDOWN, "by the test");
	for (int i = 0; i < 100; i++) {
		int r = machine_inject_nmi(m, 0, &e);
		assert_true(r == -EHOSTDOWN || r >= 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(nmi_merges, end),
		cmocka_unit_test_teardown(mce_waits_for_interrupt, end),
		cmocka_unit_test_teardown(mce_waits_for_nmi, end),
		cmocka_unit_test_teardown(beside_the_engine, end),
		cmocka_unit_test_teardown(of_an_ended_machine, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
