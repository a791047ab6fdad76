// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * query-agent: the agent in the guest, as it describes itself; believes nothing. vm-set-agent: where it is by
 * now, as vmpoked keeps it.
 */
#include <errno.h>
#include <string.h>

#include "vmm/link/agent_ask.h"
#include "vmm/worker/agent.h"
#include "vmm/worker/commands.h"
#include "vmm/worker/confine.h"

#define ASK_MS 1000u

static json_t *sources(uint32_t bits)
{
	static const char *const names[] = { "kallsyms", "kprobes", "ftrace", "livepatch", "kcore" };
	json_t *a = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (bits & 1u << i)
			json_array_append_new(a, json_string(names[i]));
	return a;
}

static json_t *operations(uint32_t bits)
{
	json_t *a = json_array();

	for (unsigned op = AGENT_HELLO; op < AGENT_OP_COUNT; op++)
		if (bits & 1u << op)
			json_array_append_new(a, json_string(agent_op_name(op)));
	return a;
}

static const char *lockdown_name(uint8_t lockdown)
{
	static const char *const names[] = { "unknown", "none", "integrity", "confidentiality" };

	return lockdown < ARRAY_SIZE(names) ? names[lockdown] : "unknown";
}

static void hex_set(json_t *o, const char *key, const uint8_t *bytes, size_t len)
{
	char text[2 * sizeof(((struct agent_hello *)0)->build_id) + 1];

	hex_encode(bytes, len, text);
	if (len)
		json_object_set_new(o, key, json_string(text));
}

/* What the hello said. */
static void hello_add(const struct session *s, json_t *o, const struct agent_hello *h)
{
	char why[256];

	json_object_set_new(o, "agent_version", worker_agent_text(h->agent));
	json_object_set_new(o, "release", worker_agent_text(h->release));
	json_object_set_new(o, "machine", worker_agent_text(h->machine));
	hex_set(o, "build_id", h->build_id, h->build_id_len);
	hex_set(o, "boot_id", h->boot_id, sizeof(h->boot_id));
	if (h->kernel_text)
		json_object_set_new(o, "base", qmp_address(h->kernel_text));
	json_object_set_new(o, "kaslr", json_boolean(!h->kaslr_off));
	json_object_set_new(o, "lockdown", json_string(lockdown_name(h->lockdown)));
	json_object_set_new(o, "cpus", json_integer(h->cpus));
	json_object_set_new(o, "sources", sources(h->sources));
	json_object_set_new(o, "operations", operations(h->ops));
	if (!s->guest)
		return;
	bool agrees = worker_agent_agrees(s, h, why, sizeof(why));
	json_object_set_new(o, "agrees", json_boolean(agrees));
	if (!agrees)
		json_object_set_new(o, "disagreement", worker_agent_text(why));
}

/* Numbers of the guest's can be anything; JSON's stay below 2^53. */
static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)(n < UINT64_C(1) << 53 ? n : UINT64_C(1) << 53));
}

static void counters_add(const struct worker_agent *a, json_t *o)
{
	struct agent_session_stats st;

	agent_session_stats(a->session, &st);
	json_object_set_new(o, "hello_us", number(st.hello_us));
	json_object_set_new(o, "link_stats",
			    json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "hellos", number(st.hellos), "requests",
				      number(st.requests), "timeouts", number(st.timeouts), "restarts", number(st.restarts),
				      "reopened", number(st.reopened), "damaged", number(st.damaged)));
}

static int asked_add(struct agent_session *agent, json_t *o, struct err *e)
{
	struct agent_stats st;
	uint64_t start = now_us();
	int r = agent_ask_ping(agent, ASK_MS, e);

	if (r < 0)
		return r;
	json_object_set_new(o, "round_trip_us", number(now_us() - start));
	r = agent_ask_stats(agent, &st, ASK_MS, e);
	if (r < 0)
		return r;
	json_object_set_new(o, "stats",
			    json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "cpu_us", number(st.cpu_us), "uptime_ms",
				      number(st.uptime_ms), "rss_kib", number(st.rss_kib), "frames_in", number(st.frames_in),
				      "frames_out", number(st.frames_out), "damaged", number(st.damaged), "refused",
				      number(st.refused), "sessions", number(st.sessions)));
	return 0;
}

/* Without asking it anything, unless agent is given. */
static json_t *agent_json(struct session *s, struct agent_session *agent, struct err *why)
{
	const struct worker_agent *a = &s->agent;
	int r = agent ? 0 : -1;
	json_t *o = json_pack("{s:s}", "vm", s->target.vm);

	if (agent)
		r = asked_add(agent, o, why);
	json_object_set_new(o, "state", json_string(worker_agent_state(s)));
	if (a->address[0])
		json_object_set_new(o, "address", json_string(a->address));
	if (a->session) {
		const struct agent_hello *h = agent_session_hello(a->session);
		json_object_set_new(o, "link", json_string(a->ops->name));
		json_object_set_new(o, "authenticated", json_boolean(agent_session_authenticated(a->session)));
		counters_add(a, o);
		if (h)
			hello_add(s, o, h);
	}
	if (r < 0 && why->kind != ERR_NONE)
		json_object_set_new(o, "why", worker_agent_text(why->text));
	return o;
}

json_t *worker_agent_json(struct session *s)
{
	struct err why = { 0 };

	worker_agent_ready(s, &why);
	return agent_json(s, NULL, &why);
}

int command_query_agent(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	struct err why = { 0 };

	(void)args, (void)e;
	session_events(s);
	if (!s->backend)
		session_attach(s, &why);
	why = (struct err){ 0 };
	*ret = agent_json(s, worker_agent_ready(s, &why), &why);
	return 0;
}

/* What a worker may call is settled when it starts; one that is started anew gets what this address needs. */
static int cage_check(const struct session *s, struct err *e)
{
	bool fits = (s->agent.addr.kind != AGENT_ADDR_VSOCK || confine_allows(CONFINE_VSOCK)) &&
		    (s->agent.addr.kind != AGENT_ADDR_XDP || confine_allows(CONFINE_XDP));

	return fits ? 0 : err_set(e, ERR_FAILED, EPERM, "confined", "this worker may not use such a link; its successor will");
}

/* The key is read anew as well. */
int command_vm_set_agent(struct session *s, json_t *args, json_t **ret, struct err *e)
{
	const char *address = json_string_value(json_object_get(args, "agent"));

	(void)ret;
	if (s->machine || !address)
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "machine", "the agent of a machine is at its own port");
	worker_agent_stop(s);
	int r = worker_agent_configure(s, address, e);
	if (r == 0)
		r = cage_check(s, e);
	if (r == 0 && s->backend)
		worker_agent_start(s);
	return r;
}
