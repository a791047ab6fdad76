// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See confine.h. A forbidden call traps (SIGSYS) instead of killing at once: only in the process itself
 * can be seen which call it was, the parent of a process killed by seccomp learns nothing but the signal.
 * The handler tells and then makes the one call that kills: setting a handler for SIGSYS, which nobody
 * may, so that this one cannot be replaced. Must never allow a call for the sake of a test.
 */
#include "vmm/worker/confine.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "protocol/util.h"
#include "vmm/worker/control.h"

/* What the handler needs: it may not allocate, format or lock. */
static struct {
	char line[512], event[512]; /* with room for the number and the end */
	size_t line_len, event_len;
	const struct control *control;
} told;

static size_t append(char *buf, size_t len, const char *text)
{
	while (*text)
		buf[len++] = *text++;
	return len;
}

static size_t append_number(char *buf, size_t len, int n)
{
	char digits[12];
	size_t i = 0;

	do
		digits[i++] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	while (i > 0)
		buf[len++] = digits[--i];
	return len;
}

static unsigned allowed = UINT32_MAX;

bool confine_allows(enum confine_for wanted)
{
	return allowed & 1u << wanted;
}

/* Any thread, at any place; a message that was being sent stays torn, and the daemon says so. */
static void on_forbidden(int signal, siginfo_t *si, void *context)
{
	int fd = told.control ? control_peer(told.control) : -1, call = si->si_syscall >= 0 ? si->si_syscall : 0;
	size_t len = append(told.line, append_number(told.line, told.line_len, call), ", which it may not\n");

	(void)signal, (void)context;
	(void)!write(STDERR_FILENO, told.line, len);
	len = append(told.event, append_number(told.event, told.event_len, call), "}}\r\n");
	if (fd >= 0)
		(void)!send(fd, told.event, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	syscall(SYS_rt_sigaction, SIGSYS, NULL, NULL, sizeof(uint64_t));
	_exit(127); /* not reached */
}

static int handler_set(const char *vm, const struct control *control)
{
	struct sigaction action = { .sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO | SA_NODEFER };

	told.control = control;
	told.line_len = (size_t)snprintf(told.line, sizeof(told.line), "vmpoke-vm: %.64s: it makes system call ", vm);
	told.event_len = (size_t)snprintf(told.event, sizeof(told.event),
					  "{\"event\": \"WORKER_FORBIDDEN\", \"data\": {\"vm\": \"%.64s\", \"call\": ", vm);
	return sigaction(SIGSYS, &action, NULL) < 0 ? -errno : 0;
}

static int rule_add(scmp_filter_ctx ctx, const struct confine_rule *rule)
{
	const struct scmp_arg_cmp cmp = {
		.arg = rule->arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = rule->mask, .datum_b = rule->value,
	};

	if (rule->call < 0) /* another architecture's */
		return 0;
	int r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rule->call, rule->mask ? 1 : 0, &cmp);
	return r == -EEXIST ? 0 : r; /* two rows may say the same */
}

static int signals_add(scmp_filter_ctx ctx)
{
	struct scmp_arg_cmp other = { .arg = 0, .op = SCMP_CMP_NE, .datum_a = SIGSYS };
	struct scmp_arg_cmp sigsys = { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = SIGSYS };
	int r = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(rt_sigaction), 1, &other);

	if (r == 0)
		r = seccomp_rule_add_array(ctx, SCMP_ACT_KILL_PROCESS, SCMP_SYS(rt_sigaction), 1, &sigsys);
	/* Its flags are behind a pointer, where no filter looks: the C library then takes clone(). */
	return r == 0 ? seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, NULL) : r;
}

/* abort(), and a vCPU's thread that is called out of the guest. A worker is root: no other process may be its to end. */
static int own_threads_add(scmp_filter_ctx ctx)
{
	const struct confine_rule own = { .call = SCMP_SYS(tgkill), .arg = 0, .mask = UINT32_MAX, .value = (uint32_t)getpid() };

	return rule_add(ctx, &own);
}

static int rules_add(scmp_filter_ctx ctx, unsigned wanted)
{
	int r = signals_add(ctx);

	if (r == 0)
		r = own_threads_add(ctx);

	for (unsigned i = 0; i < CONFINE_FOR_MAX; i++) {
		const struct confine_rule *rule = confine_table[i].rules;

		for (; r == 0 && (wanted & 1u << i) && rule->call != INT32_MIN; rule++)
			r = rule_add(ctx, rule);
	}
	return r;
}

int confine(unsigned wanted, const char *vm, const struct control *control, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	int r = ctx ? handler_set(vm, control) : -ENOMEM;

	if (r == 0)
		r = rules_add(ctx, wanted | 1u << CONFINE_ALWAYS);
	if (r == 0) /* a tree instead of a list: KVM_RUN passes through it, too */
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0) /* sets no_new_privs first */
		r = seccomp_load(ctx);
	seccomp_release(ctx);
	if (r == 0)
		allowed = wanted | 1u << CONFINE_ALWAYS;
	return r < 0 ? err_set(e, ERR_FAILED, -r, NULL, "cannot confine the worker (seccomp): %s", strerror(-r)) : 0;
}
