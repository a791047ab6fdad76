// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Makes the machine, starts its vCPUs, asks them to rest, adds up what they
 * counted. What the guest counted is what it says: nothing here may make a
 * missing answer look like a good one.
 */
#include "tests/stress/guest.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>

#define START_TIMEOUT_US 60000000u /* an emulated host is slow */
#define REST_TIMEOUT_US	 30000000u
#define TIMER_COUNT	 20000 /* at KVM's 1 GHz and a divisor of 16: 320 us */

/* The image under a name that machine_create() can open. */
static int image_file(char *path, size_t cap, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("smp.elf", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : write_full(fd, smp_image, (size_t)(smp_image_end - smp_image));

	if (r < 0)
		return err_set(e, ERR_FAILED, -r, "", "the guest's image cannot be put into a file: %s", strerror(-r));
	snprintf(path, cap, "/proc/self/fd/%d", fd);
	return TAKE_FD(fd);
}

/* Without an in-kernel irqchip there are no timer interrupts, and NMIs reach a vCPU all the same. */
static int machine_make(struct guest *g, const struct options *o, bool *ret_apic, struct err *e)
{
	struct machine_abilities abilities;
	char path[64];
	int r = machine_probe(&abilities, e);

	if (r < 0)
		return r;
	*ret_apic = abilities.irqchip;
	_cleanup_close_ int fd = image_file(path, sizeof(path), e);
	if (fd < 0)
		return fd;
	const struct machine_config config = {
		.name = "stress",
		.kernel = path,
		.console = o->console,
		.vcpus = o->vcpus,
		.memory = SMP_MEMORY,
		.no_irqchip = !abilities.irqchip,
		.start_all = true,
	};
	return machine_create(&config, &g->machine, e);
}

static int tables_find(struct guest *g, struct err *e)
{
	uint8_t *control = machine_ram(g->machine, SMP_CONTROL, sizeof(*g->control));
	uint8_t *cpus = machine_ram(g->machine, SMP_VCPUS, SMP_VCPUS_MAX * sizeof(*g->cpus));
	uint8_t *groups = machine_ram(g->machine, SMP_GROUPS, SMP_GROUPS_MAX * sizeof(*g->groups));

	if (!control || !cpus || !groups)
		return err_set(e, ERR_FAILED, EFAULT, "", "the guest's tables do not lie in its memory");
	g->control = (struct smp_control *)(void *)control;
	g->cpus = (struct smp_vcpu *)(void *)cpus;
	g->groups = (struct smp_group *)(void *)groups;
	if (g->control->magic != SMP_MAGIC)
		return err_set(e, ERR_FAILED, ENOEXEC, "", "the guest's image was not loaded where it belongs");
	return 0;
}

int guest_create(const struct options *o, struct guest **ret, struct err *e)
{
	_cleanup_(guest_free) struct guest *g = calloc(1, sizeof(*g));
	bool apic;

	if (!g)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	g->vcpus = o->vcpus;
	int r = machine_make(g, o, &apic, e);
	if (r >= 0)
		r = tables_find(g, e);
	if (r < 0)
		return r;
	g->control->vcpus = o->vcpus;
	g->control->has_apic = apic && !o->at; /* there each event is to come where it is meant to */
	g->control->timer_count = TIMER_COUNT;
	g->control->iret = o->at;
	g->control->use_mce = o->mce > 0;
	r = layout_make(g, o, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(g);
	return 0;
}

void guest_free(struct guest *g)
{
	if (!g)
		return;
	machine_destroy(g->machine);
	free(g->sites);
	free(g->group_of);
	free(g);
}

static unsigned cpus_without(const struct guest *g, size_t offset)
{
	unsigned n = 0;

	for (unsigned i = 0; i < g->vcpus; i++)
		n += !__atomic_load_n((uint32_t *)(void *)((char *)&g->cpus[i] + offset), __ATOMIC_ACQUIRE);
	return n;
}

int guest_start(struct guest *g, struct err *e)
{
	uint64_t deadline = now_us() + START_TIMEOUT_US;
	unsigned missing;
	int r = machine_start(g->machine, e);

	if (r < 0)
		return r;
	while ((missing = cpus_without(g, offsetof(struct smp_vcpu, running))) > 0) {
		char reason[256] = "";

		if (machine_wait(g->machine, 0, reason, sizeof(reason)) > 0)
			return err_set(e, ERR_FAILED, EIO, "", "the guest stopped before it began: %s", reason);
		if (now_us() > deadline)
			return err_set(e, ERR_FAILED, ETIMEDOUT, "", "%u vCPUs did not begin", missing);
		poll(NULL, 0, 1);
	}
	return 0;
}

bool guest_is_dead(struct guest *g)
{
	char reason[256] = "";

	if (cpus_without(g, offsetof(struct smp_vcpu, dead)) < g->vcpus)
		return true;
	if (machine_wait(g->machine, 0, reason, sizeof(reason)) <= 0)
		return false;
	fprintf(stderr, "stress: the guest stopped: %s\n", reason);
	return true;
}

unsigned guest_rest(struct guest *g)
{
	uint64_t deadline = now_us() + REST_TIMEOUT_US;
	unsigned missing;

	__atomic_store_n(&g->control->stop, 1, __ATOMIC_SEQ_CST);
	while ((missing = cpus_without(g, offsetof(struct smp_vcpu, resting))) > 0) {
		if (guest_is_dead(g) || now_us() > deadline)
			break;
		poll(NULL, 0, 1);
	}
	return missing;
}

void guest_sum(const struct guest *g, struct smp_vcpu *ret)
{
	struct smp_vcpu sum = { 0 };

	for (unsigned i = 0; i < g->vcpus; i++) {
		const struct smp_vcpu *v = &g->cpus[i];

		sum.iterations += v->iterations;
		sum.checks += v->checks;
		sum.exact += v->exact;
		sum.pairs_checked += v->pairs_checked;
		sum.pairs_between += v->pairs_between;
		sum.nmi_seen += v->nmi_seen;
		sum.mce_seen += v->mce_seen;
		sum.timer_seen += v->timer_seen;
		for (size_t k = 0; k < SMP_VIOLATION_KINDS; k++)
			sum.violations[k] += v->violations[k];
	}
	*ret = sum;
}

uint64_t guest_violations(const struct smp_vcpu *sum)
{
	uint64_t n = 0;

	for (size_t k = 0; k < SMP_VIOLATION_KINDS; k++)
		n += sum->violations[k];
	return n;
}

/* "call/line#7+0x2" for an address in a site or just behind it, where a breakpoint's RIP is. */
static void address_print(const struct guest *g, uint64_t address)
{
	fprintf(stderr, "0x%" PRIx64, address);
	for (size_t i = 0; i < g->n_sites; i++) {
		const struct text_site *s = &g->sites[i];

		if (address >= s->gva && address <= s->gva + s->len)
			fprintf(stderr, " (%s/%s#%zu+0x%" PRIx64 ")", s->shape->name, text_place_name(s->place), i,
				address - s->gva);
	}
}

void guest_violation_print(const struct guest *g, unsigned vcpu)
{
	static const char *const names[SMP_VIOLATION_KINDS] = { "none", "result", "stale", "pair", "exception", "nested" };
	const struct smp_vcpu *v = &g->cpus[vcpu];

	if (v->kind == SMP_VIOLATION_NONE || v->kind >= SMP_VIOLATION_KINDS)
		return;
	fprintf(stderr, "stress: vCPU %u: first violation: %s, ", vcpu, names[v->kind]);
	if (v->kind >= SMP_VIOLATION_EXCEPTION) {
		fprintf(stderr, "vector %" PRIu64 ", error code 0x%" PRIx64 ", RIP ", v->site, v->value);
		address_print(g, v->expected);
	} else if (v->site < g->n_sites) {
		fprintf(stderr, "site ");
		address_print(g, g->sites[v->site].gva);
		fprintf(stderr, " gave 0x%" PRIx64 ", expected 0x%" PRIx64 ", seq %" PRIu64, v->value, v->expected,
			v->seq);
	}
	fputc('\n', stderr);
}
