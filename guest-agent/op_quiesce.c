// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * As much quiescence as user space can bring about: this thread runs once on each
 * online CPU, so each has gone through the scheduler, and membarrier waits for an
 * RCU grace period. It says nothing of tasks that sleep or were preempted inside
 * a function: those are found by the host in their stacks, or by
 * synchronize_rcu_tasks() in a borrowed context. Must leave its own affinity as it was.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "guest-agent/agent.h"

#define CPUS_MAX 8192
#define MEMBARRIER_QUERY  0
#define MEMBARRIER_GLOBAL 1 /* both since Linux 4.3 */

static unsigned long own[CPUS_MAX / 8 / sizeof(long)], one[CPUS_MAX / 8 / sizeof(long)];

/* "0-3,5": calls visit for each. False: not such a list. */
static bool each_cpu(const char *list, struct agent_quiesce *q, uint64_t until,
		     void (*visit)(struct agent_quiesce *q, unsigned cpu, uint64_t until))
{
	while (*list >= '0' && *list <= '9') {
		unsigned from = 0, to;
		for (; *list >= '0' && *list <= '9' && from < CPUS_MAX; list++)
			from = from * 10 + (unsigned)(*list - '0');
		to = from;
		if (*list == '-')
			for (list++, to = 0; *list >= '0' && *list <= '9' && to < CPUS_MAX; list++)
				to = to * 10 + (unsigned)(*list - '0');
		if (to >= CPUS_MAX)
			return false;
		for (; from <= to; from++)
			visit(q, from, until);
		if (*list == ',')
			list++;
	}
	return *list == '\n' || !*list;
}

/* The call returns on that CPU: the scheduler moved us there. */
static void visit_cpu(struct agent_quiesce *q, unsigned cpu, uint64_t until)
{
	unsigned now = cpu + 1;

	q->online++;
	if (agent_now_ms() >= until)
		return;
	memset(one, 0, sizeof(one));
	one[cpu / (8 * sizeof(long))] |= 1ul << cpu % (8 * sizeof(long));
	if (syscall(SYS_sched_setaffinity, 0, sizeof(one), one) || syscall(SYS_getcpu, &now, NULL, NULL) || now != cpu)
		q->refused++;
	else
		q->visited++;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int op_quiesce(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why)
{
	struct agent_quiesce q = { 0 };
	uint64_t start = now_us(), until;
	uint32_t timeout_ms;
	char online[1024];

	if (agent_quiesce_request_decode(f->payload, f->length, &timeout_ms))
		return agent_fail(why, AGENT_E_MALFORMED, 0, "the time-out is 1 ms to 10 s");
	until = agent_now_ms() + timeout_ms;
	int r = lines_head(a->roots.root, "sys/devices/system/cpu/online", online, sizeof(online));
	if (r <= 0)
		return agent_fail(why, AGENT_E_UNAVAILABLE, -r, "cannot read which CPUs are online");
	long size = syscall(SYS_sched_getaffinity, 0, sizeof(own), own);
	if (size <= 0)
		return agent_fail(why, AGENT_E_FAILED, errno, "cannot read my own CPU affinity");
	bool whole = each_cpu(online, &q, until, visit_cpu);
	syscall(SYS_sched_setaffinity, 0, (size_t)size, own);
	if (!whole)
		return agent_fail(why, AGENT_E_FAILED, 0, "more CPUs than this agent counts");
	if (agent_now_ms() < until && (syscall(SYS_membarrier, MEMBARRIER_QUERY, 0) & MEMBARRIER_GLOBAL) &&
	    !syscall(SYS_membarrier, MEMBARRIER_GLOBAL, 0))
		q.flags |= AGENT_QUIESCE_RCU;
	q.elapsed_us = now_us() - start;
	reply->len = agent_quiesce_encode(reply->p, reply->cap, &q);
	return 0;
}
