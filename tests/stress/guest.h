/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The test guest of a stress run as the host sees it: its machine, its tables in
 * memory, and the sites in its text. The host writes the tables before the start;
 * then it only reads, but for group.seq and control.stop.
 */
#ifndef VMPOKE_TESTS_STRESS_GUEST_H
#define VMPOKE_TESTS_STRESS_GUEST_H

#include "tests/guest/smp/smp.h"
#include "tests/stress/options.h"
#include "tests/stress/text.h"
#include "vmm/kvm/machine.h"

/* Padding behind the text, where the engine may put copies of instructions. */
#define GUEST_SLOTS (SMP_MEMORY - 4096ul)

struct guest {
	struct machine *machine;
	unsigned vcpus;
	struct smp_control *control;
	struct smp_vcpu *cpus;
	struct smp_group *groups;
	size_t n_sites, n_groups;
	struct text_site *sites; /* n_sites; index as in the guest's table */
	uint32_t *group_of;	 /* n_sites */
};

/* -ENOENT or -EACCES when there is no /dev/kvm. */
int guest_create(const struct options *o, struct guest **ret, struct err *e);
void guest_free(struct guest *g); /* NULL allowed */
DEFINE_CLEANUP(struct guest, guest_free)

/* Starts all vCPUs and waits until each has begun its rounds. */
int guest_start(struct guest *g, struct err *e);

/* True when the guest fell over or a vCPU met an exception: nothing more can be learned from it. */
bool guest_is_dead(struct guest *g);

/* Asks all vCPUs to rest and waits; returns how many did not. */
unsigned guest_rest(struct guest *g);

/* Sums over all vCPUs. */
void guest_sum(const struct guest *g, struct smp_vcpu *ret);
uint64_t guest_violations(const struct smp_vcpu *sum);
/* One line on stderr about the vCPU's first violation, if there was one. */
void guest_violation_print(const struct guest *g, unsigned vcpu);

/* What the guest must be told before the start; layout.c. */
int layout_make(struct guest *g, const struct options *o, struct err *e);

extern const unsigned char smp_image[], smp_image_end[];

#endif
