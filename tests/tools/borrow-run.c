// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Borrows the context of a parked thread (tests/guest/park.c) and does what lines on
 * standard input say, each answered by "ok ..." or "not ok ...: why" with figures:
 *   borrow-run qemu QMP NONCE NONCE
 *   borrow-run machine KERNEL INITRD VCPUS MiB CONSOLE NONCE NONCE [APPEND]   (our own VMM)
 * Commands: begin, end, calls N, sleep MS, asleep MS, awake MS, late MS, rcu MS, exec [BYTES], lock MS, waiter MS,
 * unlock, free MS, run MS, recover (run a VM on that a killed predecessor has left stopped).
 * VMPOKE_FAULT kills it at a point of vmm/borrow, VMPOKE_TRIAL is a trial of each borrowing (trial.h), "rows" the number of
 * rows that there are. For tests; never shipped.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "vmm/backend.h"
#include "vmm/borrow/borrow.h"
#include "vmm/borrow/trial.h"
#include "vmm/fault.h"
#include "vmm/guest/guest.h"
#include "vmm/kvm/machine.h"

#define SECOND	1000000u
#define CALL_US (150 * SECOND) /* ends what hangs; an emulated guest beside others may take long */

static struct {
	struct guest_memory memory;
	struct backend *backend;
	struct machine *machine;
	struct guest *guest;
	struct borrow *borrow;
	uint64_t nonce[2];
} run;

static int memory_read(struct guest_memory *m, uint64_t gpa, void *buf, size_t len, struct err *e)
{
	(void)m;
	return run.backend->ops->read(run.backend, gpa, buf, len, e);
}

static int probe(struct err *e)
{
	struct vcpu_regs regs[64];
	struct backend_info info;
	int r = run.backend->ops->info(run.backend, &info, e);

	if (run.guest)
		return 0;
	run.memory.read = memory_read;
	size_t n = r < 0 ? 0 : info.vcpus < ARRAY_SIZE(regs) ? info.vcpus : ARRAY_SIZE(regs);
	for (size_t i = 0; r >= 0 && i < n; i++)
		r = run.backend->ops->regs_get(run.backend, i, &regs[i], e);
	return r < 0 ? r : guest_probe(&run.memory, regs, n, &run.guest, e);
}

static int do_begin(uint64_t arg, struct err *e)
{
	int r = probe(e);
	struct borrow_config config = {
		.backend = run.backend,
		.guest = run.guest,
		.nonce = { run.nonce[0], run.nonce[1] },
	};

	(void)arg;
	if (run.borrow)
		return err_set(e, ERR_USAGE, EALREADY, "", "has begun already");
	if (r >= 0)
		r = borrow_begin(&config, &run.borrow, e);
	if (r >= 0 && borrow_trial_set(getenv("VMPOKE_TRIAL")) < 0)
		return err_set(e, ERR_USAGE, EINVAL, "", "VMPOKE_TRIAL is not ROW:MISSED:FILE");
	return r;
}

static int do_rows(uint64_t arg, struct err *e)
{
	(void)arg, (void)e;
	printf("# rows %u\n", borrow_trial_rows());
	return 0;
}

static int do_end(uint64_t arg, struct err *e)
{
	(void)arg;
	struct borrow_stats stats;

	borrow_stats(run.borrow, &stats);
	printf("# calls %lu, foreign %lu, stops %lu, keeps %lu\n", stats.calls, stats.foreign, stats.stops,
	       stats.keeps);
	return borrow_end(TAKE_PTR(run.borrow), e);
}

static uint64_t square_root(uint64_t x)
{
	uint64_t r = 0;

	for (uint64_t bit = 1u << 31; bit; bit >>= 1)
		if ((r | bit) * (r | bit) <= x)
			r |= bit;
	return r;
}

static uint64_t common(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t t = a % b;
		a = b;
		b = t;
	}
	return a;
}

static int check(const char *what, uint64_t got, uint64_t want, struct err *e)
{
	return got == want
		       ? 0
		       : err_set(e, ERR_FAILED, EBADMSG, "", "%s is %" PRIu64 ", expected %" PRIu64, what, got, want);
}

static int harmless(uint64_t i, uint64_t banner, struct err *e)
{
	uint64_t x = i * 0x9e3779b97f4a7c15u >> 8, y = (i + 1) * 0xc2b2ae3d27d4eb4fu >> 40, result = 0;
	const uint64_t args[] = { i % 3 == 2 ? banner : x, y };
	/* The banner ends in a newline, which facts.banner has not. */
	const uint64_t want[] = { square_root(x), common(x, y), strlen(guest_facts(run.guest)->banner) + 1 };
	static const enum borrow_function f[] = { BORROW_INT_SQRT, BORROW_GCD, BORROW_STRLEN };
	int r = borrow_call(run.borrow, f[i % 3], args, i % 3 == 1 ? 2 : 1, CALL_US, &result, e);

	return r < 0 ? r : check(i % 3 == 2 ? "strlen" : i % 3 ? "gcd" : "int_sqrt", result, want[i % 3], e);
}

static int do_calls(uint64_t n, struct err *e)
{
	uint64_t banner, start = now_us();

	if (guest_symbol_find(run.guest, "linux_banner", &banner, NULL, NULL) < 0)
		return err_set(e, ERR_FAILED, ENOENT, "", "no linux_banner");
	unsigned missed = 0;
	for (uint64_t i = 0; i < n; i++) {
		int r = harmless(i, banner, e);
		if (r == -ENODATA && ++missed < 100) /* told, not guessed: it may be asked again */
			i--;
		else if (r < 0)
			return r;
	}
	if (missed)
		printf("# returns that the VMM did not report: %u\n", missed);
	printf("# %" PRIu64 " calls, %" PRIu64 " us each\n", n, n ? (now_us() - start) / n : 0);
	return 0;
}

static int do_sleep(uint64_t ms, struct err *e)
{
	uint64_t start = now_us();
	int r = borrow_call(run.borrow, BORROW_MSLEEP, &ms, 1, ms * 1000 + CALL_US, NULL, e);

	printf("# msleep took %" PRIu64 " ms\n", (now_us() - start) / 1000);
	return r >= 0 && now_us() - start < ms * 1000 ? err_set(e, ERR_FAILED, EIO, "", "msleep came back early") : r;
}

/* Back as soon as the thread sleeps; do_awake() gets the result. */
static int do_asleep(uint64_t ms, struct err *e)
{
	int r = borrow_start(run.borrow, BORROW_MSLEEP, &ms, 1, e);

	for (int i = 0; r >= 0 && i < 200; i++) {
		r = borrow_wait(run.borrow, 100000, NULL, e);
		if (r == -ETIMEDOUT && !strcmp(e->rule, "borrow-slow"))
			return 0;
		if (r >= 0)
			return err_set(e, ERR_FAILED, EIO, "", "msleep came back early");
		r = r == -ETIMEDOUT ? 0 : r;
	}
	return r < 0 ? r : err_set(e, ERR_TIMEOUT, ETIMEDOUT, "", "nobody came to fall asleep");
}

static int do_awake(uint64_t ms, struct err *e)
{
	return borrow_wait(run.borrow, ms * 1000, NULL, e);
}

/* Started with a deadline it cannot keep: told, and let go. */
static int do_late(uint64_t ms, struct err *e)
{
	int r = borrow_call(run.borrow, BORROW_MSLEEP, &ms, 1, ms * 500, NULL, e);

	if (r == -ETIMEDOUT && !strcmp(e->rule, "borrow-slow"))
		return 0;
	return r < 0 ? r : err_set(e, ERR_FAILED, EIO, "", "msleep came back in half its time");
}

static int do_rcu(uint64_t ms, struct err *e)
{
	uint64_t start = now_us();
	int r = borrow_rcu_tasks(run.borrow, ms * 1000, e);

	printf("# synchronize_rcu_tasks took %" PRIu64 " ms\n", (now_us() - start) / 1000);
	return r;
}

static int do_lock(uint64_t ms, struct err *e)
{
	return borrow_text_lock(run.borrow, CALL_US, ms * 1000, e);
}

static int do_unlock(uint64_t arg, struct err *e)
{
	(void)arg;
	return borrow_text_unlock(run.borrow, CALL_US, e);
}

static int do_run(uint64_t ms, struct err *e)
{
	if (run.borrow)
		return borrow_let_run(run.borrow, ms * 1000, e);
	usleep((useconds_t)ms * 1000);
	return 0;
}

/* The mutex itself: its owner, a task, and in the low bits that somebody waits (kernel/locking/mutex.c). */
static int text_mutex(uint64_t *ret, struct err *e)
{
	uint64_t gva;

	if (guest_symbol_find(run.guest, "text_mutex", &gva, NULL, NULL) < 0)
		return err_set(e, ERR_FAILED, ENOENT, "", "no text_mutex");
	return guest_read(run.guest, gva, ret, sizeof(*ret), e);
}

static int await_owner(uint64_t ms, bool (*wanted)(uint64_t owner), struct err *e)
{
	uint64_t end = now_us() + ms * 1000, owner = 0;
	int r;

	do {
		r = text_mutex(&owner, e);
		if (r < 0 || wanted(owner))
			return r;
		r = do_run(50, e);
	} while (r >= 0 && now_us() < end);
	return r < 0 ? r : err_set(e, ERR_TIMEOUT, ETIMEDOUT, "", "text_mutex's owner is 0x%" PRIx64, owner);
}

static bool has_waiter(uint64_t owner)
{
	return owner > 7 && (owner & 1);
}

static bool is_free(uint64_t owner)
{
	return owner == 0;
}

static int do_waiter(uint64_t ms, struct err *e)
{
	return await_owner(ms, has_waiter, e);
}

static int do_free(uint64_t ms, struct err *e)
{
	int r = probe(e);

	return r < 0 ? r : await_owner(ms, is_free, e);
}

/* lea (%rdi,%rsi), %rax; ret */
static const uint8_t payload[] = { 0x48, 0x8d, 0x04, 0x37, 0xc3 };

static int use_exec(const struct borrow_exec *x, struct err *e)
{
	const uint64_t args[] = { 40000, 2 };
	uint64_t result = 0;
	int r = borrow_exec_write(run.borrow, x, x->size - sizeof(payload), payload, sizeof(payload), e);

	if (r >= 0)
		r = borrow_exec_call(run.borrow, x, x->size - sizeof(payload), args, 2, CALL_US, &result, e);
	return r < 0 ? r : check("the payload's answer", result, 40002, e);
}

static int do_exec(uint64_t size, struct err *e)
{
	struct borrow_exec x;
	int r = borrow_exec_alloc(run.borrow, size ? size : 5000, CALL_US, &x, e);

	if (r < 0)
		return r;
	printf("# %zu bytes at 0x%" PRIx64 "\n", x.size, x.gva);
	r = use_exec(&x, e);
	int freed = borrow_exec_free(run.borrow, &x, CALL_US, r < 0 ? NULL : e);
	if (r >= 0 && freed >= 0 && borrow_exec_free(run.borrow, &x, CALL_US, NULL) != -EFAULT)
		return err_set(e, ERR_FAILED, EIO, "", "memory that was freed still counts as ours");
	return r < 0 ? r : freed;
}

static int do_recover(uint64_t arg, struct err *e)
{
	(void)arg;
	return run.backend->ops->resume_orphan(run.backend, e);
}

static const struct {
	const char *name;
	bool needs_borrow;
	int (*run)(uint64_t arg, struct err *e);
} commands[] = {
	{ "begin", false, do_begin },  { "end", true, do_end },	      { "calls", true, do_calls },
	{ "sleep", true, do_sleep },   { "late", true, do_late },     { "rcu", true, do_rcu },
	{ "lock", true, do_lock },     { "unlock", true, do_unlock }, { "run", false, do_run },
	{ "exec", true, do_exec },     { "waiter", true, do_waiter }, { "free", false, do_free },
	{ "asleep", true, do_asleep }, { "awake", true, do_awake },   { "recover", false, do_recover },
	{ "rows", false, do_rows },
};

static int obey(const char *name, uint64_t arg, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name))
			continue;
		if (commands[i].needs_borrow && !run.borrow)
			return err_set(e, ERR_USAGE, EINVAL, "", "nothing has begun");
		return commands[i].run(arg, e);
	}
	return err_set(e, ERR_USAGE, EINVAL, "", "no such command");
}

static int loop(void)
{
	char line[128], name[32];
	int failures = 0;

	while (fgets(line, sizeof(line), stdin)) {
		struct err e = { 0 };
		uint64_t arg = 0;

		if (sscanf(line, "%31s %" SCNu64, name, &arg) < 1)
			continue;
		line[strcspn(line, "\n")] = '\0';
		if (obey(name, arg, &e) >= 0) {
			printf("ok %s\n", line);
		} else {
			printf("not ok %s: %s [%s]\n", line, e.text, e.rule);
			failures++;
		}
	}
	return failures;
}

static int open_qemu(char **argv, struct err *e)
{
	/* Beside the monitor, so that who comes after us finds a stub of ours. */
	static char dir[108];
	struct backend_target target = { .vm = "borrow", .qmp = argv[0], .runtime_dir = dir };

	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(argv[0], '/') - argv[0]), argv[0]);
	return backend_find("qemu")->open(&target, &run.backend, e);
}

static int open_machine(char **argv, const char *append, struct err *e)
{
	struct machine_config config = {
		.name = "borrow",
		.kernel = argv[0],
		.initrd = argv[1],
		.vcpus = (unsigned)strtoul(argv[2], NULL, 10),
		.memory = strtoull(argv[3], NULL, 10) << 20,
		.console = argv[4],
		.append = append,
	};
	int r = machine_create(&config, &run.machine, e);

	if (r >= 0)
		r = machine_start(run.machine, e);
	if (r >= 0)
		run.backend = machine_backend(run.machine);
	return r;
}

int main(int argc, char **argv)
{
	bool machine = argc >= 9 && !strcmp(argv[1], "machine");
	struct err e = { 0 };

	if (!machine && (argc != 5 || strcmp(argv[1], "qemu") || argv[2][0] != '/'))
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	char **nonce = argv + (machine ? 7 : 3);
	run.nonce[0] = strtoull(nonce[0], NULL, 16);
	run.nonce[1] = strtoull(nonce[1], NULL, 16);
	int r = fault_arm(getenv("VMPOKE_FAULT"));
	if (r >= 0)
		r = machine ? open_machine(argv + 2, argc > 9 ? argv[9] : "", &e) : open_qemu(argv + 2, &e);
	if (r < 0) {
		printf("not ok open: %s\n", e.text);
		return 1;
	}
	printf("ok open\n");
	int failures = loop();
	borrow_free(run.borrow);
	guest_free(run.guest);
	if (!machine)
		backend_close(run.backend);
	machine_destroy(run.machine);
	return failures != 0;
}
