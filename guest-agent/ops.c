// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The closed table of what the host may ask, and the operations too small for a
 * file of their own. Nothing here may name a file, a program or an address to write.
 */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "guest-agent/agent.h"

const struct agent_row agent_rows[] = {
	{ AGENT_HELLO, AGENT_ALWAYS, 20, 256, op_hello },
	{ AGENT_PING, AGENT_ALWAYS, 0, AGENT_PING_MAX, op_ping },
	{ AGENT_SYMBOLS, AGENT_ALWAYS, 4, AGENT_PAYLOAD_MAX, op_symbols },
	{ AGENT_CONFLICTS, AGENT_ALWAYS, 20, 8 + 12 * AGENT_RANGES_MAX, op_conflicts },
	{ AGENT_SELFCHECK, AGENT_ALWAYS, 20, 8 + 12 * AGENT_RANGES_MAX, op_selfcheck },
	{ AGENT_QUIESCE, AGENT_WHILE_IDLE, 4, 4, op_quiesce },
	{ AGENT_PARK, AGENT_WHILE_IDLE, 24, 24, op_park },
	{ AGENT_UNPARK, AGENT_ALWAYS, 0, 0, op_unpark },
	{ AGENT_STATE, AGENT_ALWAYS, 0, 0, op_state },
	{ AGENT_STATS, AGENT_ALWAYS, 0, 0, op_stats },
};
const size_t agent_row_count = sizeof(agent_rows) / sizeof(agent_rows[0]);

int op_ping(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why)
{
	(void)a;
	(void)why;
	agent_put_bytes(reply, f->payload, f->length);
	return 0;
}

/* statm is kept per thread and summed up late (SPLIT_RSS_COUNTING, until Linux 6.2): it was seen to say one page. */
static uint32_t rss_kib(struct agent *a)
{
	static const char key[] = "\nRss:";
	char buf[256];
	uint32_t kib = 0;

	/* "ADDRESSES [rollup]", then "Rss:  KIB kB" */
	if (lines_head(a->roots.root, "proc/self/smaps_rollup", buf, sizeof(buf)) <= 0)
		return 0;
	const char *p = strstr(buf, key);
	for (p = p ? p + sizeof(key) - 1 : ""; *p == ' '; p++)
		;
	for (; *p >= '0' && *p <= '9'; p++)
		kib = kib * 10 + (uint32_t)(*p - '0');
	return kib;
}

static uint64_t us_of(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * 1000000 + (uint64_t)tv->tv_usec;
}

int op_stats(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why)
{
	struct agent_stats s = a->stats;
	struct rusage ru = { 0 };

	(void)f;
	(void)why;
	getrusage(RUSAGE_SELF, &ru);
	s.cpu_us = us_of(&ru.ru_utime) + us_of(&ru.ru_stime);
	s.uptime_ms = agent_now_ms() - a->started_at;
	s.frames_in = a->in.frames;
	s.skipped = a->in.skipped;
	s.damaged = a->in.damaged;
	s.rss_kib = rss_kib(a);
	reply->len = agent_stats_encode(reply->p, reply->cap, &s);
	return 0;
}

static int answer_state(struct agent *a, struct agent_put *reply)
{
	struct agent_state s;

	park_state(&a->park, &s);
	reply->len = agent_state_encode(reply->p, reply->cap, &s);
	return 0;
}

int op_state(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why)
{
	(void)f;
	(void)why;
	return answer_state(a, reply);
}

int op_park(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why)
{
	struct agent_park_request r;

	if (agent_park_request_decode(f->payload, f->length, &r))
		return agent_fail(why, AGENT_E_MALFORMED, 0, "no such call, interval or time-out");
	int e = park_begin(&a->park, &r);
	if (e)
		return agent_fail(why, AGENT_E_STATE, -e, "parked already");
	return answer_state(a, reply);
}

/* The thread sleeps between two calls, or stands in one at the host's will: the answer says whether it is out. */
int op_unpark(struct agent *a, const struct agent_frame *f, struct agent_put *reply, struct agent_failure *why)
{
	(void)f;
	(void)why;
	park_end(&a->park, AGENT_PARK_UNPARKED, 50);
	return answer_state(a, reply);
}
