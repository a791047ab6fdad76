// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Two vCPUs that have nothing to do with the change: one spins in guest mode on a CPU of
 * its own, one is halted. Both have executed all of the text before, so that KVM has its
 * pages mapped, and come near none of it during a transaction. An exit is forced when an
 * interrupt from another CPU ends guest mode, so no more can have been than there were such
 * interrupts (/proc/interrupts), nor than KVM counted exits; the host's timer makes others.
 * Both figures are now and then too high and never too low, unless the vCPU was not in the
 * guest: the lower quartile of many rounds is judged. Must never call a count good that
 * could not have been bad: where no exit was seen, nothing was shown.
 */
#include "tests/stress/exits.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>

#include "tests/unit/kvm_guest.h"
#include "vmm/arch/arch.h"
#include "vmm/kvm/machine_private.h"
#include "vmm/poke/plan.h"

#define RESULTS	   0x200000ull /* struct answer of each vCPU */
#define TEXT	   0x400000ull /* the sites, and a RET */
#define SITE_LEN   5	       /* MOV EAX, imm32; then a NOP of three bytes, so that no site lies on two pages */
#define SITE_EVERY 8
#define WAIT_US	   60000000u /* an emulated host is slow */
#define ROUNDS_MAX 32
#define SITES_MAX  10000

enum { SPINS, HALTS, VCPUS };

/* In guest memory, written by the vCPU but for command. */
struct answer {
	uint64_t command, done, turns, pad[5];
};

/*
 * sti; mov rbx, rdi; shl rbx, 6; add rbx, RESULTS; mov rsp, rdi; inc rsp; shl rsp, 12; add rsp, 0x300000;
 * again: mov rax, [rbx]; cmp rax, [rbx+8]; je turn; call TEXT; mov rax, [rbx]; mov [rbx+8], rax;
 * test rdi, rdi; je turn; hlt; turn: inc qword [rbx+16]; jmp again
 */
static const uint8_t waiter[] = {
	0xfb, 0x48, 0x89, 0xfb, 0x48, 0xc1, 0xe3, 0x06, 0x48, 0x81, 0xc3, 0x00, 0x00, 0x20, 0x00,	      /* 0x0f */
	0x48, 0x89, 0xfc, 0x48, 0xff, 0xc4, 0x48, 0xc1, 0xe4, 0x0c, 0x48, 0x81, 0xc4, 0x00, 0x00, 0x30, 0x00, /* 0x20 */
	0x48, 0x8b, 0x03, 0x48, 0x3b, 0x43, 0x08, 0x74, 0x12, 0xe8, 0xd2, 0xff, 0x2f, 0x00, 0x48, 0x8b, 0x03,
	0x48, 0x89, 0x43, 0x08, 0x48, 0x85, 0xff, 0x74, 0x01, 0xf4, 0x48, 0xff, 0x43, 0x10, 0xeb, 0xdf,
};

struct count {
	const struct options *options;
	struct machine *machine;
	struct backend *backend;
	unsigned cpu; /* of the host, where the spinning vCPU runs */
	uint64_t command;
	struct poke_quiesce quiesce;
	struct poke_log log;
};

struct sample {
	uint64_t exits[VCPUS], interrupts, ticks;
};

static void count_done(struct count *c)
{
	machine_destroy(c->machine);
}

static int nobody_inside(struct poke_quiesce *q, const struct vcpu_regs *regs, size_t n_regs,
			 const struct poke_plan *plan, bool tasks_left, struct err *e)
{
	(void)tasks_left;
	(void)q;
	(void)regs;
	(void)n_regs;
	(void)plan;
	(void)e;
	return 0; /* no site holds two instructions, and the guest has no stacks worth a look */
}

static int state_told(struct poke_log *log, enum poke_state state, bool was_running, struct err *e)
{
	(void)log;
	(void)state;
	(void)was_running;
	(void)e;
	return 0;
}

static void site_bytes(unsigned i, int version, uint8_t bytes[static SITE_EVERY])
{
	const uint32_t value = i * 2 + (version ? 0x5a000001 : 0);
	const uint8_t nop[] = { 0x0f, 0x1f, 0x00 };

	bytes[0] = 0xb8;
	memcpy(bytes + 1, &value, sizeof(value));
	memcpy(bytes + SITE_LEN, nop, sizeof(nop));
}

static int text_write(struct backend *b, struct err *e)
{
	const uint8_t ret = 0xc3;
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < SITES_MAX; i++) {
		uint8_t bytes[SITE_EVERY];

		site_bytes(i, 0, bytes);
		r = b->ops->write(b, TEXT + i * SITE_EVERY, bytes, sizeof(bytes), e);
	}
	return r < 0 ? r : b->ops->write(b, TEXT + SITES_MAX * SITE_EVERY, &ret, 1, e);
}

static int want_fill(struct backend *b, unsigned i, int to, struct plan_want *w, struct err *e)
{
	const uint64_t at = TEXT + i * SITE_EVERY;
	uint8_t bytes[SITE_EVERY];

	*w = (struct plan_want){ .gva = at,
				 .gpa = at,
				 .len = SITE_LEN,
				 .split = SITE_LEN,
				 .present_len = SITE_LEN + ARCH_INSN_MAX,
				 .new_is_code = true };
	site_bytes(i, to, bytes);
	memcpy(w->new_bytes, bytes, SITE_LEN);
	return b->ops->read(b, at, w->present, w->present_len, e);
}

static bool uses_traps(enum poke_mode mode)
{
	return mode == POKE_MODE_STAGED || mode == POKE_MODE_HELD;
}

static int plan_make(struct count *c, const struct exits_batch *batch, int to, struct poke_plan **ret, struct err *e)
{
	_cleanup_free_ struct plan_want *wants = calloc(batch->sites, sizeof(*wants));
	_cleanup_(plan_free) struct poke_plan *plan = NULL;
	const struct options *o = c->options;
	struct backend_info info;

	if (!wants)
		return err_set(e, ERR_FAILED, ENOMEM, "", "out of memory");
	int r = c->backend->ops->info(c->backend, &info, e);
	for (unsigned i = 0; r >= 0 && i < batch->sites; i++)
		r = want_fill(c->backend, i * batch->every / SITE_EVERY, to, &wants[i], e);
	if (r >= 0)
		r = plan_build(&arch_x86_64, info.caps, wants, batch->sites, &plan, e);
	if (r >= 0)
		r = plan_set_mode(plan, o->mode, e);
	if (r >= 0 && uses_traps(o->mode))
		r = plan_set_trap(plan, o->hw ? BACKEND_TRAP_KIND_HW : BACKEND_TRAP_KIND_INT3, e);
	if (r >= 0)
		*ret = TAKE_PTR(plan);
	return r;
}

static struct answer *answer_of(const struct count *c, unsigned vcpu)
{
	return (struct answer *)(void *)memory_at(&c->machine->memory, RESULTS + vcpu * sizeof(struct answer),
						  sizeof(struct answer));
}

/* The vCPU runs all of the text once, and has turned at least once behind it. */
static int text_run(struct count *c, unsigned vcpu, struct err *e)
{
	struct answer *a = answer_of(c, vcpu);
	uint64_t deadline = now_us() + WAIT_US;

	__atomic_store_n(&a->command, c->command, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&a->done, __ATOMIC_SEQ_CST) != c->command) {
		if (now_us() > deadline)
			return err_set(e, ERR_FAILED, ETIMEDOUT, "", "vCPU %u does not run the text", vcpu);
		poll(NULL, 0, 1);
	}
	return 0;
}

static int turns_wait(struct count *c, struct err *e)
{
	struct answer *a = answer_of(c, SPINS);
	uint64_t from = __atomic_load_n(&a->turns, __ATOMIC_SEQ_CST), deadline = now_us() + WAIT_US;

	while (__atomic_load_n(&a->turns, __ATOMIC_SEQ_CST) - from < 100)
		if (now_us() > deadline)
			return err_set(e, ERR_FAILED, ETIMEDOUT, "", "vCPU %u does not spin", SPINS);
	return 0;
}

/* Interrupts of a kind on one of the host's CPUs: "LOC:  123  456  Local timer interrupts". */
static int interrupts_read(const char *kind, unsigned cpu, uint64_t *ret)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/interrupts", "re");
	char line[4096];

	while (f && fgets(line, sizeof(line), f)) {
		char *at = strstr(line, kind), *end;

		if (!at)
			continue;
		at += strlen(kind);
		for (unsigned i = 0; i < cpu; i++)
			strtoull(at, &at, 10);
		*ret = strtoull(at, &end, 10);
		return end == at ? -ENOTSUP : 0;
	}
	return -ENOTSUP;
}

/* The host's flushes of a TLB are function calls on that CPU, and counted as these too. */
static int sample_take(struct count *c, struct sample *ret, struct err *e)
{
	struct sample s;
	uint64_t calls, wakes;

	if (!stats_exits(&c->machine->cpus[SPINS], &s.exits[SPINS]) ||
	    !stats_exits(&c->machine->cpus[HALTS], &s.exits[HALTS]))
		return err_set(e, ERR_REFUSED, ENOTSUP, "", "this KVM does not count exits");
	if (interrupts_read("CAL:", c->cpu, &calls) < 0 || interrupts_read("RES:", c->cpu, &wakes) < 0 ||
	    interrupts_read("LOC:", c->cpu, &s.ticks) < 0)
		return err_set(e, ERR_REFUSED, ENOTSUP, "",
			       "/proc/interrupts does not count what CPUs send each other");
	s.interrupts = calls + wakes;
	*ret = s;
	return 0;
}

static int numbers_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int round_run(struct count *c, const struct poke_plan *plan, struct sample *ret, struct err *e)
{
	struct poke_stats stats;
	struct sample from, to;

	c->command++;
	int r = text_run(c, SPINS, e);
	if (r >= 0)
		r = turns_wait(c, e);
	if (r >= 0)
		r = sample_take(c, &from, e);
	if (r >= 0)
		r = poke_run(c->backend, &arch_x86_64, plan, &c->quiesce, &c->log, WAIT_US, &stats, e);
	if (r >= 0)
		r = sample_take(c, &to, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < VCPUS; i++)
		to.exits[i] -= from.exits[i];
	to.interrupts -= from.interrupts;
	to.ticks -= from.ticks;
	*ret = to;
	return turns_wait(c, e);
}

static void batch_judge(struct exits_batch *batch, uint64_t exits[static ROUNDS_MAX], struct exits_figures *f)
{
	qsort(exits, batch->rounds, sizeof(exits[0]), numbers_compare);
	batch->low = exits[batch->rounds / 4];
	batch->median = exits[batch->rounds / 2];
	batch->most = exits[batch->rounds - 1];
	f->violations += batch->low == 0 || batch->low > batch->limit;
}

/* There and back, as often as it takes. */
static int batch_run(struct count *c, struct exits_batch *batch, struct exits_figures *f, struct err *e)
{
	uint64_t exits[ROUNDS_MAX];
	int r = 0;

	for (unsigned i = 0; r >= 0 && i < batch->rounds; i++) {
		_cleanup_(plan_free) struct poke_plan *plan = NULL;
		struct sample s = { 0 };

		r = plan_make(c, batch, !(i % 2), &plan, e);
		if (r >= 0)
			r = round_run(c, plan, &s, e);
		exits[i] = s.exits[SPINS] < s.interrupts ? s.exits[SPINS] : s.interrupts;
		f->halted += s.exits[HALTS];
		f->ticks += s.ticks;
	}
	if (r >= 0)
		batch_judge(batch, exits, f);
	return r;
}

/* This thread on one CPU, the spinning vCPU on another, the halted one anywhere. */
static int apart(struct count *c, struct err *e)
{
	cpu_set_t set, mine, theirs;
	unsigned cpu = 0;
	int r = sched_getaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;

	if (r < 0 || CPU_COUNT(&set) < 2)
		return err_set(e, ERR_REFUSED, ENOTSUP, "",
			       "a vCPU stays in guest mode on a CPU of its own only: there is one");
	CPU_ZERO(&mine);
	CPU_ZERO(&theirs);
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	CPU_SET(cpu++, &mine);
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	CPU_SET(cpu, &theirs);
	c->cpu = cpu;
	r = pthread_setaffinity_np(c->machine->cpus[SPINS].thread, sizeof(theirs), &theirs);
	if (!r)
		r = pthread_setaffinity_np(c->machine->cpus[HALTS].thread, sizeof(mine), &mine);
	if (!r)
		r = pthread_setaffinity_np(pthread_self(), sizeof(mine), &mine);
	return r ? err_set(e, ERR_FAILED, r, "", "threads cannot be kept apart: %s", strerror(r)) : 0;
}

static int guest_make(struct count *c, struct err *e)
{
	const struct machine_config config = {
		.name = "exits",
		.kernel = guest_elf(waiter, sizeof(waiter)),
		.vcpus = VCPUS,
		.memory = GUEST_MEMORY,
		.start_all = true,
	};
	int r = machine_create(&config, &c->machine, e);

	unlink(config.kernel);
	if (r >= 0 && c->machine->interprets)
		r = err_set(e, ERR_REFUSED, ENOTSUP, "", "on a KVM in software no vCPU is ever in guest mode");
	if (r < 0)
		return r;
	c->backend = machine_backend(c->machine);
	r = text_write(c->backend, e);
	if (r >= 0)
		r = machine_start(c->machine, e);
	if (r >= 0)
		r = apart(c, e);
	c->command = 1;
	return r < 0 ? r : text_run(c, HALTS, e);
}

/* KVM throws a vCPU out for its own mapping, and the host's flush of its mapping is another interrupt. */
static unsigned limit_of(enum poke_mode mode)
{
	switch (mode) {
	case POKE_MODE_STOPPED:
		return 1;
	case POKE_MODE_FLIPPED:
		return 2;
	case POKE_MODE_STAGED:
	case POKE_MODE_HELD:
		break;
	}
	return 3;
}

/* Who is stopped for long has ticks before and is woken after: here one cannot be told from the other. */
static unsigned sites_most(const struct options *o)
{
	if (o->mode == POKE_MODE_STOPPED)
		return 100;
	return o->hw && uses_traps(o->mode) ? POKE_TRAPS_HW_MAX : SITES_MAX;
}

/* The last: two sites with an untouched page between them, which a flip freezes first. */
int exits_run(const struct options *o, struct exits_figures *ret, struct err *e)
{
	static const struct exits_batch batches[EXITS_BATCHES] = {
		{ .sites = 1, .every = SITE_EVERY, .rounds = ROUNDS_MAX },
		{ .sites = 100, .every = SITE_EVERY, .rounds = ROUNDS_MAX },
		{ .sites = SITES_MAX, .every = SITE_EVERY, .rounds = 8 },
		{ .sites = 2, .every = 2 * 4096, .rounds = ROUNDS_MAX },
	};
	__attribute__((cleanup(count_done))) struct count c = { .options = o,
								.quiesce.scan = nobody_inside,
								.log.state = state_told };
	struct exits_figures f = { 0 };
	int r = guest_make(&c, e);

	for (unsigned i = 0; r >= 0 && i < EXITS_BATCHES; i++) {
		struct exits_batch *batch = &f.batches[f.n];

		if (batches[i].sites > sites_most(o))
			continue;
		*batch = batches[i];
		batch->limit = limit_of(o->mode) + (o->mode == POKE_MODE_FLIPPED && batch->every > SITE_EVERY);
		r = batch_run(&c, batch, &f, e);
		f.n += r >= 0;
	}
	f.violations += f.halted;
	*ret = f;
	return r;
}
