// SPDX-License-Identifier: GPL-2.0-or-later
/* Names of the numbers on the agent's wire, for people. Must stay freestanding. */
#include "protocol/agent_msg.h"

static const char *const ops[AGENT_OP_COUNT] = {
	[AGENT_HELLO] = "hello",
	[AGENT_PING] = "ping",
	[AGENT_SYMBOLS] = "symbols",
	[AGENT_CONFLICTS] = "conflicts",
	[AGENT_SELFCHECK] = "selfcheck",
	[AGENT_QUIESCE] = "quiesce",
	[AGENT_PARK] = "park",
	[AGENT_UNPARK] = "unpark",
	[AGENT_STATE] = "state",
	[AGENT_STATS] = "stats",
};

static const char *const errors[AGENT_E_COUNT] = {
	[AGENT_E_NONE] = "none",
	[AGENT_E_VERSION] = "version",
	[AGENT_E_SESSION] = "session",
	[AGENT_E_AUTH] = "auth",
	[AGENT_E_UNKNOWN_OP] = "unknown-op",
	[AGENT_E_STATE] = "state",
	[AGENT_E_MALFORMED] = "malformed",
	[AGENT_E_UNAVAILABLE] = "unavailable",
	[AGENT_E_LIMIT] = "limit",
	[AGENT_E_FAILED] = "failed",
};

static const char *const conflicts[AGENT_CONFLICT_KIND_COUNT] = {
	[AGENT_CONFLICT_KPROBE] = "kprobe",
	[AGENT_CONFLICT_FTRACE] = "ftrace",
	[AGENT_CONFLICT_LIVEPATCH] = "livepatch",
	[AGENT_CONFLICT_BPF] = "bpf",
};

static const char *name_of(const char *const *names, size_t n, size_t i)
{
	return i < n && names[i] ? names[i] : "?";
}

const char *agent_op_name(unsigned op)
{
	return name_of(ops, AGENT_OP_COUNT, op);
}

const char *agent_error_name(unsigned error)
{
	return name_of(errors, AGENT_E_COUNT, error);
}

const char *agent_conflict_name(unsigned kind)
{
	return name_of(conflicts, AGENT_CONFLICT_KIND_COUNT, kind);
}
