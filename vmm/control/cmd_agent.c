// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vm-set-agent: another address or key for the agent of a VM that is registered. What is kept comes first,
 * then the worker is told; one that dies or is started in between reads what is kept. Must never
 * leave a conversation going on with what was given up, nor drop a key because an address changes.
 */
#include <errno.h>
#include <string.h>

#include "protocol/util.h"
#include "vmm/control/agent_keys.h"
#include "vmm/control/command.h"
#include "vmm/control/daemon.h"
#include "vmm/control/log.h"
#include "vmm/control/session.h"
#include "vmm/control/vm.h"

#define SET_BUDGET_US (30 * 1000000ull)

enum key_change { KEY_STAYS, KEY_NEW, KEY_NONE };

struct change {
	struct registry_entry entry; /* as it is to be */
	enum key_change key;
	int key_fd; /* KEY_NEW; else -1 */
	bool address_differs, key_differs;
};

/* The worker on its way to know. */
struct set_agent {
	struct worker_call call;
	struct vm *vm;
	struct pending *pending;
};

static json_t *answer_new(const struct vm *vm, bool changed)
{
	json_t *o = json_pack("{s:s, s:b}", "vm", vm->entry.name, "changed", changed);

	if (vm->entry.agent[0])
		json_object_set_new(o, "agent", json_string(vm->entry.agent));
	return o;
}

static int address_read(struct change *c, json_t *args, struct err *e)
{
	const char *address = json_string_value(json_object_get(args, "agent"));

	if (!address || strcmp(address, "none") != 0)
		return registry_entry_set_agent(&c->entry, address, e);
	c->entry.agent[0] = '\0';
	return 0;
}

static int key_read(struct change *c, struct session *s, json_t *args, struct err *e)
{
	const char *key = json_string_value(json_object_get(args, "agent-key"));

	c->key_fd = -1;
	if (!c->entry.agent[0]) {
		c->key = KEY_NONE;
		return key && strcmp(key, "none") != 0 ? err_set(e, ERR_USAGE, EINVAL, NULL, "'agent-key' goes with an agent") : 0;
	}
	c->key = !key ? KEY_STAYS : strcmp(key, "none") == 0 ? KEY_NONE : KEY_NEW;
	return c->key == KEY_NEW ? agent_key_take(s, args, &c->key_fd, e) : 0;
}

/* Also the first time that a new key is read: one that is none must change nothing. */
static int change_compare(struct change *c, const struct vm *vm, struct err *e)
{
	const char *state_dir = vm->daemon->worker_config.state_dir;
	int r = 1;

	c->address_differs = strcmp(c->entry.agent, vm->entry.agent) != 0;
	if (c->key == KEY_NEW)
		r = agent_key_same(state_dir, vm->entry.name, c->key_fd, e);
	else if (c->key == KEY_NONE)
		r = !agent_key_kept(state_dir, vm->entry.name);
	c->key_differs = r == 0;
	return r < 0 ? r : 0;
}

/* With the new address kept and the old key still there an agent is not talked to; never the other way round. */
static int change_keep(const struct change *c, struct vm *vm, struct err *e)
{
	const char *state_dir = vm->daemon->worker_config.state_dir, *name = vm->entry.name;
	int r = c->address_differs ? registry_save(vm->daemon->registry_fd, &c->entry, e) : 0;

	if (r == 0 && c->key_differs)
		r = c->key == KEY_NEW ? agent_key_store(state_dir, name, c->key_fd, e) : agent_key_remove(state_dir, name, e);
	if (r < 0 && c->address_differs && registry_save(vm->daemon->registry_fd, &vm->entry, NULL) < 0)
		err_prefix(e, "its agent's address was changed, its key was not");
	return r;
}

static void on_told(struct worker_call *call, json_t *value, const struct err *e)
{
	struct set_agent *set = container_of(call, struct set_agent, call);
	struct vm *vm = set->vm;

	(void)value;
	/* The next worker is started with what is kept. */
	if (e && vm->worker.state == WORKER_READY)
		worker_fail(&vm->worker, "it did not take the agent's new address: %s", e->text);
	json_t *o = answer_new(vm, true);
	pending_return(set->pending, o);
	json_decref(o);
	free(set);
	if (vm->worker.state == WORKER_READY)
		vm_refresh(vm);
}

static int tell_worker(struct vm *vm, struct session *s, struct err *e)
{
	struct set_agent *set = calloc(1, sizeof(*set));

	if (!set)
		return err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	*set = (struct set_agent){
		.call = { .command = "vm-set-agent", .budget_us = SET_BUDGET_US, .done = on_told },
		.vm = vm,
		.pending = session_defer(s),
	};
	json_t *args = json_pack("{s:s, s:s}", "vm", vm->entry.name, "agent", vm->entry.agent[0] ? vm->entry.agent : "none");
	int r = set->pending ? worker_call(&vm->worker, &set->call, args, e) :
			       err_set(e, ERR_FAILED, ENOMEM, NULL, "out of memory");
	json_decref(args);
	if (r == 0)
		return COMMAND_DEFERRED;
	err_prefix(e, "it is kept, but the worker is not told before it starts anew");
	pending_error(set->pending, e);
	bool answered = set->pending;
	free(set);
	return answered ? COMMAND_DEFERRED : r;
}

static int set_check(const struct vm *vm, struct err *e)
{
	if (vm_is_busy(vm))
		return vm_busy(vm, e);
	if (vm->entry.kind == REGISTRY_MACHINE)
		return err_set(e, ERR_REFUSED, EOPNOTSUPP, "machine",
			       "'%s' is a machine of vmpoke's own: its agent is at its own port, and its key is given to 'vmpoke run'",
			       vm->entry.name);
	/* It was started with the old address, and takes no request yet. */
	if (vm->worker.state == WORKER_STARTING)
		return err_set(e, ERR_TIMEOUT, EBUSY, "busy", "the worker of '%s' is starting; try again", vm->entry.name);
	return 0;
}

/* The worker holds sockets against whoever registered the VM. */
static int address_check(const struct change *c, const struct session *s, struct err *e)
{
	bool own = c->entry.has_user && c->entry.user == s->peer.uid;

	if (!c->address_differs || !c->entry.agent[0] || own || peer_is_trusted(&s->peer))
		return 0;
	return err_set(e, ERR_REFUSED, EACCES, "foreign-socket",
		       "'%s' was not registered by uid %u: who is not root says where the agent is only for VMs of his own", c->entry.name,
		       s->peer.uid);
}

static int set_now(struct vm *vm, struct session *s, const struct change *c, json_t **ret, struct err *e)
{
	bool differs = c->address_differs || c->key_differs;
	int r = differs ? change_keep(c, vm, e) : 0;

	if (r < 0)
		return r;
	if (differs)
		log_msg(LOG_NOTICE, vm->entry.name, "its agent: %s%s, asked by pid %d uid %u",
			c->entry.agent[0] ? c->entry.agent : "none", c->key_differs ? ", another key or none" : "", s->peer.pid,
			s->peer.uid);
	vm->entry = c->entry;
	if (differs && vm->worker.state == WORKER_READY)
		return tell_worker(vm, s, e);
	*ret = answer_new(vm, differs);
	return 0;
}

int cmd_vm_set_agent(struct daemon *d, struct session *s, const struct schema_command *cmd, json_t *args,
		     json_t **ret, struct err *e)
{
	struct vm *vm = vm_find(d, json_string_value(json_object_get(args, "vm")), e);
	struct change c = { .key_fd = -1 };

	(void)cmd;
	if (!vm)
		return -ENOENT;
	int r = set_check(vm, e);
	if (r < 0)
		return r;
	c.entry = vm->entry;
	r = address_read(&c, args, e);
	if (r == 0)
		r = key_read(&c, s, args, e);
	if (r == 0)
		r = change_compare(&c, vm, e);
	if (r == 0)
		r = address_check(&c, s, e);
	if (r == 0)
		r = set_now(vm, s, &c, ret, e);
	if (c.key_fd >= 0)
		close(c.key_fd);
	return r;
}
