// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * An NMI, then a machine check, at each step of a transaction and at each old
 * instruction of each shape. vCPU 0 is stepped to the instruction and parked there; the
 * transaction begins; before its n-th call of the backend the event is sent and the
 * vCPU let go, so that it takes the event first and then meets whatever the text is by
 * then. The others run the same sites all the time. Handlers run sites of the same
 * transaction. The same from inside the handler of an NMI: a second one must wait for
 * the IRET. Must never count an event that the guest did not count.
 */
#include "tests/stress/at.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "tests/stress/shim.h"
#include "vmm/arch/arch.h"

#define STEPS_MAX   20000
#define STAGES_MAX  500
#define SEEN_US	    5000000u
#define MOMENT_US   1000u /* for the vCPU to take the event before the transaction goes on */
#define MCE_STATUS  (UINT64_C(1) << 63 | UINT64_C(1) << 61 | UINT64_C(1) << 60 | UINT64_C(1) << 58)

enum event { EVENT_NMI, EVENT_MCE, EVENTS };

struct at {
	struct shim shim;
	struct guest *guest;
	struct changer *changer;
	struct at_figures *figures;
	enum event event;
	bool in_handler; /* vCPU 0 stands in the handler of an NMI */
	uint64_t where;
	uint64_t sent[EVENTS]; /* to this guest's vCPU 0 */
};

static volatile struct smp_vcpu *vcpu0(const struct at *t)
{
	return &t->guest->cpus[0];
}

static bool seen(const struct at *t)
{
	return vcpu0(t)->nmi_seen >= t->sent[EVENT_NMI] && vcpu0(t)->mce_seen >= t->sent[EVENT_MCE];
}

static bool wait_seen(const struct at *t, uint64_t timeout_us)
{
	uint64_t deadline = now_us() + timeout_us;

	while (!seen(t) && now_us() < deadline && !guest_is_dead(t->guest))
		poll(NULL, 0, 0);
	return seen(t);
}

static int at_send(struct at *t, enum event event, struct err *e)
{
	struct machine *m = t->guest->machine;
	int r = event == EVENT_NMI ? machine_inject_nmi(m, 0, e)
				   : machine_inject_mce(m, 0, MCE_STATUS, SMP_TEXT, e);

	if (r > 0)
		return err_set(e, ERR_FAILED, EBUSY, "", "an NMI merged with one that nobody sent");
	if (r == 0)
		t->sent[event]++;
	return r;
}

/* Still in the first one's handler, still blocked; the second is kept. */
static int at_blocked(struct at *t, struct err *e)
{
	struct machine_events now;
	int r = machine_events(t->guest->machine, 0, &now, e);

	if (r < 0)
		return r;
	if (now.nmi_masked && now.nmi_pending == 1)
		t->figures->blocked++;
	else
		t->figures->dirty++;
	return 0;
}

static int at_fire(struct shim *s, struct err *e)
{
	struct at *t = container_of(s, struct at, shim);
	int r = at_send(t, t->event, e);

	if (r >= 0 && t->in_handler && t->event == EVENT_NMI)
		r = at_blocked(t, e);
	machine_park(t->guest->machine, 0, false);
	if (r >= 0)
		wait_seen(t, MOMENT_US);
	return r;
}

/* Steps vCPU 0 of the paused machine until it stands at t->where, or an event comes first (-EBUSY). */
static int steps_take(struct at *t, struct err *e)
{
	struct backend *b = machine_backend(t->guest->machine);
	struct vcpu_regs regs;

	for (int i = 0; i < STEPS_MAX; i++) {
		int r = b->ops->regs_get(b, 0, &regs, e);
		if (r < 0 || regs.rip == t->where)
			return r < 0 ? r : 0;
		r = b->ops->step(b, 0, e);
		if (r < 0)
			return r;
		t->figures->steps++;
	}
	return err_set_addr(e, ERR_FAILED, ETIMEDOUT, "", t->where, "vCPU 0 does not come to 0x%" PRIx64, t->where);
}

static int at_place(struct at *t, struct err *e)
{
	struct backend *b = machine_backend(t->guest->machine);
	int r = -EBUSY;

	for (int i = 0; r == -EBUSY && i < 100; i++) {
		bool was;

		r = b->ops->pause(b, NULL, &was, e);
		if (r < 0)
			return r;
		t->guest->control->nmi_wait = 0;
		r = steps_take(t, e);
		if (r >= 0)
			machine_park(t->guest->machine, 0, true);
		int resumed = b->ops->resume(b, e);
		r = r < 0 ? r : resumed;
	}
	return r;
}

/* vCPU 0 waits at the start of its NMI's handler. */
static int at_handler(struct at *t, struct err *e)
{
	uint64_t deadline = now_us() + SEEN_US;

	t->guest->control->nmi_wait = 1;
	int r = at_send(t, EVENT_NMI, e);
	while (r >= 0 && !vcpu0(t)->in_nmi) {
		if (now_us() > deadline || guest_is_dead(t->guest))
			return err_set(e, ERR_FAILED, ETIMEDOUT, "", "an NMI was not taken");
		poll(NULL, 0, 0);
	}
	return r;
}

/* What the host did has left no trace in the vCPU. */
static int at_clean(struct at *t, struct err *e)
{
	uint64_t deadline = now_us() + SEEN_US;
	struct machine_events now;
	bool clean;

	do {
		int r = machine_events(t->guest->machine, 0, &now, e);
		if (r < 0)
			return r;
		clean = !now.nmi_pending && !now.nmi_injected && !now.nmi_masked && !now.exception && !now.mcg_status;
	} while (!clean && now_us() < deadline);
	if (!clean)
		fprintf(stderr, "stress: before %s: vCPU 0 is left with %u NMIs pending, masked %d, MCG_STATUS %" PRIx64 "\n",
			t->shim.before, now.nmi_pending, now.nmi_masked, now.mcg_status);
	t->figures->dirty += !clean;
	return 0;
}

static int at_count(struct at *t, struct err *e)
{
	if (!wait_seen(t, SEEN_US)) {
		struct machine_events now = { 0 };

		machine_events(t->guest->machine, 0, &now, NULL);
		return err_set_addr(e, ERR_FAILED, ETIMEDOUT, "", t->where,
				    "an event sent before '%s' of a vCPU at 0x%" PRIx64
				    " was not seen: %u NMIs pending, masked %d, exception %d, MCG_STATUS %" PRIx64,
				    t->shim.before, t->where, now.nmi_pending, now.nmi_masked, now.exception,
				    now.mcg_status);
	}
	uint64_t rip = t->event == EVENT_NMI ? vcpu0(t)->nmi_rip : vcpu0(t)->mce_rip;
	t->figures->landed += rip == t->where;
	return at_clean(t, e);
}

/* One transaction with one event in it. where 0: none, only back to where it was. *ret_end: the stage lies behind its end. */
static int at_once(struct at *t, uint64_t where, unsigned stage, bool *ret_end, struct err *e)
{
	struct backend *b = machine_backend(t->guest->machine);
	int r = where && t->in_handler ? at_handler(t, e) : 0;

	t->where = where;
	if (r >= 0 && where)
		r = at_place(t, e);
	if (r < 0)
		return r;
	t->shim = (struct shim){ .fire = at_fire, .fire_at = stage, .fired = !where };
	shim_on(&t->shim, b);
	r = changer_change(t->changer, 0, &t->figures->change, e);
	shim_off(&t->shim);
	*ret_end = t->shim.calls <= stage;
	shim_fire(&t->shim, "the end");
	if (t->shim.calls > t->figures->stages)
		t->figures->stages = t->shim.calls;
	if (r >= 0 && t->shim.failed < 0) {
		*e = t->shim.why;
		r = t->shim.failed;
	}
	return r < 0 || !where ? r : at_count(t, e);
}

/* Offset of the n-th instruction of that version, or -ENOENT. What follows a jump is never come to. */
static int instruction_at(const struct text_site *s, int version, unsigned n)
{
	const uint8_t *code = s->versions[version];
	struct arch_insn insn = { .flow = ARCH_FLOW_NONE };

	for (unsigned at = 0; at < s->len && insn.flow != ARCH_FLOW_JUMP; at += insn.len) {
		if (n-- == 0)
			return (int)at;
		if (arch_x86_64.decode(code + at, TEXT_SITE_MAX - at, s->gva + at, &insn) < 0)
			break;
	}
	return -ENOENT;
}

/* Where the n-th instruction of what the site holds now is, or 0. */
static uint64_t instruction(const struct at *t, const struct text_site *s, unsigned n)
{
	int at = instruction_at(s, changer_version(t->changer, 0), n);

	return at < 0 ? 0 : s->gva + (unsigned)at;
}

/* The n-th instruction of the site, at every stage, there and back. */
static int at_instruction(struct at *t, const struct text_site *s, unsigned n, struct err *e)
{
	bool ended[2] = { false, false };
	int r = 0;

	for (unsigned stage = 0; r >= 0 && stage < STAGES_MAX && !(ended[0] && ended[1]); stage++)
		for (int i = 0; r >= 0 && i < 2; i++) {
			int from = changer_version(t->changer, 0);

			r = at_once(t, ended[from] ? 0 : instruction(t, s, n), stage, &ended[from], e);
			if (guest_is_dead(t->guest))
				return err_set(e, ERR_FAILED, EIO, "", "the guest is gone (before '%s')", t->shim.before);
		}
	return r;
}

static unsigned instructions_most(const struct text_site *s)
{
	unsigned n = 0;

	while (instruction_at(s, 0, n) >= 0 || instruction_at(s, 1, n) >= 0)
		n++;
	return n;
}

static int at_site(struct at *t, const struct text_site *s, struct err *e)
{
	unsigned n = instructions_most(s);
	int r = 0;

	t->figures->places += n;
	for (int event = 0; r >= 0 && event < EVENTS; event++)
		for (unsigned i = 0; r >= 0 && i < n; i++) {
			t->event = (enum event)event;
			r = at_instruction(t, s, i, e);
		}
	return r;
}

static int at_guest(struct at *t, struct err *e)
{
	const struct smp_control *control = t->guest->control;
	int r = guest_start(t->guest, e);

	if (r >= 0)
		r = at_site(t, &t->guest->sites[control->sites[SMP_IN_MAIN].first], e);
	t->in_handler = true;
	if (r >= 0 && control->sites[SMP_IN_NMI].count)
		r = at_site(t, &t->guest->sites[control->sites[SMP_IN_NMI].first], e);
	return r;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static void sums_add(struct at *t)
{
	struct at_figures *f = t->figures;
	struct smp_vcpu sum;

	machine_park(t->guest->machine, 0, false);
	f->fallen += guest_rest(t->guest);
	if (guest_is_dead(t->guest) && !f->fallen)
		f->fallen = 1;
	guest_sum(t->guest, &sum);
	f->nmis += t->sent[EVENT_NMI];
	f->mces += t->sent[EVENT_MCE];
	f->uncounted += distance(sum.nmi_seen, t->sent[EVENT_NMI]) + distance(sum.mce_seen, t->sent[EVENT_MCE]);
	f->sum.checks += sum.checks;
	f->sum.exact += sum.exact;
	for (size_t k = 0; k < SMP_VIOLATION_KINDS; k++)
		f->sum.violations[k] += sum.violations[k];
	for (unsigned i = 0; i < t->guest->vcpus; i++)
		guest_violation_print(t->guest, i);
}

static int at_shape(const struct options *o, const char *name, struct at_figures *f, struct err *e)
{
	struct options mine = *o;
	_cleanup_(guest_free) struct guest *g = NULL;
	_cleanup_(changer_free) struct changer *c = NULL;
	struct at t = { .figures = f };

	mine.shapes = name;
	mine.sites = mine.nmi = mine.mce = 1;
	int r = guest_create(&mine, &g, e);
	if (r >= 0)
		r = changer_create(g, &mine, NULL, &c, e);
	if (r < 0)
		return r;
	t.guest = g;
	t.changer = c;
	r = at_guest(&t, e);
	sums_add(&t);
	return r < 0 ? err_prefix(e, "%s", name), r : 0;
}

uint64_t at_violations(const struct at_figures *f)
{
	return guest_violations(&f->sum) + f->dirty + f->uncounted + f->fallen;
}

static bool chosen(const struct options *o, const struct text_shape *s)
{
	size_t len = strlen(s->name);

	if (!o->shapes)
		return !(o->hw && s->may_fault);
	for (const char *at = o->shapes; (at = strstr(at, s->name)); at += len)
		if ((at == o->shapes || at[-1] == ',') && (at[len] == ',' || !at[len]))
			return true;
	return false;
}

int at_run(const struct options *o, struct at_figures *ret, struct err *e)
{
	struct at_figures f = { 0 };
	int r = 0;

	for (size_t i = 0; r >= 0 && i < text_n_shapes; i++)
		if (chosen(o, &text_shapes[i]))
			r = at_shape(o, text_shapes[i].name, &f, e);
	*ret = f;
	if (r >= 0 && (!f.landed || !f.sum.exact))
		r = err_set(e, ERR_FAILED, ETIMEDOUT, "", "no event came where it was meant to");
	return r;
}
