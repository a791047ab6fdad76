// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Switches the paravirt locks of a guest of our own VMM to native ones and back, over and over, with the
 * worker's own planning and search for contexts and the engine's own transactions, but without a daemon, a client
 * and a journal between two of them: 10,000 in minutes instead of hours.
 *   pv-switch KERNEL INITRD VCPUS MiB CONSOLE SWITCHES SECONDS APPEND CARELESS
 * The console is waited for until it shows "locks"; a switch that takes longer than SECONDS has failed, and so
 * has one at whose moment the guest's own words for it (pv-locks.h) say that a CPU is in a lock's queue. Then as
 * many as CARELESS are made that wait for nobody, until one is seen to have lost a waiter: without an end like that the
 * ones before show nothing. Lines of figures and results; who looks at the console judges as well. For
 * tests; never shipped.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "tests/tools/pv-locks.h"
#include "vmm/kvm/machine.h"
#include "vmm/worker/agent_use.h"
#include "vmm/worker/prepare.h"
#include "vmm/worker/stacks.h"

#define BOOT_US	 UINT64_C(180000000)
#define TELL_AT	 250
#define VCPUS_MAX PV_LOCKS_CPUS_MAX
#define CARELESS_LOOK_MS 200
#define FIRST_MS	 1000 /* the threads were parked for the line that is waited for */
#define BETWEEN_MS	 10   /* so that they fight again */
#define LAST_MS		 2000 /* the guest goes on, with what the last switch left it */

static const char text[] = "vmpoke: 1\nname: locks\nsites:\n  - { at: pv_ops, kind: pv_group, group: lock, choose: native }\n";

static struct {
	struct session session;
	struct agent_use use;
	struct poke_log log;
	struct poke_plan *there, *back;
	unsigned switches, retries, gated, waited; /* waited: switches that needed more than one try */
	uint64_t longest_pause_us, longest_us, all_us;
	struct pv_locks locks;
	struct pv_locks_seen seen; /* sums over the switches since they were last cleared */
	unsigned busy;		   /* switches with a CPU in a queue */
} run;

static int regs_all(struct vcpu_regs *regs, struct err *e)
{
	struct session *s = &run.session;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < s->info.vcpus && i < VCPUS_MAX; i++)
		r = s->backend->ops->regs_get(s->backend, i, &regs[i], e);
	return r;
}

static int look(struct pv_locks_seen *ret, struct err *e)
{
	struct vcpu_regs regs[VCPUS_MAX];
	int r = regs_all(regs, e);

	return r < 0 ? r : pv_locks_look(run.session.guest, &run.locks, regs, ret, e);
}

/* Told before the first byte is written, in the pause in which all are. */
static int log_state(struct poke_log *log, enum poke_state state, bool was_running, struct err *e)
{
	struct pv_locks_seen seen;
	int r = state == POKE_WRITTEN ? look(&seen, e) : -EAGAIN;

	(void)log;
	(void)was_running;
	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	run.busy += seen.queued || seen.hashed;
	run.seen.queued += seen.queued;
	run.seen.hashed += seen.hashed;
	return 0;
}

static bool console_shows(const char *path, const char *what)
{
	_cleanup_free_ char *all = NULL;
	size_t len = 0;

	return read_file(path, 1 << 24, &all, &len) >= 0 && memmem(all, len, what, strlen(what));
}

static size_t console_len(const char *path)
{
	_cleanup_free_ char *all = NULL;
	size_t len = 0;

	return read_file(path, 1 << 24, &all, &len) >= 0 ? len : 0;
}

static int boot(char **argv, struct err *e)
{
	struct machine_config config = {
		.name = "pv", .kernel = argv[1], .initrd = argv[2], .vcpus = (unsigned)strtoul(argv[3], NULL, 10),
		.memory = strtoull(argv[4], NULL, 10) << 20, .console = argv[5], .append = argv[8], .reboot = true, /* keeps the kernel's file */
	};
	uint64_t end = now_us() + BOOT_US;
	int r = machine_create(&config, &run.session.machine, e);

	machine_prefer_thread();
	if (r >= 0)
		r = machine_start(run.session.machine, e);
	while (r >= 0 && !console_shows(argv[5], "\nlocks ")) {
		if (now_us() > end)
			return err_set(e, ERR_FAILED, ETIMEDOUT, "", "the guest does not come up");
		poll(NULL, 0, 200);
	}
	return r;
}

static int meet(struct err *e)
{
	struct session *s = &run.session;
	struct vcpu_regs regs[VCPUS_MAX];
	int r = 0;

	session_init(s);
	s->backend = machine_backend(s->machine);
	r = s->backend->ops->info(s->backend, &s->info, e);
	if (r >= 0)
		r = regs_all(regs, e);
	if (r >= 0)
		r = guest_probe(&s->memory.ops, regs, s->info.vcpus, &s->guest, e);
	return r < 0 ? r : pv_locks_find(s->guest, s->info.vcpus, &run.locks, e);
}

static int plans_make(struct prepared *p, struct err *e)
{
	json_auto_t *none = json_object();
	int r = patchfile_parse(text, strlen(text), "locks", &p->file, e);

	if (r >= 0)
		r = prepare_vmlinux(&run.session, none, p, e);
	if (r >= 0)
		r = prepare_plan(&run.session, p, e);
	if (r >= 0)
		r = guest_stacks_prepare(run.session.guest, e);
	if (r >= 0)
		r = guest_patching_prepare(run.session.guest, &run.use.patching, e);
	if (r < 0)
		return r;
	run.there = p->plan;
	if (run.there->n_sites == 0)
		return err_set(e, ERR_FAILED, EINVAL, "", "there is nothing to switch: the locks are native");
	return prepare_inverse(run.there, run.session.info.caps, &run.back) < 0 ?
		       err_set(e, ERR_FAILED, ENOMEM, "", "out of memory") : 0;
}

static int switch_once(const struct poke_plan *plan, uint64_t timeout_us, struct err *e)
{
	struct poke_stats stats;

	run.use.plan = plan;
	int r = poke_run(run.session.backend, arch_of(run.session.info.arch), plan, &run.use.ops, &run.log, timeout_us,
			 &stats, e);

	run.switches += r >= 0;
	run.retries += stats.retries;
	run.waited += stats.retries > 0;
	run.gated += stats.gated;
	run.all_us += stats.elapsed_us;
	if (stats.longest_pause_us > run.longest_pause_us)
		run.longest_pause_us = stats.longest_pause_us;
	if (stats.elapsed_us > run.longest_us)
		run.longest_us = stats.elapsed_us;
	return r;
}

static void tell(void)
{
	printf("# %u switches, %u of them after more than one try, %u tries in vain, %u times at the gate, mean %" PRIu64
	       " us, longest %" PRIu64 " us, longest pause %" PRIu64 " us\n",
	       run.switches, run.waited, run.retries, run.gated, run.all_us / (run.switches ? run.switches : 1),
	       run.longest_us, run.longest_pause_us);
	fflush(stdout);
}

static int switch_all(unsigned n, uint64_t timeout_us, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < n && r >= 0; i++) {
		poll(NULL, 0, i ? BETWEEN_MS : FIRST_MS);
		r = switch_once(i % 2 ? run.back : run.there, timeout_us, e);
		if (run.switches % TELL_AT == 0)
			tell();
	}
	if (r >= 0 && run.busy)
		return err_set(e, ERR_FAILED, EBUSY, "busy", "%u switches were made with a CPU in a lock's queue", run.busy);
	return r;
}

/* Has an unlock passed by a halted waiter? Seen in a pause of its own, some time after the switch. */
static int lost_look(struct pv_locks_seen *ret, struct err *e)
{
	struct backend *b = run.session.backend;
	struct err late = { 0 };
	bool was_running;

	poll(NULL, 0, CARELESS_LOOK_MS);
	int r = b->ops->pause(b, NULL, &was_running, e);
	if (r < 0)
		return r;
	r = look(ret, e);
	int s = b->ops->resume(b, &late);
	return r < 0 ? r : s;
}

/*
 * The control: the same transactions, but who is in a slow path is not asked for. In such a guest an unlock passes by
 * a waiter sooner or later; what is left of it is nobody's to repair.
 */
static int careless_all(unsigned n, uint64_t timeout_us, struct err *e)
{
	struct poke_plan there = *run.there, back = *run.back;
	struct pv_locks_seen end = { 0 };
	unsigned i = 0;
	int r = 0;

	there.n_exclusions = back.n_exclusions = 0;
	run.busy = 0;
	run.seen = (struct pv_locks_seen){ 0 };
	for (; i < n && r >= 0 && !end.lost; i++) {
		r = switch_once(i % 2 ? &back : &there, timeout_us, e);
		if (r >= 0)
			r = lost_look(&end, e);
		if (r >= 0 && end.lost) /* an entry that was just being made would be gone by now */
			r = lost_look(&end, e);
	}
	printf("# careless: %u switches, %u with CPUs in queues (%u in all, %u halted waiters); then %u kicks lost, %u of them of a waiter that is still halted\n",
	       i, run.busy, run.seen.queued, run.seen.hashed, end.lost, end.stuck);
	if (r < 0 || end.lost)
		return r;
	return err_set(e, ERR_FAILED, EINVAL, "", "%u careless switches have lost no kick: what came before shows nothing", i);
}

int main(int argc, char **argv)
{
	__attribute__((cleanup(prepared_clear))) struct prepared p = { 0 };
	struct err e = { 0 };

	if (argc != 10)
		return 2;
	run.log.state = log_state;
	run.use.session = &run.session;
	run.use.ops = (struct poke_quiesce){ .scan = stacks_scan, .patching = stacks_patching };
	int r = boot(argv, &e);
	if (r >= 0)
		r = meet(&e);
	if (r >= 0)
		r = plans_make(&p, &e);
	if (r >= 0)
		r = switch_all((unsigned)strtoul(argv[6], NULL, 10), strtoull(argv[7], NULL, 10) * 1000000, &e);
	tell();
	if (r >= 0)
		poll(NULL, 0, LAST_MS);
	unsigned careless = (unsigned)strtoul(argv[9], NULL, 10);
	printf("# console: %zu bytes so far are to be without a complaint\n", console_len(argv[5]));
	if (r >= 0 && careless)
		r = careless_all(careless, strtoull(argv[7], NULL, 10) * 1000000, &e);
	if (r < 0)
		printf("not ok switch: %s [%s]\n", e.text, e.rule);
	plan_free(run.back);
	guest_free(run.session.guest);
	machine_destroy(run.session.machine);
	return r < 0;
}
