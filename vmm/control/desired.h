/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the install rules want of one VM, against what is in it. Whenever the VM is up with a kernel that a rule fits,
 * what is missing is applied, one after the other, the higher priority first. Costs nothing while nothing is
 * missing: it is woken by events, and by a timer only while a kernel is awaited, which ends.
 */
#ifndef VMPOKE_CONTROL_DESIRED_H
#define VMPOKE_CONTROL_DESIRED_H

#include <jansson.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "vmm/control/relay.h"
#include "vmm/control/rules.h"
#include "vmm/control/worker_link.h"

struct vm;

enum desired_state {
	DESIRED_WAITING,  /* for the VM, its kernel, or its turn; why says which */
	DESIRED_APPLIED,
	DESIRED_PRESENT,  /* the guest holds these bytes, and not from vmpoke: nothing to do, nothing to revert */
	DESIRED_REFUSED,  /* not tried again before the next boot; why is the sentence */
	DESIRED_REVERTED, /* somebody took it out; it stays out until the next boot */
	DESIRED_OTHER_KERNEL, /* the rule is for another build-id */
	DESIRED_ATTENTION, /* the guest's text is neither old nor new */
	DESIRED_STATES,
};

/* One rule that matches the VM. */
struct desired_patch {
	unsigned rule;
	char patch[PATCHFILE_NAME_MAX + 1];
	enum desired_state state;
	bool known;	  /* it was looked at since the worker came */
	json_int_t since; /* of the state; seconds since 1970 */
	unsigned tries, applied; /* in this boot */
	struct err why;	  /* kind ERR_NONE: nothing to say */
};

/* Which boot a decision is of, as far as it can be told from outside. */
struct desired_boot {
	json_int_t pid;
	char base[24], build_id[48];
};

enum desired_step { DESIRED_IDLE, DESIRED_ASKING, DESIRED_PROBING, DESIRED_APPLYING };

struct desired {
	struct desired_patch *list; /* higher priority first */
	size_t n;
	enum desired_step step;
	bool asked;	   /* the worker's list of patches was taken over since it came */
	bool probed;	   /* boot is of the kernel that runs, and it has booted */
	bool outdated;	   /* the guest booted anew since the step under way began: what it says is of the past */
	struct desired_boot boot;
	json_t *held;	   /* names of patches somebody took out in that boot; NULL: none */
	unsigned tries;	   /* probes in vain since the last event */
	uint64_t adopt_until; /* now_us(): until then patch-adopt comes first; 0: nothing to wait for */
	sd_event_source *timer;
	struct worker_call call;
	struct relay_listener listener;
	char applying_patch[PATCHFILE_NAME_MAX + 1];
};

/* Reads what is kept of the VM (which patches somebody took out). */
void desired_init(struct vm *vm);
void desired_clear(struct vm *vm);
/* The VM is not registered any more. */
void desired_forget(struct vm *vm);

/* The rules have changed: number is the one that has, 0 for none in particular. */
void desired_rules_changed(struct vm *vm, unsigned number);

/* So has the policy, or whose signatures count: what was refused by them is judged anew. */
void desired_policy_changed(struct vm *vm);

/* What the worker reports: it is ready, its VM's state, GUEST_RESET, PATCH_STATUS_CHANGE. */
void desired_ready(struct vm *vm);
void desired_event(struct vm *vm, const char *name, json_t *data);

/* A command of a client has succeeded. */
void desired_done(struct vm *vm, const char *command, json_t *value);

/* Patches come with this guest: rules wait for patch-adopt, for a minute at most. */
void desired_await_adoption(struct vm *vm);

/* Sets o["desired"], o["as_desired"] and o["settled"]. */
void desired_add_json(const struct vm *vm, json_t *o);

/* "waiting" and so on. */
const char *desired_state_name(enum desired_state state);

/* What one rule has come to in this VM: {vm, state, why?}; NULL when it has nothing to do with it. */
json_t *desired_rule_json(const struct vm *vm, unsigned rule);

#endif
