// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A plan against what the guest says of itself; see agent.h. All of it is the guest's
 * word: it may add a reason to refuse, and takes none away. Must come to an end in
 * its time whatever the agent does.
 */
#include <errno.h>
#include <string.h>

#include "vmm/link/agent_ask.h"
#include "vmm/worker/agent.h"
#include "vmm/worker/agent_use.h"
#include "vmm/worker/session.h"

#define BUDGET_US	 5000000u
#define TIMEOUT_MS	 10000 /* of a request that names none */
#define WARNINGS_MAX	 16
#define FTRACE_BYTES	 9u /* x86: ENDBR64 and the call, the most that ftrace writes at a function's entry */
#define EXPLAIN_MS	 1000u

struct asking {
	struct session *session;
	struct agent_session *agent;
	const struct poke_plan *plan;
	uint64_t deadline_us;
	json_t *warnings;
	struct err *refusal; /* filled: the agent says that this must not be done */
};

static bool not_wanted(json_t *args)
{
	return agent_use_is(args, "none");
}

static void warn(struct asking *a, const char *rule, const char *text)
{
	if (json_array_size(a->warnings) < WARNINGS_MAX)
		json_array_append_new(a->warnings, json_pack("{s:s, s:o}", "rule", rule, "text", worker_agent_text(text)));
}

/* What is left for one question, at least 1 ms; 0: nothing. */
static unsigned left_ms(const struct asking *a)
{
	uint64_t now = now_us();

	return now >= a->deadline_us ? 0 : (unsigned)((a->deadline_us - now) / 1000) + 1;
}

static int out_of_time(struct err *e)
{
	return err_set(e, ERR_TIMEOUT, ETIMEDOUT, "agent", "the agent takes too long");
}

/* --- symbols --- */

struct name {
	char text[AGENT_NAME_MAX + 1];
	uint64_t addr;
};

/* A kernel's symbols stay where they are until it ends, and its agent's table takes long to read. */
static bool is_known(const struct worker_agent *w, uint64_t addr)
{
	for (size_t i = 0; i < w->n_known; i++)
		if (w->known[i] == addr)
			return true;
	return false;
}

static void learn(struct worker_agent *w, uint64_t addr)
{
	if (w->n_known == ARRAY_SIZE(w->known))
		w->n_known = 0;
	w->known[w->n_known++] = addr;
}

/* Names of the functions that sites from *next on are in, each once in a row; how many. */
static size_t collect_names(const struct asking *a, size_t *next, struct name *names)
{
	struct guest_symbol sym;
	uint64_t size;
	size_t n = 0;

	for (; *next < a->plan->n_sites && n < AGENT_SYMBOLS_MAX; ++*next) {
		if (guest_symbol_at(a->session->guest, a->plan->sites[*next].gva, &sym, &size) < 0 ||
		    strlen(sym.name) > AGENT_NAME_MAX || (n && strcmp(names[n - 1].text, sym.name) == 0) ||
		    is_known(&a->session->agent, sym.addr))
			continue;
		strcpy(names[n].text, sym.name);
		names[n++].addr = sym.addr;
	}
	return n;
}

/* A name that the guest has more than once (modules have theirs) says nothing. */
static int judge_symbol(struct asking *a, const struct name *name, const struct agent_symbol *found)
{
	if (found->status == AGENT_SYMBOL_HIDDEN) {
		warn(a, "agent-symbols", "the guest hides its symbols' addresses from its agent");
		return 0;
	}
	if (found->status == AGENT_SYMBOL_MISSING)
		return err_set_addr(a->refusal, ERR_REFUSED, EPERM, "agent-symbols", name->addr,
				    "the guest's agent finds no symbol '%.64s', which is at 0x%llx in memory", name->text,
				    (unsigned long long)name->addr);
	if (found->matches == 1 && found->addr != name->addr)
		return err_set_addr(a->refusal, ERR_REFUSED, EPERM, "agent-symbols", name->addr,
				    "the guest's agent says that '%.64s' is at 0x%llx, in memory it is at 0x%llx", name->text,
				    (unsigned long long)found->addr, (unsigned long long)name->addr);
	learn(&a->session->agent, name->addr);
	return 0;
}

static int check_symbols(struct asking *a, struct err *e)
{
	_cleanup_free_ struct name *names = calloc(AGENT_SYMBOLS_MAX, sizeof(*names));
	struct agent_symbol found[AGENT_SYMBOLS_MAX];
	const char *texts[AGENT_SYMBOLS_MAX];
	size_t next = 0, n;
	int r = 0;

	if (!names)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	if (agent_session_generation(a->agent) != a->session->agent.generation)
		a->session->agent.n_known = 0;
	a->session->agent.generation = agent_session_generation(a->agent);
	while (r == 0 && (n = collect_names(a, &next, names)) > 0) {
		for (size_t i = 0; i < n; i++)
			texts[i] = names[i].text;
		r = left_ms(a) ? agent_ask_symbols(a->agent, texts, n, found, left_ms(a), e) : out_of_time(e);
		for (size_t i = 0; r == 0 && i < n; i++)
			r = judge_symbol(a, &names[i], &found[i]);
	}
	return r;
}

/* --- conflicts --- */

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static const struct poke_site *site_near(const struct asking *a, uint64_t addr, uint64_t len)
{
	for (size_t i = 0; i < a->plan->n_sites; i++)
		if (overlap(a->plan->sites[i].gva, a->plan->sites[i].len, addr, len))
			return &a->plan->sites[i];
	return NULL;
}

static void describe(const struct agent_conflict *c, char *buf, size_t cap)
{
	snprintf(buf, cap, "%s %.128s at 0x%llx%s%s", agent_conflict_name(c->kind), c->name, (unsigned long long)c->addr,
		 c->flags & AGENT_CONFLICT_OPTIMIZED ? ", optimised to a jump" : "",
		 c->flags & AGENT_CONFLICT_DISABLED ? ", disabled for now" : "");
}

static int refuse(struct asking *a, const struct agent_conflict *c, const char *rule, const char *what)
{
	char text[256];

	describe(c, text, sizeof(text));
	return err_set_addr(a->refusal, ERR_REFUSED, EBUSY, rule, c->addr, "%s: the guest's agent reports %s; %s", a->plan->sites[0].label,
			    text, what);
}

/* The kernel saved the bytes under a probe and puts them back one day; a function that is replaced is not run. */
static int judge_conflict(struct asking *a, const struct agent_conflict *c)
{
	char text[256];

	if (c->kind == AGENT_CONFLICT_KPROBE)
		return refuse(a, c, "kprobe", "take the probe out first");
	if (c->kind == AGENT_CONFLICT_LIVEPATCH || (c->flags & AGENT_CONFLICT_IPMODIFY))
		return refuse(a, c, "livepatch", "the guest runs a replacement of that function");
	if (site_near(a, c->addr, FTRACE_BYTES))
		return refuse(a, c, "traced", "stop tracing that function first");
	describe(c, text, sizeof(text));
	warn(a, "traced", text);
	return 0;
}

static void warn_of_sources(struct asking *a, uint32_t sources)
{
	static const struct {
		uint32_t source;
		const char *text;
	} rows[] = {
		{ AGENT_SRC_KPROBES, "the agent cannot read the guest's kprobes" },
		{ AGENT_SRC_FTRACE, "the agent cannot read what the guest traces" },
		{ AGENT_SRC_LIVEPATCH, "the agent cannot read the guest's live patches" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!(sources & rows[i].source))
			warn(a, "agent-blind", rows[i].text);
}

static int check_ranges(struct asking *a, size_t from, size_t n, struct err *e)
{
	_cleanup_free_ struct agent_conflict *found = NULL;
	struct agent_range ranges[AGENT_RANGES_MAX];
	uint32_t sources;
	size_t n_found;

	for (size_t i = 0; i < n; i++)
		ranges[i] = (struct agent_range){ a->plan->sites[from + i].gva, a->plan->sites[from + i].len };
	int r = left_ms(a) ? agent_ask_conflicts(a->agent, ranges, n, &found, &n_found, &sources, left_ms(a), e) : out_of_time(e);
	if (r < 0)
		return r;
	if (from == 0)
		warn_of_sources(a, sources);
	for (size_t i = 0; r == 0 && i < n_found; i++)
		r = judge_conflict(a, &found[i]);
	return r;
}

static int check_conflicts(struct asking *a, struct err *e)
{
	size_t n;
	int r = 0;

	for (size_t i = 0; r == 0 && i < a->plan->n_sites; i += n) {
		n = a->plan->n_sites - i < AGENT_RANGES_MAX ? a->plan->n_sites - i : AGENT_RANGES_MAX;
		r = check_ranges(a, i, n, e);
	}
	return r;
}

/* --- both --- */

static int ask(struct asking *a, struct err *e)
{
	const struct agent_hello *h = agent_session_hello(a->agent);
	char why[256], text[320];

	if (!h)
		return err_set(e, ERR_INACTIVE, ENOTCONN, "agent", "the agent went away");
	if (!worker_agent_agrees(a->session, h, why, sizeof(why))) {
		snprintf(text, sizeof(text), "the agent tells of another kernel: %s", why);
		warn(a, "agent-disagrees", text);
		return err_set(e, ERR_INACTIVE, EPERM, "agent-disagrees", "%s", text);
	}
	int r = check_symbols(a, e);
	return r < 0 ? r : check_conflicts(a, e);
}

static uint64_t deadline(json_t *args, uint64_t start)
{
	json_t *ms = json_object_get(args, "timeout");
	uint64_t half = (uint64_t)(ms ? json_integer_value(ms) : TIMEOUT_MS) * 500u;

	return start + (half < BUDGET_US ? half : BUDGET_US);
}

int worker_agent_check(struct session *s, json_t *args, const struct poke_plan *plan, json_t **ret, struct err *e)
{
	uint64_t start = now_us();
	struct err why = { 0 }, refusal = { 0 };
	struct asking a = { .session = s, .plan = plan, .deadline_us = deadline(args, start), .refusal = &refusal };
	int r = -ENOENT;

	*ret = NULL;
	if (plan->n_sites == 0 || strcmp(worker_agent_state(s), "none") == 0)
		return 0;
	a.warnings = json_array();
	if (not_wanted(args))
		err_set(&why, ERR_INACTIVE, EPERM, "agent", "not wanted");
	else
		a.agent = worker_agent_ready(s, &why);
	if (a.agent)
		r = ask(&a, &why);
	if (refusal.kind != ERR_NONE) {
		json_decref(a.warnings);
		*e = refusal;
		return -refusal.error;
	}
	*ret = json_pack("{s:b, s:o, s:I}", "used", r == 0, "warnings", a.warnings, "elapsed_us",
			 (json_int_t)(now_us() - start));
	if (r < 0)
		json_object_set_new(*ret, "why", worker_agent_text(why.text));
	return 0;
}

void worker_agent_explain(struct session *s, json_t *args, struct err *e)
{
	_cleanup_free_ struct agent_conflict *found = NULL;
	const struct agent_range range = { e->addr, ARCH_INSN_MAX };
	size_t len = strlen(e->text), n = 0;
	struct err ignored = { 0 };
	char why[256], text[256];
	uint32_t sources;

	if (e->kind != ERR_REFUSED || !e->has_addr || !s->guest || not_wanted(args) || strcmp(worker_agent_state(s), "none") == 0)
		return;
	struct agent_session *agent = worker_agent_ready(s, &ignored);
	const struct agent_hello *h = agent ? agent_session_hello(agent) : NULL;
	if (!h || !worker_agent_agrees(s, h, why, sizeof(why)) ||
	    agent_ask_conflicts(agent, &range, 1, &found, &n, &sources, EXPLAIN_MS, &ignored) < 0 || n == 0)
		return;
	describe(&found[0], text, sizeof(text));
	snprintf(e->text + len, sizeof(e->text) - len, "; the guest's agent reports %s", text);
}
