// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Switches the paravirt locks of a guest of our own VMM to native ones and back, over and over, with the
 * worker's own planning and search for contexts and the engine's own transactions, but without a daemon, a client
 * and a journal between two of them: 10,000 in minutes instead of hours.
 *   pv-switch KERNEL INITRD VCPUS MiB CONSOLE SWITCHES SECONDS APPEND
 * The console is waited for until it shows "locks"; a switch that takes longer than SECONDS has failed. Ends with
 * a line of figures; who looks at the console judges. For tests; never shipped.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

#include "vmm/kvm/machine.h"
#include "vmm/worker/agent_use.h"
#include "vmm/worker/prepare.h"
#include "vmm/worker/stacks.h"

#define BOOT_US	 UINT64_C(180000000)
#define TELL_AT	 250
#define VCPUS_MAX 64

static const char text[] = "vmpoke: 1\nname: locks\nsites:\n  - { at: pv_ops, kind: pv_group, group: lock, choose: native }\n";

static struct {
	struct session session;
	struct agent_use use;
	struct poke_log log;
	struct poke_plan *there, *back;
	unsigned switches, retries, gated, waited; /* waited: switches that needed more than one try */
	uint64_t longest_pause_us, longest_us, all_us;
} run;

static int log_state(struct poke_log *log, enum poke_state state, bool was_running, struct err *e)
{
	(void)log;
	(void)state;
	(void)was_running;
	(void)e;
	return 0;
}

static bool console_shows(const char *path, const char *what)
{
	_cleanup_free_ char *all = NULL;
	size_t len = 0;

	return read_file(path, 1 << 24, &all, &len) >= 0 && memmem(all, len, what, strlen(what));
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
	for (size_t i = 0; r >= 0 && i < s->info.vcpus && i < VCPUS_MAX; i++)
		r = s->backend->ops->regs_get(s->backend, i, &regs[i], e);
	return r < 0 ? r : guest_probe(&s->memory.ops, regs, s->info.vcpus, &s->guest, e);
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
		r = switch_once(i % 2 ? run.back : run.there, timeout_us, e);
		if (run.switches % TELL_AT == 0)
			tell();
	}
	return r;
}

int main(int argc, char **argv)
{
	__attribute__((cleanup(prepared_clear))) struct prepared p = { 0 };
	struct err e = { 0 };

	if (argc != 9)
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
	if (r < 0)
		printf("not ok switch: %s [%s]\n", e.text, e.rule);
	else
		poll(NULL, 0, 5000); /* the guest goes on, with what the last switch left it */
	plan_free(run.back);
	guest_free(run.session.guest);
	machine_destroy(run.session.machine);
	return r < 0;
}
